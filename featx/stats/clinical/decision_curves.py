"""Decision curves: the net benefit of acting on predicted probabilities, over threshold probabilities.

A threshold probability says how many false positives one true positive is worth: whoever acts at a probability of 0.1
accepts nine false positives for one true positive. Net benefit counts true positives, minus false positives at this
exchange rate, as a fraction of all rows (Vickers & Elkin 2006, Medical Decision Making 26, 565-574).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from featx.errors import ConfigError, InputError
from featx.stats.operating import Estimate
from featx.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    check_fraction,
    check_probabilities,
    group_codes,
)

__all__ = ["DecisionCurve", "decision_curve", "net_benefit"]

_ROUNDING = 1e-12  # a smaller standard error is a rounding error: groups that do not vary have no interval
_FEWEST = 5  # with fewer groups behind a count the normal approximation fails (Cochran 1954, Biometrics 10, 417-451)


@dataclass(frozen=True, eq=False)
class DecisionCurve:
    """Net benefit over threshold probabilities, of a model and of acting on all rows; that of acting on none is 0.

    Attributes
    ----------
    thresholds : ndarray of float64, shape (m,)
        Threshold probabilities.
    model : tuple of Estimate
        Net benefit of the model at each threshold. Without an interval (NaN) if fewer than five groups have a true
        positive, or a false one: so few make the interval too narrow.
    treat_all : tuple of Estimate
        Net benefit of acting on all rows.
    standardised : tuple of Estimate
        Net benefit of the model divided by the prevalence, its largest possible value (Kerr et al. 2016, J. Clinical
        Oncology 34, 2534-2540): 1 is best; the fraction of the true positives that the model gains net.
    gain : tuple of Estimate
        Net benefit of the model minus that of acting on all rows, estimated on the same rows; without an interval if
        fewer than five groups have a false negative, or a true one. The gain over acting on none is `model`.
    prevalence : float
        Fraction of positives.
    n, positives, groups : int
        Number of rows, of positive ones, and of independent units.
    """

    thresholds: FloatArray
    model: tuple[Estimate, ...]
    treat_all: tuple[Estimate, ...]
    standardised: tuple[Estimate, ...]
    gain: tuple[Estimate, ...]
    prevalence: float
    n: int
    positives: int
    groups: int


def net_benefit(actual: ArrayLike, probabilities: ArrayLike, threshold: float) -> float:
    """Net benefit at one threshold probability.

    ``TP / n - FP / n * threshold / (1 - threshold)`` (Vickers & Elkin 2006, Medical Decision Making 26, 565-574).

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Predicted probability of the positive class.
    threshold : float
        Threshold probability, between 0 and 1: a row counts as positive if its probability is at least this.

    Returns
    -------
    float
        At most the prevalence; NaN without rows.

    Raises
    ------
    InputError
        If the shapes do not match or a probability is not between 0 and 1.
    ConfigError
        If `threshold` is not between 0 and 1.

    Examples
    --------
    >>> round(net_benefit([1, 1, 0, 0, 0], [0.8, 0.1, 0.3, 0.05, 0.1], 0.2), 3)
    0.15
    """
    labels, values = binary(actual, check_probabilities(probabilities))
    if not len(labels):
        return float("nan")
    return float(_benefits(labels, values >= check_fraction("threshold", threshold), threshold).mean())


def decision_curve(
    actual: ArrayLike,
    probabilities: ArrayLike,
    thresholds: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> DecisionCurve:
    """Net benefit of a model and of acting on all rows, with confidence intervals.

    Net benefit is a mean over the rows. Its variance is that of such a mean (Marsh, Janes & Pepe 2020, Biometrics 76,
    843-852), estimated between groups by linearisation, with a t quantile with one degree of freedom fewer than groups.
    The interval is for this model on new patients; an image that several folds test must be one group.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    probabilities : array_like of shape (n,)
        Predicted probability of the positive class, calibrated on other images.
    thresholds : array_like of shape (m,), optional
        Threshold probabilities, between 0 and 1. By default 0.01, 0.02, ..., 0.99. Choose the range of the decision
        before you see the curve.
    groups : array_like of shape (n,), optional
        Patient, lesion, or repeatedly tested image of each row. By default, rows are independent.
    level : float
        Confidence level of the pointwise intervals.

    Returns
    -------
    DecisionCurve
        Estimates at each threshold; standardised net benefit is NaN without positives.

    Raises
    ------
    InputError
        If there are no rows, the shapes do not match or a probability is not between 0 and 1.
    ConfigError
        If a threshold or `level` is not between 0 and 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> chance = rng.beta(1, 4, size=500)
    >>> curve = decision_curve(rng.uniform(size=500) < chance, chance, [0.1, 0.3])
    >>> [tuple(round(value, 3) for value in one) for one in curve.model]
    [(0.154, 0.115, 0.192), (0.059, 0.028, 0.09)]
    >>> [round(one.value, 3) for one in curve.treat_all], [round(one.value, 3) for one in curve.gain]
    ([0.142, -0.103], [0.011, 0.162])
    """
    labels, values = binary(actual, check_probabilities(probabilities))
    if not len(labels):
        raise InputError("a decision curve needs at least one row. Got none.")
    cuts = np.arange(1, 100) / 100 if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    if cuts.ndim != 1 or not ((cuts > 0) & (cuts < 1)).all():
        raise ConfigError(
            f"The 'thresholds' parameter must be numbers between 0 and 1, both excluded. Got {cuts.tolist()}."
        )
    codes = np.arange(len(labels)) if groups is None else group_codes(groups, len(labels))
    quantile = _quantile(codes, grouped=groups is not None, level=level)
    model, treated, standardised, gain = [], [], [], []
    for cut in cuts.tolist():
        called = values >= cut
        ours, every = _benefits(labels, called, cut), _benefits(labels, np.True_, cut)
        acting, leaving = (quantile * _enough(labels, rows, codes) for rows in (called, ~called))
        model.append(_mean(ours, codes, acting))
        treated.append(_mean(every, codes, quantile))
        standardised.append(_ratio(ours, labels, codes, acting))
        gain.append(_mean(ours - every, codes, leaving))
    several = (tuple(model), tuple(treated), tuple(standardised), tuple(gain))
    return DecisionCurve(
        cuts, *several, float(labels.mean()), len(labels), int(labels.sum()), int(codes.max()) + 1
    )


def _enough(labels: BoolArray, rows: BoolArray, codes: IntArray) -> float:
    """Return 1 if enough groups have a positive and a negative one among some rows, else NaN."""
    fewest = min(np.count_nonzero(np.bincount(codes[rows & part])) for part in (labels, ~labels))
    return 1.0 if fewest >= _FEWEST else float("nan")


def _benefits(labels: BoolArray, called: BoolArray | np.bool_, threshold: float) -> FloatArray:
    """Worth of each row's decision: 1 for a true positive, minus the exchange rate for a false one."""
    return np.where(called, np.where(labels, 1.0, -threshold / (1 - threshold)), 0.0)


def _quantile(codes: IntArray, *, grouped: bool, level: float) -> float:
    upper, units = (1 + check_fraction("level", level)) / 2, int(codes.max()) + 1
    if units < 2:
        return float("nan")
    return float(t.ppf(upper, units - 1)) if grouped else float(norm.ppf(upper))


def _mean(parts: FloatArray, codes: IntArray, quantile: float) -> Estimate:
    """Mean of the rows, with an interval from the sums of its residuals by group."""
    value = float(parts.mean())
    return _estimate(value, parts - value, float(len(parts)), codes, quantile)


def _ratio(parts: FloatArray, labels: BoolArray, codes: IntArray, quantile: float) -> Estimate:
    """Mean of the rows over the prevalence, by linearisation."""
    positives = float(labels.sum())
    if not positives:
        return Estimate(float("nan"), float("nan"), float("nan"))
    value = float(parts.sum()) / positives
    return _estimate(value, parts - value * labels, positives, codes, quantile)


def _estimate(value: float, residuals: FloatArray, size: float, codes: IntArray, quantile: float) -> Estimate:
    sums = np.bincount(codes, weights=residuals)
    units = len(sums)
    error = float(np.sqrt((sums**2).sum() * units / max(units - 1, 1))) / size
    reach = quantile * error if error > _ROUNDING else float("nan")
    return Estimate(value, value - reach, value + reach)
