"""Columns that several tables share, and what fills them."""

from __future__ import annotations

import numpy as np

from featx.reporting.series import Series
from featx.reporting.summary import (
    Summary,
)
from featx.reporting.tables import Cell, Column
from featx.runs import Run
from featx.stats import FoldSummary

__all__ = [
    "ARM",
    "HOW",
    "INTERVALS",
    "NOTE",
    "PLACE",
    "SETTING",
    "SIZES",
    "SPREAD",
    "heading",
    "note",
    "p_text",
    "place",
    "sizes",
    "slugs",
    "spread",
    "trainings",
]


ARM = Column("arm", "Arm", text=True)


SETTING = (Column("task", "Task", text=True), Column("protocol", "Protocol", text=True))


PLACE = (*SETTING, ARM)


SPREAD = (
    *(Column("mean", "AUC"), Column("low", "95 % low"), Column("high", "95 % high")),
    *(Column("sd", "SD"), Column("folds", "Folds"), Column("undefined", "No AUC")),
)


SIZES = (
    *(Column("images", "Images"), Column("positives", "Positives")),
    Column("positive", "Of class", text=True),
)


NOTE = Column("warnings", "Note", text=True)


HOW = (
    "AUC: mean over the folds' test parts; SD: standard deviation over the folds (n − 1). No AUC: folds whose test part lacks a "
    "class; they enter neither."
)


INTERVALS = (
    " The interval is the corrected resampled t interval (Nadeau & Bengio 2003) on the logit scale, which allows for training "
    "parts that overlap; of a single test set, or of pooled folds, DeLong's, by groups where these have several images. "
    "There is none where the folds do not vary."
)


def place(series: Series) -> tuple[Cell, ...]:
    """Fill `PLACE`."""
    return series.task, series.protocol, series.arm


def spread(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `SPREAD`.

    Returns
    -------
    tuple of Cell
        Mean, ends of the 95 % interval, standard deviation, folds with an AUC and folds without.
    """
    return total.mean, total.low, total.high, total.sd, total.n, total.undefined


def sizes(series: Series, images: int | None, positives: int | None) -> tuple[Cell, ...]:
    """Fill `SIZES`."""
    name = series.scored[0] if len(series.scored) == 1 else "rarest class"
    return images, positives, name if positives is not None else None


def note(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `NOTE`."""
    return ("; ".join(total.warnings) or None,)


def heading(summary: Summary, setting: tuple[str, str]) -> str:
    """Name a task in a heading."""
    alone = len({protocol for _, protocol in summary.settings}) == 1
    return setting[0] if alone else f"{setting[0]}, {setting[1]}"


def slugs(summary: Summary) -> dict[tuple[str, str], str]:
    """Name files for tasks: letters, digits, dots and hyphens, each name once."""
    names: dict[tuple[str, str], str] = {}
    protocols = {protocol for _, protocol in summary.settings}
    for task, protocol in summary.settings:
        text = task if len(protocols) == 1 else f"{task}-{protocol}"
        base = (
            "-".join("".join(char if char.isalnum() or char in "._" else " " for char in text).split())
            or "task"
        )
        name, number = base, 2
        while name.casefold() in {other.casefold() for other in names.values()}:
            name, number = f"{base}-{number}", number + 1
        names[task, protocol] = name
    return names


def trainings(summary: Summary) -> dict[tuple[str, str], tuple[Run, ...]]:
    """Sort fine-tuning runs by the network that they train and by task.

    Returns
    -------
    dict of (name, task) to tuple of Run
        The name is the runs' arm, with the backbone where several were trained.
    """

    def backbone(run: Run) -> str:
        return str((run.record.features.get("recipe") or {}).get("backbone", ""))

    several = len({backbone(run) for run in summary.training}) > 1
    found: dict[tuple[str, str], tuple[Run, ...]] = {}
    for run in summary.training:
        name = f"{run.record.arm} ({backbone(run)})" if several else run.record.arm
        found[name, run.record.task] = (*found.get((name, run.record.task), ()), run)
    return found


def p_text(value: float) -> str:
    """Write a p value for people.

    Examples
    --------
    >>> p_text(0.0421), p_text(0.00002)
    ('p = 0.042', 'p < 0.001')
    """
    if not np.isfinite(value):
        return "no p value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
