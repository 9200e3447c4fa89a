"""Cells of CSV files, written so that no spreadsheet takes a text for a formula, and read back exactly.

Spreadsheets run what begins with ``=``, ``+``, ``-`` or ``@``, be it an image's id or an arm's name. All CSV that featx
writes goes through `csv_text`, all that it reads through `unguarded`. Source: OWASP, CSV Injection.
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
    r"""Put an apostrophe before a text that a spreadsheet may take for a formula.

    Parameters
    ----------
    cell : object
        A cell. What is not text, and text that is a plain number, is safe as it is.

    Returns
    -------
    object
        The cell. An apostrophe also goes before one that stands before such a text already, so that `unguarded` gives
        back exactly what was given.

    Examples
    --------
    >>> guarded("=1+1"), guarded("-0.5"), guarded("'=1+1"), guarded("it's")
    ("'=1+1", '-0.5', "''=1+1", "it's")
    """
    risky = isinstance(cell, str) and _GUARDED.match(cell) and not _NUMBER.fullmatch(cell)
    return f"'{cell}" if risky else cell


def unguarded(cell: Any) -> Any:
    """Take off the apostrophe that `guarded` has put before a text.

    Parameters
    ----------
    cell : object
        A cell as read.

    Returns
    -------
    object
        What `guarded` was given. Other cells stay, those with an apostrophe of their own too.

    Examples
    --------
    >>> unguarded("'=1+1"), unguarded("'tis")
    ('=1+1', "'tis")
    """
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and _GUARDED.match(cell) else cell


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    r"""Write rows as CSV, guarded, with Unix line ends.

    Parameters
    ----------
    rows : iterable of iterable
        Cells, the column names first.

    Returns
    -------
    str
        The text.

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
