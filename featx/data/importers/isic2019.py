"""ISIC challenge 2019: eight diagnoses and, in the test part, none of them; lesions where published."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.isic2018 import CODES
from featx.data.importers.source import PublishedTable, filled, one_hot, read_text_table

__all__ = ["read_isic2019"]

_CODES = {**CODES, "AK": "actinic keratosis", "SCC": "squamous cell carcinoma", "UNK": "unknown"}
_MARKED = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
_STRATA = {"age": "age_approx", "site": "anatom_site_general", "sex": "sex"}


def read_isic2019(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISIC_2019_Training_GroundTruth.csv`` and, where it is there, ``ISIC_2019_Test_GroundTruth.csv``.

    Parameters
    ----------
    source : Source
        The unpacked data set; lesions, ages, sites and sexes come from ``ISIC_2019_*_Metadata.csv``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion, or the image where no lesion is published), ``split``,
        ``age``, ``site``, ``sex``.

    Raises
    ------
    ManifestError
        If the training table is missing, a table is damaged, or an image has not one diagnosis.
    """
    source.first("ISIC_2019_Training_GroundTruth.csv")
    parts = []
    for split, name in (("train", "Training"), ("test", "Test")):
        for path in source.find(f"ISIC_2019_{name}_GroundTruth.csv"):
            table = read_text_table(path, columns=("image", *_MARKED))
            labels = one_hot(table, _CODES, path)
            parts.append(pd.DataFrame({"image": table["image"], "label": labels, "split": split}))
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = rows["image"]
    columns = ("image", *_STRATA.values())
    found = [read_text_table(path, columns=columns) for path in source.find("ISIC_2019_*_Metadata.csv")]
    if found:
        known = pd.concat(found).drop_duplicates("image").set_index("image").fillna("")
        if "lesion_id" in known:
            rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        for column, published in _STRATA.items():
            rows[column] = rows["image"].map(known[published]).fillna("")
    return rows
