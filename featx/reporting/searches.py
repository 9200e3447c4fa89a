"""The table of the choice of C."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .columns import PLACE, place
from .records import SearchFacts, searches_of
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Table

__all__ = ["searches"]


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
                    *place(series),
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
        *PLACE,
        Column("chosen", "C chosen (times)", text=True),
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


def _chosen(found: Sequence[SearchFacts]) -> str:
    counts = Counter(item.chosen for item in found)
    return ", ".join(f"{value:g} ({counts[value]})" for value in sorted(counts))


def _logs(found: Sequence[SearchFacts]) -> tuple[float, float | None]:
    values = np.log10([item.chosen for item in found])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _fits(series: Series) -> tuple[Cell, Cell]:
    counts = [run.record.convergence for run in series.runs if "fits" in run.record.convergence]
    if not counts:
        return None, None
    return sum(item["fits"] for item in counts), sum(item["not_converged"] for item in counts)
