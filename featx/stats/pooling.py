"""One score from several decision values: of the views of an image, or of the images of a group."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["POOLINGS", "pool_runs"]

POOLINGS = ("mean", "max", "extreme")


def pool_runs(
    values: npt.NDArray[np.floating[Any]], starts: npt.NDArray[np.integer[Any]], pooling: str
) -> npt.NDArray[Any]:
    """Pool runs of rows, each column by itself.

    Parameters
    ----------
    values : ndarray of float, shape (n,) or (n, k)
        Decision values around 0, those that are pooled together one behind the other.
    starts : ndarray of int, shape (m,)
        Row at which each run begins, rising from 0.
    pooling : str
        ``"mean"``, ``"max"``, or ``"extreme"``: the value farthest from 0, the positive one of two that are equally
        far (the pooling of Valle et al. 2020, Neurocomputing 383, 303-313).

    Returns
    -------
    ndarray of float, shape (m,) or (m, k)
        One value for each run and column.

    Examples
    --------
    >>> pool_runs(np.array([-3.0, 1.0, -2.0, 2.0]), np.array([0, 2]), "extreme").tolist()
    [-3.0, 2.0]
    """
    if pooling == "mean":
        sizes = np.diff(starts, append=len(values)).reshape(-1, *(1,) * (values.ndim - 1))
        return np.asarray(np.add.reduceat(values, starts, axis=0) / sizes)
    highest = np.maximum.reduceat(values, starts, axis=0)
    if pooling == "max":
        return np.asarray(highest)
    lowest = np.minimum.reduceat(values, starts, axis=0)
    return np.where(-lowest > highest, lowest, highest)
