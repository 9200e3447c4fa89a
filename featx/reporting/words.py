"""The summary in words: which arm is best, by how much, how sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featx.stats.intervals import FoldSummary, summarise_folds

from .records import fold_ratio
from .summary import MACRO, Measure, Summary

__all__ = ["Finding", "findings", "paired"]


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


def paired(first: Measure, second: Measure) -> tuple[FoldSummary, int] | None:
    """Summarise the differences of two arms over the folds that both have.

    Parameters
    ----------
    first, second : Measure
        Two arms on one task.

    Returns
    -------
    FoldSummary and int, or None
        Of first minus second, fold by fold, and in how many folds first is ahead; None where the folds are not
        the same partitions, or fewer than two are shared.
    """
    here, there = first.series, second.series
    if here.runs[0].record.folds_digest != there.runs[0].record.folds_digest:
        return None
    others = dict(zip(there.folds, second.auc, strict=True))
    values = np.array(
        [auc - others[fold] for fold, auc in zip(here.folds, first.auc, strict=True) if fold in others]
    )
    if np.isfinite(values).sum() < 2:
        return None
    return summarise_folds(values, ratio=fold_ratio(here.runs)), int((values > 0).sum())


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
        _finding(setting, [item for item in summary.overall if item.series.setting == setting])
        for setting in summary.settings
    )


def _finding(setting: tuple[str, str], items: Sequence[Measure]) -> Finding:
    title = f"{setting[0]} ({setting[1]})"
    ranked = sorted((item for item in items if np.isfinite(item.spread.mean)), key=_rank)
    if not ranked:
        return Finding(title, "No arm has an AUC: every test part holds one class only.", ())
    best = ranked[0]
    if len(ranked) == 1:
        return Finding(title, f"{best.series.arm} reaches {_worth(best)}.", _sizes(best))
    second = ranked[1]
    lead = f"{best.series.arm} is best: {_worth(best)}. {_lead_over(best, second)}"
    return Finding(title, lead, (_ranking(ranked), *_sizes(best)))


def _rank(item: Measure) -> tuple[float, str]:
    return -item.spread.mean, item.series.arm


def _worth(item: Measure) -> str:
    total, name = item.spread, "mean AUC over the classes" if item.scored == MACRO else "AUC"
    if total.n + total.undefined == 1:
        interval = f" (95 % interval {total.low:.3f} to {total.high:.3f})" if np.isfinite(total.low) else ""
        return f"{name} {total.mean:.3f}{interval} on one test set"
    spread = f" ± {total.sd:.3f}" if np.isfinite(total.sd) else ""
    folds = f"{total.n} folds" if not total.undefined else f"{total.n} of {total.n + total.undefined} folds"
    return f"{name} {total.mean:.3f}{spread} (mean and standard deviation over {folds})"


def _lead_over(best: Measure, second: Measure) -> str:
    name = second.series.arm
    gap = best.spread.mean - second.spread.mean
    found = paired(best, second)
    if found is None:
        return (
            f"That is {gap:.3f} above {name}, the next; the two cannot be compared fold by fold, so how sure "
            "this is remains open."
        )
    total, ahead = found
    text = f"That is {total.mean:.3f} above {name}, the next, and ahead in {ahead} of {total.n} folds."
    if not np.isfinite(total.low):
        return f"{text} No interval can be given for the difference."
    interval = f"95 % interval of the difference: {_signed(total.low)} to {_signed(total.high)}"
    if total.low > 0:
        return f"{text} The difference stands out from the folds' variation ({interval})."
    return f"{text} The folds do not show that the difference is real ({interval})."


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _ranking(ranked: Sequence[Measure]) -> str:
    order = ", ".join(f"{item.series.arm} {item.spread.mean:.3f}" for item in ranked)
    return f"Order by mean AUC: {order}."


def _sizes(item: Measure) -> tuple[str, ...]:
    low, high = min(item.images), max(item.images)
    size = f"{low}" if low == high else f"{low} to {high}"
    few = min(item.positives)
    what = "images of the rarest class" if item.scored == MACRO else f"of class {item.scored}"
    return (f"Test parts hold {size} images, at least {few} {what}.",)
