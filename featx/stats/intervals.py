"""Intervals for one area under the ROC curve, and the summary of a metric over folds.

One test set: DeLong's variance, plain or on the logit scale, for independent rows or for rows in groups
(`delong_interval`). Several folds: mean, standard deviation and the corrected resampled t interval, plain or on
the logit scale (`summarise_folds`). A plain t interval is not offered: the training parts of folds overlap,
their results are not independent, and such an interval is too short.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm, t

from featx.errors import ConfigError, InputError

from .delong import auc_warnings, delong_covariance
from .inputs import FloatArray, check_share

__all__ = [
    "FoldSummary",
    "Interval",
    "corrected_variance",
    "delong_interval",
    "summarise_folds",
]

_SCALES = ("plain", "logit")
_FEW = 5  # folds below which an interval is warned about
_SAME = 1e-12  # values of folds that lie nearer together than this differ by rounding alone


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes
    ----------
    estimate, low, high : float
        The value and its bounds; bounds are NaN where there is no interval, and a warning says why.
    level : float
        Confidence, such as 0.95.
    method : str
        How it was made.
    n, positives : int or None
        Rows, and those of the positive class; None where there are several classes.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
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
        Over the folds in which the metric exists; the standard deviation has n - 1 in its denominator and is
        NaN with fewer than two folds.
    n : int
        Folds in which the metric exists.
    undefined : int
        Folds in which it does not (NaN); they are left out of mean and standard deviation.
    low, high : float
        The corrected resampled t interval; NaN where there is none.
    level : float
        Confidence.
    method : str
        How the interval was made.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
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
    """Confidence interval of one area under the ROC curve.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; see `delong_covariance`.
    level : float
        Confidence.
    scale : str
        ``"plain"``: area ± z standard errors, cut off at 0 and 1. ``"logit"``: the same on the logit of the
        area and transformed back, which covers better near 1 (Qin & Hotilovac 2008, Statistical Methods in
        Medical Research 17, 207-221).

    Returns
    -------
    Interval
        Bounds are NaN where the variance does not exist (fewer than two rows, or groups, of a class) or is
        zero because the scores separate the classes perfectly or are constant.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, or a score is not finite.
    ConfigError
        For an unknown scale, or a level that is not between 0 and 1.

    Examples
    --------
    >>> interval = delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
    (0.889, 0.581, 1.0)
    """
    _check_scale(scale)
    found = delong_covariance(actual, np.asarray(scores, dtype=np.float64).reshape(-1), groups)
    area, variance = float(found.auc[0]), float(found.covariance[0, 0])
    reach = float(norm.ppf((1 + check_share("level", level)) / 2)) * float(np.sqrt(variance))
    if not reach > 0:
        low = high = float("nan")
    elif scale == "logit":
        low, high = _logit_bounds(area, reach)
    else:
        low, high = max(area - reach, 0.0), min(area + reach, 1.0)
    method = ("DeLong" if groups is None else "DeLong by groups (Obuchowski)") + (
        ", logit" * (scale == "logit")
    )
    return Interval(area, low, high, level, method, found.n, found.positives, auc_warnings(found))


def corrected_variance(values: ArrayLike, ratio: float) -> float:
    """Variance of a mean over folds whose training parts overlap.

    (1/n + test size / training size) times the sample variance (Nadeau & Bengio 2003, Machine Learning 52,
    239-281), in place of 1/n times the sample variance.

    Parameters
    ----------
    values : array_like of shape (n,)
        One finite value a fold, at least two.
    ratio : float
        Size of the test part over that of the training part: 1 for 5x2, 1 / (K - 1) for K folds.

    Returns
    -------
    float
        The variance.

    Raises
    ------
    ConfigError
        If `ratio` is not positive.

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
        One value a fold; NaN where the metric does not exist.
    ratio : float or None
        Size of the test part over that of the training part: 1 for 5x2, 1 / (K - 1) for K folds. None: no
        interval is wanted, or the sizes are unknown.
    level : float
        Confidence.
    scale : str
        ``"plain"``: mean ± t standard errors, cut off at neither end. ``"logit"``, for metrics between 0 and 1
        such as an area under the ROC curve: the same on the logit of the mean by the delta method, with
        standard error / (mean (1 - mean)), and transformed back. Near 1 it covers, where the plain interval
        does not (`benchmarks/coverage.py`).
    names : sequence of str
        Names of the folds, for the warning about those without a value.

    Returns
    -------
    FoldSummary
        Mean, standard deviation, counts and the corrected resampled t interval (`corrected_variance`, with n
        - 1 degrees of freedom). Bounds are NaN where the values do not vary: a warning says so.

    Raises
    ------
    InputError
        If there are no folds, a value is infinite, or not between 0 and 1 on the logit scale.
    ConfigError
        For an unknown scale, or if `ratio` is not positive, or `level` not between 0 and 1.

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
    check_share("level", level)
    known = numbers[~np.isnan(numbers)]
    mean = float(known.mean()) if len(known) else float("nan")
    sd = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    notes = _lost(numbers, names)
    low = high = float("nan")
    if ratio is not None and len(known) > 1:
        error = corrected_variance(known, ratio) ** 0.5
        if np.ptp(known) > _SAME:
            reach = float(t.ppf((1 + level) / 2, len(known) - 1)) * error
            low, high = _logit_bounds(mean, reach) if scale == "logit" else (mean - reach, mean + reach)
        else:
            notes.append(
                f"all {len(known)} folds have the value {mean:.3g}: without variation there is no interval"
            )
        if len(known) < _FEW:
            notes.append(f"only {len(known)} folds: the interval is hardly informative")
    method = "none" if np.isnan(low) else "corrected resampled t" + (", logit" if scale == "logit" else "")
    return FoldSummary(
        mean, sd, len(known), len(numbers) - len(known), low, high, level, method, tuple(notes)
    )


def _check_scale(scale: str) -> None:
    if scale not in _SCALES:
        raise ConfigError(f"The 'scale' parameter must be 'plain' or 'logit'. Got {scale!r} instead.")


def _fold_values(values: ArrayLike, scale: str) -> FloatArray:
    """Check one value a fold."""
    _check_scale(scale)
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers) or np.isinf(numbers).any():
        raise InputError(
            f"values must be one finite number or NaN for each fold. Got {numbers.tolist()} instead."
        )
    if scale == "logit" and ((numbers < 0) | (numbers > 1)).any():
        raise InputError(
            f"values must lie between 0 and 1 for an interval on the logit scale. Got {numbers.tolist()} instead."
        )
    return numbers


def _lost(numbers: FloatArray, names: Sequence[str]) -> list[str]:
    """Name the folds in which a metric does not exist."""
    lost = np.flatnonzero(np.isnan(numbers)).tolist()
    if not lost:
        return []
    where = f" ({', '.join(names[index] for index in lost)})" if names else ""
    text = f"the metric does not exist in {len(lost)} of {len(numbers)} folds{where}"
    kept = len(numbers) - len(lost)
    return [f"{text}; mean and standard deviation are over the other {kept}" if kept else text]


def _logit_bounds(mean: float, reach: float) -> tuple[float, float]:
    """Bounds on the logit scale by the delta method; NaN at 0 and 1, where it ends."""
    if not 0 < mean < 1:
        return float("nan"), float("nan")
    step = reach / (mean * (1 - mean))
    return float(expit(logit(mean) - step)), float(expit(logit(mean) + step))
