"""Which arms of a task can be compared, and what `featx.stats.compare` says of every pair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from featx.errors import ConfigError, RunError
from featx.stats import Comparison, Comparisons, Power, compare_many, detectable

from .checks import apart

if TYPE_CHECKING:
    from .series import Series

__all__ = ["LEVEL", "POWER", "against", "ahead", "compare", "resolve", "significant", "smallest"]

LEVEL = 0.05
"""Differences with a smaller adjusted p are called statistically significant."""
POWER = 0.8
"""Chance of finding a difference that counts as one the data could show."""


def resolve(planned: Sequence[str | tuple[str, str]], arms: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Find the two arms that each planned comparison names.

    Parameters
    ----------
    planned : sequence of (str, str) or str
        Pairs of arms; or text, the two arms with a colon between them.
    arms : sequence of str
        The arms that text can name; their names may hold colons themselves.

    Returns
    -------
    tuple of (str, str)
        Pairs in the order given.

    Raises
    ------
    RunError
        If no colon of a text has an arm on both sides.
    ConfigError
        If several have.

    Examples
    --------
    >>> resolve(["tuned:random:0", ("a", "b")], ["random:0", "tuned"])
    (('tuned', 'random:0'), ('a', 'b'))
    """
    return tuple(_split(one, arms) if isinstance(one, str) else (one[0], one[1]) for one in planned)


def _split(text: str, arms: Sequence[str]) -> tuple[str, str]:
    places = [place for place, letter in enumerate(text) if letter == ":"]
    found = [
        (text[:place], text[place + 1 :])
        for place in places
        if text[:place] in arms and text[place + 1 :] in arms
    ]
    if not found:
        raise RunError(
            f"planned comparison {text!r}: give two arms as A:B; arms of these runs: {', '.join(arms)}"
        )
    if len(found) > 1:
        ways = " or ".join(f"{a!r} against {b!r}" for a, b in found)
        raise ConfigError(
            f"planned comparison {text!r}: can be read as {ways}; name it in a study file, or as a pair of names "
            "in Python"
        )
    return found[0]


def compare(
    series: Sequence[Series], planned: Sequence[tuple[str, str]] = ()
) -> dict[tuple[str, str], Comparisons]:
    """Compare every pair of arms of every task, over the folds and images that the two share.

    Parameters
    ----------
    series : sequence of Series
        Arms on tasks.
    planned : sequence of (str, str)
        Planned comparisons.

    Returns
    -------
    dict
        Task and protocol to the comparisons; tasks of one arm are left out, unless something was planned.
    """
    found = {}
    for setting in dict.fromkeys(one.setting for one in series):
        arms = {one.arm: one for one in series if one.setting == setting}
        if len(arms) < 2 and not planned:
            continue
        records = {name: one.runs[0].record for name, one in arms.items()}
        reasons = {(a, b): why for a, b in combinations(arms, 2) if (why := apart(records[a], records[b]))}
        found[setting] = compare_many(
            {name: one.scores for name, one in arms.items()},
            protocol=setting[1],
            planned=planned,
            apart=reasons,
        )
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


def ahead(pair: Comparison, arm: str) -> float:
    """Say by how much an arm is ahead of the other one of a pair.

    Parameters
    ----------
    pair : Comparison
        Two arms compared.
    arm : str
        One of them.

    Returns
    -------
    float
        Its AUC minus the other's; NaN where the two were not compared.
    """
    difference = pair.values[0] - pair.values[1]
    return difference if pair.arms[0] == arm else -difference


def significant(pair: Comparison) -> bool:
    """Tell whether a difference is statistically significant.

    Parameters
    ----------
    pair : Comparison
        Two arms compared.

    Returns
    -------
    bool
        Whether the adjusted p is below `LEVEL`; False without a test.
    """
    return pair.adjusted_p < LEVEL


def smallest(pair: Comparison) -> Power:
    """Find the smallest difference that two arms' runs could have shown.

    Parameters
    ----------
    pair : Comparison
        Two arms compared.

    Returns
    -------
    Power
        With the chance `POWER`, at `LEVEL` over the number of comparisons that the pair's p is corrected for.
    """
    return detectable(pair.finding, auc=pair.values, power=POWER, level=1 - LEVEL / pair.family)
