"""Proportions with intervals, of rows that may be repeated or come in groups; predictive values from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import norm, t

from .inputs import FloatArray, check_share, group_codes

__all__ = ["Estimate", "predictive_values", "proportion", "wilson"]


class Estimate(NamedTuple):
    """A value and its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        NaN where there is no value, or no interval.
    """

    value: float
    low: float
    high: float


def wilson(shares: ArrayLike, counts: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Wilson's 95 % interval of proportions (Wilson 1927, J. American Statistical Association 22, 209-212).

    Parameters
    ----------
    shares : array_like of shape (n,)
        Proportions.
    counts : array_like of shape (n,)
        Independent rows behind each; need not be whole.

    Returns
    -------
    low, high : ndarray of float64, shape (n,)

    Examples
    --------
    >>> low, high = wilson([0.5], [10])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.237], [0.763])
    """
    share, count = np.asarray(shares, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    z = float(norm.ppf(0.975))
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return np.clip(centre - reach, 0.0, 1.0), np.clip(centre + reach, 0.0, 1.0)


def proportion(hits: ArrayLike, images: ArrayLike | None = None, groups: ArrayLike | None = None) -> Estimate:
    """Estimate a proportion of rows, some of which may be of one image or of one patient.

    Wilson's interval, for independent rows with their number. Rows that depend on one another count for less: the
    variance of the proportion is estimated between groups (by linearisation, Cochran 1977, Sampling Techniques), and
    the interval is Wilson's for as many independent rows as would have that variance (Korn & Graubard 1998, Survey
    Methodology 24, 193-201; compared in Dean & Pagano 2015, J. Survey Statistics and Methodology 3, 484-503). Unlike
    a bootstrap it has a width where all groups agree.

    Parameters
    ----------
    hits : array_like of shape (n,)
        True or 1 for a hit, False or 0 for none.
    images : array_like of shape (n,), optional
        Image of each row, where images are tested more than once. There are never more independent rows than images.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; its image where left out.

    Returns
    -------
    Estimate
        NaN throughout without rows.

    Examples
    --------
    >>> [round(value, 3) for value in proportion([1, 1, 0, 1])]
    [0.75, 0.301, 0.954]
    >>> [round(value, 3) for value in proportion([1, 1, 0, 1, 1, 1], images=["a", "a", "b", "c", "d", "d"])]
    [0.833, 0.198, 0.99]
    """
    values = np.asarray(hits, dtype=np.float64)
    count = len(values)
    if not count:
        return Estimate(float("nan"), float("nan"), float("nan"))
    rows = np.arange(count) if images is None else group_codes(images, count)
    codes = rows if groups is None else group_codes(groups, count)
    share = float(values.mean())
    low, high = wilson([share], [_independent(values - share, share, rows, codes)])
    return Estimate(share, float(low[0]), float(high[0]))


def _independent(residuals: FloatArray, share: float, images: np.ndarray, codes: np.ndarray) -> float:
    """Count the independent rows that would have the variance between groups."""
    count, clusters = len(residuals), len(np.unique(codes))
    if clusters == count:
        return float(count)
    spread = float((np.bincount(codes, weights=residuals) ** 2).sum())
    if share in (0.0, 1.0) or clusters == 1:  # nothing differs: groups are what is independent for sure
        return float(clusters)
    variance = clusters / (clusters - 1) * spread / count**2
    few = float((norm.ppf(0.975) / t.ppf(0.975, clusters - 1)) ** 2)
    most = float(len(np.unique(images)))
    return min(most, few * share * (1 - share) / variance) if variance > 0 else most


def predictive_values(
    sensitivity: Estimate, specificity: Estimate, prevalence: float
) -> tuple[Estimate, Estimate]:
    """Predictive values that a sensitivity and a specificity give at a prevalence.

    Bayes' rule: with prevalence q the positive predictive value is ``q / (q + (1 - q) r)`` for
    ``r = (1 - specificity) / sensitivity``, and the negative one likewise for ``(1 - sensitivity) / specificity``. The
    interval of such a ratio comes from those of its parts, taken as independent (Donner & Zou 2012, Statistical
    Methods in Medical Research 21, 347-359).

    Parameters
    ----------
    sensitivity, specificity : Estimate
        With their intervals.
    prevalence : float
        Share of positives among those to be tested.

    Returns
    -------
    positive, negative : Estimate
        Predictive values; NaN where nothing would be called positive, or negative.

    Raises
    ------
    ConfigError
        If `prevalence` is not between 0 and 1.

    Examples
    --------
    >>> positive, negative = predictive_values(Estimate(0.9, 0.8, 0.95), Estimate(0.8, 0.75, 0.85), 0.1)
    >>> [round(value, 3) for value in positive], [round(value, 3) for value in negative]
    ([0.333, 0.28, 0.401], [0.986, 0.973, 0.993])
    """
    share = check_share("prevalence", prevalence)
    odds = (1 - share) / share
    positive = _ratio(_other(specificity), sensitivity)
    negative = _ratio(_other(sensitivity), specificity)
    return _inverted(positive, odds), _inverted(negative, 1 / odds)


def _other(one: Estimate) -> Estimate:
    return Estimate(1 - one.value, 1 - one.high, 1 - one.low)


def _inverted(ratio: Estimate, odds: float) -> Estimate:
    return Estimate(*(1 / (1 + odds * value) for value in (ratio.value, ratio.high, ratio.low)))


def _ratio(top: Estimate, bottom: Estimate) -> Estimate:
    """Divide two estimates of proportions."""
    if not bottom.value > 0:
        none = float("inf") if top.value > 0 else float("nan")
        return Estimate(none, float("nan"), float("nan"))
    product = top.value * bottom.value

    def end(numerator: float, denominator: float, side: int) -> float:
        scale = denominator * (2 * bottom.value - denominator)
        part = numerator * (2 * top.value - numerator)
        if abs(scale) < 1e-12:
            return part / (2 * product) if product else 0.0
        return (product + side * float(np.sqrt(max(product**2 - part * scale, 0.0)))) / scale

    return Estimate(
        top.value / bottom.value, max(0.0, end(top.low, bottom.high, -1)), end(top.high, bottom.low, 1)
    )
