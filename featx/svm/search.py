"""Search for C by inner cross-validation of the training set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.svm.problems import FitProblem, Solver, pool_scores, view_rows
from featx.svm.settings import SvmSettings

__all__ = ["Curves", "Search", "choose", "roc_auc_columns", "search_cost"]


# Mean AUCs that differ by less than this count as equal: such a difference is a rounding error of the sum.
_EQUAL = 1e-12


@dataclass(frozen=True)
class Curves:
    """Results of the inner splits of one two-class problem.

    Attributes
    ----------
    costs : ndarray of float64, shape (c,)
        Values of C, ascending.
    aucs : ndarray of float64, shape (splits, c)
        ROC AUC of the held-out rows; NaN if a split lacks a class.
    residuals : ndarray of float64, shape (splits, c)
        Distance of each fit from its optimum, by the solver's measure; NaN if there was no fit.
    iterations : ndarray of int64, shape (splits, c)
        Steps of each fit.
    """

    costs: Floats
    aucs: Floats
    residuals: Floats
    iterations: Ints

    @property
    def used(self) -> int:
        """Number of inner splits that have an AUC."""
        return int(np.isfinite(self.aucs).all(axis=1).sum())

    def mean(self) -> Floats:
        """Mean over the inner splits that have an AUC; NaN if none has one."""
        return _over_splits(self.aucs, np.mean)

    def deviation(self) -> Floats:
        """Standard deviation over the inner splits (n - 1 in the denominator); 0 for one split."""
        return _over_splits(
            self.aucs, lambda values, axis: np.std(values, axis=axis, ddof=min(1, len(values) - 1))
        )

    def joined(self, other: Curves) -> Curves:
        """Merge with the curves of other values of C."""
        costs = np.concatenate([self.costs, other.costs])
        order = np.argsort(costs, kind="stable")
        parts = ("aucs", "residuals", "iterations")
        merged = (np.hstack([getattr(self, name), getattr(other, name)])[:, order] for name in parts)
        return Curves(costs[order], *merged)

    def record(self) -> dict[str, Any]:
        """Return the curves in JSON types; NaN becomes None."""
        return {
            "C": self.costs.tolist(),
            "auc": [_plain(row) for row in self.aucs],
            "mean": _plain(self.mean()),
            "sd": _plain(self.deviation()),
            "splits": self.used,
            "residual": [_plain(row) for row in self.residuals],
            "steps": self.iterations.tolist(),
        }


def _plain(values: Floats) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def _over_splits(values: Floats, function: Any) -> Floats:
    usable = values[np.isfinite(values).all(axis=1)]
    return np.asarray(function(usable, axis=0)) if len(usable) else np.full(values.shape[1], np.nan)


def roc_auc_columns(actual: Bools, scores: Floats) -> Floats:
    """Compute the ROC AUC of every column of scores.

    Each value equals that of `featx.stats.auc.roc_auc` for the column.

    Parameters
    ----------
    actual : ndarray of bool, shape (n,)
        True for positive.
    scores : ndarray of float64, shape (n, c)
        Decision values.

    Returns
    -------
    ndarray of float64, shape (c,)
        AUCs; NaN if `actual` holds one class only.

    Examples
    --------
    >>> roc_auc_columns(np.array([False, True]), np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])).tolist()
    [1.0, 0.0, 0.5]
    """
    from scipy.stats import rankdata

    positives = int(actual.sum())
    negatives = len(actual) - positives
    if not positives or not negatives:
        return np.full(scores.shape[1], np.nan)
    ranks = rankdata(scores, axis=0)[actual].sum(axis=0)
    return np.asarray((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def choose(curves: Curves, rule: str = "best") -> int:
    """Choose C from the grid.

    Returns
    -------
    int
        Index into ``curves.costs``; if there is no AUC, the index of the C nearest to 1.

    Examples
    --------
    >>> aucs = np.array([[0.7, 0.8, 0.81], [0.8, 0.8, 0.81]])
    >>> curves = Curves(np.array([0.1, 1.0, 10.0]), aucs, np.zeros((2, 3)), np.ones((2, 3), dtype=np.int64))
    >>> choose(curves)
    2
    """
    mean = curves.mean()
    if not np.isfinite(mean).any():
        return int(np.argmin(np.abs(np.log(curves.costs))))
    best = int(np.flatnonzero(mean >= mean.max() - _EQUAL)[0])
    if rule == "best":
        return best
    error = curves.deviation()[best] / np.sqrt(curves.used)
    return int(np.flatnonzero(mean >= mean[best] - error - _EQUAL)[0])


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Bools = npt.NDArray[np.bool_]


# Factors by which a grid is extended beyond its boundary.
_WIDER = (10.0, 100.0)


@dataclass(frozen=True)
class Search:
    """Result of a search for C.

    Attributes
    ----------
    costs : tuple of float
        The chosen C of each problem.
    curves : tuple of Curves
        One for each problem.
    edges : tuple of str
        For each problem ``"lower"`` or ``"upper"`` if the chosen C is at that boundary of the final grid, else empty.
    score : float
        Inner AUC at the chosen C, mean over the problems; NaN if there is none.
    warnings : tuple of str
        Warnings for the record of the run.
    """

    costs: tuple[float, ...]
    curves: tuple[Curves, ...]
    edges: tuple[str, ...]
    score: float
    warnings: tuple[str, ...] = field(default=())

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the curves in JSON types."""
        rows = zip(names, self.costs, self.edges, self.curves, strict=True)
        return {
            name: {"C": cost, "edge": edge, "curve": curves.record()} for name, cost, edge, curves in rows
        }


def search_cost(
    solver: Solver,
    targets: Bools,
    train: Ints,
    splits: Sequence[tuple[Ints, Ints]],
    settings: SvmSettings,
    views: int = 1,
) -> Search:
    """Choose C for each problem by inner splits.

    Parameters
    ----------
    targets : ndarray of bool, shape (n, k)
        Whether each image is positive in each problem.
    train : ndarray of int64, shape (m,)
        Indices of the images of the training set; no other image is used.
    splits : sequence of (ndarray of int64, ndarray of int64)
        Indices into `train` of the rows to fit on and the rows to validate on.
    """
    problems = range(targets.shape[1])
    inner = _Inner(
        solver, targets, [(train[fit], train[validate]) for fit, validate in splits], views, settings.pool
    )
    curves = inner.curves(settings.costs)
    if settings.widen:
        further = {cost for place in _picks(curves, settings) for cost in _beyond(curves[0].costs, place)}
        curves = _extended(curves, inner, further)
    if settings.refine:
        further = {
            cost
            for place in _picks(curves, settings)
            for cost in _between(curves[0].costs, place, settings.refine)
        }
        curves = _extended(curves, inner, further)
    places = _picks(curves, settings)
    costs = tuple(float(curves[j].costs[places[j]]) for j in problems)
    edges = tuple(_edge(places[j], len(curves[j].costs)) if curves[j].used else "" for j in problems)
    means = [curves[j].mean()[places[j]] for j in problems]
    return Search(costs, tuple(curves), edges, float(np.mean(means)), _warnings(curves, edges, costs))


@dataclass(frozen=True, eq=False)
class _Inner:
    """The inner splits of a training set, as indices of images."""

    solver: Solver
    targets: Bools
    parts: Sequence[tuple[Ints, Ints]]
    views: int
    pool: str

    def curves(self, costs: Sequence[float]) -> list[Curves]:
        """Fit and score every inner split of every problem for each C."""
        problems = range(self.targets.shape[1])
        wanted = [(j, part) for j in problems for part in range(len(self.parts)) if self._usable(j, part)]
        jobs = [self._job(j, part) for j, part in wanted]
        shape = (len(problems), len(self.parts), len(costs))
        aucs, residuals = np.full(shape, np.nan), np.full(shape, np.nan)
        iterations = np.zeros(shape, dtype=np.int64)
        for (j, part), curve in zip(wanted, self.solver.curves(jobs, costs), strict=True):
            scores = pool_scores(curve.scores.reshape(-1, self.views, len(costs)), self.pool)
            aucs[j, part] = roc_auc_columns(self.targets[self.parts[part][1], j], scores)
            residuals[j, part], iterations[j, part] = curve.residuals, curve.iterations
        grid = np.asarray(costs, dtype=np.float64)
        return [Curves(grid, aucs[j], residuals[j], iterations[j]) for j in problems]

    def _usable(self, problem: int, part: int) -> bool:
        return all(_both(self.targets[images, problem]) for images in self.parts[part])

    def _job(self, problem: int, part: int) -> FitProblem:
        fit, validate = self.parts[part]
        labels = np.where(self.targets[fit, problem], 1.0, -1.0)
        return FitProblem(
            view_rows(fit, self.views), view_rows(validate, self.views), np.repeat(labels, self.views)
        )


def _both(positive: Bools) -> bool:
    return bool(positive.any()) and not bool(positive.all())


def _extended(curves: list[Curves], inner: _Inner, further: set[float]) -> list[Curves]:
    if not further:
        return curves
    more = inner.curves(sorted(further))
    return [old.joined(new) for old, new in zip(curves, more, strict=True)]


def _picks(curves: Sequence[Curves], settings: SvmSettings) -> list[int]:
    """Choose the index of C on the grid for each problem."""
    if settings.shared_cost and len(curves) > 1:
        together = Curves(
            curves[0].costs,
            np.mean([c.aucs for c in curves], axis=0),
            curves[0].residuals,
            curves[0].iterations,
        )
        return [choose(together, settings.rule)] * len(curves)
    return [choose(one, settings.rule) for one in curves]


def _edge(place: int, count: int) -> str:
    return "lower" if place == 0 else "upper" if place == count - 1 else ""


def _beyond(costs: Floats, place: int) -> list[float]:
    if len(costs) == 1:
        return []
    if place == 0:
        return [float(costs[0]) / factor for factor in _WIDER]
    return [float(costs[-1]) * factor for factor in _WIDER] if place == len(costs) - 1 else []


def _between(costs: Floats, place: int, steps: int) -> list[float]:
    neighbours = [costs[near] for near in (place - 1, place + 1) if 0 <= near < len(costs)]
    return [
        float(costs[place] * (other / costs[place]) ** (step / (steps + 1)))
        for other in neighbours
        for step in range(1, steps + 1)
    ]


def _warnings(curves: Sequence[Curves], edges: Sequence[str], costs: Sequence[float]) -> tuple[str, ...]:
    found = []
    for one, edge, cost in zip(curves, edges, costs, strict=True):
        if not one.used:
            found.append(
                f"no inner split has both classes in both parts, so C was not searched; C = {cost:g} is used"
            )
        elif one.used < len(one.aucs):
            found.append(
                f"{len(one.aucs) - one.used} of {len(one.aucs)} inner splits lack a class; they were left out of the "
                "inner AUC"
            )
        if edge:
            found.append(f"the best C ({cost:g}) is at the {edge} boundary of the grid")
    return tuple(found)
