"""The tables of a report, filled from a summary; mean, standard deviation and number of folds in each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .comparisons import p_matrices, pair_tables
from .mistakes import mistake_table
from .names import slugs
from .operating import operating
from .pairs import against
from .records import Search, searches_of
from .series import Series, natural
from .summary import Measure, Summary
from .tables import Cell, Column, Score, Table
from .words import LEVEL

__all__ = ["by_class", "by_fold", "by_stratum", "layout", "main_table", "searches", "tables"]

_TASK = Column("task", "Task", text=True)
_PROTOCOL = Column("protocol", "Protocol", text=True)
_ARM = Column("arm", "Arm", text=True)
_SPREAD = (
    Column("mean", "AUC"),
    Column("sd", "SD"),
    Column("folds", "Folds"),
    Column("undefined", "No AUC"),
)
_INTERVAL = (Column("low", "95 % low"), Column("high", "95 % high"))
_HOW = (
    "AUC: mean over the folds' test parts; SD: standard deviation over the folds (n − 1). No AUC: folds whose test part holds one "
    "class only; they enter neither."
)
_INTERVALS = (
    " The interval is the corrected resampled t interval (Nadeau & Bengio 2003), which allows for training parts "
    "that overlap; there is none for a single fold."
)


def _numbers(item: Measure) -> tuple[Cell, ...]:
    total = item.spread
    return total.mean, total.sd, total.n, total.undefined


def _place(series: Series) -> tuple[Cell, ...]:
    return series.task, series.protocol, series.arm


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
    rows = [
        (*_place(item.series), item.scored, *_numbers(item), item.spread.low, item.spread.high)
        for item in summary.overall
    ]
    columns = (_TASK, _PROTOCOL, _ARM, Column("scored", "Positive", text=True), *_SPREAD, *_INTERVAL)
    return Table("auc", "AUC by task and arm", _HOW + _INTERVALS, columns, tuple(rows))


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
        _ARM,
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
            rows.append((item.series.arm, *(values.get(fold) for fold in folds), *_numbers(item)))
        columns = (_ARM, *(Column(f"fold {fold}", fold) for fold in folds), *_SPREAD)
        note = f"{_HOW} Fold names: repeat x direction in 5x2."
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
        (*_place(item.series), item.scored, sum(item.positives), *_numbers(item)) for item in summary.classes
    ]
    columns = (
        _TASK,
        _PROTOCOL,
        _ARM,
        Column("class", "Class", text=True),
        Column("images", "Images"),
        *_SPREAD,
    )
    note = f"Each class against the rest. {_HOW} Images: test images of the class, summed over the folds."
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
            *_place(item.series),
            item.stratum,
            item.level,
            sum(item.images),
            sum(item.positives),
            *_numbers(item),
        )
        for item in summary.strata
    ]
    columns = (
        *(_TASK, _PROTOCOL, _ARM),
        *(Column("stratum", "Column", text=True), Column("level", "Value", text=True)),
        *(Column("images", "Images"), Column("positives", "Positives")),
        *_SPREAD,
    )
    note = (
        f"{_HOW} Images and positives are summed over the folds, so an image that is tested in several folds "
        "counts each time; in tasks of several classes, positives are those of the rarest class."
    )
    return Table("strata", "AUC by stratum", note, columns, tuple(rows))


def searches(summary: Summary) -> Table | None:
    """Fill the table of the values of C that inner cross-validation chose.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each series that was trained with a search; None where there was none.
    """
    rows = []
    for series in summary.series:
        found = [item for run in series.runs for item in searches_of(run.record)]
        if found:
            rows.append(
                (
                    *_place(series),
                    _chosen(found),
                    *_logs(found),
                    sum(item.edge != "" for item in found),
                    *_fits(series),
                    len(series.runs),
                )
            )
    if not rows:
        return None
    columns = (
        *(_TASK, _PROTOCOL, _ARM, Column("chosen", "C chosen (times)", text=True)),
        *(Column("log10_mean", "log10 C", 2), Column("log10_sd", "SD", 2)),
        *(
            Column("edges", "At edge"),
            Column("fits", "Fits"),
            Column("not_converged", "Not converged"),
            Column("folds", "Folds"),
        ),
    )
    note = (
        "C is chosen inside the training part of each fold, in tasks of several classes for each class. log10 C: mean "
        "over the folds. At edge: choices at an edge of the grid, beyond which a better C may lie. Fits: of the "
        "search and of the final SVMs."
    )
    return Table("search", "Choice of C", note, columns, tuple(rows))


def _chosen(found: Sequence[Search]) -> str:
    counts = Counter(item.chosen for item in found)
    return ", ".join(f"{value:g} ({counts[value]})" for value in sorted(counts))


def _logs(found: Sequence[Search]) -> tuple[float, float | None]:
    values = np.log10([item.chosen for item in found])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _fits(series: Series) -> tuple[Cell, Cell]:
    counts = [run.record.convergence for run in series.runs if "fits" in run.record.convergence]
    if not counts:
        return None, None
    return sum(item["fits"] for item in counts), sum(item["not_converged"] for item in counts)


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
    optional = (by_class(summary), by_stratum(summary), searches(summary), mistake_table(summary))
    made += [table for table in optional if table]
    return (
        *made,
        operating(summary),
        *pair_tables(summary),
        *p_matrices(summary),
    )
