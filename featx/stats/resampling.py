"""Bootstrap by image or by group, stratified by class.

A resample is a row of weights: the number of times that each image was drawn. The AUCs of thousands of resamples then
need one sort and a few cumulative sums. scipy draws the resamples and computes the intervals (percentile or BCa).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from featx.errors import ConfigError

from .auc import fold_auc
from .intervals import Interval
from .validation import FloatArray, IntArray, binary, check_fraction, group_codes, several

__all__ = [
    "Metric",
    "Resampled",
    "Weigher",
    "bootstrap_interval",
    "resample",
    "strata_of_groups",
    "weigher",
    "weighted_auc",
    "weighted_macro_auc",
]

_BATCH = 2_000_000  # number of weights in memory at a time (16 MB)
Metric = Callable[[ArrayLike, ArrayLike], float]
Weigher = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Resampled:
    """A bootstrapped statistic.

    Attributes
    ----------
    low, high : float
        Bounds of the interval; NaN if there is none.
    values : ndarray of float64, shape (resamples,)
        The statistic of each resample.
    """

    low: float
    high: float
    values: FloatArray


def weighted_auc(actual: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> FloatArray:
    """AUC of each resample, given by weights of shape (resamples, n); NaN where one class has no weight.

    Examples
    --------
    >>> weighted_auc([0, 0, 1, 1], [1, 3, 2, 4], [[1, 1, 1, 1], [2, 0, 2, 0], [0, 0, 1, 1]])
    array([0.75, 1.  ,  nan])
    """
    labels, values = binary(actual, scores)
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-np.inf))  # first row of each set of equal scores
    mass = np.asarray(weights, dtype=np.float64)[:, order]
    positive = np.add.reduceat(mass * labels[order], starts, axis=1)
    negative = np.add.reduceat(mass * ~labels[order], starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative / 2
    pairs = positive.sum(axis=1) * negative.sum(axis=1)
    return np.asarray((positive * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))


def weighted_macro_auc(targets: ArrayLike, scores: ArrayLike, weights: ArrayLike) -> FloatArray:
    """Mean of the one-vs-rest AUCs of each resample, as `weighted_auc`; NaN where a class has no weight.

    Examples
    --------
    >>> weighted_macro_auc([0, 1, 2], [[3, 1, 0], [0, 2, 0], [1, 3, 1]], [[1, 1, 1]]).round(4)
    array([0.8333])
    """
    labels, values = several(targets, scores)
    areas = [weighted_auc(labels == index, values[:, index], weights) for index in range(values.shape[1])]
    return np.asarray(np.mean(areas, axis=0))


def strata_of_groups(targets: IntArray, codes: IntArray) -> list[IntArray]:
    """Split the groups into strata by the classes of their rows, so that resamples keep the class frequencies.

    Returns the group numbers of each stratum, one stratum for each combination of classes. If a combination has only
    one group, which would then be drawn every time, all groups are in one stratum.

    Examples
    --------
    >>> strata_of_groups(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 3]))
    [array([0, 1]), array([2, 3])]
    """
    held = np.zeros((int(codes.max()) + 1, int(targets.max()) + 1), dtype=bool)
    held[codes, targets] = True
    kinds = np.unique(held, axis=0, return_inverse=True)[1].reshape(-1)
    strata = [np.flatnonzero(kinds == kind) for kind in range(int(kinds.max()) + 1)][::-1]
    return strata if min(map(len, strata)) > 1 else [np.arange(len(held))]


def bootstrap_interval(
    actual: ArrayLike,
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    metric: Metric | None = None,
    method: str = "bca",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of a metric on one test set.

    Rows, or whole groups, are drawn with replacement within each class (or combination of classes of a group), so
    that every resample has as many of each class as the data.

    Parameters
    ----------
    actual : array_like of int, shape (n,)
        Class index of each row; 1 is positive in a two-class task.
    scores : array_like of shape (n,) or (n, k)
        One score per row, or one score per class.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; whole groups are drawn.
    metric : callable, optional
        Takes labels and scores of a resample and returns a number. By default `fold_auc`, computed for all resamples
        at once.
    method : str
        ``"bca"`` (bias-corrected and accelerated, Efron 1987) or ``"percentile"``.
    resamples : int
        Number of resamples.
    level : float
        Confidence level.
    seed : int
        Random seed of the resamples.

    Returns
    -------
    Interval
        Bounds are NaN, with a warning, if the metric is undefined or does not vary over the resamples.

    Raises
    ------
    InputError
        If the arrays do not fit the metric.
    ConfigError
        If `method` is unknown, or `level` is not between 0 and 1.

    Examples
    --------
    >>> interval = bootstrap_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], resamples=500)
    >>> round(interval.estimate, 3), 0 < interval.low < interval.high <= 1
    (0.889, True)
    """
    if method not in ("bca", "percentile"):
        raise ConfigError(f"The 'method' parameter must be 'bca' or 'percentile'. Got {method!r} instead.")
    check_fraction("level", level)
    estimate = (metric or fold_auc)(actual, scores)
    labels, values = np.asarray(actual).astype(np.int64), np.asarray(scores, dtype=np.float64)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    codes = np.arange(len(labels)) if groups is None else group_codes(groups, len(labels))
    low = high = float("nan")
    notes: tuple[str, ...] = ("the metric is undefined on these rows",)
    if np.isfinite(estimate) and codes.max() > 0:
        weigh = weigher(labels, values, metric)
        found = resample(weigh, labels, codes, method=method, resamples=resamples, level=level, seed=seed)
        low, high = found.low, found.high
        known = np.isfinite(low + high)
        notes = () if known else ("the metric is undefined in some resamples, or does not vary over them",)
    unit = "group" if groups is not None else "image"
    positives = int((labels == 1).sum()) if values.ndim == 1 else None
    method = f"{unit} bootstrap, {method}"
    return Interval(float(estimate), low, high, level, method, len(labels), positives, notes)


def resample(
    weigh: Weigher,
    labels: IntArray,
    codes: IntArray,
    *,
    method: str,
    resamples: int,
    level: float,
    seed: int,
) -> Resampled:
    """Bootstrap a statistic of weighted rows, given the class index and the group number of each row.

    Examples
    --------
    >>> mean = lambda weights: weights @ np.array([1.0, 2.0, 3.0, 4.0]) / weights.sum(axis=1)
    >>> found = resample(
    ...     mean, np.zeros(4, int), np.arange(4), method="percentile", resamples=99, level=0.9, seed=0
    ... )
    >>> found.low < 2.5 < found.high
    True
    """
    strata = strata_of_groups(labels, codes)
    groups = int(codes.max()) + 1

    def statistic(*drawn: IntArray, axis: int) -> FloatArray:
        chosen = np.concatenate(drawn, axis=axis)
        flat = chosen.reshape(-1, chosen.shape[-1])
        offsets = np.arange(len(flat))[:, None] * groups
        counts = np.bincount((flat + offsets).ravel(), minlength=len(flat) * groups).reshape(
            len(flat), groups
        )
        return weigh(counts[:, codes].astype(np.float64)).reshape(chosen.shape[:-1])

    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the interval has its own warning
        found = stats.bootstrap(
            strata,
            statistic,
            vectorized=True,
            n_resamples=resamples,
            batch=max(1, _BATCH // len(labels)),
            confidence_level=level,
            method="BCa" if method == "bca" else method,
            rng=np.random.default_rng(seed),
        )
    low, high = found.confidence_interval
    return Resampled(float(low), float(high), found.bootstrap_distribution)


def weigher(labels: IntArray, scores: FloatArray, metric: Metric | None) -> Weigher:
    """Turn a metric of labels and scores into a function of integer weights, shape (resamples, n).

    Examples
    --------
    >>> weigher(np.array([0, 1]), np.array([1.0, 2.0]), None)(np.array([[1.0, 2.0]]))
    array([1.])
    """
    if metric is None:
        area = weighted_auc if scores.ndim == 1 else weighted_macro_auc
        return lambda weights: area(labels, scores, weights)

    def each(weights: FloatArray) -> FloatArray:
        rows = [np.repeat(np.arange(len(labels)), row.astype(np.int64)) for row in weights]
        return np.array([metric(labels[row], scores[row]) for row in rows])

    return each
