"""Memory is asked for before work begins; freed arrays go back to the system (in a fresh process each)."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest

from featx import machine as memory
from featx.errors import ConfigError
from featx.svm.problems import FitProblem
from featx.svm.settings import SvmSettings
from featx.svm.solving import GramSolver

CODE = """
import sys
from pathlib import Path
import numpy as np
from featx.machine import give_back_freed
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
assert sys.argv[1] == "as it is" or give_back_freed()
before = resident()
for _ in range(2):
    np.ones(3 << 20)  # 24 MiB, the second of which glibc keeps, by itself
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("setting", "low", "high"), [("as it is", 20, 28), ("given back", -1, 4)])
def test_freed_arrays_do_not_stay_with_the_process(setting: str, low: float, high: float) -> None:
    shown = subprocess.run([sys.executable, "-c", CODE, setting], capture_output=True, text=True, check=True)
    assert low < float(shown.stdout) < high


@pytest.mark.parametrize("scaling", ["l2", "zscore"])
def test_what_all_workers_take_together_is_asked_for_before_work_begins(
    monkeypatch: pytest.MonkeyPatch, scaling: str
) -> None:
    rows, width = 90, 100
    features = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    labels = np.where(np.arange(80) % 2, 1.0, -1.0)
    jobs = [FitProblem(np.arange(80), np.arange(80, 90), labels)] * 6
    gram, part = (rows**2, 0) if scaling == "l2" else (0, 90 * width)
    needed = 8 * (gram + 4 * (80 * 90 + 80**2 + part))
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
    solver = GramSolver(features, scaling, SvmSettings.make({"scaling": scaling}), workers=4)
    with pytest.raises(ConfigError, match=r"inner products of .* rows and the copies of 4 workers need"):
        solver.curves(jobs, [1.0])
    monkeypatch.setattr(memory, "available_memory", lambda: needed)
    assert len(solver.curves(jobs, [1.0])) == 6
    # The shared matrix is there now.
    monkeypatch.setattr(memory, "available_memory", lambda: needed - 8 * gram)
    assert len(solver.curves(jobs, [1.0])) == 6
