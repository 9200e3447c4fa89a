"""Which arms of a task can be compared fold by fold, and what `featx.stats.compare` says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from featx.stats.arms import FoldScores
from featx.stats.compare import Comparison, Comparisons, compare_many
from featx.stats.power import Power, smallest_difference

if TYPE_CHECKING:
    from .series import Series

__all__ = ["LEVEL", "POWER", "against", "comparable", "compare", "smallest"]

LEVEL = 0.05
"""Differences with a smaller corrected p are called more than chance."""
POWER = 0.8
"""Chance of finding a difference that counts as one the data could show."""


def comparable(several: Sequence[Series]) -> dict[str, list[FoldScores]]:
    """Choose the arms, folds and images on which a task's arms can be paired.

    Parameters
    ----------
    several : sequence of Series
        The arms of one task and protocol.

    Returns
    -------
    dict of str to list of FoldScores
        Arms scored on the partition that most arms share, each with the folds that all of these have scored on
        the same images; empty where fewer than two arms share a fold.
    """
    if not several:
        return {}
    digests = Counter(
        (one.runs[0].record.folds_digest, one.runs[0].record.manifest.get("digest")) for one in several
    )
    ((common, count),) = digests.most_common(1)
    arms = {
        one.arm: {fold.name: fold for fold in one.scores}
        for one in several
        if (one.runs[0].record.folds_digest, one.runs[0].record.manifest.get("digest")) == common
    }
    first = next(iter(arms.values()))
    shared = [
        name
        for name, fold in first.items()
        if all(name in folds and folds[name].ids == fold.ids for folds in arms.values())
    ]
    return (
        {arm: [folds[name] for name in shared] for arm, folds in arms.items()} if shared and count > 1 else {}
    )


def compare(series: Sequence[Series]) -> dict[tuple[str, str], Comparisons]:
    """Compare every pair of arms of every task.

    Parameters
    ----------
    series : sequence of Series
        Arms on tasks.

    Returns
    -------
    dict
        Task and protocol to the comparisons; tasks whose arms cannot be paired are left out.
    """
    found = {}
    for setting in dict.fromkeys(one.setting for one in series):
        arms = comparable([one for one in series if one.setting == setting])
        if arms:
            found[setting] = compare_many(arms, protocol=setting[1])
    return found


def against(comparisons: Comparisons, arm: str) -> dict[str, Comparison]:
    """Pick the comparisons of one arm.

    Parameters
    ----------
    comparisons : Comparisons
        Of all arms of a task.
    arm : str
        An arm.

    Returns
    -------
    dict of str to Comparison
        By the name of the other arm; differences still are first minus second of ``Comparison.arms``.
    """
    return {
        pair.arms[1] if pair.arms[0] == arm else pair.arms[0]: pair
        for pair in comparisons.pairs
        if arm in pair.arms
    }


def smallest(
    folds: Mapping[str, Sequence[FoldScores]], arms: tuple[str, str], *, level: float = LEVEL
) -> Power:
    """Find the smallest difference that two arms' runs could have shown.

    Parameters
    ----------
    folds : mapping of str to sequence of FoldScores
        Arms with their folds, as `comparable` returns them.
    arms : tuple of (str, str)
        Two of them.
    level : float
        Level of the test.

    Returns
    -------
    Power
        With the chance `POWER`.
    """
    first, second = (folds[arm] for arm in arms)
    return smallest_difference(first, second, power=POWER, level=1 - level)
