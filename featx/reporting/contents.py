"""The tables of a report, filled from a summary; mean, standard deviation and number of folds in each."""

from __future__ import annotations

import numpy as np

from .columns import ARM, HOW, INTERVALS, PLACE, SIZES, SPREAD, place, sizes, spread
from .comparisons import p_matrices, pair_tables, rank_tables
from .costs import backbone_table
from .factors import anova_tables
from .groups import group_table
from .mistakes import mistake_table
from .names import slugs
from .operating import operating
from .pairs import LEVEL, against
from .power import power_table
from .searches import searches
from .series import natural
from .sizes import size_table
from .summary import Summary
from .tables import Cell, Column, Score, Table

__all__ = ["by_class", "by_fold", "by_stratum", "layout", "main_table", "tables"]


def main_table(summary: Summary) -> Table:
    """Fill the main table: AUC of every arm on every task, with its interval.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table
        A row for each series.
    """
    rows = [(*place(item.series), item.scored, *spread(item.spread)) for item in summary.overall]
    columns = (*PLACE, Column("scored", "Positive", text=True), *SPREAD)
    return Table("auc", "AUC by task and arm", HOW + INTERVALS, columns, tuple(rows))


def layout(summary: Summary) -> Table:
    """Fill the table in the layout of papers: arms in rows, tasks in columns.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table
        `Score` cells, the best mean of each column in bold.
    """
    cells = {(item.series.arm, item.series.setting): item.spread for item in summary.overall}
    best = {
        setting: max((cells[arm, key].mean for arm, key in cells if key == setting), default=float("nan"))
        for setting in summary.settings
    }

    leader = {
        setting: next(arm for arm, key in cells if key == setting and cells[arm, key].mean == best[setting])
        for setting in summary.settings
        if np.isfinite(best[setting])
    }

    def mark(arm: str, setting: tuple[str, str]) -> str:
        pairs = (
            against(summary.comparisons[setting], leader[setting]) if setting in summary.comparisons else {}
        )
        return "†" if arm in pairs and pairs[arm].adjusted_p < LEVEL else ""

    def cell(arm: str, setting: tuple[str, str]) -> Cell:
        total = cells.get((arm, setting))
        if total is None or setting not in leader:
            return None
        return Score(total.mean, total.sd, total.n, total.mean == best[setting], mark(arm, setting))

    rows = tuple((arm, *(cell(arm, setting) for setting in summary.settings)) for arm in summary.arms)
    columns = (
        ARM,
        *(Column(f"{task} {protocol}", f"{task} ({protocol})") for task, protocol in summary.settings),
    )
    note = (
        "Mean AUC ± standard deviation over the folds (number of folds). Bold: highest mean of the column. †: "
        "below it with p < 0.05, corrected for the number of pairs."
    )
    return Table("auc-by-arm", "AUC of arms by task", note, columns, rows)


def by_fold(summary: Summary) -> tuple[Table, ...]:
    """Fill a table for each task: AUC of every arm in every fold.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        One a task and protocol; a fold is None where the arm has no run or no AUC in it.
    """
    made = []
    for setting, slug in slugs(summary).items():
        items = [item for item in summary.overall if item.series.setting == setting]
        folds = sorted({fold for item in items for fold in item.series.folds}, key=natural)
        rows = []
        for item in items:
            values = dict(zip(item.series.folds, item.auc, strict=True))
            rows.append((item.series.arm, *spread(item.spread), *(values.get(fold) for fold in folds)))
        columns = (ARM, *SPREAD, *(Column(f"fold {fold}", fold) for fold in folds))
        note = f"{HOW}{INTERVALS} Fold names: repeat x direction in 5x2."
        title = f"AUC by fold: {setting[0]} ({setting[1]})"
        made.append(Table(f"folds-{slug}", title, note, columns, tuple(rows)))
    return tuple(made)


def by_class(summary: Summary) -> Table | None:
    """Fill the table of one-vs-rest AUCs of tasks with several scored classes.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

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
            sum(item.positives),
        )
        for item in summary.classes
    ]
    columns = (
        *PLACE,
        Column("class", "Class", text=True),
        *SPREAD,
        Column("images", "Images"),
    )
    note = f"Each class against the rest. {HOW}{INTERVALS} Images: test images of the class, summed over the folds."
    return Table("classes", "AUC by class", note, columns, tuple(rows))


def by_stratum(summary: Summary) -> Table | None:
    """Fill the table of AUCs by the values of the strata columns.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each series, column and value; None where there are none.
    """
    if not summary.strata:
        return None
    rows = [
        (
            *place(item.series),
            item.stratum,
            item.level,
            *spread(item.spread),
            *sizes(item.series, sum(item.images), sum(item.positives)),
        )
        for item in summary.strata
    ]
    columns = (
        *PLACE,
        *(Column("stratum", "Column", text=True), Column("level", "Value", text=True)),
        *SPREAD,
        *SIZES,
    )
    note = (
        f"{HOW}{INTERVALS} Images and positives are summed over the folds, so an image that is tested in several folds "
        "counts each time."
    )
    return Table("strata", "AUC by stratum", note, columns, tuple(rows))


def tables(summary: Summary) -> tuple[Table, ...]:
    """Fill every table of a report.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        In the order of the page.
    """
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
        *pair_tables(summary),
        *p_matrices(summary),
        *rank_tables(summary),
        *([power] if power else []),
        *anova_tables(summary),
    )
