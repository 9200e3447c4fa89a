"""Columns of the manifest that results are broken down by, and their levels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from featx.data import natural
from featx.errors import RunError
from featx.runs import Run

__all__ = ["MOST_LEVELS", "SubgroupColumn", "as_numbers", "find_strata", "is_given", "levels"]

# Columns of the manifest with more values than this are binned if they are numbers, else left out.
MOST_LEVELS = 12

_SCALES = (("low", "medium", "high"), ("easy", "medium", "hard"), ("small", "medium", "large"))

# What tables have in place of a number that is not known.
_UNKNOWN = frozenset({"unknown", "na", "n/a"})

# Whole numbers from 0 to this that span at least as much are treated as ages and binned by decade.
_OLDEST, _SPAN = 119, 20


@dataclass(frozen=True)
class SubgroupColumn:
    """A column of the manifest that results are broken down by.

    Attributes
    ----------
    name : str
        Name of the column.
    edges : tuple of float
        Upper edge of every bin but the last; empty if the column's values are not binned.
    labels : tuple of str
        Levels, in order: names of the bins, or the column's values.
    """

    name: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]

    def level(self, text: str) -> str:
        """Look up the level of a value.

        Examples
        --------
        >>> SubgroupColumn("age", (39, 49), ("30 to 39", "40 to 49", "50 to 59")).level("40")
        '40 to 49'
        """
        if not is_given(text):
            return ""
        if not self.edges:
            return text
        number = as_numbers([text])
        if not number:
            return ""
        return self.labels[int(np.searchsorted(self.edges, number[0]))]


def find_strata(
    runs: Iterable[Run], wanted: Sequence[str] | None = None
) -> tuple[tuple[SubgroupColumn, ...], tuple[str, ...]]:
    """Find the columns to break results down by.

    Returns
    -------
    strata : tuple of SubgroupColumn
        In natural order of their names, or in the given order.
    notes : tuple of str
        Columns that were left out, with the reason.
    """
    columns = _columns(runs)
    missing = sorted(set(wanted or ()) - set(columns))
    if missing:
        known = ", ".join(sorted(columns)) or "none"
        raise RunError(
            f"No run has the column {missing[0]!r} to break results down by; columns of these runs: {known}"
        )
    names = sorted(columns, key=natural) if wanted is None else dict.fromkeys(wanted)
    found = [_stratum(name, columns[name].values()) for name in names]
    if wanted is not None:
        return tuple(found), ()
    notes = [
        f"Column {one.name!r} has {len(one.labels)} values: results are broken down by at most {MOST_LEVELS} values."
        for one in found
        if len(one.labels) > MOST_LEVELS
    ]
    return tuple(one for one in found if 2 <= len(one.labels) <= MOST_LEVELS), tuple(notes)


def _columns(runs: Iterable[Run]) -> dict[str, dict[tuple[str, str], str]]:
    """Gather each column's value of every image; an image that several folds test counts once."""
    values: dict[str, dict[tuple[str, str], str]] = {}
    for run in runs:
        data = str(run.record.manifest.get("digest"))
        for row in run.predictions:
            for name, value in row.strata.items():
                values.setdefault(name, {})[data, row.id] = value
    return values


def _stratum(name: str, values: Iterable[str]) -> SubgroupColumn:
    given = [value for value in values if is_given(value)]
    numbers = as_numbers(given)
    if len(set(numbers)) > MOST_LEVELS:
        return SubgroupColumn(name, *_bins(np.array(numbers)))
    return SubgroupColumn(name, (), tuple(levels(given)))


def is_given(text: str) -> bool:
    """Tell whether a cell of a manifest holds a value."""
    return text.strip().casefold() not in ("", "nan")


def as_numbers(values: Sequence[str]) -> list[float]:
    """Read a column's values as numbers, without words for an unknown one; return none if one of them is not a number.

    Examples
    --------
    >>> as_numbers(["45", "unknown", "50.5"]), as_numbers(["45", "old"])
    ([45.0, 50.5], [])
    """
    told = (value for value in values if value.strip().casefold() not in _UNKNOWN)
    try:
        return [number for value in told if math.isfinite(number := float(value))]
    except ValueError:
        return []


def _bins(numbers: np.ndarray) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Bin numbers by decade if they look like ages, else at their quartiles."""
    low, high = float(numbers.min()), float(numbers.max())
    whole = bool((numbers == numbers.round()).all())
    if whole and low >= 0 and high <= _OLDEST and high - low >= _SPAN:
        tens = range(int(low) // 10 * 10, int(high) + 1, 10)
        return tuple(ten + 9.0 for ten in tens[:-1]), tuple(f"{ten} to {ten + 9}" for ten in tens)
    below = numbers[numbers < high]
    quartiles = np.quantile(numbers, (0.25, 0.5, 0.75), method="lower")
    edges = np.unique(np.minimum(quartiles, below.max())).tolist()  # the last bin is never empty
    inner = [f"> {start:g} to {end:g}" for start, end in pairwise(edges)]
    return tuple(edges), (f"≤ {edges[0]:g}", *inner, f"> {edges[-1]:g}")


def levels(values: Iterable[str]) -> list[str]:
    """Order the levels of a column: known scales from low to high, all others naturally.

    Examples
    --------
    >>> levels(["high", "low", "medium", "low", ""]), levels(["b", "a10", "a9"])
    (['low', 'medium', 'high'], ['a9', 'a10', 'b'])
    """
    found = {value for value in values if value}
    for scale in _SCALES:
        if {value.casefold() for value in found} <= set(scale):
            return sorted(found, key=lambda value: scale.index(value.casefold()))
    return sorted(found, key=natural)
