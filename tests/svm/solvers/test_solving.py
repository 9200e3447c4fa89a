"""Choice of the solver, and the check of memory before it starts."""

from __future__ import annotations

import numpy as np
import pytest

from featx import machine as memory
from featx.errors import ConfigError
from featx.svm.problems import FitProblem
from featx.svm.settings import SvmSettings
from featx.svm.solvers import solving
from featx.svm.solvers.solving import GramSolver, PrimalSolver, folds_at_once, make_solver


def test_the_choice_of_solver_goes_by_rows_and_columns(relu_features) -> None:
    features, _ = relu_features(100, 50)
    squared, hinge = SvmSettings(), SvmSettings.make({"preset": "paper"})
    assert isinstance(make_solver(features, "l2", squared), PrimalSolver)
    assert isinstance(make_solver(features, "l2", squared, rows=50), GramSolver)
    assert isinstance(make_solver(features, "l2", hinge), GramSolver)


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


def test_folds_side_by_side_fit_into_half_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, relu_features
) -> None:
    features, _ = relu_features(100, 20)
    primal = make_solver(features, "l2", SvmSettings(), 4)
    assert isinstance(primal, PrimalSolver)
    for folds, memories in ((4, 100), (3, 7), (1, 2), (1, 1)):
        free = memories * primal.memory(100)
        monkeypatch.setattr(solving, "available_memory", lambda free=free: free)
        assert folds_at_once([primal], 100, 4) == folds
    gram = make_solver(features, "l2", SvmSettings(), 4, rows=20)
    assert folds_at_once([primal, gram], 100, 4) == 1
