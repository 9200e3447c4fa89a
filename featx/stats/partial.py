"""Partial area under the ROC curve: the part of it at the specificities, or sensitivities, that matter."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import ConfigError

from .auc import roc_curve
from .inputs import FloatArray, binary

__all__ = ["partial_auc"]

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
