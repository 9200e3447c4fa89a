"""The choice of a solver, and the one for more rows than columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .device import DeviceRows
from .memory import give_back_freed
from .primal import ProblemBatch, primal_path
from .problems import (
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
from .rows import Rows
from .scaling import ROWWISE, fit_scaler, row_lengths
from .scikit import ScikitSolver
from .settings import SvmSettings
from .solvers import GramSolver

if TYPE_CHECKING:
    from featx.zoo import Accelerator

__all__ = ["PrimalSolver", "make_solver"]

# Steps on a Gram matrix cost the cube of the rows inside the margin, steps in the weights products with all rows
# and the cube of the columns: below this many rows a column the first are cheaper.
_ROWS_PER_COLUMN = 1.5
# The last step of a fit would change no decision value by more than this times the largest: in a search, and at its end.
_SEARCH = 1e-4
_FINAL = 1e-6
# Problems solved side by side.
_BATCH = 32
# Paths begin at or below this C, where all rows are inside the margin and the first step hits.
_FIRST_COST = 1e-2


def make_solver(
    features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1, rows: int | None = None
) -> Solver:
    """Choose the solver for some features.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled; may be memory-mapped.
    scaling : str
        Name of the scaling.
    settings : Settings
        Loss, bias and class weights.
    workers : int
        Threads.
    rows : int, optional
        Rows of the largest training part; all if not given.

    Returns
    -------
    Solver
        On Gram matrices for hinge and for few rows, else in the weights, as on a GPU: all find the same optimum. Or
        the one of scikit-learn that the settings name.
    """
    give_back_freed()
    if settings.solver == "gpu":
        return PrimalSolver(features, scaling, settings, workers)
    if settings.solver != "auto":
        return ScikitSolver(features, scaling, settings, workers)
    count = len(features) if rows is None else rows
    if settings.loss == "squared_hinge" and count > _ROWS_PER_COLUMN * features.shape[1]:
        return PrimalSolver(features, scaling, settings, workers)
    return GramSolver(features, scaling, settings, workers)


@dataclass(frozen=True, eq=False)
class _Solved:
    """One problem solved along the grid; weights at its end, the bias last."""

    outputs: Floats
    residuals: Floats
    iterations: Ints
    weights: Floats | None


class PrimalSolver:
    """Solves squared hinge in the weights.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    scaling : str
        Name of the scaling.
    settings : Settings
        Bias and class weights.
    workers : int
        Threads.
    """

    measure, tolerance = MEASURES["squared_hinge"]

    def __init__(self, features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self._device = _accelerator() if settings.solver == "gpu" and scaling in ROWWISE else None
        self._lengths = row_lengths(features) if scaling == "l2" else np.ones(len(features))

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every job for every C.

        Parameters
        ----------
        jobs : sequence of Job
            Splits.
        costs : sequence of float
            Values of C, ascending.

        Returns
        -------
        list of Curve
            One for each job.
        """
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
        """Solve one job with a scaling of its own."""
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
            Row numbers.
        labels : ndarray of float64, shape (m,)
            -1 or 1, both present.
        cost : float
            C.

        Returns
        -------
        Decision
            The SVM.
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
        rows = self._rows(numbers)
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

    def _rows(self, numbers: Ints) -> Rows:
        if self._device is None:
            return Rows(self._features, self._lengths, self._workers, numbers)
        return DeviceRows(self._features, self._lengths, self._workers, numbers, device=self._device)

    def _batch(self, jobs: Sequence[FitProblem], numbers: Ints) -> ProblemBatch:
        labels, weights = np.ones((len(numbers), len(jobs))), np.zeros((len(numbers), len(jobs)))
        for column, job in enumerate(jobs):
            places = np.searchsorted(numbers, job.train)
            labels[places, column] = job.labels
            weights[places, column] = balanced_weights(job.labels, self._settings.class_weight)
        return ProblemBatch(labels, weights)


def _accelerator() -> Accelerator:
    from featx.zoo import find_accelerator

    return find_accelerator()


def _approach(cost: float) -> list[float]:
    """List powers of ten before a grid that begins high, so that its first solution has a neighbour to start from."""
    approach: list[float] = []
    lower = cost / 10.0
    while lower >= _FIRST_COST:
        approach.insert(0, lower)
        lower /= 10.0
    return approach
