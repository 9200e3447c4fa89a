"""Waiting for runs of a study under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from featx.files import find_files
from featx.runs import COMPLETE

__all__ = ["changes"]


def changes(
    paths: Sequence[Path | str], every: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[int]:
    """Yield whenever runs have been finished or replaced since the last time.

    Parameters
    ----------
    paths : sequence of Path or str
        Folders that hold runs, or will; one that does not exist yet is waited for.
    every : float
        Seconds between two looks.
    sleep : callable
        What waits.

    Yields
    ------
    int
        How many finished runs there are, at least one. Goes on for ever.
    """
    seen: frozenset[tuple[Path, int]] = frozenset()
    while True:
        found = _marks(paths)
        if found and found != seen:
            seen = found
            yield len(found)
        sleep(every)


def _marks(paths: Sequence[Path | str]) -> frozenset[tuple[Path, int]]:
    found = set()
    for mark in (mark for path in paths for mark in find_files(path, COMPLETE)):
        try:
            found.add((mark, mark.stat().st_mtime_ns))
        except FileNotFoundError:  # replaced at this moment: the next look sees it
            continue
    return frozenset(found)
