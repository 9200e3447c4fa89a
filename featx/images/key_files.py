"""Files of content keys that travel: keys computed on one machine, used on others.

A CSV file with the columns ``path`` (absolute, as the manifest gives it) and ``sha256``; further columns are ignored.
Whoever uses such a file trusts it: `content_keys` neither reads nor looks at the images that it lists.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from featx.cells import csv_text, unguarded
from featx.errors import InputError
from featx.files import open_regular, write_bytes

__all__ = ["absolute", "read_keys", "write_keys"]

_COLUMNS = ("path", "sha256")
_SHA256 = re.compile("[0-9a-f]{64}")


def absolute(path: Path | str) -> str:
    """Put the current folder before a relative path. Links and ``..`` stay: they may lead elsewhere."""
    return os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - a hundred thousand times


def write_keys(path: Path | str, keys: Mapping[str, str]) -> None:
    """Write content keys to a file, in one atomic step.

    Parameters
    ----------
    path : Path or str
        CSV file to write.
    keys : mapping of str to str
        Paths of images, and the SHA-256 of each (64 hexadecimal digits), such as the ``keys`` of `content_keys`.
        Relative paths are written as absolute ones.

    Raises
    ------
    DiskError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "keys.csv")
    >>> write_keys(file, {"/data/1.png": "ab" * 32})
    >>> read_keys(file) == {"/data/1.png": "ab" * 32}
    True
    """
    rows = ((absolute(name), key) for name, key in keys.items())
    # File names need not be UTF-8.
    write_bytes(path, csv_text([_COLUMNS, *rows]).encode("utf-8", "surrogateescape"))


def read_keys(path: Path | str) -> dict[str, str]:
    r"""Read the content keys of a file that `write_keys` has written.

    Parameters
    ----------
    path : Path or str
        CSV file with the columns ``path`` and ``sha256``.

    Returns
    -------
    dict of str to str
        Absolute paths of images, and the SHA-256 of each (64 hexadecimal digits).

    Raises
    ------
    InputError
        If the file cannot be read, a column is missing, or a row has no absolute path and SHA-256; the message names
        the line.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "keys.csv")
    >>> _ = file.write_text("path,bytes,sha256\n/data/1.png,120," + "cd" * 32 + "\n")
    >>> read_keys(file)["/data/1.png"][:4]
    'cdcd'
    """
    try:
        with (
            open_regular(path) as file,
            io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text,
        ):
            return dict(_rows(path, text))
    except (OSError, csv.Error) as error:
        raise InputError(
            f"{path}: content keys cannot be read: {getattr(error, 'strerror', None) or error}; give a CSV file with the "
            "columns path and sha256"
        ) from error


def _rows(path: Path | str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    rows = csv.reader(lines)
    head = next(rows, [])
    if not set(_COLUMNS) <= set(head):
        raise InputError(
            f"{path}: content keys need the columns path and sha256, got {', '.join(head) or 'an empty file'}"
        )
    places = [head.index(column) for column in _COLUMNS]
    for row in rows:
        name, key = (unguarded(row[place]) if place < len(row) else "" for place in places)
        if not os.path.isabs(name) or not _SHA256.fullmatch(key):  # noqa: PTH117
            raise InputError(
                f"{path}: line {rows.line_num} must hold an absolute path and a SHA-256 of 64 hexadecimal digits, "
                f"got {name!r} and {key!r}; write the file again with write_keys"
            )
        yield name, key
