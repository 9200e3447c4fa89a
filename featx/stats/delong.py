"""DeLong's covariance of areas under the ROC curve, for independent rows and for rows in groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from .inputs import BoolArray, FloatArray, IntArray, binary, group_codes

__all__ = ["AucCovariance", "auc_warnings", "delong_covariance", "few_warning"]

_FEW = 10  # rows, or groups, of a class below which the normal approximation is warned about


@dataclass(frozen=True)
class AucCovariance:
    """Areas under the ROC curves of k scores of the same rows, with their covariance.

    Attributes
    ----------
    auc : ndarray of float64, shape (k,)
        NaN with one class only.
    covariance : ndarray of float64, shape (k, k)
        NaN with fewer than two rows (or groups) of a class.
    n, positives : int
        Rows, and those of the positive class.
    groups : int
        Independent units: rows, or groups of rows.
    fewest : int
        Independent units of the smaller class: its rows, or the groups that hold any of them.
    """

    auc: FloatArray
    covariance: FloatArray
    n: int
    positives: int
    groups: int
    fewest: int


def delong_covariance(actual: ArrayLike, scores: ArrayLike, groups: ArrayLike | None = None) -> AucCovariance:
    """Estimate the covariance of the areas of several scores of the same rows.

    DeLong, DeLong & Clarke-Pearson 1988 (Biometrics 44, 837-845), from midranks in O(n log n) as in Sun & Xu
    2014 (IEEE Signal Processing Letters 21, 1389-1393). With groups, rows of one group may depend on each
    other: the structural components are summed by group (Obuchowski 1997, Biometrics 53, 567-578); groups of
    one row give DeLong's result.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,) or (n, k)
        One column for each of k readers, models or arms.
    groups : array_like of shape (n,), optional
        Patient, case or lesion of each row; without it, rows are independent.

    Returns
    -------
    AucCovariance
        Areas and covariance.

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
    high, low = _components(labels, values)
    covariance = _independent(high, low) if codes is None else _grouped(labels, high, low, codes)
    return AucCovariance(high.mean(axis=0), covariance, len(labels), positives, units, fewest)


def auc_warnings(found: AucCovariance) -> tuple[str, ...]:
    """Say where the normal approximation of an area fails.

    Parameters
    ----------
    found : AucCovariance
        Areas and covariance.

    Returns
    -------
    tuple of str
        One sentence for each failed assumption.

    Examples
    --------
    >>> auc_warnings(delong_covariance([1, 1], [0, 1]))
    ('one class only: there is no area under the ROC curve',)
    """
    if not found.fewest:
        return ("one class only: there is no area under the ROC curve",)
    notes = []
    if not np.isfinite(found.covariance).all():
        notes.append("fewer than two independent rows of a class: there is no variance")
    elif (np.diagonal(found.covariance) <= 0).any():
        notes.append(
            "perfect separation or constant scores: the estimated variance is 0, which is no certainty"
        )
    if few := few_warning(found.fewest, grouped=found.groups < found.n):
        notes.append(f"{few}: the normal approximation is poor")
    return tuple(notes)


def few_warning(fewest: int, *, grouped: bool) -> str:
    """Say that a class has few independent units.

    Parameters
    ----------
    fewest : int
        Rows of the smaller class, or groups that hold any of them.
    grouped : bool
        Whether groups were counted.

    Returns
    -------
    str
        Empty from ten on.

    Examples
    --------
    >>> few_warning(5, grouped=True), few_warning(10, grouped=False)
    ('only 5 groups in the smaller class', '')
    """
    unit = ("group" if grouped else "row") + "s" * (fewest != 1)
    return f"only {fewest} {unit} in the smaller class" if fewest < _FEW else ""


def _components(labels: BoolArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Find for each positive the share of negatives below it, for each negative that of positives above."""
    high, low = values[labels], values[~labels]
    ranks = rankdata(values, axis=0)
    above = (ranks[labels] - rankdata(high, axis=0)) / len(low)
    below = 1 - (ranks[~labels] - rankdata(low, axis=0)) / len(high)
    return above, below


def _independent(high: FloatArray, low: FloatArray) -> FloatArray:
    """Covariance of the areas from components of independent rows."""
    total = np.zeros((high.shape[1], high.shape[1]))
    for part in (high, low):
        centred = part - part.mean(axis=0)
        total += centred.T @ centred / (len(part) * (len(part) - 1) if len(part) > 1 else np.nan)
    return total


def _grouped(labels: BoolArray, high: FloatArray, low: FloatArray, codes: IntArray) -> FloatArray:
    """Covariance of the areas from components summed by group."""
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
