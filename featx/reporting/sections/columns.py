"""Columns that several tables share, and what fills them."""

from __future__ import annotations

from collections.abc import Iterator

from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column
from featx.stats import FoldSummary

__all__ = [
    "ARM",
    "CLASS",
    "INTERNAL",
    "NOTE",
    "PAIR",
    "PLACE",
    "SETTING",
    "SIZES",
    "SPREAD",
    "TESTED",
    "bounded",
    "note",
    "place",
    "sizes",
    "spread",
    "tested_series",
]

ARM = Column("arm", "Arm", text=True)
SETTING = (Column("task", "Task", text=True), Column("protocol", "Protocol", text=True))
PLACE = (*SETTING, ARM)
CLASS = Column("class", "Positive class", text=True)
PAIR = (Column("a", "Arm a", text=True), Column("b", "Arm b", text=True))
TESTED = Column("tested", "Test set", text=True)
INTERNAL = "internal"
NOTE = Column("warnings", "Note", text=True)


def bounded(name: str, title: str) -> tuple[Column, Column, Column]:
    """Make the columns of an estimate with its confidence interval."""
    return Column(name, title), Column(f"{name} low", "95 % CI low"), Column(f"{name} high", "95 % CI high")


SPREAD = (
    *(Column("mean", "AUC"), Column("low", "95 % CI low"), Column("high", "95 % CI high")),
    *(Column("sd", "SD"), Column("folds", "Folds"), Column("undefined", "Folds without AUC")),
)
SIZES = (
    *(Column("images", "Images"), Column("positives", "Positives")),
    Column("positive", "Positive class", text=True),
)


def place(series: Series) -> tuple[Cell, ...]:
    """Fill `PLACE`."""
    return series.task, series.protocol, series.arm


def tested_series(summary: Summary) -> Iterator[tuple[Series, str, Series]]:
    """Yield each arm, the name of a test set, and the arm on it: the internal test sets, then each external one."""
    for series in summary.series:
        yield series, INTERNAL, series
        for arm in summary.external:
            if arm.internal is series:
                yield series, arm.name, arm.tested


def spread(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `SPREAD`: mean, 95 % interval, standard deviation, folds with an AUC and folds without."""
    return total.mean, total.low, total.high, total.sd, total.n, total.undefined


def sizes(series: Series, images: int | None, positives: int | None) -> tuple[Cell, ...]:
    """Fill `SIZES`."""
    name = series.scored[0] if len(series.scored) == 1 else "rarest class"
    return images, positives, name if positives is not None else None


def note(total: FoldSummary) -> tuple[Cell, ...]:
    """Fill `NOTE`."""
    return ("; ".join(total.warnings) or None,)
