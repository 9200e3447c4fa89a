"""The table of metrics with one score for a group: what an arm says of a patient or lesion with several images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featx.stats import POOLINGS, Confusion, FoldScores, confusion, pool_fold, summarise_arm

from .columns import HOW, INTERVALS, PLACE, SPREAD, place, spread
from .operating import METRICS, over_folds
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Score, Table
from .thresholds import cuts, missing_thresholds

__all__ = ["group_table"]

# Thresholds fixed on the training part whose results the table holds.
_RULES = ("0.90 sensitivity", "0.90 specificity")


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
        *(
            Column(f"{rate} at fixed {rule}", f"{rate.capitalize()[:4]}. at the threshold for {rule}")
            for rule in _RULES
            for rate in ("sensitivity", "specificity")
        ),
    )
    note = (
        "A patient's, case's or lesion's images give one score: their mean, their highest decision value, or the one "
        "farthest from 0 (extreme). A group is positive if one of its images is. Groups are summed over the folds. "
        f"{HOW}{INTERVALS} Other metrics as in the table of further metrics; thresholds as in the table of fixed "
        f"thresholds, on scores pooled in the same way.{missing_thresholds(summary)}"
    )
    return Table("groups", "One score for each group", note, columns, tuple(rows))


def _row(series: Series, name: str, pooling: str) -> tuple[Cell, ...]:
    folds = [pool_fold(fold, pooling=pooling) for fold in series.against_rest(name)]
    total = summarise_arm(folds)
    return (
        *place(series),
        *(name, pooling),
        *spread(total),
        *(sum(len(fold.ids) for fold in folds), int(sum(fold.actual.sum() for fold in folds))),
        *(_metric(folds, column) for column in METRICS),
        *_fixed(series, folds, name, pooling),
    )


def _metric(folds: list[FoldScores], name: str) -> Score:
    return over_folds([METRICS[name][1](fold.actual == 1, fold.scores) for fold in folds])


def _fixed(series: Series, folds: list[FoldScores], name: str, pooling: str) -> list[Score]:
    """Say what thresholds give that were fixed on the training part, its scores pooled in the same way."""
    fixed = [cuts(rows, name, pooling) for rows in series.inner]
    cells = []
    for rule in _RULES:
        limits = _limits(series, folds, [cut[rule] for cut in fixed])
        found = [_decided(fold, limit) for fold, limit in zip(folds, limits, strict=True)]
        for rate in ("sensitivity", "specificity"):
            cells.append(over_folds([getattr(one, rate, float("nan")) for one in found]))
    return cells


def _limits(series: Series, folds: list[FoldScores], fixed: list[float]) -> list[NDArray[np.float64]]:
    """Give each group of each fold the threshold of the run that scored it; pooled folds have those of several."""
    if not series.pooled:
        return [np.full(len(fold.ids), cut) for fold, cut in zip(folds, fixed, strict=True)]
    own = {row.group: cut for cut, run in zip(fixed, series.runs, strict=True) for row in run.predictions}
    return [np.array([own[name] for name in fold.ids]) for fold in folds]


def _decided(fold: FoldScores, limits: NDArray[np.float64]) -> Confusion | None:
    known = ~np.isnan(limits)
    if not known.any():
        return None
    return confusion(fold.actual[known] == 1, fold.scores[known] >= limits[known])
