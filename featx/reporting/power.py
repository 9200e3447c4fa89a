"""The smallest difference of AUC that the runs could have shown."""

from __future__ import annotations

from featx.stats.compare import Comparison
from featx.stats.power import Power

from .columns import SETTING, SIZES, sizes
from .pairs import LEVEL, POWER, comparable, smallest
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
        A row for each pair of arms; None where no two arms can be paired.
    """
    rows: list[tuple[Cell, ...]] = []
    for setting, found in summary.comparisons.items():
        several = [series for series in summary.series if series.setting == setting]
        folds = comparable(several)
        for pair in found.pairs:
            alone = smallest(folds, pair.arms)
            among = smallest(folds, pair.arms, level=LEVEL / len(found.pairs))
            rows.append((*setting, *_row(several[0], pair, alone, among)))
    if not rows:
        return None
    columns = (
        *SETTING,
        *(Column("a", "Arm a", text=True), Column("b", "Arm b", text=True)),
        Column("difference", "a − b"),
        *(Column("smallest", "Could show"), Column("smallest_of_all", "Could show among all pairs")),
        *(Column("error", "Standard error"), Column("folds", "Folds"), *SIZES),
        *(Column("method", "Method", text=True), Column("warnings", "Mind", text=True)),
    )
    note = (
        f"Could show: the smallest true difference that the test finds with {POWER * 100:.0f} % chance at the {LEVEL * 100:.0f} % level, "
        "given how these scores vary; among all pairs: the same at that level over the number of pairs (Bonferroni, "
        "where Holm's correction begins). A difference that was not found may be as large as this."
    )
    return Table("power", "Smallest difference that the data could show", note, columns, tuple(rows))


def _row(series: Series, pair: Comparison, alone: Power, among: Power) -> tuple[Cell, ...]:
    return (
        *pair.arms,
        *(pair.finding.estimate, alone.difference, among.difference, alone.error),
        *(pair.finding.folds, *sizes(series, alone.n, alone.positives)),
        *(alone.method, "; ".join(alone.warnings) or None),
    )
