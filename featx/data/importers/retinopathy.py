"""Retinas graded for diabetic retinopathy (Kaggle 2015, APTOS 2019), and the tables of Menegola et al. 2017."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featx.data.importers.source import PublishedFiles, coded, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_aptos2019", "read_kaggle_dr", "read_menegola2017"]

_LEVELS = {
    "protocol1": {"0": "benign", "1": "malignant"},
    "protocol2": {"0": "benign", "1": "melanoma"},
    "protocol3": {"0": "basal cell carcinoma", "1": "melanoma", "2": "benign"},
    "isic": {"0": "benign", "1": "melanoma"},
}


def read_kaggle_dr(source: PublishedFiles) -> pd.DataFrame:
    """Read ``trainLabels.csv`` and, where it is there, ``retinopathy_solution.csv``."""
    parts = [_eyes(source.first("trainLabels.csv")).assign(split="train")]
    parts += [_eyes(path).assign(split="test") for path in source.find("retinopathy_solution.csv")]
    return pd.concat(parts, ignore_index=True)


def _eyes(path: Path) -> pd.DataFrame:
    """Turn ``image`` and ``level`` into rows with the grade, the patient as group, and the eye."""
    table = read_text_table(path, columns=("image", "level"))
    parts = table["image"].str.extract(r"^(\d+)_(left|right)$")
    if parts.isna().any(axis=None):
        odd = table["image"][parts[0].isna()].tolist()
        raise ManifestError(
            f"{path}: images must be named NUMBER_left or NUMBER_right, got {listing(odd)}; correct the table"
        )
    return pd.DataFrame(
        {
            "image": table["image"],
            "label": "grade" + table["level"],
            "group": "patient" + parts[0],
            "eye": parts[1],
        }
    )


def read_aptos2019(source: PublishedFiles) -> pd.DataFrame:
    """Read ``train.csv``; the test set has no labels."""
    table = source.table("train.csv", columns=("id_code", "diagnosis"))
    return pd.DataFrame({"image": table["id_code"], "label": "grade" + table["diagnosis"]})


def read_menegola2017(source: PublishedFiles) -> pd.DataFrame:
    """Read one of the tables that the authors publish beside their folds."""
    name = source.path.stem.lower()
    if source.path.is_dir() or name not in {*_LEVELS, "retina"}:
        known = listing([f"{stem}.csv" for stem in (*_LEVELS, "retina")], 9)
        raise ManifestError(f"{source.path}: give one of the published tables: {known}")
    if name == "retina":
        return _eyes(source.path)
    table = read_text_table(source.path, columns=("image", "level"))
    labels = coded(table, "level", _LEVELS[name], source.path)
    return pd.DataFrame({"image": table["image"], "label": labels})
