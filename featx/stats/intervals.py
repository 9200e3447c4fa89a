"""Confidence intervals of the AUC: DeLong's covariance, means over folds, and the result of a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit

from featx.errors import ConfigError, InputError
from featx.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    check_fraction,
    group_codes,
    midranks,
    normal_quantile,
    t_quantile,
)

__all__ = [
    "AucCovariance",
    "FoldSummary",
    "Interval",
    "TestResult",
    "auc_components",
    "auc_warnings",
    "bounds",
    "corrected_variance",
    "delong_covariance",
    "delong_interval",
    "few_warning",
    "logit_bounds",
    "summarise_folds",
]


_FEW_ROWS = 10  # fewer rows (or groups) of a class than this give a warning about the normal approximation


@dataclass(frozen=True)
class AucCovariance:
    """AUCs of k scores of the same rows, with their covariance.

    Attributes
    ----------
    auc : ndarray of float64, shape (k,)
        NaN if there is only one class.
    covariance : ndarray of float64, shape (k, k)
        NaN with fewer than two rows (or groups) of a class.
    n, positives : int
        Number of rows, and of rows of the positive class.
    groups : int
        Number of independent units: rows, or groups of rows.
    fewest : int
        Number of independent units of the smaller class: its rows, or the groups that contain any of them.
    """

    auc: FloatArray
    covariance: FloatArray
    n: int
    positives: int
    groups: int
    fewest: int


def delong_covariance(actual: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> AucCovariance:
    """Estimate the covariance of the AUCs of several scores of the same rows.

    DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44, 837-845), from midranks in O(n log n) as in Sun & Xu
    2014 (IEEE Signal Processing Letters 21, 1389-1393). With `groups`, rows of one group may be correlated: the
    structural components are summed by group (Obuchowski 1997, Biometrics 53, 567-578). Groups of one row give
    DeLong's result.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,) or (n, k)
        One column for each of k readers, models or arms.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row. By default, rows are independent.

    Returns
    -------
    AucCovariance
        AUCs and their covariance.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.

    Examples
    --------
    >>> result = delong_covariance([0, 0, 0, 1, 1], [[1, 2], [2, 1], [4, 3], [3, 4], [5, 5]])
    >>> result.auc.round(4)
    array([0.8333, 1.    ])
    >>> result.covariance.round(4)
    array([[0.0556, 0.    ],
           [0.    , 0.    ]])
    """
    columns = np.asarray(scores, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    labels = binary(actual, columns[:, 0])[0]
    values = np.column_stack([binary(actual, column)[1] for column in columns.T])
    codes = None if groups is None else group_codes(groups, len(labels))
    units = len(labels) if codes is None else int(codes.max(initial=-1)) + 1
    positives = int(labels.sum())
    independent = np.arange(len(labels)) if codes is None else codes
    fewest = min(len(np.unique(independent[part])) for part in (labels, ~labels))
    if positives in (0, len(labels)):
        width = values.shape[1]
        nothing = np.full((width, width), np.nan)
        return AucCovariance(nothing[0], nothing, len(labels), positives, units, fewest)
    high, low = auc_components(labels, values)
    covariance = _independent(high, low) if codes is None else _grouped(labels, high, low, codes)
    return AucCovariance(high.mean(axis=0), covariance, len(labels), positives, units, fewest)


def auc_warnings(found: AucCovariance) -> tuple[str, ...]:
    """List the assumptions of the normal approximation of an AUC that do not hold.

    Examples
    --------
    >>> auc_warnings(delong_covariance([1, 1], [0, 1]))
    ('only one class: the AUC is undefined',)
    """
    if not found.fewest:
        return ("only one class: the AUC is undefined",)
    notes = []
    if not np.isfinite(found.covariance).all():
        notes.append("fewer than two independent rows of a class: the variance is undefined")
    elif (np.diagonal(found.covariance) <= 0).any():
        notes.append(
            "perfect separation or constant scores: the estimated variance is 0, so there is no interval"
        )
    if few := few_warning(found.fewest, grouped=found.groups < found.n):
        notes.append(f"{few}: the normal approximation is poor")
    return tuple(notes)


def few_warning(fewest: int, *, grouped: bool) -> str:
    """Warn if a class has few independent units.

    Examples
    --------
    >>> few_warning(5, grouped=True), few_warning(10, grouped=False)
    ('only 5 groups in the smaller class', '')
    """
    unit = ("group" if grouped else "row") + "s" * (fewest != 1)
    return f"only {fewest} {unit} in the smaller class" if fewest < _FEW_ROWS else ""


def auc_components(labels: BoolArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute the fraction of negatives below each positive, and of positives above each negative."""
    high, low = values[labels], values[~labels]
    ranks = _ranks(values)
    above = (ranks[labels] - _ranks(high)) / len(low)
    below = 1 - (ranks[~labels] - _ranks(low)) / len(high)
    return above, below


def _ranks(values: FloatArray) -> FloatArray:
    """Rank each column."""
    return np.array([midranks(column) for column in values.T]).T


def _independent(high: FloatArray, low: FloatArray) -> FloatArray:
    """Covariance of the AUCs from the components of independent rows."""
    total = np.zeros((high.shape[1], high.shape[1]))
    for part in (high, low):
        centred = part - part.mean(axis=0)
        total += centred.T @ centred / (len(part) * (len(part) - 1) if len(part) > 1 else np.nan)
    return total


def _grouped(labels: BoolArray, high: FloatArray, low: FloatArray, codes: IntArray) -> FloatArray:
    """Covariance of the AUCs from the components summed by group."""
    area, count = high.mean(axis=0), int(codes.max()) + 1
    sums = np.zeros((2, count, high.shape[1]))
    np.add.at(sums[0], codes[labels], high - area)
    np.add.at(sums[1], codes[~labels], low - area)
    total = np.zeros((high.shape[1], high.shape[1]))
    for part, rows, present in ((sums[0], len(high), codes[labels]), (sums[1], len(low), codes[~labels])):
        units = len(np.unique(present))
        total += part.T @ part / rows**2 * (units / (units - 1) if units > 1 else np.nan)
    cross = sums[0].T @ sums[1] / (len(high) * len(low)) * (count / (count - 1) if count > 1 else np.nan)
    return np.asarray(total + cross + cross.T)


_SCALES = ("plain", "logit")
_FEW = 5  # fewer folds than this give a warning about the interval
_SAME = 1e-12  # a smaller range of the values of the folds is due to rounding


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes
    ----------
    estimate, low, high : float
        The point estimate and the bounds; bounds are NaN if there is no interval, and a warning says why.
    level : float
        Confidence level, such as 0.95.
    method : str
        Name of the method.
    n, positives : int or None
        Number of rows, and of rows of the positive class (None if there are several classes).
    warnings : tuple of str
        Assumptions that do not hold, one sentence each.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str
    n: int
    positives: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoldSummary:
    """A metric over folds.

    Attributes
    ----------
    mean, sd : float
        Over the folds in which the metric is defined. The standard deviation divides by n - 1 and is NaN with fewer
        than two folds.
    n : int
        Number of folds in which the metric is defined.
    undefined : int
        Number of folds in which it is undefined (NaN); mean and standard deviation exclude them.
    low, high : float
        The corrected resampled t interval; NaN if there is none.
    level : float
        Confidence level.
    method : str
        Name of the method of the interval.
    warnings : tuple of str
        Assumptions that do not hold, one sentence each.

    Examples
    --------
    >>> found = summarise_folds([0.8, 0.9, float("nan"), 0.85], ratio=1)
    >>> round(found.mean, 2), found.n, found.undefined
    (0.85, 3, 1)
    """

    mean: float
    sd: float
    n: int
    undefined: int
    low: float
    high: float
    level: float
    method: str
    warnings: tuple[str, ...] = ()


def delong_interval(
    actual: ArrayLike,
    scores: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
    scale: str = "plain",
) -> Interval:
    """Confidence interval of one AUC.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; see `delong_covariance`.
    level : float
        Confidence level.
    scale : str
        ``"plain"``: AUC ± z standard errors, clipped to 0 and 1. ``"logit"``: the same on the logit of the AUC,
        transformed back, which has better coverage near 1 (Qin & Hotilovac 2008, Statistical Methods in Medical
        Research 17, 207-221).

    Returns
    -------
    Interval
        Bounds are NaN if the variance is undefined (fewer than two rows, or groups, of a class) or zero (the scores
        separate the classes perfectly or are constant).

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        If `scale` is unknown, or `level` is not between 0 and 1.

    Examples
    --------
    >>> interval = delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.889, 0.581, 1.0)
    """
    _check_scale(scale)
    found = delong_covariance(actual, np.asarray(scores, dtype=np.float64).reshape(-1), groups)
    area, variance = float(found.auc[0]), float(found.covariance[0, 0])
    reach = normal_quantile((1 + check_fraction("level", level)) / 2) * float(np.sqrt(variance))
    if not reach > 0:
        low = high = float("nan")
    elif scale == "logit":
        low, high = logit_bounds(area, reach)
    else:
        low, high = max(area - reach, 0.0), min(area + reach, 1.0)
    method = ("DeLong" if groups is None else "DeLong by groups (Obuchowski)") + (
        ", logit" * (scale == "logit")
    )
    return Interval(area, low, high, level, method, found.n, found.positives, auc_warnings(found))


def corrected_variance(values: ArrayLike, ratio: float) -> float:
    """Variance of a mean over n folds whose training sets overlap.

    (1/n + test size / training size) times the sample variance (Nadeau & Bengio 2003, Machine Learning 52,
    239-281), instead of 1/n times the sample variance. There must be at least two finite values.

    Examples
    --------
    >>> round(corrected_variance([0.8, 0.82, 0.84], ratio=0.5), 6)
    0.000333
    """
    if not ratio > 0:
        raise ConfigError(f"The 'ratio' parameter must be positive. Got {ratio!r} instead.")
    numbers = np.asarray(values, dtype=np.float64)
    return float((1 / len(numbers) + ratio) * numbers.var(ddof=1))


def summarise_folds(
    values: ArrayLike,
    *,
    ratio: float | None,
    level: float = 0.95,
    scale: str = "plain",
    names: Sequence[str] = (),
) -> FoldSummary:
    """Summarise a metric over folds.

    Parameters
    ----------
    values : array_like of shape (folds,)
        One value per fold; NaN where the metric is undefined.
    ratio : float or None
        Size of the test set divided by that of the training set: 1 for 5x2, 1 / (K - 1) for K folds. None if the
        sizes are unknown or no interval is needed.
    level : float
        Confidence level.
    scale : str
        ``"plain"``: mean ± t standard errors, without clipping. ``"logit"``, for metrics between 0 and 1 such as the
        AUC: the same on the logit of the mean by the delta method, with standard error / (mean (1 - mean)),
        transformed back. Near 1 it keeps its coverage, where the plain interval does not
        (`benchmarks/coverage.py`).
    names : sequence of str
        Names of the folds, for the warning about undefined folds.

    Returns
    -------
    FoldSummary
        Mean, standard deviation, counts and the corrected resampled t interval with n - 1 degrees of freedom. Bounds
        are NaN, with a warning, if the values do not vary.

    Raises
    ------
    InputError
        If there are no folds, a value is infinite, or a value is not between 0 and 1 on the logit scale.
    ConfigError
        If `scale` is unknown, `ratio` is not positive, or `level` is not between 0 and 1.

    Examples
    --------
    >>> summary = summarise_folds([0.8, 0.82, 0.84, float("nan")], ratio=0.5)
    >>> round(summary.mean, 3), round(summary.sd, 3), summary.n, summary.undefined
    (0.82, 0.02, 3, 1)
    >>> round(summary.low, 3), round(summary.high, 3)
    (0.741, 0.899)
    >>> summary = summarise_folds([0.95, 1.0, 0.98, 0.99, 0.98], ratio=0.25, scale="logit")
    >>> round(summary.mean, 3), round(summary.low, 3), round(summary.high, 3)
    (0.98, 0.892, 0.997)
    """
    numbers = _fold_values(values, scale)
    check_fraction("level", level)
    known = numbers[~np.isnan(numbers)]
    mean = float(known.mean()) if len(known) else float("nan")
    sd = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    notes = _lost(numbers, names)
    low = high = float("nan")
    if ratio is not None and len(known) > 1:
        error = corrected_variance(known, ratio) ** 0.5
        if np.ptp(known) > _SAME:
            reach = t_quantile((1 + level) / 2, len(known) - 1) * error
            low, high = logit_bounds(mean, reach) if scale == "logit" else (mean - reach, mean + reach)
        else:
            notes.append(
                f"all {len(known)} folds have the value {mean:.3g}: no variation, so there is no interval"
            )
        if len(known) < _FEW:
            notes.append(f"only {len(known)} folds: the interval is imprecise")
    method = "none" if np.isnan(low) else "corrected resampled t" + (", logit" if scale == "logit" else "")
    return FoldSummary(
        mean, sd, len(known), len(numbers) - len(known), low, high, level, method, tuple(notes)
    )


def _check_scale(scale: str) -> None:
    if scale not in _SCALES:
        raise ConfigError(f"The 'scale' parameter must be 'plain' or 'logit'. Got {scale!r} instead.")


def _fold_values(values: ArrayLike, scale: str) -> FloatArray:
    """Check that there is one finite value or NaN for each fold."""
    _check_scale(scale)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or np.isinf(numbers).any():
        raise InputError(
            f"values must be one finite number or NaN for each fold. Got {numbers.tolist()} instead."
        )
    if scale == "logit" and ((numbers < 0) | (numbers > 1)).any():
        raise InputError(
            f"values must be between 0 and 1 for an interval on the logit scale. Got {numbers.tolist()} instead."
        )
    return numbers


def _lost(numbers: FloatArray, names: Sequence[str]) -> list[str]:
    """Name the folds in which a metric is undefined."""
    lost = np.flatnonzero(np.isnan(numbers)).tolist()
    if not lost:
        return []
    where = f" ({', '.join(names[index] for index in lost)})" if names else ""
    text = f"the metric is undefined in {len(lost)} of {len(numbers)} folds{where}"
    kept = len(numbers) - len(lost)
    return [f"{text}; mean and standard deviation are over the other {kept}" if kept else text]


def logit_bounds(mean: float, reach: float) -> tuple[float, float]:
    """Bounds on the logit scale by the delta method; NaN at 0 and 1, where the logit is infinite."""
    if not 0 < mean < 1:
        return float("nan"), float("nan")
    step = reach / (mean * (1 - mean))
    return float(expit(logit(mean) - step)), float(expit(logit(mean) + step))


@dataclass(frozen=True)
class TestResult:
    """The result of one test. Every p value is two-sided unless `test` says otherwise.

    Attributes
    ----------
    test : str
        The test and its source.
    p : float
        The p value; NaN if the test is not possible, and a warning says why.
    statistic : float
        The test statistic.
    statistic_name : str
        Its name, such as ``"z"`` or ``"F"``.
    freedom : tuple of float
        Degrees of freedom; empty if the reference distribution has none.
    estimate : float
        The tested difference a - b of a metric; NaN if the test has no such estimate.
    low, high : float
        Confidence interval of the estimate; NaN if there is none.
    level : float
        Confidence level of the interval.
    interval : str
        Name of the method of the interval, or ``"none"``.
    error : float
        Standard error of the estimate; NaN if there is none.
    error_freedom : float
        Degrees of freedom of the t distribution of the estimate; infinite for the normal distribution.
    correction : str
        Correction for overlapping folds, groups or multiple testing, or ``"none"``.
    n, positives : int or None
        Number of images, and of images of the positive class. None if the test does not use images; `positives` is
        also None with several classes.
    folds : int
        Number of folds (or blocks) used; 1 for one test set.
    warnings : tuple of str
        Assumptions that do not hold, one sentence each.

    Examples
    --------
    >>> found = TestResult("DeLong 1988", p=0.03, statistic=2.2, statistic_name="z", estimate=0.05, low=0.01, high=0.09)
    >>> found.p, (found.low, found.high), found.correction
    (0.03, (0.01, 0.09), 'none')
    """

    test: str
    p: float
    statistic: float
    statistic_name: str
    freedom: tuple[float, ...] = ()
    estimate: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")
    level: float = 0.95
    interval: str = "none"
    error: float = float("nan")
    error_freedom: float = float("inf")
    correction: str = "none"
    n: int | None = None
    positives: int | None = None
    folds: int = 1
    warnings: tuple[str, ...] = ()


def bounds(
    estimate: float, error: float, freedom: float = float("inf"), level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval (low, high) of an estimate from its standard error.

    NaN if the error is 0 or NaN: an estimate without variation does not show that it is exact.

    Examples
    --------
    >>> low, high = bounds(0.02, 0.01)
    >>> round(low, 4), round(high, 4)
    (0.0004, 0.0396)
    """
    reach = t_quantile((1 + check_fraction("level", level)) / 2, freedom) * error
    if not reach > 0:
        return float("nan"), float("nan")
    return estimate - reach, estimate + reach
