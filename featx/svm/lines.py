"""Line searches for squared hinge: the minimum of each of several objectives along its own direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Lines", "line_minima"]

Floats = npt.NDArray[np.float64]

_STEPS = 40
_PRECISION = 1e-10


@dataclass(frozen=True, eq=False)
class Lines:
    """Objectives along lines, one for each problem: ``slope t + curve t^2 / 2 + sum c max(0, room - t gain)^2``.

    Attributes
    ----------
    slope, curve : ndarray of float64, shape (m,)
        First and second derivative of the norm's part.
    room : ndarray of float64, shape (n, m)
        ``1 - y f`` of each row at the beginning of the line.
    gain : ndarray of float64, shape (n, m)
        How much a step of length 1 takes from it.
    costs : ndarray of float64, shape (n, m)
        Cost of each row's loss.
    """

    slope: Floats
    curve: Floats
    room: Floats
    gain: Floats
    costs: Floats


def line_minima(lines: Lines) -> Floats:
    """Find the length of step that minimises each objective.

    The derivative is piecewise linear and rises: Newton's method within a bracket ends in a few steps.

    Parameters
    ----------
    lines : Lines
        The objectives.

    Returns
    -------
    ndarray of float64, shape (m,)
        Lengths.

    Examples
    --------
    >>> one = np.ones((1, 1))
    >>> line_minima(Lines(np.zeros(1), np.ones(1), one, one, one)).round(4).tolist()
    [0.6667]
    """
    count = len(lines.slope)
    length, low, high = np.ones(count), np.zeros(count), np.full(count, np.inf)
    for _ in range(_STEPS):
        slack = lines.room - length * lines.gain
        part = np.where(slack > 0.0, lines.costs * lines.gain, 0.0)
        first = lines.slope + length * lines.curve - 2.0 * np.einsum("ij,ij->j", part, slack)
        second = lines.curve + 2.0 * np.einsum("ij,ij->j", part, lines.gain)
        low, high = np.where(first < 0.0, length, low), np.where(first < 0.0, high, length)
        longer = length - first / np.where(second > 0.0, second, 1.0)
        outside = (second <= 0.0) | (longer < low) | (longer > high)
        middle = np.where(np.isinf(high), 2.0 * length, 0.5 * (low + np.where(np.isinf(high), low, high)))
        longer = np.where(outside, middle, longer)
        if (np.abs(longer - length) <= _PRECISION * length).all():
            break
        length = longer
    return length
