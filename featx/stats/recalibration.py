"""Whether probabilities are right: calibration slope and intercept, observed to expected, a smooth curve.

What Van Calster et al. 2019 ("Calibration: the Achilles heel of predictive analytics", BMC Medicine 17, 230) ask for,
by the definitions of Van Calster et al. 2016 (J. Clinical Epidemiology 74, 167-176). Rows of one image or patient
count together: their intervals are cluster-robust.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit
from scipy.stats import norm, t

from featx.errors import InputError

from .inputs import BoolArray, FloatArray, IntArray, binary, group_codes
from .proportions import Estimate

__all__ = ["Recalibration", "fit_recalibration", "smooth_curve"]

_NONE = Estimate(float("nan"), float("nan"), float("nan"))
_STEPS = 200


@dataclass(frozen=True)
class Recalibration:
    """How far probabilities are off.

    Attributes
    ----------
    slope : Estimate
        Logistic recalibration slope: 1 is right, below 1 the probabilities are too extreme.
    intercept : Estimate
        Calibration in the large, the intercept with the slope fixed at 1: 0 is right, below 0 the probabilities are
        too high.
    observed_expected : Estimate
        Positives over the sum of the probabilities: 1 is right.
    warnings : tuple of str
        Why a value is missing.
    """

    slope: Estimate
    intercept: Estimate
    observed_expected: Estimate
    warnings: tuple[str, ...] = ()


def fit_recalibration(
    actual: ArrayLike, probabilities: ArrayLike, *, groups: ArrayLike | None = None
) -> Recalibration:
    """Measure calibration by logistic recalibration and by counts.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Of the positive class.
    groups : array_like of shape (n,), optional
        Patient, lesion, or image that is tested several times, of each row: intervals are then cluster-robust (Liang
        & Zeger 1986, Biometrika 73, 13-22) with a t quantile of as many degrees of freedom as there are groups, less
        one.

    Returns
    -------
    Recalibration
        Values and 95 % intervals; NaN, with a warning, with one class only, with probabilities of exactly 0 or 1, and
        the slope where the probabilities separate the classes.

    Raises
    ------
    InputError
        If the arrays do not fit or a probability is not within 0 and 1.

    Examples
    --------
    >>> found = fit_recalibration([0, 1, 0, 1, 0, 1], [0.1, 0.2, 0.3, 0.7, 0.8, 0.9])
    >>> round(found.slope.value, 3), round(found.intercept.value, 3), found.observed_expected.value
    (0.474, 0.0, 1.0)
    """
    labels, values = binary(actual, probabilities)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("probabilities must be within 0 and 1; calibrate decision values first.")
    if labels.all() or not labels.any():
        return Recalibration(_NONE, _NONE, _NONE, ("one class only: nothing to recalibrate",))
    codes = None if groups is None else group_codes(groups, len(labels))
    if codes is not None and len(np.unique(codes)) == len(codes):
        codes = None
    ratio = _observed_expected(labels, values, codes)
    if ((values == 0) | (values == 1)).any():
        return Recalibration(
            _NONE, _NONE, ratio, ("probabilities of exactly 0 or 1 have no logit: no slope",)
        )
    line, one = logit(values), np.ones((len(values), 1))
    intercept = _last(_logistic(labels, one, line, codes))
    if _separated(labels, line):
        return Recalibration(_NONE, intercept, ratio, ("the probabilities separate the classes: no slope",))
    slope = _last(_logistic(labels, np.column_stack([one, line]), np.zeros(len(values)), codes))
    return Recalibration(slope, intercept, ratio)


def _separated(labels: BoolArray, line: FloatArray) -> bool:
    inside, outside = line[labels], line[~labels]
    return bool(inside.min() >= outside.max() or inside.max() <= outside.min())


def _logistic(
    labels: BoolArray, design: FloatArray, offset: FloatArray, codes: IntArray | None
) -> tuple[FloatArray, FloatArray, float]:
    """Fit by Newton's method; coefficients, their standard errors, and the quantile for the interval."""
    beta = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = expit(offset + design @ beta)
        bread = (design * (chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(bread, design.T @ (labels - chance))
        # A longer step could leave the region in which the quadratic model holds.
        beta = beta + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    else:
        beta = np.full_like(beta, np.nan)
    covariance = np.linalg.inv(bread)
    if codes is None:
        return beta, np.sqrt(np.diag(covariance)), float(norm.ppf(0.975))
    parts = np.column_stack([np.bincount(codes, weights=column) for column in (design.T * (labels - chance))])
    meat = _few(codes) * parts.T @ parts
    robust = np.sqrt(np.diag(covariance @ meat @ covariance))
    return beta, robust, float(t.ppf(0.975, len(parts) - 1))


def _last(fitted: tuple[FloatArray, FloatArray, float]) -> Estimate:
    beta, errors, quantile = fitted
    reach = quantile * errors[-1]
    return Estimate(*map(float, (beta[-1], beta[-1] - reach, beta[-1] + reach)))


def _observed_expected(labels: BoolArray, values: FloatArray, codes: IntArray | None) -> Estimate:
    """Ratio of sums with the interval of its logarithm, by linearisation."""
    positives = float(labels.sum())
    ratio = positives / values.sum()
    residuals = labels - ratio * values
    rows = np.arange(len(values)) if codes is None else codes
    spread = _few(rows) * (np.bincount(rows, weights=residuals) ** 2).sum()
    clusters = len(np.unique(rows))
    quantile = norm.ppf(0.975) if codes is None else t.ppf(0.975, clusters - 1)
    reach = float(np.exp(quantile * np.sqrt(spread) / positives))
    return Estimate(float(ratio), float(ratio / reach), float(ratio * reach))


def _few(codes: IntArray) -> float:
    """Correct a variance between groups for their number."""
    clusters = len(np.unique(codes))
    return clusters / (clusters - 1) if clusters > 1 else float("nan")


def smooth_curve(
    actual: ArrayLike, probabilities: ArrayLike, *, points: int = 101
) -> tuple[FloatArray, FloatArray]:
    """Smooth what happened over the probabilities: a calibration curve without bins.

    Local linear regression over the nearest three quarters of the rows (loess, Cleveland 1979, J. American Statistical
    Association 74, 829-836, without its steps against outliers), as Austin & Steyerberg 2014 (Statistics in Medicine
    33, 517-535) use it.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Of the positive class.
    points : int
        Places between the lowest and the highest probability.

    Returns
    -------
    probability, observed : ndarray of float64, shape (m,)
        The curve, within 0 and 1; without places whose neighbours are all alike, empty for fewer than ten rows.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chance = rng.uniform(size=2000)
    >>> where, observed = smooth_curve(rng.uniform(size=2000) < chance, chance)
    >>> bool(np.abs(where - observed).max() < 0.06)
    True
    """
    from statsmodels.nonparametric.smoothers_lowess import lowess

    labels, values = binary(actual, probabilities)
    if len(values) < 10 or np.ptp(values) == 0:
        return np.empty(0), np.empty(0)
    grid = np.linspace(values.min(), values.max(), points)
    with np.errstate(invalid="ignore", divide="ignore"):
        curve = lowess(labels.astype(np.float64), values, frac=0.75, it=0, xvals=grid)
    known = np.isfinite(curve)
    return grid[known], np.clip(curve[known], 0.0, 1.0)
