"""ISIC challenge 2020: 33,126 images of 2,056 patients; melanoma or not, with the diagnosis where known."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, filled, read_text_table

__all__ = ["read_isic2020"]

_STRATA = {"lesion": "lesion_id", "age": "age_approx", "site": "anatom_site_general_challenge", "sex": "sex"}


def read_isic2020(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISIC_2020_Training_GroundTruth_v2.csv``, the first version of it, or Kaggle's ``train.csv``.

    Images that ``ISIC_2020_Training_Duplicates.csv`` names as the second of a pair are left out.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (the diagnosis, or benign or malignant where it is unknown), ``group`` (the
        patient), and the strata ``lesion``, ``age``, ``site``, ``sex``.

    Raises
    ------
    ManifestError
        If the table is missing or damaged.
    """
    table = source.table(
        "ISIC_2020_Training_GroundTruth_v2.csv",
        "ISIC_2020_Training_GroundTruth.csv",
        "train.csv",
        columns=("image_name", "patient_id", "diagnosis", "benign_malignant"),
    )
    for path in source.find("ISIC_2020_Training_Duplicates.csv"):
        doubled = read_text_table(path, columns=("image_name_2",))["image_name_2"]
        table = table[~table["image_name"].isin(doubled)]
    rows = pd.DataFrame({"image": table["image_name"]})
    rows["label"] = filled(table["diagnosis"], table["benign_malignant"])
    rows["group"] = filled(table["patient_id"], table["image_name"])
    for column, published in _STRATA.items():
        if published in table:
            rows[column] = table[published]
    return rows
