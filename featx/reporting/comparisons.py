"""The tables of comparisons: every pair of arms with its test, and the matrix of p values."""

from __future__ import annotations

import numpy as np

from featx.stats import POOLED, Comparison, Comparisons, TestResult

from .columns import ARM, SIZES, sizes
from .names import slugs
from .series import Series
from .summary import Summary, restricted
from .tables import Cell, Column, Table
from .words import p_text

__all__ = ["p_matrices", "pair_tables", "rank_tables"]


def pair_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of all pairs of arms of each task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        A row for each pair, planned ones first, those that cannot be compared included; no table for a task of
        one arm.
    """
    columns = (
        *(Column("a", "Arm a", text=True), Column("b", "Arm b", text=True)),
        *(
            Column("difference", "a − b"),
            Column("adjusted_low", "Simult. 95 % low"),
            Column("adjusted_high", "Simult. 95 % high"),
            Column("adjusted_p", "p corrected", least=0.001),
        ),
        *(Column("kind", "Comparison", text=True), Column("folds", "Folds"), *SIZES),
        *(Column("mean_a", "AUC a"), Column("mean_b", "AUC b"), Column("sd", "SD")),
        *(
            Column("low", "95 % low, this pair alone"),
            Column("high", "95 % high, this pair alone"),
            Column("p", "p uncorrected", least=0.001),
        ),
        *(Column("statistic", "Statistic", text=True), Column("test", "Test", text=True)),
        *(Column("compares", "Compares", text=True), Column("adjustment", "Correction", text=True)),
        *(Column("others", "Other tests", text=True), Column("warnings", "Note", text=True)),
    )
    note = (
        "Two arms over the folds and images that both have, by the test that the protocol allows; no test takes folds "
        "as independent. The simultaneous interval belongs to the corrected p: all of them hold together with 95 % "
        "confidence (Bonferroni). Holm's test is the sharper of the two, so that an interval can just hold 0 beside a "
        "corrected p below 0.05. Interval of this pair alone and p uncorrected: as if no other pair had been looked at. "
        "SD: of the folds' differences. Images and positives: of the folds that entered, each once; groups where arms "
        "are scored by group. On a single test set, two trained models are compared, not two ways of training. Other "
        "tests stand here for comparison with other studies; the answer is p corrected."
    )
    made = []
    for setting, found in summary.comparisons.items():
        if not found.pairs:
            continue
        planned = any(pair.planned for pair in found.pairs)
        series = next(one for one in summary.series if one.setting == setting)
        rows = tuple(_pair(pair, series, _kind(pair) if planned else None) for pair in found.pairs)
        more = " Planned comparisons are corrected among themselves; all others are exploratory." * planned
        title = f"Pairs of arms: {setting[0]} ({setting[1]})"
        made.append(Table(f"pairs-{slugs(summary)[setting]}", title, note + more, columns, rows))
    return tuple(made)


def _kind(pair: Comparison) -> str:
    return "planned" if pair.planned else "exploratory"


def _pair(pair: Comparison, series: Series, kind: str | None) -> tuple[Cell, ...]:
    found = pair.finding
    return (
        *pair.arms,
        *(found.estimate, pair.adjusted_low, pair.adjusted_high, pair.adjusted_p),
        *(kind, len(pair.folds)),
        *(sizes(series, found.n, found.positives) if pair.folds else (0, 0, None)),
        *pair.values,
        float(np.std(pair.differences, ddof=1)) if len(pair.differences) > 1 else None,
        *(found.low, found.high, found.p),
        *(_statistic(found), found.test if pair.tested else "untested"),
        *(_compared(pair), pair.adjustment),
        "; ".join(f"{one.test}: {_statistic(one) or 'no statistic'}, {p_text(one.p)}" for one in pair.others)
        or None,
        "; ".join(found.warnings) or None,
    )


def _compared(pair: Comparison) -> str | None:
    if not pair.tested:
        return None
    if pair.folds == (POOLED,):
        return "two ways of training, by pooled decision values"
    return "two ways of training" if len(pair.folds) > 1 else "these two trained models on this test set"


def _statistic(found: TestResult) -> str | None:
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
        if not any(pair.tested for pair in found.pairs):
            continue
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
        title = f"p values: {setting[0]} ({setting[1]})"
        made.append(Table(f"p-{slugs(summary)[setting]}", title, _tests(found), columns, tuple(rows)))
    return tuple(made)


def _tests(found: Comparisons) -> str:
    """Say what the p values of a matrix are."""
    tested = [pair for pair in found.pairs if pair.tested]
    tests = ", ".join(dict.fromkeys(pair.finding.test for pair in tested))
    corrections = ", ".join(dict.fromkeys(pair.adjustment for pair in tested))
    missing = " A dash: untested; the table of pairs says why." * (len(tested) < len(found.pairs))
    return (
        "Corrected p values of the differences between arms, each pair over the folds that both have; AUC: over the "
        f"arm's own folds. Test: {tests}. Correction: {corrections}.{missing}"
    )


def rank_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of mean ranks of each task whose arms were ranked.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        A row for each arm, the best rank first. Folds of one data set share images, so no test goes with them.
    """
    made = []
    for setting, found in summary.comparisons.items():
        if (ranking := found.ranking) is None:
            continue
        spreads = {
            item.series.arm: restricted(item, found.folds).spread
            for item in summary.overall
            if item.series.setting == setting and item.series.arm in ranking.arms
        }
        rows = [
            (arm, rank, spreads[arm].mean, spreads[arm].sd, ranking.finding.folds)
            for rank, arm in sorted(zip(ranking.ranks, ranking.arms, strict=True))
        ]
        columns = (
            *(ARM, Column("rank", "Mean rank", 2)),
            *(Column("mean", "AUC"), Column("sd", "SD"), Column("folds", "Folds ranked")),
        )
        note = (
            "Mean rank over the folds, 1 is best. The folds share images, so Friedman's and Nemenyi's tests, which take them "
            "as independent, are not made: the ranks describe, and the table of pairs tests."
        )
        title = f"Mean ranks: {setting[0]} ({setting[1]})"
        made.append(Table(f"ranks-{slugs(summary)[setting]}", title, note, columns, tuple(rows)))
    return tuple(made)
