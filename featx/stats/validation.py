"""Checks that every function of this package makes on its arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import ConfigError, InputError

__all__ = ["BoolArray", "FloatArray", "IntArray", "binary", "check_share", "group_codes", "several"]


BoolArray = NDArray[np.bool_]


FloatArray = NDArray[np.float64]


IntArray = NDArray[np.int64]


def binary(actual: ArrayLike, scores: ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Check the labels and scores of a two-class problem.

    Parameters
    ----------
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Finite numbers, higher for positive.

    Returns
    -------
    actual : ndarray of bool, shape (n,)
    scores : ndarray of float64, shape (n,)

    Examples
    --------
    >>> binary([0, 1], [0.2, 3])
    (array([False,  True]), array([0.2, 3. ]))
    """
    labels, values = np.asarray(actual), _finite(scores)
    if labels.ndim != 1 or labels.shape != values.shape:
        raise InputError(
            f"actual and scores must be one-dimensional and of one length. Got shapes {labels.shape} and "
            f"{values.shape} instead."
        )
    if labels.dtype != bool and not np.isin(labels, (0, 1)).all():
        odd = labels[~np.isin(labels, (0, 1))][0]
        raise InputError(f"actual must hold 0 and 1 only. Got {odd} instead.")
    return labels.astype(bool), values


def several(targets: ArrayLike, scores: ArrayLike) -> tuple[IntArray, FloatArray]:
    """Check the class indices and scores of a problem of several classes.

    Parameters
    ----------
    targets : array_like of int, shape (n,)
        Index of the class of each row, 0 to k - 1.
    scores : array_like of shape (n, k)
        One finite score a class.

    Returns
    -------
    targets : ndarray of int64, shape (n,)
    scores : ndarray of float64, shape (n, k)

    Examples
    --------
    >>> several([1, 0], [[0, 1], [1, 0]])[0]
    array([1, 0])
    """
    labels, values = np.asarray(targets), _finite(scores)
    if labels.ndim != 1 or values.ndim != 2 or len(labels) != len(values) or values.shape[1] < 2:
        raise InputError(
            f"targets must have shape (n,) and scores (n, classes) with at least 2 classes. Got "
            f"{labels.shape} and {values.shape} instead."
        )
    numbers = labels.astype(np.int64)
    if len(numbers) and ((numbers != labels).any() or numbers.min() < 0 or numbers.max() >= values.shape[1]):
        raise InputError(
            f"targets must be class indices 0 to {values.shape[1] - 1}. Got values from {labels.min()} to "
            f"{labels.max()} instead."
        )
    return numbers, values


def group_codes(groups: ArrayLike, length: int) -> IntArray:
    """Number the groups of the rows, in sorted order of their names.

    Parameters
    ----------
    groups : array_like of shape (n,)
        Patient, case or lesion of each row.
    length : int
        How many rows there must be.

    Returns
    -------
    ndarray of int64, shape (n,)
        0 to number of groups - 1.

    Raises
    ------
    InputError
        If there is not one group for each row.

    Examples
    --------
    >>> group_codes(["b", "a", "b"], 3)
    array([1, 0, 1])
    """
    names = np.asarray(groups)
    if names.shape != (length,):
        raise InputError(
            f"groups must hold one name for each of {length} rows. Got shape {names.shape} instead."
        )
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def check_share(name: str, value: float) -> float:
    """Check a share that must lie strictly between 0 and 1.

    Parameters
    ----------
    name : str
        Parameter's name, for the message.
    value : float
        Its value.

    Returns
    -------
    float
        The value.

    Raises
    ------
    ConfigError
        If it is not between 0 and 1.

    Examples
    --------
    >>> check_share("level", 0.95)
    0.95
    """
    if not 0 < value < 1:
        raise ConfigError(
            f"The {name!r} parameter must be between 0 and 1, both excluded. Got {value!r} instead."
        )
    return float(value)


def _finite(scores: ArrayLike) -> FloatArray:
    """Convert scores to float64 and refuse what is not finite."""
    values = np.asarray(scores, dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        raise InputError(f"scores must be finite. Got {values[bad][0]} in row {row} instead.")
    return values
