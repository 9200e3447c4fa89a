"""The table of metrics with one score for a group: what an arm says of a patient or lesion with several images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from featx.stats.arms import FoldScores, summarise_arm
from featx.stats.grouping import POOLINGS, pool_fold
from featx.stats.intervals import summarise_folds

from .columns import HOW, INTERVALS, PLACE, SPREAD, place, spread
from .operating import METRICS
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Score, Table

__all__ = ["group_table"]


def group_table(summary: Summary) -> Table | None:
    """Fill the table of metrics by group.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each series, scored class and way to one score a group; None where every group has one image.
    """
    rows = [
        _row(series, name, pooling)
        for series in summary.series
        if any(len(set(fold.groups)) < len(fold.ids) for fold in series.scores)
        for name in series.scored
        for pooling in POOLINGS
    ]
    if not rows:
        return None
    columns = (
        *PLACE,
        *(Column("class", "Positive", text=True), Column("pooling", "Score of a group", text=True)),
        *SPREAD,
        *(Column("groups", "Groups"), Column("positives", "Positive groups")),
        *(Column(name, title) for name, (title, _) in METRICS.items()),
    )
    note = (
        "A patient's, case's or lesion's images give one score: their mean, their highest decision value, or the one "
        "farthest from 0 (extreme). A group is positive if one of its images is. Groups are summed over the folds. "
        f"{HOW}{INTERVALS} Other metrics as in the table of further metrics."
    )
    return Table("groups", "One score for each group", note, columns, tuple(rows))


def _row(series: Series, name: str, pooling: str) -> tuple[Cell, ...]:
    folds = [pool_fold(fold, pooling=pooling) for fold in _against_rest(series, name)]
    total = summarise_arm(folds)
    return (
        *place(series),
        *(name, pooling),
        *spread(total),
        *(sum(len(fold.ids) for fold in folds), int(sum(fold.actual.sum() for fold in folds))),
        *(_metric(folds, column) for column in METRICS),
    )


def _against_rest(series: Series, name: str) -> list[FoldScores]:
    """Turn a task of several classes into one class against the rest; one of two classes is so already."""
    if len(series.scored) == 1:
        return list(series.scores)
    place = series.scored.index(name)
    return [
        replace(fold, actual=(fold.actual == place).astype(np.int64), scores=fold.scores[:, place])
        for fold in series.scores
    ]


def _metric(folds: list[FoldScores], name: str) -> Score:
    total = summarise_folds([METRICS[name][1](fold.actual == 1, fold.scores) for fold in folds], ratio=None)
    return Score(total.mean, total.sd, total.n)
