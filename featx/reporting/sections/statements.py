"""The summary in words: the best arm, the difference to the others, and how certain it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featx.errors import listing
from featx.reporting.series import scored_by_group
from featx.reporting.summary import (
    LEVEL,
    MACRO,
    POWER,
    Measure,
    Summary,
    against,
    ahead,
    main_class,
    restricted,
    significant,
    smallest,
)
from featx.reporting.tables import p_text
from featx.stats import POOLED, Comparison, Comparisons

from .comparisons import analyse

__all__ = ["Statement", "findings"]


@dataclass(frozen=True)
class Statement:
    """The summary of one task in words.

    Attributes
    ----------
    title : str
        Task and protocol.
    lead : str
        The result in a sentence or two.
    details : tuple of str
        Further sentences.
    """

    title: str
    lead: str
    details: tuple[str, ...]


def findings(summary: Summary) -> tuple[Statement, ...]:
    """Write the results of every task as sentences."""
    found = ((setting, _finding(summary, setting, summary.of_task(setting))) for setting in summary.settings)
    return tuple(
        replace(said, details=(*_external(summary, setting), *said.details)) for setting, said in found
    )


def _external(summary: Summary, setting: tuple[str, str]) -> list[str]:
    """Write the AUC of the arms on each external test set, beside the internal one."""
    lines: dict[str, list[str]] = {}
    for arm, inside, there in summary.external_measures:
        if arm.internal.setting == setting and there.scored == main_class(arm.internal):
            here, total = inside.spread.mean, there.over_models
            interval = f" ({total.low:.3f} to {total.high:.3f})" if np.isfinite(total.low) else ""
            worth = (
                f"{total.mean:.3f}{interval}" if np.isfinite(total.mean) else "undefined, a class is missing"
            )
            size = f"{there.distinct[0]} test cases, {there.distinct[1]} positive"
            lines.setdefault(f"{arm.name} ({size})", []).append(
                f"{arm.internal.arm} {worth}, internal {here:.3f}"
            )
    return [f"External test set {name}, AUC: {'; '.join(arms)}." for name, arms in lines.items()]


def _finding(summary: Summary, setting: tuple[str, str], items: Sequence[Measure]) -> Statement:
    title, comparisons = f"{setting[0]} ({setting[1]})", summary.comparisons.get(setting)
    known = {item.series.arm: item for item in sorted(items, key=_rank) if np.isfinite(item.spread.mean)}
    if not known:
        return Statement(title, "No arm has an AUC: every test set has one class only.", ())
    planned = _planned(comparisons) if comparisons else ""
    if comparisons is None or not comparisons.ranked:
        return _unranked(title, list(known.values()), comparisons, planned)
    ranked = [restricted(known[arm], comparisons.folds) for arm in comparisons.ranked]
    best, pairs = ranked[0], against(comparisons, comparisons.ranked[0])
    equal = [item.series.arm for item in ranked if item.spread.mean == best.spread.mean]
    others = [item for arm, item in known.items() if arm not in comparisons.ranked]
    among = f" of the {len(ranked)} ranked arms" if others else ""
    shared = any(item is not known[item.series.arm] for item in ranked)
    where = f" over the {_folds(comparisons.folds)} that the ranked arms share" if shared else ""
    if len(equal) > 1:
        lead = f"{' and '.join(equal)} share the highest mean{among}{where}: {_worth(best)}."
    else:
        lead = f"{best.series.arm} is best{among}{where}: {_worth(best)}. "
        lead += _ahead(pairs[ranked[1].series.arm], best.series.arm)
    details = [_ranking(ranked, where), *_not_ranked(others, pairs), *_levels(best.series.arm, pairs)]
    details += [*_power(pairs[ranked[1].series.arm]), *_factors(summary, setting)]
    details += [*_tests(pairs, comparisons), _sizes(best)]
    return Statement(title, planned + lead, tuple(details))


def _unranked(
    title: str, items: Sequence[Measure], comparisons: Comparisons | None, planned: str
) -> Statement:
    """Write sentences on arms of which no two were compared."""
    best = items[0]
    if len(items) == 1 or comparisons is None:
        return Statement(title, f"{planned}{best.series.arm} reaches {_worth(best)}.", (_sizes(best),))
    second, pairs = items[1].series.arm, against(comparisons, best.series.arm)
    lead = (
        f"{best.series.arm} has the highest mean: {_worth(best)}. That is "
        f"{best.spread.mean - items[1].spread.mean:.3f} above {second}, the second best, but the difference is untested: {_why(pairs[second])}."
    )
    details = (_ranking(items, ""), *_levels(best.series.arm, pairs), _sizes(best))
    return Statement(title, planned + lead, details)


def _rank(item: Measure) -> tuple[float, str]:
    return -item.spread.mean, item.series.arm


def _folds(names: Sequence[str]) -> str:
    return f"{len(names)} fold{'s' * (len(names) != 1)}"


def _why(pair: Comparison) -> str:
    return pair.finding.warnings[0]


def _worth(item: Measure) -> str:
    total, name = item.spread, "mean AUC over the classes" if item.scored == MACRO else "AUC"
    if total.n + total.undefined == 1:
        interval = (
            f" (95 % confidence interval {total.low:.3f} to {total.high:.3f})"
            if np.isfinite(total.low)
            else ""
        )
        models = item.scores[0].models
        where = f"from the pooled decision values of {models} models" if models > 1 else "on one test set"
        return f"{name} {total.mean:.3f}{interval} {where}"
    spread = f" ± {total.sd:.3f}" if np.isfinite(total.sd) else ""
    folds = f"{total.n} folds" if not total.undefined else f"{total.n} of {total.n + total.undefined} folds"
    return f"{name} {total.mean:.3f}{spread} (mean and standard deviation over {folds})"


def _planned(comparisons: Comparisons) -> str:
    """Write the planned comparisons."""
    pairs = [pair for pair in comparisons.pairs if pair.planned]
    if not pairs:
        return ""
    several = f"Planned comparison{'s' * (len(pairs) > 1)}"
    more = " All other comparisons are exploratory." if len(comparisons.pairs) > len(pairs) else ""
    said = " ".join(_stated(pair) for pair in pairs)
    return f"{several}: {said}{_scope(pairs)}{more} "


def _stated(pair: Comparison) -> str:
    both = f"{pair.arms[0]} minus {pair.arms[1]}"
    if not pair.tested:
        return f"{both}: untested, {_why(pair)}."
    verdict = "statistically significant" if significant(pair) else "not statistically significant"
    return f"{both} {_signed(pair.finding.estimate)} ({_evidence(pair, pair.arms[0])}), {verdict}."


def _ahead(pair: Comparison, best: str) -> str:
    """Write the difference between the best two arms, on the folds and images that both have."""
    (name,) = (arm for arm in pair.arms if arm != best)
    text = f"The difference to {name}, the second best, is {_signed(ahead(pair, best))}"
    if not pair.tested:
        return f"{text} ({_amount(pair)}). It cannot be tested: {_why(pair)}."
    verdict = "" if significant(pair) else "not "
    return f"{text} ({_evidence(pair, best)}). It is {verdict}statistically significant.{_scope([pair])}"


def _evidence(pair: Comparison, arm: str) -> str:
    """Write interval, p and size of a comparison; interval and p are adjusted for the same number of comparisons."""
    sign = 1 if pair.arms[0] == arm else -1
    low, high = sorted((sign * pair.adjusted_low, sign * pair.adjusted_high))
    kind = f"{'simultaneous ' * (pair.family > 1)}95 % confidence interval"
    if significant(pair) and low <= 0 <= high:
        kind += " (Bonferroni, wider than Holm's test implies)"
    interval = f"{kind} {_signed(low)} to {_signed(high)}; " if np.isfinite(low) else ""
    if pair.adjustment == "none":
        return f"{interval}{p_text(pair.adjusted_p)}; {_amount(pair)}"
    return f"{interval}adjusted {p_text(pair.adjusted_p)}, {pair.adjustment}; {_amount(pair)}"


def _amount(pair: Comparison) -> str:
    """Count the folds and test cases (images, or groups with one score each) of a comparison."""
    images = f", {pair.finding.n} test cases" if pair.finding.n else ""
    positives = f", {pair.finding.positives} of them positive" if pair.finding.positives else ""
    where = "pooled decision values" if pair.folds == (POOLED,) else "one test set"
    return f"{_folds(pair.folds) if len(pair.folds) > 1 else where}{images}{positives}"


def _scope(pairs: Sequence[Comparison]) -> str:
    """Say what a comparison on one test set is about."""
    if not any(pair.tested and len(pair.folds) == 1 and pair.folds != (POOLED,) for pair in pairs):
        return ""
    return " A single test set compares these two trained models, not two ways of training."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _ranking(ranked: Sequence[Measure], where: str) -> str:
    order = ", ".join(f"{item.series.arm} {item.spread.mean:.3f}" for item in ranked)
    return f"Order by mean AUC{where}: {order}."


def _not_ranked(others: Sequence[Measure], pairs: Mapping[str, Comparison]) -> list[str]:
    """Name the arms that have other folds than the ranked ones, or none."""
    lines = []
    for item in others:
        pair, arm = pairs[item.series.arm], item.series.arm
        text = (
            f"{arm} is not ranked (mean AUC {item.spread.mean:.3f} over its own {_folds(item.series.folds)})"
        )
        if pair.folds:
            text += f"; difference to the best arm {_signed(ahead(pair, arm))} on what both have ({_evidence(pair, arm)})"
        lines.append(f"{text}.")
    return lines


def _levels(best: str, pairs: Mapping[str, Comparison]) -> list[str]:
    """Group the other arms by the result of their test against the best one."""
    tested = {arm: pair for arm, pair in pairs.items() if pair.tested}
    found = {
        f"Significantly below {best} (adjusted p < {LEVEL:g})": [
            arm for arm, pair in tested.items() if significant(pair) and ahead(pair, best) > 0
        ],
        f"Significantly above {best} (adjusted p < {LEVEL:g})": [
            arm for arm, pair in tested.items() if significant(pair) and ahead(pair, best) < 0
        ],
        f"Not significantly different from {best}": [
            arm for arm, pair in tested.items() if not significant(pair)
        ],
        f"Untested against {best}": [
            f"{arm} ({_why(pair)})" for arm, pair in pairs.items() if arm not in tested
        ],
    }
    if len(pairs) < 2 and len(tested) == len(pairs):
        return []
    return [f"{text}: {', '.join(arms)}." for text, arms in found.items() if arms]


def _power(pair: Comparison) -> list[str]:
    """Write the minimum detectable difference between the best two."""
    found = smallest(pair)
    if not np.isfinite(found.difference):
        return []
    adjusted = f", adjusted for {pair.family} comparisons" if pair.family > 1 else ""
    return [
        f"Minimum detectable difference between {' and '.join(pair.arms)} ({POWER * 100:.0f} % power{adjusted}): "
        f"{found.difference:.3f}."
    ]


def _factors(summary: Summary, setting: tuple[str, str]) -> list[str]:
    """Rank the factors in which the arms differ, if there are several."""
    found = analyse(summary, setting)
    if found is None or len(found.levels) < 2:
        return []
    effects = [one for one in found.anova.effects if one.name in found.levels]
    order = sorted(effects, key=lambda one: -one.eta_squared)
    shares = ", ".join(f"{one.name} {one.eta_squared * 100:.0f} %" for one in order)
    return [f"Fraction of the variation of the AUC that each factor explains (η²): {shares}."]


def _tests(pairs: Mapping[str, Comparison], comparisons: Comparisons) -> list[str]:
    tested = [pair for pair in pairs.values() if pair.tested]
    tests = dict.fromkeys(pair.finding.test for pair in tested)
    notes = dict.fromkeys(text for pair in tested for text in pair.finding.warnings)
    lines = (
        [f"Test: {', '.join(tests)}. The best arm was chosen on the scores that are tested."] if tests else []
    )
    lines += [f"Note: {text}." for text in notes]
    missing = [" and ".join(pair.arms) for pair in comparisons.pairs if not pair.tested]
    return lines + [f"Untested pairs: {listing(missing, 4)}; the table of pairs gives the reasons."] * bool(
        missing
    )


def _sizes(item: Measure) -> str:
    low, high = min(item.images), max(item.images)
    size = f"{low}" if low == high else f"{low} to {high}"
    unit = "groups" if scored_by_group(item.series.runs[0].record) else "images"
    what = f"{unit} of the rarest class" if item.scored == MACRO else f"of class {item.scored}"
    return f"Test sets: {size} {unit}, at least {min(item.positives)} {what}."
