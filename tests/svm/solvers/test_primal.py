"""Solving in the weights: the optimum of the Gram path, for any batch, threads and memory layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.errors import TrainingError
from featx.svm.problems import FitProblem
from featx.svm.search import search_cost
from featx.svm.settings import SvmSettings
from featx.svm.solvers import primal, rows
from featx.svm.solvers import solving as solve
from featx.svm.solvers.primal import ProblemBatch, primal_path
from featx.svm.solvers.rows import Rows
from featx.svm.solvers.solving import GramSolver, PrimalSolver

GRID = 10.0 ** np.arange(-3, 5)


def _jobs(positive: np.ndarray, splits: int = 3) -> list[FitProblem]:
    order = np.random.default_rng(5).permutation(len(positive))
    jobs = []
    for split in range(splits):
        test = np.sort(order[split::10])
        train = np.setdiff1d(np.arange(len(positive)), test)
        jobs.append(FitProblem(train, test, np.where(positive[train], 1.0, -1.0)))
    return jobs


def _close(ours: np.ndarray, theirs: np.ndarray, relative: float = 1e-4) -> bool:
    return bool((np.abs(ours - theirs).max(axis=0) <= relative * np.abs(theirs).max(axis=0)).all())


@pytest.mark.parametrize("bias", ["penalised", "free"])
@pytest.mark.parametrize("few", [8.0, 0.0], ids=["exact steps", "iterative steps"])
def test_curves_agree_with_the_gram_solver(relu_features, bias: str, few: float, monkeypatch) -> None:
    features, positive = relu_features(300, 30)
    monkeypatch.setattr(primal, "_ROWS_PER_COLUMN", few)
    monkeypatch.setattr(rows, "_BAND", 64)
    settings = SvmSettings.make({"bias": bias})
    jobs = _jobs(positive)
    solver = PrimalSolver(features, "l2", settings)
    ours = solver.curves(jobs, GRID.tolist())
    theirs = GramSolver(features, "l2", settings).curves(jobs, GRID.tolist())
    for one, other in zip(ours, theirs, strict=True):
        assert _close(one.scores, other.scores)
        assert one.residuals.max() <= solver.tolerance


@pytest.mark.parametrize("scaling", ["l2", "root", "none", "zscore", "whiten"])
@pytest.mark.parametrize("cost", [1e-3, 1.0, 1e3])
def test_the_final_fit_agrees_with_the_gram_solver(relu_features, scaling: str, cost: float) -> None:
    features, positive = relu_features(200, 20)
    settings = SvmSettings.make({"scaling": scaling})
    labels = np.where(positive, 1.0, -1.0)
    ours = PrimalSolver(features, scaling, settings).fit(np.arange(200), labels, cost)
    theirs = GramSolver(features, scaling, settings).fit(np.arange(200), labels, cost)
    first, second = (
        one.scaler.scores(features, one.weights[:, None]) + one.intercept for one in (ours, theirs)
    )
    assert _close(first, second, 1e-3)


@pytest.mark.parametrize("scaling", ["zscore", "pca"])
def test_fitted_scalings_are_fitted_in_each_job(relu_features, scaling: str) -> None:
    features, positive = relu_features(150, 12)
    settings = SvmSettings.make({"scaling": scaling})
    jobs = _jobs(positive, 2)
    ours = PrimalSolver(features, scaling, settings).curves(jobs, [0.01, 1.0])
    theirs = GramSolver(features, scaling, settings).curves(jobs, [0.01, 1.0])
    assert all(_close(one.scores, other.scores, 1e-3) for one, other in zip(ours, theirs, strict=True))


def test_same_numbers_for_any_workers_and_from_a_memory_map(relu_features, tmp_path: Path) -> None:
    features, positive = relu_features(1300, 40)
    mapped = np.memmap(tmp_path / "features", np.float32, "w+", shape=features.shape)
    mapped[:] = features
    jobs = _jobs(positive, 2)
    found = [
        PrimalSolver(some, "l2", SvmSettings(), workers).curves(jobs, [0.01, 1.0, 1e3])
        for some, workers in ((features, 1), (features, 3), (mapped, 2))
    ]
    for other in found[1:]:
        assert all(np.array_equal(a.scores, b.scores) for a, b in zip(found[0], other, strict=True))


def test_several_classes_and_many_splits_are_solved_in_batches(relu_features, monkeypatch) -> None:
    features, positive = relu_features(200, 15)
    monkeypatch.setattr(solve, "_BATCH", 4)
    settings = SvmSettings.make({"widen": False})
    targets = np.stack([positive, ~positive, features[:, 0] > np.median(features[:, 0])], axis=1)
    splits = [(job.train, job.test) for job in _jobs(positive, 3)]
    ours, theirs = (
        search_cost(solver(features, "l2", settings), targets, np.arange(200), splits, settings)
        for solver in (PrimalSolver, GramSolver)
    )
    assert ours.costs == theirs.costs
    np.testing.assert_allclose(ours.curves[2].aucs, theirs.curves[2].aucs, atol=1e-6)


def test_numbers_too_large_for_any_precision_are_an_error() -> None:
    features = (1e30 * np.random.default_rng(0).normal(size=(40, 2))).astype(np.float32)
    labels = np.where(np.arange(40) % 2 == 0, 1.0, -1.0)[:, None]
    with pytest.raises(TrainingError, match="scale the features"), np.errstate(all="ignore"):
        list(primal_path(Rows(features, np.ones(40)), ProblemBatch(labels, np.ones((40, 1))), GRID))
