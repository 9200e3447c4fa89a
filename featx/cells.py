"""Cells of CSV files: no spreadsheet takes a text for a formula, and texts are read back exactly.

Spreadsheets evaluate cells that begin with ``=``, ``+``, ``-`` or ``@``, be it an image id or an arm's name. featx writes
every CSV file with `csv_text` and reads it with `unguarded`. Source: OWASP, CSV Injection.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any

__all__ = ["csv_text", "guarded", "unguarded"]

# Full-width signs count too: some spreadsheets turn them into the narrow ones.
_GUARDED = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def guarded(cell: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet may take for a formula.

    Numbers, and texts that are plain numbers, stay. A text that already has apostrophes before a sign gets one more, so
    that `unguarded` returns exactly what was given.

    Examples
    --------
    >>> guarded("=1+1"), guarded("-0.5"), guarded("'=1+1"), guarded("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    risky = isinstance(cell, str) and _GUARDED.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if risky else cell


def unguarded(cell: Any) -> Any:
    """Remove the apostrophe that `guarded` has put before a text; leave other cells as they are.

    Examples
    --------
    >>> unguarded("'=1+1"), unguarded("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and _GUARDED.match(cell) else cell


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    r"""Write rows as CSV, guarded, with Unix line ends; the first row holds the column names.

    Examples
    --------
    >>> csv_text([("id", "score"), ("@a", -0.5)])
    "id,score\n'@a,-0.5\n"
    """
    # Python quotes a carriage return in a cell only where lines end with one; the reader would break the row there.
    lines = _Lines()
    csv.writer(lines, lineterminator="\r\n").writerows(map(guarded, row) for row in rows)
    return "".join(line[:-2] + "\n" for line in lines)


class _Lines(list[str]):
    write = list.append
