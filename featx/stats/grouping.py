"""Patient-level or lesion-level scores: one score for each group of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from featx.errors import ConfigError, InputError, listing
from featx.stats.arms import FoldScores, fold_scores
from featx.stats.validation import FloatArray, IntArray, group_codes

__all__ = ["POOLINGS", "GroupScores", "pool_by_group", "pool_fold", "pool_rows"]


POOLINGS = ("mean", "max", "extreme")


def pool_rows(
    values: npt.NDArray[np.floating[Any]], starts: npt.NDArray[np.integer[Any]], pooling: str
) -> npt.NDArray[Any]:
    """Pool consecutive rows, each column separately.

    Parameters
    ----------
    values : ndarray of float, shape (n,) or (n, k)
        Decision values centred at 0; rows that are pooled together must be consecutive.
    starts : ndarray of int, shape (m,)
        First row of each set of rows, increasing from 0.
    pooling : str
        ``"mean"``, ``"max"``, or ``"extreme"``: the value with the largest magnitude, the positive one of a tie (Valle
        et al. 2020, Neurocomputing 383, 303-313).

    Returns
    -------
    ndarray of float, shape (m,) or (m, k)
        One value for each set of rows and each column.

    Examples
    --------
    >>> pool_rows(np.array([-3.0, 1.0, -2.0, 2.0]), np.array([0, 2]), "extreme").tolist()
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


@dataclass(frozen=True, eq=False)
class GroupScores:
    """Scores with one row for each group, sorted by name.

    Attributes
    ----------
    groups : tuple of str
        Names of the groups.
    actual : ndarray of int64, shape (groups,)
        Class index of each group.
    scores : ndarray of float64, shape (groups,) or (groups, k)
        Pooled scores.
    sizes : ndarray of int64, shape (groups,)
        Number of images in each group.
    mixed : tuple of str
        Groups with images of both classes; they count as positive.
    """

    groups: tuple[str, ...]
    actual: IntArray
    scores: FloatArray
    sizes: IntArray
    mixed: tuple[str, ...]


def pool_by_group(
    actual: ArrayLike, scores: ArrayLike, groups: ArrayLike, *, pooling: str = "mean"
) -> GroupScores:
    """Pool the scores of the images of each group.

    Parameters
    ----------
    actual : array_like of int, shape (n,)
        Class index of each image; 1 is positive in a two-class task.
    scores : array_like of shape (n,) or (n, k)
        Decision values centred at 0. ``"extreme"`` is not meaningful for probabilities, which are centred at 0.5.
    groups : array_like of shape (n,)
        Patient, case or lesion of each image.
    pooling : str
        ``"mean"``, ``"max"`` or ``"extreme"``, as in `pool_rows`. Each class is pooled separately.

    Returns
    -------
    GroupScores
        In a two-class task, a group is positive if at least one of its images is.

    Raises
    ------
    InputError
        If the lengths differ, or a group has images of different classes in a task with three or more classes.
    ConfigError
        If `pooling` is unknown.

    Examples
    --------
    >>> pooled = pool_by_group([0, 0, 1], [-2.0, 1.0, 0.5], ["a", "a", "b"], pooling="extreme")
    >>> pooled.groups, pooled.actual.tolist(), pooled.scores.tolist()
    (('a', 'b'), [0, 1], [-2.0, 0.5])
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"The 'pooling' parameter must be one of {POOLINGS}. Got {pooling!r} instead.")
    labels, values = np.asarray(actual).astype(np.int64), np.asarray(scores, dtype=np.float64)
    if labels.ndim != 1 or len(labels) != len(values) or not len(labels):
        raise InputError(
            f"actual and scores must have the same length, at least 1. Got {len(labels)} and {len(values)}."
        )
    codes = group_codes(groups, len(labels))
    names = np.unique(np.asarray(groups))
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    highest, lowest = (edge.reduceat(labels[order], starts) for edge in (np.maximum, np.minimum))
    mixed = [str(name) for name in names[highest != lowest]]
    if mixed and values.ndim > 1:
        raise InputError(
            "the images of a group must have the same class in a task with three or more classes. Groups with several "
            f"classes: {listing(mixed)}."
        )
    sizes = np.bincount(codes).astype(np.int64)
    return GroupScores(
        tuple(str(name) for name in names),
        highest,
        pool_rows(values[order], starts, pooling),
        sizes,
        tuple(mixed),
    )


def pool_fold(fold: FoldScores, *, pooling: str = "mean") -> FoldScores:
    """Pool the images of a fold by group, for patient-level or lesion-level evaluation.

    Parameters
    ----------
    fold : FoldScores
        A fold of one arm.
    pooling : str
        As in `pool_by_group`.

    Returns
    -------
    FoldScores
        One row per group, with the name of the group as its id. If only the number of training images is known, the
        number of training groups is estimated with the ratio of groups to images in the test set.

    Raises
    ------
    InputError, ConfigError
        As in `pool_by_group`.

    Examples
    --------
    >>> fold = fold_scores("1", ["x", "y", "z"], [0, 0, 1], [-2.0, 1.0, 0.5], groups=["a", "a", "b"])
    >>> pool_fold(fold).scores.tolist()
    [-0.5, 0.5]
    """
    pooled = pool_by_group(fold.actual, fold.scores, fold.groups, pooling=pooling)
    trained = fold.train_groups
    if trained is None and fold.train_size is not None:
        trained = max(1, round(fold.train_size * len(pooled.groups) / len(fold.ids)))
    return fold_scores(
        fold.name,
        pooled.groups,
        pooled.actual,
        pooled.scores,
        train_size=fold.train_size,
        train_groups=trained,
    )
