"""Files of a published data set: tables and images in a folder and its subfolders."""

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

__all__ = [
    "TABLE_LIMIT",
    "PublishedFiles",
    "coded",
    "filled",
    "one_hot",
    "read_text_table",
    "with_strata",
]

TABLE_LIMIT = 2**26
"""Most bytes of a published table: the largest, of 33,126 images, has 2 MB."""


@dataclass(frozen=True)
class PublishedFiles:
    """An unpacked data set: `path` is its folder, or one of its tables, and `images` the folder of the images."""

    path: Path
    images: Path

    @property
    def folder(self) -> Path:
        """The folder to look for tables in."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def _files(self) -> list[Path]:
        """All files, those in fewer subfolders first."""
        found = [Path(base) / name for base, _, names in os.walk(self.folder) for name in names]
        return sorted(found, key=lambda file: (len(file.parts), file.as_posix()))

    @cached_property
    def _images(self) -> Mapping[str, list[Path]]:
        """Images by their names in lower case without ending."""
        found: dict[str, list[Path]] = {}
        for base, _, names in os.walk(self.images):
            for name in sorted(names):
                if Path(name).suffix.lower() in IMAGE_ENDINGS:
                    found.setdefault(image_name(name).lower(), []).append(Path(base) / name)
        return found

    def find(self, *patterns: str) -> list[Path]:
        """Find files by name; of files of one name, that in the fewest subfolders."""
        found: dict[str, Path] = {}
        for pattern in patterns:
            hits = [file for file in self._files if fnmatchcase(file.name.lower(), pattern.lower())]
            for file in sorted(hits, key=lambda file: file.name):
                found.setdefault(file.name.lower(), file)
        return list(found.values())

    def first(self, *patterns: str) -> Path:
        """Find the first file that exists."""
        found = self.find(*patterns)
        if not found:
            raise ManifestError(
                f"{self.folder}: no table {' or '.join(patterns)} in this folder or its subfolders; give the folder of the unpacked data set"
            )
        return found[0]

    def table(self, *patterns: str, columns: Sequence[str], header: bool = True) -> pd.DataFrame:
        """Read the first table that exists."""
        return read_text_table(self.first(*patterns), columns=columns, header=header)

    def locate(self, name: str) -> list[Path]:
        """Find the files of a published image name."""
        wanted = name.replace("\\", "/").lower()
        folder = wanted.rpartition("/")[0]
        hits = self._images.get(image_name(wanted), [])
        return [file for file in hits if not folder or file.parent.as_posix().lower().endswith(folder)]


def read_text_table(path: Path, *, columns: Sequence[str], header: bool = True) -> pd.DataFrame:
    """Read a table separated by comma, semicolon or tab, in UTF-8 or Windows-1252, that must have some columns.

    All values are text without surrounding spaces; empty rows are left out. Without a header, columns are numbered from
    "0". Raises `ManifestError` if the table cannot be read, lacks a column or has no rows.
    """
    try:
        data = read_regular(path, TABLE_LIMIT)
        if b"\0" in data:
            raise ValueError("it has binary data")
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


def one_hot(
    table: pd.DataFrame, classes: Mapping[str, str], path: Path, otherwise: str | None = None
) -> pd.Series[str]:
    """Turn columns of zeros and one 1 into a label; rows of zeros only get the label `otherwise`, if given."""
    values = table[[name for name in classes if name in table]].apply(pd.to_numeric, errors="coerce")
    marks = values == 1
    zeros = (values == 0).all(axis=1) & (otherwise is not None)
    odd = marks.index[(marks.sum(axis=1) != 1) & ~zeros]
    if len(odd):
        rows = listing([str(row + 2) for row in odd])
        raise ManifestError(f"{path}: rows {rows} do not have exactly one class marked 1; correct the table")
    labels: pd.Series[str] = marks.idxmax(axis=1).map(classes).mask(zeros, otherwise)
    return labels


def coded(table: pd.DataFrame, column: str, codes: Mapping[str, str], path: Path) -> pd.Series[str]:
    """Turn codes into labels; upper and lower case are the same."""
    labels = table[column].str.lower().map({code.lower(): label for code, label in codes.items()})
    if labels.isna().any():
        odd = sorted(set(table[column][labels.isna()]))
        raise ManifestError(
            f"{path}: the column {column} must hold {', '.join(codes)}, got {listing(odd)}; correct the table"
        )
    return labels


def with_strata(rows: pd.DataFrame, table: pd.DataFrame, strata: Mapping[str, str]) -> pd.DataFrame:
    """Add the published columns that are there, under their names in the manifest."""
    return rows.assign(**{name: table[column] for name, column in strata.items() if column in table})


def filled(column: pd.Series[str], other: pd.Series[str]) -> pd.Series[str]:
    """Fill values that are empty or unknown from another column.

    Examples
    --------
    >>> filled(pd.Series(["L1", ""]), pd.Series(["a", "b"])).tolist()
    ['L1', 'b']
    """
    return column.mask(column.str.lower().isin(("", "nan", "na", "none", "unknown")), other)
