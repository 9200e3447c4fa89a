"""The tables of comparisons: every pair of arms with its test, and the matrix of p values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.errors import InputError
from featx.reporting.lineage import lineage_of
from featx.reporting.sections.labels import ARM, SETTING, SIZES, heading, p_text, sizes, slugs
from featx.reporting.series import Series
from featx.reporting.summary import LEVEL, POWER, Measure, Summary, restricted, smallest
from featx.reporting.tables import Cell, Column, Table
from featx.runs import Run
from featx.stats import POOLED, Anova, Comparison, Comparisons, Power, TestResult, factorial_anova

__all__ = [
    "Analysis",
    "analyse",
    "anova_tables",
    "factors_of",
    "p_matrices",
    "pair_tables",
    "power_table",
    "rank_tables",
]


def pair_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of all pairs of arms of each task.

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
    """Fill a matrix of corrected p values for each task."""
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


def power_table(summary: Summary) -> Table | None:
    """Fill the table of the differences that the data could have shown.

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


_FOLD = "fold"


# No choice of a study: what follows from others, or decides nothing.
_TECHNICAL = frozenset({"left_out", "preset", "solver"})


@dataclass(frozen=True)
class Analysis:
    """The analysis of variance of a task.

    Attributes
    ----------
    anova : Anova
        Effects of the factors and of the fold.
    levels : mapping of str to tuple of str
        The factors that were analysed, with their levels.
    confounded : tuple of str
        Factors that change with others, so that they have no effect of their own to be told.
    """

    anova: Anova
    levels: Mapping[str, tuple[str, ...]]
    confounded: tuple[str, ...]


def factors_of(series: Series) -> dict[str, str]:
    """Name the choices that make an arm."""
    levels = [_choices(run) for run in series.runs]
    return {name: value for name, value in levels[0].items() if all(one.get(name) == value for one in levels)}


def _choices(run: Run) -> dict[str, str]:
    record, recipe = run.record, run.record.features.get("recipe") or {}
    found = lineage_of(record)
    named = {
        "backbone": recipe.get("backbone"),
        "starting weights": found.start,
        "sources": " → ".join(found.sources) or "none",
        "fine-tuning": "yes" if found.tuned else "no",
        "layer": recipe.get("layer"),
        "pooling": recipe.get("pool"),
        "image size": recipe.get("image_size"),
        "preparation": (recipe.get("preparation") or {}).get("name"),
        "precision": recipe.get("precision"),
        "views": (recipe.get("views") or {"count": 1}).get("count"),
        "classifier": record.kind,
    }
    settings = {f"SVM {name}": value for name, value in record.settings.items() if name not in _TECHNICAL}
    several = {**named, **(settings if record.kind == "svm" else {})}
    return {name: str(value) for name, value in several.items() if value not in (None, "")}


def analyse(summary: Summary, setting: tuple[str, str]) -> Analysis | None:
    """Analyse how the factors of a task's arms explain the AUC of their folds.

    Returns
    -------
    Analysis or None
        With interactions of two factors where the arms hold them all; None with fewer than three arms, or where no
        factor differs or there are too few folds to tell.
    """
    items = [item for item in summary.overall if item.series.setting == setting]
    arms = [factors_of(item.series) for item in items]
    rows = [row for item, levels in zip(items, arms, strict=True) for row in _rows(item, levels)]
    if len(items) < 3:
        return None
    varying = [name for name in _ordered(arms) if len({row.get(name) for row in rows} - {None}) > 1]
    kept: list[str] = []
    for name in varying:
        if _fitted(rows, [*kept, name], 1):
            kept.append(name)
    anova = _fitted(rows, kept, 2) or _fitted(rows, kept, 1)
    if anova is None:
        return None
    levels = {name: tuple(dict.fromkeys(str(row[name]) for row in rows)) for name in kept}
    return Analysis(anova, levels, tuple(name for name in varying if name not in kept))


def _rows(item: Measure, levels: Mapping[str, str]) -> list[dict[str, object]]:
    pairs = zip(item.folds, item.auc, strict=True)
    return [{**levels, _FOLD: fold, "auc": auc} for fold, auc in pairs if np.isfinite(auc)]


def _ordered(arms: Sequence[Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(name for arm in arms for name in arm))


def _fitted(rows: Sequence[Mapping[str, object]], factors: Sequence[str], interactions: int) -> Anova | None:
    if not factors:
        return None
    block = _FOLD if len({row[_FOLD] for row in rows}) > 1 else None
    try:
        return factorial_anova(rows, "auc", factors, interactions=interactions, block=block)
    except InputError:  # the arms do not hold such an effect apart from the others
        return None


def anova_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill the table of the factors' effects for each task.

    Returns
    -------
    tuple of Table
        A row for each effect, what no effect explains last; no table for a task without an analysis.
    """
    made = []
    for setting, slug in slugs(summary).items():
        if found := analyse(summary, setting):
            title = f"What the study's choices explain: {heading(summary, setting)}"
            made.append(Table(f"anova-{slug}", title, _note(found), _COLUMNS, tuple(_effects(found.anova))))
    return tuple(made)


_COLUMNS = (
    Column("effect", "Effect", text=True),
    *(Column("sum of squares", "Sum of squares", 4), Column("freedom", "Degrees of freedom", 0)),
    *(Column("eta squared", "η²"), Column("partial eta squared", "Partial η²")),
    Column("omega squared", "ω²"),
)


def _effects(anova: Anova) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = [
        (
            *(one.name, one.sum_of_squares, one.freedom),
            *(one.eta_squared, one.partial_eta_squared, one.omega_squared),
        )
        for one in anova.effects
    ]
    rest = (anova.residual_sum_of_squares, anova.residual_freedom)
    return [*rows, ("not explained", *rest, None, None, None)]


def _note(found: Analysis) -> str:
    factors = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found.levels.items())
    confounded = (
        f" Not told apart from these, since they change together: {', '.join(found.confounded)}."
        if found.confounded
        else ""
    )
    warned = f" Note: {'; '.join(found.anova.warnings)}." if found.anova.warnings else ""
    return (
        f"{found.anova.test[0].upper()}{found.anova.test[1:]}, of {found.anova.n} AUCs, one for each arm and "
        f"fold. η²: share of the whole variation; ω²: the same without its upward bias. {factors}.{confounded}{warned}"
    )
