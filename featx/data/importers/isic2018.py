"""ISIC challenge 2018, task 3: seven diagnoses; the lesions are published for the training part."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, filled, one_hot, read_text_table

__all__ = ["CODES", "read_isic2018"]

CODES = {
    "MEL": "melanoma",
    "NV": "nevus",
    "BCC": "basal cell carcinoma",
    "AKIEC": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
}
_PARTS = {"train": "Training", "val": "Validation", "test": "Test"}


def read_isic2018(source: PublishedTable) -> pd.DataFrame:
    """Read the tables ``ISIC2018_Task3_*_GroundTruth.csv`` that are there.

    Parameters
    ----------
    source : Source
        The unpacked data set; lesions come from ``ISIC2018_Task3_Training_LesionGroupings.csv``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion, or the image where no lesion is published), ``split``,
        ``confirmed`` (how the diagnosis was made).

    Raises
    ------
    ManifestError
        If the training table is missing, a table is damaged, or an image has not one diagnosis.
    """
    source.first("ISIC2018_Task3_Training_GroundTruth.csv")
    parts = []
    for split, name in _PARTS.items():
        for path in source.find(f"ISIC2018_Task3_{name}_GroundTruth.csv"):
            table = read_text_table(path, columns=("image", *CODES))
            labels = one_hot(table, CODES, path)
            parts.append(pd.DataFrame({"image": table["image"], "label": labels, "split": split}))
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = rows["image"]
    for path in source.find("ISIC2018_Task3_*LesionGroupings.csv"):
        table = read_text_table(path, columns=("image", "lesion_id", "diagnosis_confirm_type"))
        known = table.drop_duplicates("image").set_index("image")
        rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        rows["confirmed"] = rows["image"].map(known["diagnosis_confirm_type"]).fillna("")
    return rows
