"""What came of faults: how many were tried, and what they did."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Counts", "table", "told"]


@dataclass
class Counts:
    """Faults of one kind.

    Attributes
    ----------
    kind : str
        What was done.
    survived : int
        Faults after which everything was as it should be.
    lost, wrong, hung : list of str
        The others, each with what happened.
    """

    kind: str
    survived: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """All faults."""
        return self.survived + len(self.bad)

    @property
    def bad(self) -> list[str]:
        """What happened where something was lost, wrong or hung."""
        return [*self.lost, *self.wrong, *self.hung]


def table(several: Iterable[Counts]) -> str:
    """Write counts as a table, what went wrong below it."""
    rows = [("fault", "tried", "survived", "lost", "wrong", "hung")]
    every = list(several)
    for one in every:
        numbers = (one.tried, one.survived, len(one.lost), len(one.wrong), len(one.hung))
        rows.append((one.kind, *map(str, numbers)))
    width = max(len(row[0]) for row in rows)
    lines = [row[0].ljust(width) + "".join(cell.rjust(10) for cell in row[1:]) for row in rows]
    return "\n".join([*lines, *(f"{one.kind}: {text}" for one in every for text in one.bad)])


def told(several: Iterable[Counts]) -> int:
    """Tell each kind of fault on stderr as it is done, then print the table of all; 1 if anything went wrong."""
    every = []
    for one in several:
        every.append(one)
        print(table([one]), file=sys.stderr, flush=True)
    print(table(every))
    return int(any(one.bad for one in every))
