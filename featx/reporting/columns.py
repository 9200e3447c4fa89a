"""Columns that several tables share, and what fills them."""

from __future__ import annotations

from featx.stats.intervals import FoldSummary

from .series import Series
from .tables import Cell, Column

__all__ = [
    "ARM",
    "HOW",
    "INTERVAL",
    "INTERVALS",
    "NOTE",
    "PLACE",
    "SETTING",
    "SIZES",
    "SPREAD",
    "interval",
    "note",
    "place",
    "spread",
]

ARM = Column("arm", "Arm", text=True)
SETTING = (Column("task", "Task", text=True), Column("protocol", "Protocol", text=True))
PLACE = (*SETTING, ARM)
SPREAD = (
    Column("mean", "AUC"),
    Column("sd", "SD"),
    Column("folds", "Folds"),
    Column("undefined", "No AUC"),
)
INTERVAL = (Column("low", "95 % low"), Column("high", "95 % high"))
NOTE = Column("warnings", "Note", text=True)
SIZES = (Column("images", "Images"), Column("positives", "Positives"))
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
    """Fill `PLACE`.

    Parameters
    ----------
    series : Series
        An arm on a task.

    Returns
    -------
    tuple of Cell
        Task, protocol and arm.
    """
    return series.task, series.protocol, series.arm


def spread(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `SPREAD`.

    Parameters
    ----------
    total : FoldSummary
        AUC over the folds.

    Returns
    -------
    tuple of Cell
        Mean, standard deviation, folds with an AUC and folds without.
    """
    return total.mean, total.sd, total.n, total.undefined


def interval(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `INTERVAL`.

    Parameters
    ----------
    total : FoldSummary
        AUC over the folds.

    Returns
    -------
    tuple of Cell
        Ends of the 95 % interval.
    """
    return total.low, total.high


def note(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `NOTE`.

    Parameters
    ----------
    total : FoldSummary
        AUC over the folds.

    Returns
    -------
    tuple of Cell
        Its warnings in one text; None without any.
    """
    return ("; ".join(total.warnings) or None,)
