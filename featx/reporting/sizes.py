"""AUC against the size of the training part, where runs of one arm were trained on parts of different sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from featx.stats import FoldScores, FoldSummary, size_ratio, summarise_arm

from .columns import HOW, INTERVALS, PLACE, SPREAD, place, spread
from .series import Series
from .tables import Column, Table

if TYPE_CHECKING:
    from .summary import Summary

__all__ = ["Point", "clusters", "points", "size_table"]

# Folds of one protocol differ by a few groups: sizes this near count as one.
_NEAR = 1.1


@dataclass(frozen=True)
class Point:
    """An arm trained on parts of about one size.

    Attributes
    ----------
    series : Series
        The arm on its task and protocol.
    folds : tuple of FoldScores
        Its folds of this size.
    images : int
        Mean number of training images.
    total : FoldSummary
        AUC over these folds.
    """

    series: Series
    folds: tuple[FoldScores, ...]
    images: int
    total: FoldSummary


def clusters(folds: Sequence[FoldScores]) -> list[tuple[FoldScores, ...]]:
    """Sort folds by the size of their training parts, sizes within a tenth of the smallest together.

    Parameters
    ----------
    folds : sequence of FoldScores
        Folds of one arm.

    Returns
    -------
    list of tuple of FoldScores
        Smallest first; folds of unknown size are left out.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> folds = [fold_scores(str(size), ["a"], [1], [0.1], train_size=size) for size in (200, 100, 104)]
    >>> [[fold.train_size for fold in part] for part in clusters(folds)]
    [[100, 104], [200]]
    """
    made: list[list[FoldScores]] = []
    for fold in sorted((fold for fold in folds if fold.train_size), key=_size):
        if made and _size(fold) <= _NEAR * _size(made[-1][0]):
            made[-1].append(fold)
        else:
            made.append([fold])
    return [tuple(part) for part in made]


def _size(fold: FoldScores) -> int:
    return fold.train_size or 0


def points(summary: Summary) -> dict[tuple[str, str], tuple[Point, ...]]:
    """Find the arms whose runs were trained on parts of different sizes.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    dict of (task, arm) to tuple of Point
        Smallest training parts first, over all protocols and folds; arms of one size are left out.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    for series in summary.series:
        for part in clusters(series.scores):
            images = round(float(np.mean([_size(fold) for fold in part])))
            total = summarise_arm(part, ratio=size_ratio(part))
            found.setdefault((series.task, series.arm), []).append(Point(series, part, images, total))
    return {
        key: tuple(sorted(several, key=lambda point: point.images))
        for key, several in found.items()
        if max(point.images for point in several) > _NEAR * min(point.images for point in several)
    }


def size_table(summary: Summary) -> Table | None:
    """Fill the table of AUC by the size of the training part.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each arm and size; None where every arm was trained on one size alone.
    """
    rows = [
        (*place(point.series), point.images, *spread(point.total))
        for several in points(summary).values()
        for point in several
    ]
    if not rows:
        return None
    columns = (
        *PLACE,
        Column("images", "Training images"),
        *SPREAD,
    )
    note = (
        "Training images: mean over the folds, as the runs recorded them; folds whose sizes are within a tenth stand "
        f"together. {HOW}{INTERVALS} Protocols test different parts, so only large steps between them mean something."
    )
    return Table("training-sizes", "AUC by training-set size", note, columns, tuple(rows))
