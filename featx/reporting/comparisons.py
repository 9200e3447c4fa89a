"""The tables of comparisons: every pair of arms with its test, and the matrix of p values."""

from __future__ import annotations

import numpy as np

from featx.stats.compare import Comparison
from featx.stats.findings import Finding

from .columns import ARM, SIZES, sizes
from .names import slugs
from .summary import Measure, Summary
from .tables import Cell, Column, Table
from .words import p_text

__all__ = ["differences", "p_matrices", "pair_tables", "rank_tables"]


def differences(first: Measure, second: Measure) -> np.ndarray:
    """Subtract the AUCs of two arms, fold by fold.

    Parameters
    ----------
    first, second : Measure
        Two arms on one task.

    Returns
    -------
    ndarray of float64
        First minus second in every fold that both have; NaN where one of them has no AUC.
    """
    others = dict(zip(second.series.folds, second.auc, strict=True))
    pairs = zip(first.series.folds, first.auc, strict=True)
    return np.array([auc - others[fold] for fold, auc in pairs if fold in others])


def pair_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of all pairs of arms of each task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        A row for each pair; no table for a task of which no two arms can be paired.
    """
    items = {(item.series.setting, item.series.arm): item for item in summary.overall}
    columns = (
        *(Column("a", "Arm a", text=True), Column("b", "Arm b", text=True)),
        *(Column("difference", "a − b"), Column("low", "95 % low"), Column("high", "95 % high")),
        *(Column("adjusted_p", "p corrected", least=0.001), Column("p", "p", least=0.001)),
        *(Column("mean_a", "AUC a"), Column("mean_b", "AUC b"), Column("sd", "SD")),
        *(Column("folds", "Folds"), *SIZES),
        *(Column("statistic", "Statistic", text=True), Column("test", "Test", text=True)),
        *(Column("adjustment", "Correction", text=True), Column("others", "Other tests", text=True)),
        Column("warnings", "Mind", text=True),
    )
    note = (
        "Two arms on the same folds and images, by the test that the protocol allows; no test takes folds as "
        "independent. SD: of the folds' differences. Intervals of single pairs, not corrected for their number. Other "
        "tests stand here for comparison with other studies; the answer is p."
    )
    made = []
    for setting, found in summary.comparisons.items():
        rows = [_pair(pair, *(items[setting, arm] for arm in pair.arms)) for pair in found.pairs]
        title = f"Pairs of arms: {setting[0]} ({setting[1]})"
        made.append(Table(f"pairs-{slugs(summary)[setting]}", title, note, columns, tuple(rows)))
    return tuple(made)


def _pair(pair: Comparison, first: Measure, second: Measure) -> tuple[Cell, ...]:
    found, gaps = pair.finding, differences(first, second)
    known = gaps[np.isfinite(gaps)]
    return (
        *pair.arms,
        *(found.estimate, found.low, found.high, pair.adjusted_p, found.p),
        *(*pair.values, float(known.std(ddof=1)) if len(known) > 1 else None),
        *(found.folds, *sizes(first.series, found.n, found.positives)),
        _statistic(found),
        *(found.test, pair.adjustment),
        "; ".join(f"{one.test}: {_statistic(one) or 'no statistic'}, {p_text(one.p)}" for one in pair.others)
        or None,
        "; ".join(found.warnings) or None,
    )


def _statistic(found: Finding) -> str | None:
    if np.isnan(found.statistic):
        return None
    freedom = ", ".join(f"{value:g}" for value in found.freedom)
    name = f"{found.statistic_name}({freedom})" if freedom else found.statistic_name
    value = f"{found.statistic:.3g}".replace("-", "−").replace("inf", "∞")
    return f"{name} = {value}"


def p_matrices(summary: Summary) -> tuple[Table, ...]:
    """Fill a matrix of corrected p values for each task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        Arms against arms, with the mean and standard deviation of each.
    """
    made = []
    for setting, found in summary.comparisons.items():
        spreads = {item.series.arm: item.spread for item in summary.overall if item.series.setting == setting}
        matrix = found.p_matrix()
        rows = [
            (
                arm,
                *(spreads[arm].mean, spreads[arm].sd, spreads[arm].n),
                *(None if other == row else float(matrix[row, other]) for other in range(len(found.arms))),
            )
            for row, arm in enumerate(found.arms)
        ]
        columns = (
            *(
                ARM,
                Column("mean", "AUC"),
                Column("sd", "SD"),
                Column("folds", "Folds"),
            ),
            *(Column(f"p against {arm}", f"p: {arm}", least=0.001) for arm in found.arms),
        )
        tests = ", ".join(dict.fromkeys(pair.finding.test for pair in found.pairs))
        corrections = ", ".join(dict.fromkeys(pair.adjustment for pair in found.pairs))
        note = f"p values of the differences between arms. Test: {tests}. Correction: {corrections}."
        title = f"p values: {setting[0]} ({setting[1]})"
        made.append(Table(f"p-{slugs(summary)[setting]}", title, note, columns, tuple(rows)))
    return tuple(made)


def rank_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of mean ranks of each task whose arms were ranked.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        A row for each arm, the best rank first; Friedman's test and the critical difference in the note.
    """
    made = []
    for setting, found in summary.comparisons.items():
        if (ranking := found.ranking) is None:
            continue
        spreads = {item.series.arm: item.spread for item in summary.overall if item.series.setting == setting}
        rows = [
            (arm, rank, spreads[arm].mean, spreads[arm].sd, ranking.finding.folds)
            for rank, arm in sorted(zip(ranking.ranks, ranking.arms, strict=True))
        ]
        columns = (
            *(ARM, Column("rank", "Mean rank", 2)),
            *(Column("mean", "AUC"), Column("sd", "SD"), Column("folds", "Folds ranked")),
        )
        test = ranking.finding
        note = (
            f"{test.test}: {_statistic(test) or 'no statistic'}, {p_text(test.p)}. Critical difference (Nemenyi, 5 % level): "
            f"{ranking.critical_difference:.2f}. Mind: {'; '.join(test.warnings) or 'nothing'}."
        )
        title = f"Mean ranks: {setting[0]} ({setting[1]})"
        made.append(Table(f"ranks-{slugs(summary)[setting]}", title, note, columns, tuple(rows)))
    return tuple(made)
