"""Tables of the AUC: by task and arm, by fold, by class and by subgroup."""

from __future__ import annotations

import numpy as np

from featx.data import natural
from featx.reporting.summary import Summary, against, ahead, significant
from featx.reporting.tables import Cell, Column, Filled, Score

from .columns import ARM, NOTE, PLACE, SIZES, SPREAD, note, place, sizes, spread

__all__ = ["by_arm", "by_class", "by_fold", "by_subgroup", "by_task"]


def by_task(summary: Summary) -> Filled:
    """Fill the main table: AUC of every arm on every task, with its interval."""
    rows = [
        (*place(item.series), item.scored, *spread(item.spread), *note(item.spread))
        for item in summary.overall
    ]
    return Filled((*PLACE, Column("scored", "Positive class", text=True), *SPREAD, NOTE), rows)


def by_arm(summary: Summary) -> Filled:
    """Fill the table in the layout of papers: arms in rows, tasks in columns."""
    cells = {(item.series.arm, item.series.setting): item.spread for item in summary.overall}
    best: dict[tuple[str, str], float] = {}
    leader: dict[tuple[str, str], str] = {}
    for (arm, setting), total in cells.items():
        if total.mean > best.get(setting, -1.0):  # never true of an arm without an AUC
            best[setting], leader[setting] = total.mean, arm

    others = {
        setting: against(summary.comparisons[setting], arm)
        for setting, arm in leader.items()
        if setting in summary.comparisons
    }

    def mark(arm: str, setting: tuple[str, str]) -> str:
        pairs = others.get(setting, {})
        below = arm in pairs and significant(pairs[arm]) and ahead(pairs[arm], leader[setting]) > 0
        return "†" if below else ""

    def cell(arm: str, setting: tuple[str, str]) -> Cell:
        total = cells.get((arm, setting))
        if total is None or not np.isfinite(total.mean):
            return None
        return Score(total.mean, total.sd, total.n, total.mean == best[setting], mark(arm, setting))

    rows = [(arm, *(cell(arm, setting) for setting in summary.settings)) for arm in summary.arms]
    tasks = [Column(f"{task} {protocol}", f"{task} ({protocol})") for task, protocol in summary.settings]
    return Filled((ARM, *tasks), rows)


def by_fold(summary: Summary, setting: tuple[str, str]) -> Filled:
    """Fill a task's table of the AUC of every arm in every fold; None where there is no run or no AUC."""
    items = summary.of_task(setting)
    folds = sorted({fold for item in items for fold in item.folds}, key=natural)
    rows = []
    for item in items:
        values = dict(zip(item.folds, item.auc, strict=True))
        rows.append((item.series.arm, *spread(item.spread), *(values.get(fold) for fold in folds)))
    return Filled((ARM, *SPREAD, *(Column(f"fold {fold}", fold) for fold in folds)), rows)


def by_class(summary: Summary) -> Filled:
    """Fill the table of the one-vs-rest AUC of each class of tasks with several."""
    rows = [
        (*place(item.series), item.scored, *spread(item.spread), item.distinct[1], *note(item.spread))
        for item in summary.classes
    ]
    columns = (*PLACE, Column("class", "Class", text=True), *SPREAD, Column("images", "Images"), NOTE)
    return Filled(columns, rows)


def by_subgroup(summary: Summary) -> Filled:
    """Fill the table of the AUC at each value of the columns that results are broken down by."""
    rows = [
        (
            *(*place(item.series), item.stratum, item.level),
            *(*spread(item.spread), *sizes(item.series, *item.distinct), *note(item.spread)),
        )
        for item in summary.strata
    ]
    column = (Column("stratum", "Column", text=True), Column("level", "Value", text=True))
    return Filled((*PLACE, *column, *SPREAD, *SIZES, NOTE), rows)
