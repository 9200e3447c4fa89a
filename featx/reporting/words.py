"""The summary in words: which arm is best, by how much, how sure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from featx.stats.compare import Comparison

from .factors import analyse
from .pairs import LEVEL, POWER, against, comparable, smallest
from .summary import MACRO, Measure, Summary

__all__ = ["Finding", "findings", "p_text"]


@dataclass(frozen=True)
class Finding:
    """What a report says of one task.

    Attributes
    ----------
    title : str
        Task and protocol.
    lead : str
        The answer in a sentence or two.
    details : tuple of str
        What stands behind it.
    """

    title: str
    lead: str
    details: tuple[str, ...]


def findings(summary: Summary) -> tuple[Finding, ...]:
    """Put the results of every task into words.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Finding
        One a task and protocol.
    """
    return tuple(
        _finding(summary, setting, [item for item in summary.overall if item.series.setting == setting])
        for setting in summary.settings
    )


def _finding(summary: Summary, setting: tuple[str, str], items: Sequence[Measure]) -> Finding:
    title, comparisons = f"{setting[0]} ({setting[1]})", summary.comparisons.get(setting)
    ranked = sorted((item for item in items if np.isfinite(item.spread.mean)), key=_rank)
    if not ranked:
        return Finding(title, "No arm has an AUC: every test part holds one class only.", ())
    best = ranked[0]
    if len(ranked) == 1:
        return Finding(title, f"{best.series.arm} reaches {_worth(best)}.", (_sizes(best),))
    pairs = against(comparisons, best.series.arm) if comparisons else {}
    if best.spread.mean == ranked[1].spread.mean:
        equal = [item.series.arm for item in ranked if item.spread.mean == best.spread.mean]
        lead = f"{' and '.join(equal)} share the highest value: {_worth(best)}."
    else:
        lead = f"{best.series.arm} is best: {_worth(best)}. {_ahead(best, ranked[1], pairs)}"
    details = [_ranking(ranked), *_not_told_apart(ranked, pairs), *_power(summary, ranked, pairs)]
    details += [*_factors(summary, setting), *_tests(pairs), _sizes(best)]
    return Finding(title, lead, tuple(details))


def _rank(item: Measure) -> tuple[float, str]:
    return -item.spread.mean, item.series.arm


def _worth(item: Measure) -> str:
    total, name = item.spread, "mean AUC over the classes" if item.scored == MACRO else "AUC"
    if total.n + total.undefined == 1:
        interval = f" (95 % interval {total.low:.3f} to {total.high:.3f})" if np.isfinite(total.low) else ""
        models = item.scores[0].models
        where = f"of the pooled decision values of {models} models" if models > 1 else "on one test set"
        return f"{name} {total.mean:.3f}{interval} {where}"
    spread = f" ± {total.sd:.3f}" if np.isfinite(total.sd) else ""
    folds = f"{total.n} folds" if not total.undefined else f"{total.n} of {total.n + total.undefined} folds"
    return f"{name} {total.mean:.3f}{spread} (mean and standard deviation over {folds})"


def _ahead(best: Measure, second: Measure, pairs: Mapping[str, Comparison]) -> str:
    name = second.series.arm
    if name not in pairs:
        gap = best.spread.mean - second.spread.mean
        return (
            f"That is {gap:.3f} above {name}, the next; the two were not scored on the same folds and images, so "
            "how sure this is remains open."
        )
    pair = pairs[name]
    sign = 1 if pair.arms[0] == best.series.arm else -1
    low, high = sorted((sign * pair.finding.low, sign * pair.finding.high))
    interval = f"95 % interval of this pair {_signed(low)} to {_signed(high)}; " if np.isfinite(low) else ""
    text = f"That is {_signed(sign * pair.finding.estimate)} against {name}, the next ({interval}{_chance(pair)})."
    if not np.isfinite(pair.adjusted_p):
        return f"{text} No test of the difference is possible."
    if pair.adjusted_p < LEVEL:
        return f"{text} The difference is more than chance explains well."
    return f"{text} The difference may be chance."


def _chance(pair: Comparison) -> str:
    if not np.isfinite(pair.adjusted_p):
        return p_text(pair.adjusted_p)
    corrected = "" if pair.adjustment == "none" else f", {pair.adjustment}"
    return f"{p_text(pair.adjusted_p)}{corrected}"


def p_text(value: float) -> str:
    """Write a p value for people.

    Parameters
    ----------
    value : float
        From 0 to 1; NaN where there is none.

    Returns
    -------
    str
        Three decimals; smaller ones as a bound.

    Examples
    --------
    >>> p_text(0.0421), p_text(0.00002)
    ('p = 0.042', 'p < 0.001')
    """
    if not np.isfinite(value):
        return "no p value"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _ranking(ranked: Sequence[Measure]) -> str:
    order = ", ".join(f"{item.series.arm} {item.spread.mean:.3f}" for item in ranked)
    return f"Order by mean AUC: {order}."


def _not_told_apart(ranked: Sequence[Measure], pairs: Mapping[str, Comparison]) -> list[str]:
    """Name the arms beyond the second that cannot be told from the best."""
    if len(ranked) < 3 or not pairs:
        return []
    near = [
        item.series.arm
        for item in ranked[1:]
        if item.series.arm in pairs and not pairs[item.series.arm].adjusted_p < LEVEL
    ]
    if not near:
        return [f"Every other arm is told apart from {ranked[0].series.arm} at the 5 % level."]
    return [f"Not told apart from {ranked[0].series.arm} at the 5 % level: {', '.join(near)}."]


def _power(summary: Summary, ranked: Sequence[Measure], pairs: Mapping[str, Comparison]) -> list[str]:
    """Say which difference between the best two would have been found."""
    second = ranked[1].series
    if second.arm not in pairs:
        return []
    folds = comparable([series for series in summary.series if series.setting == second.setting])
    found = smallest(folds, pairs[second.arm].arms)
    if not np.isfinite(found.difference):
        return []
    return [
        f"A true difference of {found.difference:.3f} between {ranked[0].series.arm} and {second.arm} would have been found "
        f"with {POWER * 100:.0f} % chance; a smaller one rather not."
    ]


def _factors(summary: Summary, setting: tuple[str, str]) -> list[str]:
    """Rank the choices in which the arms differ, where they are several."""
    found = analyse(summary, setting)
    if found is None or len(found.levels) < 2:
        return []
    effects = [one for one in found.anova.effects if one.name in found.levels]
    order = sorted(effects, key=lambda one: -one.eta_squared)
    shares = ", ".join(f"{one.name} {one.eta_squared * 100:.0f} %" for one in order)
    return [f"Share of the variation of AUC that each choice explains: {shares}."]


def _tests(pairs: Mapping[str, Comparison]) -> list[str]:
    tests = dict.fromkeys(pair.finding.test for pair in pairs.values() if np.isfinite(pair.finding.p))
    notes = dict.fromkeys(text for pair in pairs.values() for text in pair.finding.warnings)
    lines = (
        [f"Test: {', '.join(tests)}. The best arm was picked by the same scores that test it."]
        if tests
        else []
    )
    return lines + [f"Mind: {text}." for text in notes]


def _sizes(item: Measure) -> str:
    low, high = min(item.images), max(item.images)
    size = f"{low}" if low == high else f"{low} to {high}"
    what = "images of the rarest class" if item.scored == MACRO else f"of class {item.scored}"
    return f"Test parts hold {size} images, at least {min(item.positives)} {what}."
