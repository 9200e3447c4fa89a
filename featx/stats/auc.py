"""Ranking metrics: ROC curve and its area (AUC), precision-recall curve and average precision.

With only one class the AUC is undefined. Every function then returns NaN, and so does a macro average if one class has
no AUC; NaN is never replaced by 0.5 or 0. `mean_roc` and `featx.stats.summarise_folds` report how many folds are
undefined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import ConfigError, InputError
from featx.stats.validation import FloatArray, binary, midranks, several

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
        1 - specificity and sensitivity, both non-decreasing; NaN where the class is missing.
    thresholds : ndarray of float64, shape (m,)
        A row counts as positive if its score is at least this; the first is infinity.
    """

    false_positive_rate: FloatArray
    true_positive_rate: FloatArray
    thresholds: FloatArray


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """A precision-recall curve: one point for each distinct score, in the order of increasing recall.

    Attributes
    ----------
    recall, precision : ndarray of float64, shape (m,)
        Recall is NaN if there are no positives.
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
        The common grid. It contains 0 twice, so that the curve can rise vertically from (0, 0).
    mean : ndarray of float64, shape (points + 1,)
        Mean sensitivity over the folds.
    sd : ndarray of float64, shape (points + 1,)
        Standard deviation over the folds (n - 1); NaN with fewer than two folds. It describes the spread of the
        folds and is not a confidence band.
    folds : int
        Number of curves that were averaged.
    undefined : int
        Number of folds with only one class, which have no curve.
    """

    false_positive_rate: FloatArray
    mean: FloatArray
    sd: FloatArray
    folds: int
    undefined: int


def roc_auc(actual: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve (AUC).

    The fraction of pairs of a positive and a negative in which the positive has the higher score; a tie counts one
    half (the Mann-Whitney statistic; Hanley & McNeil 1982, Radiology 143, 29-36).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Decision values or probabilities, higher for positive; only their order matters.

    Returns
    -------
    float
        0 to 1; NaN if `actual` has only one class.

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
    ranks = midranks(values)[labels].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def one_vs_rest_auc(targets: ArrayLike, scores: ArrayLike) -> FloatArray:
    """One-vs-rest AUC of each class, shape (k,); NaN for a class that no row or every row has.

    Examples
    --------
    >>> one_vs_rest_auc([0, 1, 2], [[3, 1, 0], [0, 2, 0], [1, 3, 1]])
    array([1. , 0.5, 1. ])
    """
    labels, values = several(targets, scores)
    return np.array([roc_auc(labels == index, values[:, index]) for index in range(values.shape[1])])


def macro_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """Unweighted mean of the one-vs-rest AUCs.

    NaN if one class has no AUC, since the mean over the other classes would be another quantity.

    Examples
    --------
    >>> round(macro_auc([0, 1, 2], [[3, 1, 0], [0, 2, 0], [1, 3, 1]]), 4)
    0.8333
    """
    return float(one_vs_rest_auc(targets, scores).mean())


def fold_auc(targets: ArrayLike, scores: ArrayLike) -> float:
    """AUC of one fold: `roc_auc` for two classes, the macro average of the one-vs-rest AUCs for several.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Class indices; with one score per row, 1 is positive and 0 negative.
    scores : array_like of shape (n,), (n, 1) or (n, k)
        One score per row, or one score per class.

    Returns
    -------
    float
        0 to 1; NaN if a class is missing.

    Raises
    ------
    InputError
        If the shapes differ, a label is not a class index, or a score is not finite.

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
    """Compute the ROC curve, with one point for each distinct score.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    RocCurve
        Tied scores share one point, so the area by the trapezoidal rule equals `roc_auc`.

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
    """Compute the precision-recall curve, with one point for each distinct score.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.

    Returns
    -------
    PrecisionRecallCurve
        A step function; linear interpolation would be too optimistic (Davis & Goadrich 2006).

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
    """Average precision: the sum of precision times the increase in recall, without interpolation.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive. For random scores the result is the fraction of positives, not 0.5.

    Returns
    -------
    float
        0 to 1; NaN if `actual` has only one class.

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

    The sensitivities are averaged at each false positive rate of the grid (Fawcett 2006, Pattern Recognition
    Letters 27, algorithm 3). Curves are interpolated linearly; at a vertical step the upper end is used. The area
    under the mean curve is the mean of the AUCs, up to the resolution of the grid.

    Parameters
    ----------
    folds : sequence of (actual, scores)
        Labels and scores of each fold, as in `roc_curve`.
    points : int
        Number of grid points from 0 to 1, at least 2.

    Returns
    -------
    MeanRoc
        Arrays of NaN if no fold has both classes.

    Raises
    ------
    InputError
        If there are no folds, or as in `roc_curve`.
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
        raise InputError("a mean ROC curve needs at least one fold. Got none.")
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
    last = np.flatnonzero(np.diff(ranked, append=-np.inf))  # last row of each set of equal scores
    true = np.cumsum(labels[order], dtype=np.float64)[last]
    return true, last + 1.0 - true, ranked[last]


def _at(grid: FloatArray, curve: RocCurve) -> FloatArray:
    """Interpolate the sensitivity at given false positive rates; a vertical step counts with its upper end."""
    x, y = curve.false_positive_rate, curve.true_positive_rate
    left = np.searchsorted(x, grid, side="right") - 1  # last point of the curve at or before each grid point
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
    """Partial AUC: the area under the ROC curve between two specificities or two sensitivities.

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
        area to the right of the curve over this range of sensitivities.
    standardised : bool
        Rescale so that random scores have 0.5 and a perfect ranking has 1 (McClish 1989, Medical Decision Making 9,
        190-195); otherwise return the area itself, at most high - low.

    Returns
    -------
    float
        NaN if `actual` has only one class.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If not 0 <= low < high <= 1, or `focus` is unknown.

    Examples
    --------
    >>> round(partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], low=0.5), 4)
    0.6667
    >>> partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], low=0.0, standardised=False)
    0.75
    """
    if not 0 <= low < high <= 1:
        raise ConfigError(
            f"The 'low' and 'high' parameters must satisfy 0 <= low < high <= 1. Got {low!r} and {high!r} instead."
        )
    if focus not in _FOCUSES:
        raise ConfigError(f"The 'focus' parameter must be one of {_FOCUSES}. Got {focus!r} instead.")
    labels, values = binary(actual, scores)
    if focus == "sensitivity":  # the same curve with the classes exchanged
        labels, values = ~labels, -values
    curve = roc_curve(labels, values)
    ends = np.array([1 - high, 1 - low])
    area = float(np.diff(_area_up_to(ends, curve.false_positive_rate, curve.true_positive_rate))[0])
    if not standardised:
        return area
    chance = float(np.diff(ends**2)[0]) / 2
    return (1 + (area - chance) / (high - low - chance)) / 2


def _area_up_to(ends: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Area under a piecewise linear curve from 0 to each end."""
    if not np.isfinite(x + y).all():
        return np.full(len(ends), np.nan)
    whole = np.concatenate([[0.0], np.cumsum(np.diff(x) * (y[1:] + y[:-1]) / 2)])
    left = np.searchsorted(x, ends, side="right") - 1
    right = np.minimum(left + 1, len(x) - 1)
    run = np.where(x[right] > x[left], x[right] - x[left], 1.0)
    step = ends - x[left]
    height = y[left] + (y[right] - y[left]) * step / run
    return np.asarray(whole[left] + step * (y[left] + height) / 2)
