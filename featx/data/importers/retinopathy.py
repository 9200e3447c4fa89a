"""Kaggle's diabetic retinopathy detection 2015: two eyes of a patient, grades 0 to 4."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featx.data.importers.source import PublishedTable, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_aptos2019", "read_eyes", "read_kaggle_dr", "read_menegola2017"]


def read_kaggle_dr(source: PublishedTable) -> pd.DataFrame:
    """Read ``trainLabels.csv`` and, where it is there, ``retinopathy_solution.csv``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (grade0 to grade4), ``group`` (the number before ``_left`` or ``_right``),
        ``split``, ``eye``.
    """
    parts = [read_eyes(source.first("trainLabels.csv")).assign(split="train")]
    for path in source.find("retinopathy_solution.csv"):
        parts.append(read_eyes(path).assign(split="test"))
    return pd.concat(parts, ignore_index=True)


def read_eyes(path: Path) -> pd.DataFrame:
    """Turn ``image`` and ``level`` into rows with patient and eye."""
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


def read_aptos2019(source: PublishedTable) -> pd.DataFrame:
    """Read ``train.csv``; the test part has no labels."""
    table = source.table("train.csv", columns=("id_code", "diagnosis"))
    return pd.DataFrame({"image": table["id_code"], "label": "grade" + table["diagnosis"]})


_LEVELS = {
    "protocol1": {"0": "benign", "1": "malignant"},
    "protocol2": {"0": "benign", "1": "melanoma"},
    "protocol3": {"0": "basal cell carcinoma", "1": "melanoma", "2": "benign"},
    "isic": {"0": "benign", "1": "melanoma"},
}


def read_menegola2017(source: PublishedTable) -> pd.DataFrame:
    """Read one of the tables."""
    name = source.path.stem.lower()
    if source.path.is_dir() or name not in {*_LEVELS, "retina"}:
        known = listing([f"{stem}.csv" for stem in (*_LEVELS, "retina")], 9)
        raise ManifestError(f"{source.path}: give one of the published tables: {known}")
    if name == "retina":
        return read_eyes(source.path)
    table = read_text_table(source.path, columns=("image", "level"))
    labels = table["level"].map(_LEVELS[name])
    if labels.isna().any():
        odd = sorted(set(table["level"][labels.isna()]))
        raise ManifestError(f"{source.path}: levels must be {', '.join(_LEVELS[name])}, got {listing(odd)}")
    return pd.DataFrame({"image": table["image"], "label": labels})
