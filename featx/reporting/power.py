"""The smallest difference of AUC that the runs could have shown."""

from __future__ import annotations

from featx.stats import Comparison, Power

from .columns import SETTING, SIZES, sizes
from .pairs import LEVEL, POWER, smallest
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Table

__all__ = ["power_table"]


def power_table(summary: Summary) -> Table | None:
    """Fill the table of the differences that the data could have shown.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each pair of arms that was compared; None where there is none.
    """
    first = {series.setting: series for series in reversed(summary.series)}
    rows: list[tuple[Cell, ...]] = [
        (*setting, *_row(first[setting], pair, smallest(pair)))
        for setting, found in summary.comparisons.items()
        for pair in found.pairs
        if pair.folds
    ]
    if not rows:
        return None
    columns = (
        *SETTING,
        *(Column("a", "Arm a", text=True), Column("b", "Arm b", text=True)),
        *(Column("difference", "a − b"), Column("smallest", "Minimum detectable difference")),
        *(Column("comparisons", "Comparisons"), Column("error", "Standard error")),
        *(Column("folds", "Folds"), *SIZES),
        *(Column("method", "Method", text=True), Column("warnings", "Note", text=True)),
    )
    note = (
        f"The smallest true difference that the test finds with {POWER * 100:.0f} % power at the {LEVEL:g} level over "
        "the number of comparisons (Bonferroni, where Holm's correction begins), given how these scores vary. None is "
        "given where it would exceed what two areas can differ by. A difference that was not found may be as large "
        "as this."
    )
    return Table("power", "Minimum detectable difference", note, columns, tuple(rows))


def _row(series: Series, pair: Comparison, found: Power) -> tuple[Cell, ...]:
    return (
        *pair.arms,
        *(pair.finding.estimate, found.difference, pair.family, found.error),
        *(len(pair.folds), *sizes(series, found.n, found.positives)),
        *(found.method, "; ".join(found.warnings) or None),
    )
