"""Power: the smallest difference of areas under the ROC curve that a data set could show."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct, norm, t

from featx.errors import ConfigError

from .intervals import TestResult
from .validation import check_share

__all__ = [
    "Power",
    "detectable",
    "hanley_mcneil_variance",
    "planned_difference",
]


@dataclass(frozen=True)
class Power:
    """The smallest difference that a test would probably show.

    Attributes
    ----------
    difference : float
        A true difference of this size is found with the chance `power`; NaN where there is no variance to go
        by, or where it would be larger than any difference of two areas can be; a warning says which.
    power, level : float
        That chance, and the confidence of the two-sided test.
    error : float
        Standard error of the difference.
    method : str
        How the error was found.
    n, positives : int or None
        Images, and those of the positive class; None where the method does not see them.
    warnings : tuple of str
        Assumptions that fail, one sentence each.
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
    """Smallest difference that a test could show, from the standard error that it found.

    Parameters
    ----------
    finding : TestResult
        A test of a difference of two areas.
    auc : tuple of float, optional
        The areas of the two arms. With them, a difference counts as possible up to what separates the lower one
        from 1, or the higher one from 0.5, whichever is more; without them up to 1.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test: 1 - 0.05 / m for one of m
        comparisons.

    Returns
    -------
    Power
        Standard error times the noncentrality at which the test finds the difference with the wanted chance: from
        the noncentral t distribution with the error's degrees of freedom, or from the normal distribution.

    Raises
    ------
    ConfigError
        If `power` or `level` is not between 0 and 1, or `power` does not exceed (1 - level) / 2.

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
    """Say by how much two areas could differ: the lower from a perfect one, the higher from chance."""
    return max(1.0 - min(one, other), max(one, other) - 0.5)


def _within(found: Power, limit: float) -> Power:
    """Suppress a difference that no two areas can have."""
    if not found.difference > limit:
        return found
    why = (
        f"even a difference of {limit:.3f}, the largest that is possible, would not be found with "
        f"{found.power * 100:.0f} % chance"
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
    """Smallest difference that a test set of given size could show, before any arm has run.

    Parameters
    ----------
    positives, negatives : int
        Images of each class in the test set.
    auc : float
        Area that is expected of both arms.
    correlation : float
        Expected correlation of the two areas' estimates, -1 to 1; arms that score the same images with
        related networks reach 0.5 and more.
    power, level : float
        Wanted chance of finding the difference, and confidence of the test.

    Returns
    -------
    Power
        From Hanley & McNeil's variance of each area (Hanley & McNeil 1983, Radiology 148, 839-843). NaN, with a
        warning, where the difference is larger than what separates `auc` from 1 and from 0.5.

    Raises
    ------
    ConfigError
        If a class has no image, or a share is out of range.

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
    """Variance of an area under the ROC curve from its size and the classes' alone.

    Hanley & McNeil 1982 (Radiology 143, 29-36), for scores that are about exponential; for planning, where
    there are no scores for DeLong's variance yet.

    Examples
    --------
    >>> round(hanley_mcneil_variance(0.893, 51, 58) ** 0.5, 4)
    0.0325
    """
    check_share("auc", auc)
    if positives < 1 or negatives < 1:
        raise ConfigError(f"each class needs an image. Got {positives} positives and {negatives} negatives.")
    two_positives, two_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (
        auc * (1 - auc)
        + (positives - 1) * (two_positives - auc**2)
        + (negatives - 1) * (two_negatives - auc**2)
    )
    return spread / (positives * negatives)


def _noncentrality(power: float, level: float, freedom: float = float("inf")) -> float:
    """Standard errors that a difference must measure to be found with the wanted chance."""
    wanted = check_share("power", power)
    edge = float(t.ppf((1 + check_share("level", level)) / 2, freedom))
    if wanted <= (1 - level) / 2:
        raise ConfigError(
            f"The 'power' parameter must exceed (1 - level) / 2. Got {power!r} for level {level!r} instead."
        )
    if np.isinf(freedom):
        return edge + float(norm.ppf(wanted))

    def missing(shift: float) -> float:
        return wanted - float(nct.sf(edge, freedom, shift))

    far = edge
    while missing(far) > 0:
        far *= 1.5
    return float(brentq(missing, 0.0, far))
