"""ISIC challenge 2019: eight diagnoses and, in the test part, none of them; lesions where published."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.isic2018 import CODES
from featx.data.importers.source import Source, filled, one_hot

__all__ = ["read_isic2019"]

_CODES = {**CODES, "AK": "actinic keratosis", "SCC": "squamous cell carcinoma", "UNK": "unknown"}
_STRATA = {"age": "age_approx", "site": "anatom_site_general", "sex": "sex"}


def read_isic2019(source: Source) -> pd.DataFrame:
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
        If the training table is missing, or an image has not one diagnosis.
    """
    source.table("ISIC_2019_Training_GroundTruth.csv")
    parts = []
    for split, name in (("train", "Training"), ("test", "Test")):
        for path in source.find(f"ISIC_2019_{name}_GroundTruth.csv"):
            table = source.table(path.name)
            labels = one_hot(table, _CODES, path.name)
            parts.append(pd.DataFrame({"image": table["image"], "label": labels, "split": split}))
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = rows["image"]
    found = [source.table(path.name) for path in source.find("ISIC_2019_*_Metadata.csv")]
    if found:
        known = pd.concat(found).drop_duplicates("image").set_index("image").fillna("")
        rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        for column, published in _STRATA.items():
            rows[column] = rows["image"].map(known[published]).fillna("")
    return rows
