"""Columns that several tables share, and what fills them."""

from __future__ import annotations

from featx.stats import FoldSummary

from .series import Series
from .tables import Cell, Column

__all__ = [
    "ARM",
    "HOW",
    "INTERVALS",
    "NOTE",
    "PLACE",
    "SETTING",
    "SIZES",
    "SPREAD",
    "note",
    "place",
    "sizes",
    "spread",
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
        Mean, ends of the 95 % interval, standard deviation, folds with an AUC and folds without.
    """
    return total.mean, total.low, total.high, total.sd, total.n, total.undefined


def sizes(series: Series, images: int | None, positives: int | None) -> tuple[Cell, ...]:
    """Fill `SIZES`.

    Parameters
    ----------
    series : Series
        An arm on a task.
    images, positives : int or None
        What was counted; of a task of several classes, positives are those of the rarest.

    Returns
    -------
    tuple of Cell
        Images, positives, and the class that these are of.
    """
    name = series.scored[0] if len(series.scored) == 1 else "rarest class"
    return images, positives, name if positives is not None else None


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
