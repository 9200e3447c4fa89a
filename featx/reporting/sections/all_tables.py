"""The tables of a report, filled from a summary; mean, standard deviation and number of folds in each."""

from __future__ import annotations

import numpy as np

from featx.reporting.sections.comparisons import (
    anova_tables,
    p_matrices,
    pair_tables,
    power_table,
    rank_tables,
)
from featx.reporting.sections.images import mistake_table
from featx.reporting.sections.labels import (
    ARM,
    HOW,
    INTERVALS,
    NOTE,
    PLACE,
    SIZES,
    SPREAD,
    note,
    place,
    sizes,
    slugs,
    spread,
)
from featx.reporting.sections.performance import (
    calibration_table,
    confusion_tables,
    group_table,
    operating,
    threshold_tables,
)
from featx.reporting.sections.training import backbone_table, searches, size_table
from featx.reporting.series import natural
from featx.reporting.summary import BINNED, Summary, against, ahead, significant
from featx.reporting.tables import Cell, Column, Score, Table

__all__ = ["by_class", "by_fold", "by_stratum", "layout", "main_table", "tables"]


def main_table(summary: Summary) -> Table:
    """Fill the main table: AUC of every arm on every task, with its interval."""
    rows = [
        (*place(item.series), item.scored, *spread(item.spread), *note(item.spread))
        for item in summary.overall
    ]
    columns = (*PLACE, Column("scored", "Positive", text=True), *SPREAD, NOTE)
    return Table("auc", "AUC by task and arm", HOW + INTERVALS, columns, tuple(rows))


def layout(summary: Summary) -> Table:
    """Fill the table in the layout of papers: arms in rows, tasks in columns."""
    cells = {(item.series.arm, item.series.setting): item.spread for item in summary.overall}
    best: dict[tuple[str, str], float] = {}
    leader: dict[tuple[str, str], str] = {}
    for (arm, setting), total in cells.items():
        if total.mean > best.get(setting, -1.0):  # never true of an arm without an AUC
            best[setting], leader[setting] = total.mean, arm

    def mark(arm: str, setting: tuple[str, str]) -> str:
        pairs = (
            against(summary.comparisons[setting], leader[setting]) if setting in summary.comparisons else {}
        )
        below = arm in pairs and significant(pairs[arm]) and ahead(pairs[arm], leader[setting]) > 0
        return "†" if below else ""

    def cell(arm: str, setting: tuple[str, str]) -> Cell:
        total = cells.get((arm, setting))
        if total is None or not np.isfinite(total.mean):
            return None
        return Score(total.mean, total.sd, total.n, total.mean == best[setting], mark(arm, setting))

    rows = tuple((arm, *(cell(arm, setting) for setting in summary.settings)) for arm in summary.arms)
    columns = (
        ARM,
        *(Column(f"{task} {protocol}", f"{task} ({protocol})") for task, protocol in summary.settings),
    )
    text = (
        "Mean AUC ± standard deviation over the folds (number of folds). Bold: highest mean of the column. †: "
        "below it with p < 0.05, corrected for the number of pairs."
    )
    return Table("auc-by-arm", "AUC of arms by task", text, columns, rows)


def by_fold(summary: Summary) -> tuple[Table, ...]:
    """Fill a table for each task: AUC of every arm in every fold.

    Returns
    -------
    tuple of Table
        One a task and protocol; a fold is None where the arm has no run or no AUC in it.
    """
    made = []
    for setting, slug in slugs(summary).items():
        items = [item for item in summary.overall if item.series.setting == setting]
        folds = sorted({fold for item in items for fold in item.folds}, key=natural)
        rows = []
        for item in items:
            values = dict(zip(item.folds, item.auc, strict=True))
            rows.append((item.series.arm, *spread(item.spread), *(values.get(fold) for fold in folds)))
        columns = (ARM, *SPREAD, *(Column(f"fold {fold}", fold) for fold in folds))
        text = f"{HOW}{INTERVALS} Fold names: repeat x direction in 5x2."
        title = f"AUC by fold: {setting[0]} ({setting[1]})"
        made.append(Table(f"folds-{slug}", title, text, columns, tuple(rows)))
    return tuple(made)


def by_class(summary: Summary) -> Table | None:
    """Fill the table of one-vs-rest AUCs of tasks with several scored classes.

    Returns
    -------
    Table or None
        A row for each series and class; None where every task has two classes.
    """
    if not summary.classes:
        return None
    rows = [
        (
            *place(item.series),
            item.scored,
            *spread(item.spread),
            item.distinct[1],
            *note(item.spread),
        )
        for item in summary.classes
    ]
    columns = (
        *PLACE,
        Column("class", "Class", text=True),
        *(*SPREAD, Column("images", "Images"), NOTE),
    )
    text = (
        f"Each class against the rest. {HOW}{INTERVALS} Images: test images of the class, each counted once."
    )
    return Table("classes", "AUC by class", text, columns, tuple(rows))


def by_stratum(summary: Summary) -> Table | None:
    """Fill the table of AUCs by the values of the strata columns."""
    if not summary.strata:
        return None
    rows = [
        (
            *place(item.series),
            item.stratum,
            item.level,
            *spread(item.spread),
            *sizes(item.series, *item.distinct),
            *note(item.spread),
        )
        for item in summary.strata
    ]
    columns = (
        *PLACE,
        *(Column("stratum", "Column", text=True), Column("level", "Value", text=True)),
        *(*SPREAD, *SIZES, NOTE),
    )
    text = f"{HOW}{INTERVALS} Images and positives are counted once, in however many folds they are tested. {BINNED}"
    return Table("strata", "AUC by stratum", text, columns, tuple(rows))


def tables(summary: Summary) -> tuple[Table, ...]:
    """Fill every table of a report."""
    made = [layout(summary), main_table(summary), *by_fold(summary)]
    optional = (
        by_class,
        by_stratum,
        group_table,
        backbone_table,
        size_table,
        searches,
        mistake_table,
    )
    made += [table for fill in optional if (table := fill(summary))]
    power = power_table(summary)
    return (
        *made,
        operating(summary),
        *([calibration] if (calibration := calibration_table(summary)) else []),
        *threshold_tables(summary),
        *confusion_tables(summary),
        *pair_tables(summary),
        *p_matrices(summary),
        *rank_tables(summary),
        *([power] if power else []),
        *anova_tables(summary),
    )
