"""Power: the minimum detectable difference of two AUCs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from featx.errors import ConfigError

from .intervals import TestResult
from .validation import check_fraction

__all__ = [
    "Power",
    "detectable",
    "hanley_mcneil_variance",
    "planned_difference",
]


@dataclass(frozen=True)
class Power:
    """The minimum detectable difference of a test.

    Attributes
    ----------
    difference : float
        A true difference of this size is found with the probability `power`. NaN, with a warning, if the variance is
        unknown or if two AUCs cannot differ by so much.
    power, level : float
        The power, and the confidence level of the two-sided test (1 - its significance level).
    error : float
        Standard error of the difference.
    method : str
        Source of the standard error.
    n, positives : int or None
        Number of images, and of images of the positive class; None if the method does not use images.
    warnings : tuple of str
        Assumptions that do not hold, one sentence each.

    Examples
    --------
    >>> plan = planned_difference(100, 300, auc=0.85)
    >>> isinstance(plan, Power), plan.power
    (True, 0.8)
    """

    difference: float
    power: float
    level: float
    error: float
    method: str
    n: int | None = None
    positives: int | None = None
    warnings: tuple[str, ...] = ()


def detectable(
    finding: TestResult,
    *,
    auc: tuple[float, float] | None = None,
    power: float = 0.8,
    level: float = 0.95,
) -> Power:
    """Minimum detectable difference of a test, from its standard error.

    Parameters
    ----------
    finding : TestResult
        A test of the difference of two AUCs.
    auc : tuple of float, optional
        The AUCs of the two arms. They limit the difference to the larger of 1 - lower AUC and higher AUC - 0.5. By
        default, the limit is 1.
    power, level : float
        Power, and confidence level of the test: 1 - 0.05 / m for one of m comparisons.

    Returns
    -------
    Power
        The standard error times the noncentrality at which the test has this power, from the noncentral t
        distribution with the degrees of freedom of the test, or from the normal distribution.

    Raises
    ------
    ConfigError
        If `power` or `level` is not between 0 and 1, or `power` is not above (1 - level) / 2.

    Examples
    --------
    >>> from featx.stats.significance import corrected_t
    >>> finding = corrected_t([0.02, 0.03, 0.01, 0.04, 0.02], ratio=0.25)
    >>> round(detectable(finding).difference, 4), detectable(finding, level=1 - 0.05 / 4).difference > 0.0288
    (0.0288, True)
    """
    shift = _noncentrality(power, level, finding.error_freedom)
    known = finding.error > 0 and np.isfinite(finding.p)
    made = Power(
        shift * finding.error if known else float("nan"),
        power,
        level,
        finding.error if known else float("nan"),
        finding.test,
        finding.n,
        finding.positives,
        finding.warnings,
    )
    return _within(made, 1.0 if auc is None else _largest(*auc))


def _largest(one: float, other: float) -> float:
    """Largest possible difference: between the lower AUC and 1, or between the higher AUC and 0.5."""
    return max(1.0 - min(one, other), max(one, other) - 0.5)


def _within(found: Power, limit: float) -> Power:
    """Replace a difference that two AUCs cannot have by NaN and a warning."""
    if not found.difference > limit:
        return found
    why = (
        f"the power for the largest possible difference, {limit:.3f}, is below {found.power * 100:.0f} %: "
        "there is no minimum detectable difference"
    )
    return replace(found, difference=float("nan"), warnings=(*found.warnings, why))


def planned_difference(
    positives: int,
    negatives: int,
    *,
    auc: float = 0.8,
    correlation: float = 0.5,
    power: float = 0.8,
    level: float = 0.95,
) -> Power:
    """Minimum detectable difference for a test set of a given size, before any arm was run.

    Parameters
    ----------
    positives, negatives : int
        Number of images of each class in the test set.
    auc : float
        Expected AUC of both arms.
    correlation : float
        Expected correlation of the two AUC estimates, at least -1 and below 1. It is often 0.5 or more if related
        networks score the same images.
    power, level : float
        Power, and confidence level of the test.

    Returns
    -------
    Power
        From the variance of Hanley & McNeil (1983, Radiology 148, 839-843). The difference is NaN, with a warning, if
        it is larger than 1 - `auc` and `auc` - 0.5.

    Raises
    ------
    ConfigError
        If a class has no image, or a parameter is out of range.

    Examples
    --------
    >>> round(planned_difference(100, 300, auc=0.85).difference, 3)
    0.071
    """
    if not -1 <= correlation < 1:
        raise ConfigError(
            f"The 'correlation' parameter must be at least -1 and below 1. Got {correlation!r} instead."
        )
    error = (2 * hanley_mcneil_variance(auc, positives, negatives) * (1 - correlation)) ** 0.5
    made = Power(
        _noncentrality(power, level) * error,
        power,
        level,
        error,
        "Hanley & McNeil 1983",
        positives + negatives,
        positives,
    )
    return _within(made, _largest(auc, auc))


def hanley_mcneil_variance(auc: float, positives: int, negatives: int) -> float:
    """Variance of an AUC from its value and the sizes of the classes alone.

    Hanley & McNeil 1982 (Radiology 143, 29-36), for scores with about exponential distributions. It is for planning,
    when there are no scores for DeLong's variance yet.

    Examples
    --------
    >>> round(hanley_mcneil_variance(0.893, 51, 58) ** 0.5, 4)
    0.0325
    """
    check_fraction("auc", auc)
    if positives < 1 or negatives < 1:
        raise ConfigError(
            f"each class needs at least one image. Got {positives} positives and {negatives} negatives."
        )
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (
        auc * (1 - auc)
        + (positives - 1) * (two_positives - auc**2)
        + (negatives - 1) * (two_negatives - auc**2)
    )
    return spread / (positives * negatives)


@lru_cache(maxsize=1024)  # all pairs of arms of a protocol share it
def _noncentrality(power: float, level: float, freedom: float = float("inf")) -> float:
    """Difference, in standard errors, that the test finds with this power."""
    wanted = check_fraction("power", power)
    edge = float(t.ppf((1 + check_fraction("level", level)) / 2, freedom))
    if wanted <= (1 - level) / 2:
        raise ConfigError(
            f"The 'power' parameter must be greater than (1 - level) / 2. Got {power!r} for level {level!r} instead."
        )
    if np.isinf(freedom):
        return edge + float(norm.ppf(wanted))

    def missing(shift: float) -> float:
        return wanted - float(nct.sf(edge, freedom, shift))

    far = edge
    while missing(far) > 0:
        far *= 1.5
    return float(brentq(missing, 0.0, far))
