"""Tables of subgroups: AUC, sensitivity and specificity in each level of a column, and the gaps between levels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from featx.reporting.series import Series
from featx.reporting.subgroup_columns import SubgroupColumn, levels
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Filled
from featx.stats import THRESHOLD_RULES, Subgroup, SubgroupRows, holm, subgroup_aucs

from .columns import CLASS, NOTE, PLACE, TESTED, bounded, place, tested_series
from .performance import THRESHOLD, ScoredRows, arm_cuts, missing_thresholds, scored_rows

__all__ = ["SUBGROUP_TABLES"]

_LEVEL = (Column("stratum", "Column", text=True), Column("level", "Value", text=True))
_GAP = (
    *bounded("difference", "Difference"),
    Column("adjusted p", "Adjusted p", least=0.001),
    Column("p", "p", least=0.001),
)
_SIZES = (
    *(Column("images", "Images"), Column("positives", "Positives")),
    *(Column("groups", "Groups"), Column("positive groups", "Positive groups")),
)
_Made = list[tuple[str, str, Subgroup]]


@dataclass(frozen=True, eq=False)
class _Case:
    """An arm on one test set, for one scored class, with the level of each row in each column."""

    arm: Series
    tested: str
    series: Series
    name: str
    rows: ScoredRows
    columns: tuple[_Levels, ...]


@dataclass(frozen=True, eq=False)
class _Levels:
    """The level of each row in a column, empty where it has none, and the order of the levels."""

    column: str
    names: NDArray[np.str_]
    order: tuple[str, ...]


def _cases(summary: Summary) -> Iterator[_Case]:
    for arm, tested, series in tested_series(summary):
        columns = tuple(_levels(series, column) for column in summary.subgroups)
        for name in series.scored:
            yield _Case(arm, tested, series, name, scored_rows(series, name), columns)


def _levels(series: Series, column: SubgroupColumn) -> _Levels:
    rows = (row for run in series.runs for row in run.predictions)
    names = [column.level(row.strata.get(column.name, "")) for row in rows]
    more = levels(set(names) - {*column.labels})  # values that only an external set has
    return _Levels(column.name, np.array(names, dtype=np.str_), (*column.labels, *more))


def subgroup_auc(summary: Summary) -> Filled:
    """Fill the table of the AUC in each level of the columns, with its difference from the reference level."""
    rows: list[tuple[Cell, ...]] = []
    for case in _cases(summary):
        scored: ScoredRows = case.rows
        made: _Made = []
        folds = np.zeros_like(scored.folds) if case.series.pooled else scored.folds
        for one in case.columns:
            kept = one.names != ""
            found = subgroup_aucs(
                *(one.names[kept], scored.actual[kept], scored.scores[kept]),
                images=scored.images[kept],
                groups=scored.groups[kept],
                folds=folds[kept],
                order=one.order,
            )
            made += [(one.column, "", level) for level in found]
        rows += [
            (*_which(case), column, one.level, *one.estimate, *gap, *_sizes(one), note)
            for column, _, one, gap, note in _adjusted(made)
        ]
    columns = (*PLACE, TESTED, CLASS, *_LEVEL, *bounded("auc", "AUC"), *_GAP, *_SIZES, NOTE)
    return Filled(columns, rows, _without(summary))


def subgroup_decisions(summary: Summary) -> Filled:
    """Fill the table of sensitivity and specificity at fixed thresholds in each level of the columns."""
    rows: list[tuple[Cell, ...]] = []
    for case in _cases(summary):
        cuts = arm_cuts(summary, case.series, case.name)
        for rule in THRESHOLD_RULES:
            made = _rates(case, np.array([cut[rule] for cut in cuts])[case.rows.folds])
            rows += [
                (*_which(case), rule, rate, column, one.level, *one.estimate, *gap, *_sizes(one), note)
                for column, rate, one, gap, note in _adjusted(made)
            ]
    columns = (
        *(*PLACE, TESTED, CLASS, THRESHOLD, Column("rate", "Rate", text=True), *_LEVEL),
        *(*bounded("value", "Value of the rate"), *_GAP, *_SIZES, NOTE),
    )
    return Filled(columns, rows, f"{_without(summary)} {missing_thresholds(summary)}".strip())


def _rates(case: _Case, limits: NDArray[np.float64]) -> _Made:
    """Estimate both rates at the threshold of each row's fold; rows without a threshold are left out."""
    right = (case.rows.scores >= limits) == case.rows.actual
    made: _Made = []
    for rate, positive in (("sensitivity", True), ("specificity", False)):
        for one in case.columns:
            kept = (one.names != "") & ~np.isnan(limits)
            found = _rows(case.rows, one, kept.tobytes()).rates(right[kept], positive=positive)
            made += [(one.column, rate, level) for level in found]
    return made


# The thresholds of an arm mostly leave out the same rows; as many tables as columns that one arm may have.
@lru_cache(maxsize=32)
def _rows(rows: ScoredRows, column: _Levels, mask: bytes) -> SubgroupRows:
    kept = np.frombuffer(mask, dtype=np.bool_)
    return SubgroupRows.of(
        column.names[kept], rows.actual[kept], rows.images[kept], rows.groups[kept], column.order
    )


def _adjusted(made: _Made) -> Iterator[tuple[str, str, Subgroup, tuple[Cell, ...], str | None]]:
    """Yield subgroups with the cells of their gap, p corrected by Holm's method over all of them, and their note."""
    tested = [one.p for _, _, one in made if not np.isnan(one.p)]
    corrected = iter(holm(tested).tolist())
    for stratum, rate, one in made:
        adjusted = None if np.isnan(one.p) else next(corrected)
        texts = (*("reference",) * one.reference, *one.warnings)
        yield stratum, rate, one, (*one.difference, adjusted, one.p), "; ".join(texts) or None


def _which(case: _Case) -> tuple[Cell, ...]:
    return (*place(case.arm), case.tested, case.name)


def _sizes(one: Subgroup) -> tuple[Cell, ...]:
    return one.images, one.positives, one.groups, one.positive_groups


def _without(summary: Summary) -> str:
    """Say how many test images have no value of a column, as those of the arm with most of them."""
    most: dict[tuple[str, str], int] = {}
    for _, tested, series in tested_series(summary):
        for column in summary.subgroups:
            lost = {
                row.id
                for run in series.runs
                for row in run.predictions
                if not column.level(row.strata.get(column.name, ""))
            }
            key = (column.name, tested)
            most[key] = max(most.get(key, 0), len(lost))
    return " ".join(
        f"Left out, without a value of {name}: {count} images of the {tested} test set."
        for (name, tested), count in most.items()
        if count
    )


_NEED = "a column with 2 to 12 values, or of numbers, or one of --subgroup"
_TESTS = (
    "Difference: from the reference level of the column and test set, whose smaller class has the most groups. Adjusted p: "
    "Holm's correction over all {over}. Levels with fewer than 10 groups of a class are shown, but not tested. Images and "
    "groups are counted once, even if several folds test them."
)

# Name, title, caption, needs and function of each table, as `TableEntry` has them.
SUBGROUP_TABLES: tuple[tuple[str, str, str, str, Callable[[Summary], Filled]], ...] = (
    (
        "subgroups",
        "Gaps in AUC between subgroups",
        "AUC: mean over the folds that have both classes of the level. Interval (logit scale) and test are DeLong's, with "
        "the rows of a group and the repeated tests of an image summed (Obuchowski 1997), and hold for these models and new "
        f"patients. {_TESTS.format(over='columns and levels of an arm, test set and class')}",
        _NEED,
        subgroup_auc,
    ),
    (
        "subgroup-rates",
        "Gaps in sensitivity and specificity between subgroups",
        "Thresholds are fixed on the training set, as in the table of fixed thresholds. Rates and Wilson's intervals are "
        "over all folds together; repeated test images and images of one group do not count as independent. Test: "
        "chi-square of the effective numbers of rows (Rao & Scott 1992); interval of the difference: Newcombe's. "
        f"{_TESTS.format(over='columns, levels and both rates of an arm, test set, class and threshold')}",
        f"{_NEED}; inner scores of the training set",
        subgroup_decisions,
    ),
)
