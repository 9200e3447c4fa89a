"""What a published data set is on the disk: tables and images somewhere below a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from io import StringIO
from pathlib import Path

import pandas as pd

from featx.cells import unguarded
from featx.data.manifest import IMAGE_ENDINGS, image_name
from featx.errors import ManifestError, listing
from featx.files import read_regular

__all__ = ["TABLE_LIMIT", "PublishedTable", "filled", "one_hot", "read_text_table"]

TABLE_LIMIT = 2**26
"""Bytes of a published table: the largest, of 33,126 images, has 2 MB."""


@dataclass(frozen=True)
class PublishedTable:
    """A data set as it was unpacked.

    Attributes
    ----------
    path : Path
        A folder, or one table of it.
    images : Path
        Folder below which the images lie.
    """

    path: Path
    images: Path

    @property
    def folder(self) -> Path:
        """The folder to look for tables in."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def _files(self) -> list[Path]:
        """All files, the least deep first."""
        found = [Path(base) / name for base, _, names in os.walk(self.folder) for name in names]
        return sorted(found, key=lambda file: (len(file.parts), file.as_posix()))

    @cached_property
    def _images(self) -> Mapping[str, list[Path]]:
        """Images by their name in lower case without ending."""
        found: dict[str, list[Path]] = {}
        for base, _, names in os.walk(self.images):
            for name in sorted(names):
                if Path(name).suffix.lower() in IMAGE_ENDINGS:
                    found.setdefault(image_name(name).lower(), []).append(Path(base) / name)
        return found

    def find(self, *patterns: str) -> list[Path]:
        """Find files by name; of files of one name the least deep."""
        found: dict[str, Path] = {}
        for pattern in patterns:
            hits = [file for file in self._files if fnmatchcase(file.name.lower(), pattern.lower())]
            for file in sorted(hits, key=lambda file: file.name):
                found.setdefault(file.name.lower(), file)
        return list(found.values())

    def first(self, *patterns: str) -> Path:
        """Find the first file that is there."""
        found = self.find(*patterns)
        if not found:
            raise ManifestError(
                f"{self.folder}: no table {' or '.join(patterns)} below this folder; give the unpacked data set"
            )
        return found[0]

    def table(self, *patterns: str, columns: Sequence[str], header: bool = True) -> pd.DataFrame:
        """Read the first table that is there."""
        return read_text_table(self.first(*patterns), columns=columns, header=header)

    def locate(self, name: str) -> list[Path]:
        """Find the image of a published name."""
        wanted = name.replace("\\", "/").lower()
        folder = wanted.rpartition("/")[0]
        hits = self._images.get(image_name(wanted), [])
        return [file for file in hits if not folder or file.parent.as_posix().lower().endswith(folder)]


def read_text_table(path: Path, *, columns: Sequence[str], header: bool = True) -> pd.DataFrame:
    """Read a table as text: comma, semicolon or tab separated, UTF-8 or the older Windows encoding.

    Parameters
    ----------
    path : Path
        The table.
    columns : sequence of str
        Columns that it must have.
    header : bool
        Whether the first line names the columns; else they are numbered as text.

    Returns
    -------
    pandas.DataFrame
        All columns text, values stripped, empty rows gone.

    Raises
    ------
    ManifestError
        If it cannot be read, lacks a column or has no rows; the message names the file and what is expected.
    """
    try:
        data = read_regular(path, TABLE_LIMIT)
        if b"\0" in data:
            raise ValueError("it holds binary data")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("cp1252")
        first = text.partition("\n")[0]
        separator = next((mark for mark in ("\t", ";") if mark in first), ",")
        frame = pd.read_csv(
            StringIO(text), sep=separator, dtype=str, keep_default_na=False, header=0 if header else None
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ManifestError(
            f"{path}: cannot be read as a table: {reason}; expected {_expected(columns, header)}"
        ) from error
    frame = frame.fillna("").apply(lambda column: column.str.strip().map(unguarded))
    frame.columns = [unguarded(str(name).strip()) for name in frame.columns]
    lacking = [name for name in columns if name not in frame]
    kept: pd.DataFrame = frame.loc[(frame != "").any(axis=1)].reset_index(drop=True)
    if lacking or kept.empty:
        wrong = f"no column {listing(lacking)}" if lacking else "no rows"
        raise ManifestError(
            f"{path}: {wrong} in this table (columns: {listing(list(frame.columns), 12)}); "
            f"expected {_expected(columns, header)}"
        )
    return kept


def _expected(columns: Sequence[str], header: bool) -> str:
    named = f"the columns {', '.join(columns)}" if header else f"{len(columns)} columns without a header"
    return f"text separated by comma, semicolon or tab, with {named}"


def one_hot(table: pd.DataFrame, classes: Mapping[str, str], where: Path) -> pd.Series[str]:
    """Turn columns of zeros and one 1 into a label."""
    marks = table[[name for name in classes if name in table]].apply(pd.to_numeric, errors="coerce") == 1
    odd = marks.index[marks.sum(axis=1) != 1]
    if len(odd):
        rows = listing([str(row + 2) for row in odd])
        raise ManifestError(f"{where}: rows {rows} do not have exactly one class marked 1; mend the table")
    labels: pd.Series[str] = marks.idxmax(axis=1).map(classes)
    return labels


def filled(column: pd.Series[str], other: pd.Series[str]) -> pd.Series[str]:
    """Fill what is empty or called unknown from another column.

    Examples
    --------
    >>> filled(pd.Series(["L1", ""]), pd.Series(["a", "b"])).tolist()
    ['L1', 'b']
    """
    return column.mask(column.str.lower().isin(("", "nan", "na", "none", "unknown")), other)
