"""ISIC challenge 2017, part 3: melanoma, seborrheic keratosis or nevus; train, validation and test."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, one_hot, read_text_table

__all__ = ["read_isic2017"]

_CLASSES = {"melanoma": "melanoma", "seborrheic_keratosis": "seborrheic keratosis", "nevus": "nevus"}
_MARKED = ("melanoma", "seborrheic_keratosis")
_PARTS = {"train": "Training", "val": "Validation", "test": "Test_v2"}


def read_isic2017(source: PublishedTable) -> pd.DataFrame:
    """Read the tables ``ISIC-2017_*_Part3_GroundTruth.csv`` that are there.

    An image marked neither melanoma nor seborrheic keratosis is a nevus, as the challenge says.

    Parameters
    ----------
    source : Source
        The unpacked data set; ages and sexes come from ``ISIC-2017_*_Data_metadata.csv``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``split``, ``age``, ``sex``.

    Raises
    ------
    ManifestError
        If the training table is missing, a table is damaged, or an image has two classes.
    """
    source.first(f"ISIC-2017_{_PARTS['train']}_Part3_GroundTruth.csv")
    parts = []
    for split, name in _PARTS.items():
        for path in source.find(f"ISIC-2017_{name}_Part3_GroundTruth.csv"):
            table = read_text_table(path, columns=("image_id", *_MARKED))
            marked = table[list(_MARKED)].apply(pd.to_numeric, errors="coerce")
            table["nevus"] = (marked == 0).all(axis=1).astype(int).astype(str)
            labels = one_hot(table, _CLASSES, path)
            parts.append(pd.DataFrame({"image": table["image_id"], "label": labels, "split": split}))
    return _with_metadata(pd.concat(parts, ignore_index=True), source)


def _with_metadata(rows: pd.DataFrame, source: PublishedTable) -> pd.DataFrame:
    columns = ("image_id", "age_approximate", "sex")
    found = [read_text_table(path, columns=columns) for path in source.find("ISIC-2017_*_Data_metadata.csv")]
    if not found:
        return rows
    known = pd.concat(found).drop_duplicates("image_id").set_index("image_id")
    for column, published in (("age", "age_approximate"), ("sex", "sex")):
        rows[column] = rows["image"].map(known[published]).fillna("").replace("unknown", "")
    return rows
