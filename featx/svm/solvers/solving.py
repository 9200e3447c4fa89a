"""Solvers on a Gram matrix or in the weights, and the choice between them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.machine import available_memory, give_back_freed, require_memory
from featx.svm.problems import (
    MEASURES,
    Curve,
    Decision,
    FitProblem,
    Floats,
    Ints,
    Matrix,
    Solver,
    balanced_weights,
    rows_of,
)
from featx.svm.scaling import ROWWISE, fit_scaler, prepare_rows
from featx.svm.settings import SvmSettings
from featx.svm.solvers.gram import Path, hinge_path, squared_hinge_path
from featx.svm.solvers.linalg import in_threads
from featx.svm.solvers.primal import ProblemBatch, primal_path
from featx.svm.solvers.rows import Rows
from featx.svm.solvers.scikit import ScikitSolver

__all__ = ["GramSolver", "PrimalSolver", "folds_at_once", "gram_matrix", "make_solver"]


# Rows converted to double precision at a time.
_BLOCK_BYTES = 1 << 21


_ADVICE = (
    "use fewer --workers, or the loss squared_hinge with the scaling l2 or none, which needs memory for the features "
    "only, or select fewer images"
)


class _Grams:
    """Gram matrices of rows under a row-wise scaling; the last matrix is cached.

    With fewer rows than columns, all outer and inner splits use one matrix of all rows. With more rows, that matrix would
    be larger than the features, so each training set has its own matrix.
    """

    def __init__(self, features: Matrix, scaling: str, workers: int) -> None:
        self._features, self._lengths = prepare_rows(scaling, features)
        self._workers = workers
        self._whole = len(features) <= features.shape[1]
        self._rows = np.empty(0, dtype=np.int64)
        self._gram = np.empty((0, 0))

    def missing(self, jobs: Sequence[FitProblem]) -> int:
        """Return the number of rows of the matrix that must be computed for the problems; 0 if it is cached."""
        rows = self._needed(jobs)
        return 0 if np.array_equal(rows, self._rows) else len(rows)

    def _needed(self, jobs: Sequence[FitProblem]) -> Ints:
        return np.arange(len(self._features)) if self._whole else rows_of(jobs)

    def of(self, jobs: Sequence[FitProblem]) -> tuple[Ints, Floats]:
        """Return the row indices, ascending, and a Gram matrix of all rows that the problems use."""
        rows = self._needed(jobs)
        if not np.array_equal(rows, self._rows):
            self._rows, self._gram = rows, np.empty((0, 0))
            self._gram = gram_matrix(self._features, rows, self._lengths[rows], self._workers)
        return self._rows, self._gram


def gram_matrix(features: Matrix, rows: Ints, lengths: Floats, workers: int) -> Floats:
    """Compute inner products of rows in blocks of a fixed size, so the result does not depend on the threads."""
    count = len(rows)
    gram = np.empty((count, count))
    step = max(64, _BLOCK_BYTES // (8 * features.shape[1]))

    def fill(pair: tuple[int, int]) -> None:
        first, second = (slice(start, start + step) for start in pair)
        left, right = (features[rows[part]].astype(np.float64) for part in (first, second))
        left /= lengths[first, None]
        right /= lengths[second, None]
        gram[first, second] = left @ right.T
        if first != second:
            gram[second, first] = gram[first, second].T

    in_threads(fill, itertools.combinations_with_replacement(range(0, count, step), 2), workers)
    return gram


class GramSolver:
    """Solves on Gram matrices: hinge by libsvm, squared hinge by exact Newton steps.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    scaling : str
        Name of the scaling. A row-wise scaling needs one Gram matrix for many splits; other scalings are fitted on each
        training set and need one matrix for each.
    """

    def __init__(self, features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self.measure, self.tolerance = MEASURES[settings.loss]
        self._grams = _Grams(features, scaling, workers) if scaling in ROWWISE else None

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every problem for every C."""
        if not jobs:
            return []
        self._require(jobs)
        grid = np.asarray(costs, dtype=np.float64)
        shared = self._grams.of(jobs) if self._grams is not None else None
        return in_threads(lambda job: self._curve(job, grid, shared), jobs, self._workers)

    def _require(self, jobs: Sequence[FitProblem]) -> None:
        """Check that the shared matrix and the arrays of all workers fit into memory.

        Each worker copies the rows of its split from the matrix. A step of squared hinge also holds the linear system
        of the rows inside the margin. A fitted scaling also holds the scaled rows of the split.
        """
        train, test = max(len(job.train) for job in jobs), max(len(job.test) for job in jobs)
        share = train * (train + test) + (train**2 if self._settings.loss == "squared_hinge" else 0)
        shared = self._grams.missing(jobs) if self._grams is not None else 0
        if self._grams is None:
            share += (train + test) * self._features.shape[1]
        at_once = min(self._workers, len(jobs))
        copies = f" and the copies of {at_once} workers" if at_once > 1 else ""
        what = f"inner products of {max(shared, train)} rows{copies}"
        require_memory(8 * (shared**2 + at_once * share), what, _ADVICE)

    def _curve(self, job: FitProblem, grid: Floats, shared: tuple[Ints, Floats] | None) -> Curve:
        if shared is not None:
            train, test = (np.searchsorted(shared[0], part) for part in (job.train, job.test))
            gram, cross = shared[1][np.ix_(train, train)], shared[1][np.ix_(test, train)]
        else:
            scaler = fit_scaler(self._scaling, self._features[job.train])
            fitted, held_out = (scaler.apply(self._features[rows]) for rows in (job.train, job.test))
            gram, cross = fitted @ fitted.T, held_out @ fitted.T
        path = self._path(gram, job.labels, grid)
        return Curve(cross @ path.coefficients + path.intercepts, path.residuals, path.iterations)

    def _path(self, gram: Floats, labels: Floats, grid: Floats) -> Path:
        weights = balanced_weights(labels, self._settings.class_weight)
        if self._settings.loss == "hinge":
            return hinge_path(gram, labels, weights, grid)
        penalise_bias = self._settings.bias == "penalised"
        return squared_hinge_path(gram, labels, weights, grid, penalise_bias=penalise_bias)

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem and return its weights.

        Parameters
        ----------
        train : ndarray of int64, shape (m,)
            Row indices.
        labels : ndarray of float64, shape (m,)
            -1 or 1, both present.
        """
        job = FitProblem(train, train[:0], labels)
        self._require([job])
        if self._grams is not None:
            scaler = fit_scaler(self._scaling, self._features[:0])  # nothing to fit
            numbers, shared = self._grams.of([job])
            places = np.searchsorted(numbers, train)
            gram = shared[np.ix_(places, places)]
        else:
            rows = self._features[train]
            scaler = fit_scaler(self._scaling, rows)
            scaled = scaler.apply(rows)
            gram = scaled @ scaled.T
        path = self._path(gram, labels, np.array([cost]))
        weights = scaler.pull_back(self._features, train, path.coefficients)[:, 0]
        return Decision(
            scaler,
            weights,
            float(path.intercepts[0]),
            cost,
            float(path.residuals[0]),
            int(path.iterations[0]),
        )


# The cost of a step on a Gram matrix grows with the cube of the rows inside the margin. A step in the weights costs
# products with all rows and the cube of the columns. Below this many rows per column, the Gram matrix is cheaper.
_ROWS_PER_COLUMN = 1.5


# A fit stops when a step changes no decision value by more than this fraction of the largest: in a search, and in the
# final fit.
_SEARCH = 1e-4


_FINAL = 1e-6


# Problems solved together.
_BATCH = 32


# Paths start at or below this C. There all rows are inside the margin, and the first step finds the minimum.
_FIRST_COST = 1e-2


def make_solver(
    features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1, rows: int | None = None
) -> Solver:
    """Choose the solver for features.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled; may be memory-mapped.

    Returns
    -------
    Solver
        For hinge and for few rows a solver on Gram matrices, else a solver in the weights; both find the same optimum.
        If the settings name an estimator of scikit-learn, that estimator.
    """
    give_back_freed()
    if settings.solver != "auto":
        return ScikitSolver(features, scaling, settings, workers)
    count = len(features) if rows is None else rows
    if settings.loss == "squared_hinge" and count > _ROWS_PER_COLUMN * features.shape[1]:
        return PrimalSolver(features, scaling, settings, workers)
    return GramSolver(features, scaling, settings, workers)


@dataclass(frozen=True, eq=False)
class _Solved:
    """Solutions of one problem along the grid; weights of the last C, with the intercept at the end."""

    outputs: Floats
    residuals: Floats
    iterations: Ints
    weights: Floats | None


def folds_at_once(solvers: Sequence[Solver], rows: int, workers: int) -> int:
    """Return how many folds can be trained side by side, by kind of solver and free memory.

    Solvers on a Gram matrix are given one fold after the other: they work on all splits of it at once, and its matrix
    serves other folds.

    Parameters
    ----------
    rows : int
        Rows of the largest training set.
    """
    if not all(isinstance(one, PrimalSolver) for one in solvers):
        return 1
    needed: int = sum(one.memory(rows) for one in solvers if isinstance(one, PrimalSolver))
    return max(1, min(workers, available_memory() // (2 * needed)))


class PrimalSolver:
    """Solves squared hinge in the weights (primal).

    Several threads can use one solver.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    """

    measure, tolerance = MEASURES["squared_hinge"]

    def __init__(self, features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self._prepared, self._lengths = features, np.empty(0)
        if scaling in ROWWISE:
            self._prepared, self._lengths = prepare_rows(scaling, features)

    def memory(self, rows: int) -> int:
        """Estimate the most bytes for training on so many rows, beside the features.

        A copy of the rows (three if the scaling is fitted), the Hessian and its factor, and inner products of the rows
        inside the margin with a linear system for each thread.
        """
        width = int(self._features.shape[1])
        copies = 1 if self._scaling in ROWWISE else 3
        inside = min(rows, int(1.2 * width))
        return 4 * copies * rows * width + 20 * width**2 + 4 * (self._workers + 2) * inside**2

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every problem for every C."""
        if self._scaling not in ROWWISE:
            return [self._fitted_curve(job, costs) for job in jobs]
        found: list[Curve] = []
        for start in range(0, len(jobs), _BATCH):
            batch = jobs[start : start + _BATCH]
            rows, solved = self._solve(batch, costs)
            for job, one in zip(batch, solved, strict=True):
                scores = one.outputs[np.searchsorted(rows, job.test)]
                found.append(Curve(scores, one.residuals, one.iterations))
        return found

    def _fitted_curve(self, job: FitProblem, costs: Sequence[float]) -> Curve:
        """Solve one problem with a scaling that is fitted on its training rows."""
        scaler = fit_scaler(self._scaling, self._features[job.train])
        scaled = scaler.apply(self._features[np.concatenate([job.train, job.test])]).astype(np.float32)
        inner = make_solver(
            scaled, "none", dataclasses.replace(self._settings, scaling=("none",)), self._workers
        )
        places = np.arange(len(scaled))
        return inner.curves(
            [FitProblem(places[: len(job.train)], places[len(job.train) :], job.labels)], costs
        )[0]

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem and return its weights.

        Parameters
        ----------
        train : ndarray of int64, shape (m,)
            Row indices.
        labels : ndarray of float64, shape (m,)
            -1 or 1, both present.
        """
        scaler = fit_scaler(self._scaling, self._features[train])
        if self._scaling not in ROWWISE:
            scaled = scaler.apply(self._features[train]).astype(np.float32)
            inner = make_solver(
                scaled, "none", dataclasses.replace(self._settings, scaling=("none",)), self._workers
            )
            return dataclasses.replace(inner.fit(np.arange(len(train)), labels, cost), scaler=scaler)
        _, (solved,) = self._solve([FitProblem(train, train[:0], labels)], [cost], with_weights=True)
        assert solved.weights is not None
        weights, bias = solved.weights[:-1], float(solved.weights[-1])
        return Decision(scaler, weights, bias, cost, float(solved.residuals[-1]), int(solved.iterations[-1]))

    def _solve(
        self, jobs: Sequence[FitProblem], costs: Sequence[float], with_weights: bool = False
    ) -> tuple[Ints, list[_Solved]]:
        numbers = rows_of(jobs)
        rows = Rows(self._prepared, self._lengths, self._workers, numbers)
        approach = _approach(costs[0])
        grid = np.array([*approach, *costs])
        outputs = np.empty((rows.count, len(costs), len(jobs)))
        residuals, iterations = np.empty(outputs.shape[1:]), np.empty(outputs.shape[1:], dtype=np.int64)
        weights: list[Floats | None] = [None] * len(jobs)
        path = primal_path(
            rows,
            self._batch(jobs, numbers),
            grid,
            penalise_bias=self._settings.bias == "penalised",
            settled=_FINAL if with_weights else _SEARCH,
            approach=len(approach),
        )
        for place, found in enumerate(path, start=-len(approach)):
            if place >= 0:
                outputs[:, place], residuals[place], iterations[place] = (
                    found.outputs,
                    found.gaps,
                    found.steps,
                )
            if with_weights and place == len(costs) - 1:
                weights = list(found.weights.T)
        return numbers, [
            _Solved(outputs[..., j], residuals[:, j], iterations[:, j], weights[j]) for j in range(len(jobs))
        ]

    def _batch(self, jobs: Sequence[FitProblem], numbers: Ints) -> ProblemBatch:
        labels, weights = np.ones((len(numbers), len(jobs))), np.zeros((len(numbers), len(jobs)))
        for column, job in enumerate(jobs):
            places = np.searchsorted(numbers, job.train)
            labels[places, column] = job.labels
            weights[places, column] = balanced_weights(job.labels, self._settings.class_weight)
        return ProblemBatch(labels, weights)


def _approach(cost: float) -> list[float]:
    """Return smaller values of C before the grid, in factors of 10, as starting points for its first solution."""
    approach: list[float] = []
    lower = cost / 10.0
    while lower >= _FIRST_COST:
        approach.insert(0, lower)
        lower /= 10.0
    return approach
