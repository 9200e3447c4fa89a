"""The GPU's solver by each library on a processor: the same optimum; and what is said where there is no GPU."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from featx.errors import ConfigError, TrainingError
from featx.svm.device import DeviceSystem
from featx.svm.settings import resolve_settings
from featx.svm.solve import make_solver
from featx.zoo import accelerator

# In a process of its own: arrays of several libraries do not meet in one, as in use.
CODE = """
import numpy as np
from featx.errors import TrainingError
from featx.svm import device, primal, solve
from featx.svm.problems import Job
from featx.svm.settings import resolve_settings
from featx.zoo.accelerator import find_accelerator
device._BLOCK = 64
found = find_accelerator(require_gpu=False)
rng = np.random.default_rng(0)
features = np.maximum(rng.normal(size=(150, 6)) @ rng.normal(size=(6, 24)) + rng.normal(size=(150, 24)), 0)
features = features.astype(np.float32)
labels = np.where(features[:, 0] + rng.normal(size=150) > 1, 1.0, -1.0)
rows = rng.permutation(150)
jobs = [Job(np.sort(rows[k:100 + k]), np.sort(rows[100 + k:]), labels[np.sort(rows[k:100 + k])]) for k in (0, 20)]
grid = [1e-3, 1e-1, 10.0, 1e3]
for few in (0.0, 1.2, 9.0):  # iterative steps, both, exact ones
    primal._ROWS_PER_COLUMN = few
    for bias in ("penalised", "free"):
        solvers = []
        for name in ("auto", "gpu"):
            solve._accelerator = lambda: found
            solvers.append(solve.PrimalSolver(features, "l2", resolve_settings(solver=name, bias=bias), 2))
        for one, other in zip(*(solver.curves(jobs, grid) for solver in solvers)):
            assert not few or max(one.residuals.max(), other.residuals.max()) <= solvers[0].tolerance
            np.testing.assert_allclose(other.scores, one.scores, atol=1e-5 * np.abs(one.scores).max())
        one, other = (solver.fit(jobs[0].train, jobs[0].labels, 1.0) for solver in solvers)
        np.testing.assert_allclose(other.weights, one.weights, atol=1e-7 * np.abs(one.weights).max())
        assert abs(one.intercept - other.intercept) < 1e-6
try:
    broken = device.DeviceSystem(found, found.put(np.eye(2, dtype=np.float32)), np.ones(2))
    broken.add_diagonal(np.full(2, -3.0))
    broken.solve(np.ones((2, 1)))
except TrainingError as error:
    assert "not positive definite" in str(error)
    print(found.library)
"""


@pytest.mark.parametrize("library", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_a_library_finds_the_same_optimum(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    shown = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "KERAS_BACKEND": library},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.stdout.split()[-1:] == [library], shown.stderr[-3000:]


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolve_settings(solver="gpu")
    with pytest.raises(ConfigError, match="tensorflow sees no GPU here; leave --solver out"):
        make_solver(np.ones((4, 2), np.float32), "l2", settings)
    monkeypatch.setenv("KERAS_BACKEND", "openvino")
    with pytest.raises(
        ConfigError, match=r"KERAS_BACKEND='openvino' has no arrays on a GPU; use one of tensorflow"
    ):
        make_solver(np.ones((4, 2), np.float32), "l2", settings)

    def missing() -> None:
        raise ModuleNotFoundError

    monkeypatch.setitem(accelerator._LIBRARIES, "openvino", missing)
    with pytest.raises(ConfigError, match="openvino is not installed"):
        make_solver(np.ones((4, 2), np.float32), "l2", settings)
    with pytest.raises(ConfigError, match="'gpu' needs the loss 'squared_hinge'"):
        resolve_settings("paper", solver="gpu")


def test_what_is_not_positive_definite_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    found = accelerator.find_accelerator(require_gpu=False)
    rows, ones = found.put(np.eye(2, dtype=np.float32)), np.ones(2)
    wanted = np.array([[1.0], [2.0]])
    system = DeviceSystem(found, rows, ones)
    system.add_diagonal(ones)
    assert np.allclose(system.solve(wanted), wanted / 2)
    system.add_diagonal(-4 * ones)
    with pytest.raises(TrainingError, match="not positive definite to working precision"):
        system.solve(wanted)
