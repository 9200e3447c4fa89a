"""Inner AUCs along a grid of C, and the choice of a place on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Curves", "choose", "roc_auc_columns"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

# Means of AUCs that differ by less are equal: the order of a sum decides here, no pair of rows does.
_EQUAL = 1e-12


@dataclass(frozen=True)
class Curves:
    """Inner results of one two-class problem.

    Attributes
    ----------
    costs : ndarray of float64, shape (c,)
        Values of C, ascending.
    aucs : ndarray of float64, shape (splits, c)
        ROC AUC of the held-out rows; NaN where a split lacks a class.
    residuals : ndarray of float64, shape (splits, c)
        How far each fit is from its optimum, by the solver's measure; NaN where there was none.
    iterations : ndarray of int64, shape (splits, c)
        Steps of each fit.
    """

    costs: Floats
    aucs: Floats
    residuals: Floats
    iterations: Ints

    @property
    def used(self) -> int:
        """Splits that have an AUC."""
        return int(np.isfinite(self.aucs).all(axis=1).sum())

    def mean(self) -> Floats:
        """Average over the splits that have an AUC; NaN without any."""
        return _over_splits(self.aucs, np.mean)

    def deviation(self) -> Floats:
        """Standard deviation over the splits (n - 1 in the denominator); 0 for one split."""
        return _over_splits(
            self.aucs, lambda values, axis: np.std(values, axis=axis, ddof=min(1, len(values) - 1))
        )

    def joined(self, other: Curves) -> Curves:
        """Merge with the curves of further values of C."""
        costs = np.concatenate([self.costs, other.costs])
        order = np.argsort(costs, kind="stable")
        parts = ("aucs", "residuals", "iterations")
        merged = (np.hstack([getattr(self, name), getattr(other, name)])[:, order] for name in parts)
        return Curves(costs[order], *merged)

    def record(self) -> dict[str, Any]:
        """Return the curves in JSON types; undefined numbers are None."""
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
    """Area under the ROC curve of every column of scores.

    The same number as `featx.stats.auc.roc_auc` for each column, from one ranking of all.

    Parameters
    ----------
    actual : ndarray of bool, shape (n,)
        True for positive.
    scores : ndarray of float64, shape (n, c)
        Decision values.

    Returns
    -------
    ndarray of float64, shape (c,)
        Areas; NaN if `actual` holds one class only.

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
    """Choose a place on the grid.

    Parameters
    ----------
    curves : Curves
        Inner results.
    rule : str
        ``"best"``: the highest mean AUC, the smallest C among equals; ``"one-se"``: the smallest C whose mean is
        within one standard error of the highest (Breiman et al. 1984, "Classification and regression trees").

    Returns
    -------
    int
        Place in ``curves.costs``; without any AUC the place of the C nearest to 1.

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
