"""Ranking metrics: ROC curve and area, precision-recall curve and average precision.

**Where a value does not exist.** With one class only there is nothing to rank: every area here is NaN then,
and so is a macro average of which one class has no area. NaN is for the caller to count; `mean_roc` and
`featx.stats.intervals.summarise_folds` count it in their results. No function puts 0.5 or 0 in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from featx.errors import ConfigError, InputError
from featx.stats.validation import FloatArray, binary, several

__all__ = [
    "MeanRoc",
    "PrecisionRecallCurve",
    "RocCurve",
    "average_precision",
    "fold_auc",
    "macro_auc",
    "mean_roc",
    "one_vs_rest_auc",
    "partial_auc",
    "precision_recall_curve",
    "roc_auc",
    "roc_curve",
]


@dataclass(frozen=True)
class RocCurve:
    """A ROC curve: one point for each distinct score, from (0, 0) to (1, 1).

    Attributes
    ----------
    false_positive_rate, true_positive_rate : ndarray of float64, shape (m,)
        1 - specificity and sensitivity, both never falling; NaN where that class is missing.
    thresholds : ndarray of float64, shape (m,)
        A row counts as positive if its score is at least this; the first is infinity.
    """

    false_positive_rate: FloatArray
    true_positive_rate: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """A precision-recall curve: one point for each distinct score, recall rising.

    Attributes
    ----------
    recall, precision : ndarray of float64, shape (m,)
        Recall is NaN where there are no positives.
    thresholds : ndarray of float64, shape (m,)
        A row counts as positive if its score is at least this.
    """

    recall: FloatArray
    precision: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True)
class MeanRoc:
    """The vertical average of the ROC curves of several folds.

    Attributes
    ----------
    false_positive_rate : ndarray of float64, shape (points + 1,)
        The common grid, with 0 twice: the curve starts in the corner (0, 0) and climbs there.
    mean : ndarray of float64, shape (points + 1,)
        Mean sensitivity over the folds.
    sd : ndarray of float64, shape (points + 1,)
        Standard deviation over the folds (n - 1); NaN with fewer than two. It describes the folds' spread, it
        is no confidence band.
    folds : int
        How many curves were averaged.
    undefined : int
        How many folds held one class only and have no curve.
    """

    false_positive_rate: FloatArray
    mean: FloatArray
    sd: FloatArray
    folds: int
    undefined: int


def roc_auc(actual: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve.

    The share of pairs of a positive and a negative in which the positive scores higher; a tie counts one half
    (the Mann-Whitney statistic; Hanley & McNeil 1982, Radiology 143, 29-36).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Decision values or probabilities, higher for positive; only their order matters.

    Returns
    -------
    float
        0 to 1; NaN if `actual` holds one class only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    0.875
    >>> roc_auc([1, 1], [0.3, 0.2])
    nan
    """
    labels, values = binary(actual, scores)
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(values)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def one_vs_rest_auc(targets: ArrayLike, scores: ArrayLike) -> FloatArray:
    """Area under the ROC curve of each class against all others.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class index of each row, 0 to k - 1.
    scores : array_like of shape (n, k)
        One score a class.

    Returns
    -------
    ndarray of float64, shape (k,)
        NaN for a class that no row, or every row, has.

    Examples
    --------
    >>> one_vs_rest_auc([0, 1, 2], [[3, 1, 0], [0, 2, 0], [1, 3, 1]])
    array([1. , 0.5, 1. ])
    """
    labels, values = several(targets, scores)
    return np.array([roc_auc(labels == index, values[:, index]) for index in range(values.shape[1])])


def macro_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """Mean of the one-vs-rest areas, every class with the same weight.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class index of each row, 0 to k - 1.
    scores : array_like of shape (n, k)
        One score a class.

    Returns
    -------
    float
        NaN if one class has no area: a mean over the others would be another quantity.

    Examples
    --------
    >>> round(macro_auc([0, 1, 2], [[3, 1, 0], [0, 2, 0], [1, 3, 1]]), 4)
    0.8333
    """
    return float(one_vs_rest_auc(targets, scores).mean())


def fold_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """Area of one fold: `roc_auc` for one score a row, `macro_auc` for one score a class.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class indices; 0 and 1, with 1 positive, where there is one score a row.
    scores : array_like of shape (n,), (n, 1) or (n, k)
        Scores.

    Returns
    -------
    float
        0 to 1, or NaN where it does not exist.

    Raises
    ------
    InputError
        As `roc_auc` and `macro_auc`.

    Examples
    --------
    >>> fold_auc([0, 1], [[-1.0], [1.0]])
    1.0
    """
    values = np.asarray(scores)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return roc_auc(targets, values) if values.ndim == 1 else macro_auc(targets, values)


def roc_curve(actual: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Trace the ROC curve through every distinct score.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    RocCurve
        Tied scores share one point, so the trapezoids under it sum to `roc_auc`.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> roc_curve([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
    RocCurve(false_positive_rate=array([0. , 0. , 0.5, 1. ]), true_positive_rate=array([0. , 0.5, 1. , 1. ]),
    thresholds=array([inf, 0.8, 0.4, 0.1]))
    """
    labels, values = binary(actual, scores)
    true, false, thresholds = _counts(labels, values)
    return RocCurve(
        np.concatenate([[0.0], false]) / (len(labels) - labels.sum() or np.nan),
        np.concatenate([[0.0], true]) / (labels.sum() or np.nan),
        np.concatenate([[np.inf], thresholds]),
    )


def precision_recall_curve(actual: ArrayLike, scores: ArrayLike) -> PrecisionRecallCurve:
    """Trace precision against recall through every distinct score.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    PrecisionRecallCurve
        Steps, not to be joined by straight lines (Davis & Goadrich 2006).

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> precision_recall_curve([0, 1, 1], [0.4, 0.3, 0.8]).precision.round(2)
    array([1.  , 0.5 , 0.67])
    """
    labels, values = binary(actual, scores)
    true, false, thresholds = _counts(labels, values)
    return PrecisionRecallCurve(true / (labels.sum() or np.nan), true / (true + false), thresholds)


def average_precision(actual: ArrayLike, scores: ArrayLike) -> float:
    """Precision averaged over recall: the sum of precision times the step in recall, without interpolation.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive. Its chance level is the share of positives, not 0.5.

    Returns
    -------
    float
        0 to 1; NaN if `actual` holds one class only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    labels, _ = binary(actual, scores)
    if labels.all() or not labels.any():
        return float("nan")
    curve = precision_recall_curve(actual, scores)
    return float((np.diff(curve.recall, prepend=0.0) * curve.precision).sum())


def mean_roc(folds: Sequence[tuple[ArrayLike, ArrayLike]], points: int = 201) -> MeanRoc:
    """Average the ROC curves of folds vertically on a common grid.

    At each false positive rate of the grid, sensitivities are averaged (Fawcett 2006, Pattern Recognition
    Letters 27, algorithm 3). Between two points of a curve the value lies on the straight line; where a curve
    climbs vertically, its upper end counts. The area under the mean curve therefore is the mean of the areas,
    but for the grid's coarseness.

    Parameters
    ----------
    folds : sequence of (actual, scores)
        Labels and scores of each fold, as `roc_curve` takes them.
    points : int
        Points of the grid from 0 to 1, at least 2.

    Returns
    -------
    MeanRoc
        Arrays of NaN if no fold has both classes.

    Raises
    ------
    InputError
        As `roc_curve`, or if there are no folds.
    ConfigError
        If `points` is below 2.

    Examples
    --------
    >>> mean_roc([([0, 1], [0, 1]), ([0, 1], [1, 0]), ([1, 1], [0, 1])], points=3)
    MeanRoc(false_positive_rate=array([0. , 0. , 0.5, 1. ]), mean=array([0. , 0.5, 0.5, 1. ]),
    sd=array([0. , 0.70710678, 0.70710678, 0. ]), folds=2, undefined=1)
    """
    if points < 2:
        raise ConfigError(f"The 'points' parameter must be at least 2. Got {points!r} instead.")
    if not folds:
        raise InputError("a mean ROC curve needs at least one fold. Got none instead.")
    grid = np.linspace(0, 1, points)
    curves = [roc_curve(*fold) for fold in folds]
    rows = [
        _at(grid, curve)
        for curve in curves
        if np.isfinite(curve.false_positive_rate + curve.true_positive_rate).all()
    ]
    heights = np.array(rows) if rows else np.full((1, points), np.nan)
    mean = heights.mean(axis=0)
    sd = heights.std(axis=0, ddof=1) if len(rows) > 1 else np.full(points, np.nan)
    corner = 0.0 if rows else np.nan
    return MeanRoc(
        np.concatenate([[0.0], grid]),
        np.concatenate([[corner], mean]),
        np.concatenate([[corner if len(rows) > 1 else np.nan], sd]),
        len(rows),
        len(folds) - len(rows),
    )


def _counts(labels: np.ndarray, values: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Count true and false positives at each distinct score, highest first."""
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    last = np.flatnonzero(np.diff(ranked, append=-np.inf))  # last row of each run of equal scores
    true = np.cumsum(labels[order], dtype=np.float64)[last]
    return true, last + 1.0 - true, ranked[last]


def _at(grid: FloatArray, curve: RocCurve) -> FloatArray:
    """Read a curve's sensitivity at given false positive rates, the upper end of vertical steps."""
    x, y = curve.false_positive_rate, curve.true_positive_rate
    left = np.searchsorted(x, grid, side="right") - 1  # last point not beyond the grid's
    right = np.minimum(left + 1, len(x) - 1)
    run = np.where(x[right] > x[left], x[right] - x[left], 1.0)
    return np.asarray(y[left] + (y[right] - y[left]) * (grid - x[left]) / run)


_FOCUSES = ("specificity", "sensitivity")


def partial_auc(
    actual: ArrayLike,
    scores: ArrayLike,
    *,
    low: float = 0.9,
    high: float = 1.0,
    focus: str = "specificity",
    standardised: bool = True,
) -> float:
    """Area under the ROC curve between two specificities, or two sensitivities.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    low, high : float
        Bounds of the rate that `focus` names, 0 <= low < high <= 1.
    focus : str
        ``"specificity"``: the area below the curve over this range of specificities. ``"sensitivity"``: the
        area beside the curve over this range of sensitivities.
    standardised : bool
        Rescale so that chance is 0.5 and perfection 1 (McClish 1989, Medical Decision Making 9, 190-195);
        otherwise the bare area, at most high - low.

    Returns
    -------
    float
        NaN if `actual` holds one class only.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If the bounds are not in order within 0 and 1, or the focus is unknown.

    Examples
    --------
    >>> round(partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], low=0.5), 4)
    0.6667
    >>> partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], low=0.0, standardised=False)
    0.75
    """
    if not 0 <= low < high <= 1:
        raise ConfigError(
            f"The 'low' and 'high' parameters must be in order within 0 and 1. Got {low!r} and {high!r}."
        )
    if focus not in _FOCUSES:
        raise ConfigError(f"The 'focus' parameter must be one of {_FOCUSES}. Got {focus!r} instead.")
    labels, values = binary(actual, scores)
    if focus == "sensitivity":  # the same curve seen from the negatives
        labels, values = ~labels, -values
    curve = roc_curve(labels, values)
    ends = np.array([1 - high, 1 - low])
    area = float(np.diff(_area_up_to(ends, curve.false_positive_rate, curve.true_positive_rate))[0])
    if not standardised:
        return area
    chance = float(np.diff(ends**2)[0]) / 2
    return (1 + (area - chance) / (high - low - chance)) / 2


def _area_up_to(ends: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Area under a curve of straight lines from 0 to each end."""
    if not np.isfinite(x + y).all():
        return np.full(len(ends), np.nan)
    whole = np.concatenate([[0.0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])
    left = np.searchsorted(x, ends, side="right") - 1
    right = np.minimum(left + 1, len(x) - 1)
    run = np.where(x[right] > x[left], x[right] - x[left], 1.0)
    step = ends - x[left]
    height = y[left] + (y[right] - y[left]) * step / run
    return np.asarray(whole[left] + step * (y[left] + height) / 2)
