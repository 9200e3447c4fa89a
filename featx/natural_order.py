"""Order of names that hold numbers."""

from __future__ import annotations

import re

__all__ = ["natural"]


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key that puts fold 2 before fold 10.

    Examples
    --------
    >>> sorted(["10", "2", "1x2", "1x1"], key=natural)
    ['1x1', '1x2', '2', '10']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts)
