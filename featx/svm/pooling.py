"""One score from several: of the views of an image, or of the images of a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import TaskError
from featx.runs import Prediction
from featx.stats import pool_runs

__all__ = ["pool_groups", "pool_scores"]


def pool_scores(scores: npt.NDArray[np.floating[Any]], pool: str) -> npt.NDArray[Any]:
    """Pool scores over their second axis.

    Parameters
    ----------
    scores : ndarray of float, shape (n, views, c)
        Decision values.
    pool : str
        As `featx.stats.grouping.pool_runs` takes it.

    Returns
    -------
    ndarray of float, shape (n, c)
        One score for each row and column.

    Examples
    --------
    >>> pool_scores(np.array([[[-3.0], [1.0], [2.0]]]), "extreme").tolist()
    [[-3.0]]
    """
    count, views, columns = scores.shape
    return pool_runs(scores.reshape(-1, columns), np.arange(0, count * views, views), pool)


def pool_groups(
    predictions: Sequence[Prediction], pool: str, positive: str | None = None
) -> list[Prediction]:
    """Make one prediction for each group.

    Parameters
    ----------
    predictions : sequence of Prediction
        One for each image.
    pool : str
        As for `pool_scores`.
    positive : str, optional
        In a two-class task the positive class: a group with one positive image is positive.

    Returns
    -------
    list of Prediction
        One for each group, under the group's name, sorted by it. A stratum in which its images differ is empty.

    Raises
    ------
    TaskError
        If a group holds several classes and there is no positive one.
    """
    groups: dict[str, list[Prediction]] = {}
    for row in predictions:
        groups.setdefault(row.group, []).append(row)
    return [_pooled(name, groups[name], pool, positive) for name in sorted(groups)]


def _pooled(name: str, rows: list[Prediction], pool: str, positive: str | None) -> Prediction:
    classes = sorted({row.actual for row in rows})
    if len(classes) > 1 and positive not in classes:
        raise TaskError(
            f"group {name} holds images of {', '.join(classes)}, so that it has no class of its own; score by image"
        )
    actual = classes[0] if len(classes) == 1 else str(positive)
    scores = np.array([list(row.scores.values()) for row in rows])
    pooled = pool_scores(scores[None], pool)[0]
    strata = {key: {row.strata[key] for row in rows} for key in rows[0].strata}
    return Prediction(
        id=name,
        fold=rows[0].fold,
        group=name,
        actual=actual,
        scores=dict(zip(rows[0].scores, pooled.tolist(), strict=True)),
        strata={key: values.pop() if len(values) == 1 else "" for key, values in strata.items()},
    )
