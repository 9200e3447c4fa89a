"""Tables that compare arms: pairs with their tests, p values, ranks, detectable differences, factors of the study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.errors import InputError
from featx.reporting.arm_facts import lineage_of
from featx.reporting.series import Series
from featx.reporting.summary import LEVEL, POWER, Measure, Summary, restricted, smallest
from featx.reporting.tables import Cell, Column, Filled, p_text
from featx.runs import Run
from featx.stats import POOLED, Anova, Comparison, Power, TestResult, factorial_anova

from .columns import ARM, NOTE, PAIR, SETTING, SIZES, sizes

__all__ = [
    "COMPARISON_TABLES",
    "PAIRS_NEED",
    "Analysis",
    "analyse",
    "factor_effects",
    "factors_of",
    "p_matrix",
    "pairs",
    "power",
    "ranks",
]


def pairs(summary: Summary, setting: tuple[str, str]) -> Filled | None:
    """Fill a task's table of all pairs of arms, planned ones first, untested ones included."""
    found = summary.comparisons.get(setting)
    if found is None or not found.pairs:
        return None
    columns = (
        *PAIR,
        *(Column("difference", "a − b"), Column("adjusted_low", "Simult. 95 % CI low")),
        *(Column("adjusted_high", "Simult. 95 % CI high"), Column("adjusted_p", "Adjusted p", least=0.001)),
        *(Column("kind", "Comparison", text=True), Column("folds", "Folds"), *SIZES),
        *(Column("mean_a", "AUC a"), Column("mean_b", "AUC b"), Column("sd", "SD")),
        *(Column("low", "Single 95 % CI low"), Column("high", "Single 95 % CI high")),
        Column("p", "Unadjusted p", least=0.001),
        *(Column("statistic", "Statistic", text=True), Column("test", "Test", text=True)),
        *(Column("compares", "Compares", text=True), Column("adjustment", "Adjustment", text=True)),
        *(Column("others", "Other tests", text=True), NOTE),
    )
    planned = any(pair.planned for pair in found.pairs)
    series = next(one for one in summary.series if one.setting == setting)
    rows = [_pair(pair, series, planned) for pair in found.pairs]
    more = "Planned comparisons are adjusted among themselves; all others are exploratory." * planned
    return Filled(columns, rows, more)


def _pair(pair: Comparison, series: Series, planned: bool) -> tuple[Cell, ...]:
    found, kind = pair.finding, "planned" if pair.planned else "exploratory"
    return (
        *pair.arms,
        *(found.estimate, pair.adjusted_low, pair.adjusted_high, pair.adjusted_p),
        *(kind if planned else None, len(pair.folds)),
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


def p_matrix(summary: Summary, setting: tuple[str, str]) -> Filled | None:
    """Fill a task's matrix of adjusted p values, with what was tested and how it was adjusted."""
    found = summary.comparisons.get(setting)
    tested = [pair for pair in found.pairs if pair.tested] if found else []
    if found is None or not tested:
        return None
    spreads = {item.series.arm: item.spread for item in summary.of_task(setting)}
    matrix = found.p_matrix()
    rows = [
        (
            *(arm, spreads[arm].mean, spreads[arm].sd, spreads[arm].n),
            *(None if other == row else float(matrix[row, other]) for other in range(len(found.arms))),
        )
        for row, arm in enumerate(found.arms)
    ]
    columns = (
        *(ARM, Column("mean", "AUC"), Column("sd", "SD"), Column("folds", "Folds")),
        *(Column(f"p against {arm}", f"p: {arm}", least=0.001) for arm in found.arms),
    )
    tests = ", ".join(dict.fromkeys(pair.finding.test for pair in tested))
    adjustments = ", ".join(dict.fromkeys(pair.adjustment for pair in tested))
    missing = " A dash means untested; the table of pairs gives the reason." * (
        len(tested) < len(found.pairs)
    )
    return Filled(columns, rows, f"Test: {tests}. Adjustment: {adjustments}.{missing}")


def ranks(summary: Summary, setting: tuple[str, str]) -> Filled | None:
    """Fill a task's table of the arms' mean ranks over the folds, the best first."""
    found = summary.comparisons.get(setting)
    if found is None or (ranking := found.ranking) is None:
        return None
    spreads = {
        item.series.arm: restricted(item, found.folds).spread
        for item in summary.of_task(setting)
        if item.series.arm in ranking.arms
    }
    rows = [
        (arm, rank, spreads[arm].mean, spreads[arm].sd, ranking.finding.folds)
        for rank, arm in sorted(zip(ranking.ranks, ranking.arms, strict=True))
    ]
    columns = (
        *(ARM, Column("rank", "Mean rank", 2)),
        *(Column("mean", "AUC"), Column("sd", "SD"), Column("folds", "Folds ranked")),
    )
    return Filled(columns, rows)


def power(summary: Summary) -> Filled:
    """Fill the table of the smallest differences that the tests would have found, a row for each compared pair."""
    first = {series.setting: series for series in reversed(summary.series)}
    rows = [
        (*setting, *_detectable(first[setting], pair, smallest(pair)))
        for setting, found in summary.comparisons.items()
        for pair in found.pairs
        if pair.folds
    ]
    columns = (
        *(*SETTING, *PAIR),
        *(Column("difference", "a − b"), Column("smallest", "Minimum detectable difference")),
        *(Column("comparisons", "Comparisons"), Column("error", "Standard error")),
        *(Column("folds", "Folds"), *SIZES, Column("method", "Method", text=True), NOTE),
    )
    return Filled(columns, rows)


def _detectable(series: Series, pair: Comparison, found: Power) -> tuple[Cell, ...]:
    return (
        *pair.arms,
        *(pair.finding.estimate, found.difference, pair.family, found.error),
        *(len(pair.folds), *sizes(series, found.n, found.positives)),
        *(found.method, "; ".join(found.warnings) or None),
    )


_FOLD = "fold"
# Settings that follow from others, or do not change results: no factors.
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
        Factors that change together with others, so that their own effect cannot be estimated.
    """

    anova: Anova
    levels: Mapping[str, tuple[str, ...]]
    confounded: tuple[str, ...]


def factors_of(series: Series) -> dict[str, str]:
    """Read the factors of an arm and their levels: what all its runs share."""
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
        "TTA views": (recipe.get("views") or {"count": 1}).get("count"),
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
        With the interactions of two factors if the arms cross them fully; None with fewer than three arms, if no
        factor differs, or with too few folds.
    """
    items = summary.of_task(setting)
    arms = [factors_of(item.series) for item in items]
    rows = [row for item, levels in zip(items, arms, strict=True) for row in _rows(item, levels)]
    if len(items) < 3:
        return None
    names = dict.fromkeys(name for arm in arms for name in arm)
    varying = [name for name in names if len({row.get(name) for row in rows} - {None}) > 1]
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


def _fitted(rows: Sequence[Mapping[str, object]], factors: Sequence[str], interactions: int) -> Anova | None:
    if not factors:
        return None
    block = _FOLD if len({row[_FOLD] for row in rows}) > 1 else None
    try:
        return factorial_anova(rows, "auc", factors, interactions=interactions, block=block)
    except InputError:  # these arms do not separate the effects
        return None


def factor_effects(summary: Summary, setting: tuple[str, str]) -> Filled | None:
    """Fill a task's table of how much of the AUC's variation each factor explains, the residual last."""
    found = analyse(summary, setting)
    if found is None:
        return None
    columns = (
        Column("effect", "Effect", text=True),
        *(Column("sum of squares", "Sum of squares", 4), Column("freedom", "Degrees of freedom", 0)),
        *(Column("eta squared", "η²"), Column("partial eta squared", "Partial η²")),
        Column("omega squared", "ω²"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(one.name, one.sum_of_squares, one.freedom),
            *(one.eta_squared, one.partial_eta_squared, one.omega_squared),
        )
        for one in found.anova.effects
    ]
    residual = (found.anova.residual_sum_of_squares, found.anova.residual_freedom)
    return Filled(columns, [*rows, ("residual", *residual, None, None, None)], _described(found))


def _described(found: Analysis) -> str:
    test, count = found.anova.test, found.anova.n
    factors = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found.levels.items())
    confounded = (
        f" Confounded with these, because they change together: {', '.join(found.confounded)}."
        if found.confounded
        else ""
    )
    warned = f" Note: {'; '.join(found.anova.warnings)}." if found.anova.warnings else ""
    return f"{test[0].upper()}{test[1:]}, of {count} AUCs. {factors}.{confounded}{warned}"


PAIRS_NEED = "two arms on one task"

COMPARISON_TABLES = (
    (
        "pairs-{slug}",
        "Pairs of arms: {full}",
        "Each pair is compared on the folds and images that both arms have, by the test that fits the protocol; no "
        "test treats folds as independent. All simultaneous intervals hold together with 95 % confidence "
        "(Bonferroni). Holm's test, which adjusts p, is slightly more powerful, so an interval may include 0 "
        "although adjusted p < 0.05. Single interval and unadjusted p: as if this were the only pair. SD: standard "
        "deviation of the folds' differences. Images and positives of these folds are counted once; groups are "
        "counted if arms have one score per group. A single test set compares two trained models, not two ways of "
        "training. Other tests are given for comparison with other studies; the result is adjusted p.",
        PAIRS_NEED,
        pairs,
    ),
    (
        "p-{slug}",
        "p values: {full}",
        "Adjusted p values of the differences between arms, each pair on the folds that both have. AUC: mean over "
        "the arm's own folds.",
        PAIRS_NEED,
        p_matrix,
    ),
    (
        "ranks-{slug}",
        "Mean ranks: {full}",
        "Mean rank over the folds; 1 is best. The folds share images, so the Friedman and Nemenyi tests, which "
        "assume independent folds, do not apply: ranks are descriptive; see the table of pairs for tests.",
        "three arms and two folds",
        ranks,
    ),
    (
        "power",
        "Minimum detectable difference",
        f"The smallest true difference that the test finds with {POWER * 100:.0f} % power at the {LEVEL:g} level, "
        "divided by the number of comparisons (Bonferroni), given the variance of these scores. Empty if it would "
        "exceed the largest possible difference of two AUCs. A true difference up to this size may have been missed.",
        "two arms with common folds",
        power,
    ),
)
"""Name, title, caption, need and filling function of each table of comparisons."""
