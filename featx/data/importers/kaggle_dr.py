"""Kaggle's diabetic retinopathy detection 2015: two eyes of a patient, grades 0 to 4."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featx.data.importers.source import PublishedTable, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_eyes", "read_kaggle_dr"]


def read_kaggle_dr(source: PublishedTable) -> pd.DataFrame:
    """Read ``trainLabels.csv`` and, where it is there, ``retinopathy_solution.csv``.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (grade0 to grade4), ``group`` (the number before ``_left`` or ``_right``),
        ``split``, ``eye``.

    Raises
    ------
    ManifestError
        If the table is missing or damaged, or a name is not of that form.
    """
    parts = [read_eyes(source.first("trainLabels.csv")).assign(split="train")]
    for path in source.find("retinopathy_solution.csv"):
        parts.append(read_eyes(path).assign(split="test"))
    return pd.concat(parts, ignore_index=True)


def read_eyes(path: Path) -> pd.DataFrame:
    """Turn ``image`` and ``level`` into rows with patient and eye.

    Parameters
    ----------
    path : Path
        A table whose images are named such as ``10_left``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group``, ``eye``.

    Raises
    ------
    ManifestError
        If the table is damaged, or a name is not of that form.
    """
    table = read_text_table(path, columns=("image", "level"))
    parts = table["image"].str.extract(r"^(\d+)_(left|right)$")
    if parts.isna().any(axis=None):
        odd = table["image"][parts[0].isna()].tolist()
        raise ManifestError(f"{path}: images must be named NUMBER_left or NUMBER_right, got {listing(odd)}")
    return pd.DataFrame(
        {
            "image": table["image"],
            "label": "grade" + table["level"],
            "group": "patient" + parts[0],
            "eye": parts[1],
        }
    )
