"""ISIC challenge 2018, task 3: seven diagnoses; the lesions are published for the training part."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, filled, one_hot, read_text_table
from featx.errors import ManifestError, listing

__all__ = [
    "CODES",
    "read_ham10000",
    "read_isic2016",
    "read_isic2017",
    "read_isic2018",
    "read_isic2019",
    "read_isic2020",
]


CODES = {
    "MEL": "melanoma",
    "NV": "nevus",
    "BCC": "basal cell carcinoma",
    "AKIEC": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
}


_PARTS_2018 = {"train": "Training", "val": "Validation", "test": "Test"}


def read_isic2018(source: PublishedTable) -> pd.DataFrame:
    """Read the tables ``ISIC2018_Task3_*_GroundTruth.csv`` that are there.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion, or the image where no lesion is published), ``split``,
        ``confirmed`` (how the diagnosis was made).
    """
    source.first("ISIC2018_Task3_Training_GroundTruth.csv")
    parts = []
    for split, name in _PARTS_2018.items():
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


# In this challenge malignant means melanoma: there is nothing else malignant in it.
_LABELS = {"benign": "benign", "malignant": "melanoma", "0.0": "benign", "1.0": "melanoma", "0": "benign"}


_LABELS |= {"1": "melanoma"}


def read_isic2016(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISBI2016_ISIC_Part3_Training_GroundTruth.csv`` and ``…_Test_GroundTruth.csv``."""
    parts = []
    for split, name in (("train", "Training"), ("test", "Test")):
        path = source.first(f"ISBI2016_ISIC_Part3_{name}_GroundTruth.csv")
        table = read_text_table(path, columns=("0", "1"), header=False)
        table = table[table["0"].str.startswith("ISIC_")]
        if table.empty:
            raise ManifestError(
                f"{path}: no row begins with ISIC_; expected the published table: ISIC_0000000,benign"
            )
        labels = table["1"].str.lower().map(_LABELS)
        if labels.isna().any():
            odd = sorted(set(table["1"][labels.isna()]))
            raise ManifestError(f"{path}: labels must be benign or malignant, got {listing(odd)}")
        parts.append(pd.DataFrame({"image": table["0"], "label": labels, "split": split}))
    return pd.concat(parts, ignore_index=True)


_CLASSES = {"melanoma": "melanoma", "seborrheic_keratosis": "seborrheic keratosis", "nevus": "nevus"}


_MARKED_2017 = ("melanoma", "seborrheic_keratosis")


_PARTS_2017 = {"train": "Training", "val": "Validation", "test": "Test_v2"}


def read_isic2017(source: PublishedTable) -> pd.DataFrame:
    """Read the tables ``ISIC-2017_*_Part3_GroundTruth.csv`` that are there.

    An image marked neither melanoma nor seborrheic keratosis is a nevus, as the challenge says.
    """
    source.first(f"ISIC-2017_{_PARTS_2017['train']}_Part3_GroundTruth.csv")
    parts = []
    for split, name in _PARTS_2017.items():
        for path in source.find(f"ISIC-2017_{name}_Part3_GroundTruth.csv"):
            table = read_text_table(path, columns=("image_id", *_MARKED_2017))
            marked = table[list(_MARKED_2017)].apply(pd.to_numeric, errors="coerce")
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


_CODES = {**CODES, "AK": "actinic keratosis", "SCC": "squamous cell carcinoma", "UNK": "unknown"}


_MARKED_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")


_STRATA_2019 = {"age": "age_approx", "site": "anatom_site_general", "sex": "sex"}


def read_isic2019(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISIC_2019_Training_GroundTruth.csv`` and, where it is there, ``ISIC_2019_Test_GroundTruth.csv``.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion, or the image where no lesion is published), ``split``,
        ``age``, ``site``, ``sex``.
    """
    source.first("ISIC_2019_Training_GroundTruth.csv")
    parts = []
    for split, name in (("train", "Training"), ("test", "Test")):
        for path in source.find(f"ISIC_2019_{name}_GroundTruth.csv"):
            table = read_text_table(path, columns=("image", *_MARKED_2019))
            labels = one_hot(table, _CODES, path)
            parts.append(pd.DataFrame({"image": table["image"], "label": labels, "split": split}))
    rows = pd.concat(parts, ignore_index=True)
    rows["group"] = rows["image"]
    columns = ("image", *_STRATA_2019.values())
    found = [read_text_table(path, columns=columns) for path in source.find("ISIC_2019_*_Metadata.csv")]
    if found:
        known = pd.concat(found).drop_duplicates("image").set_index("image").fillna("")
        if "lesion_id" in known:
            rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        for column, published in _STRATA_2019.items():
            rows[column] = rows["image"].map(known[published]).fillna("")
    return rows


_STRATA_2020 = {
    "lesion": "lesion_id",
    "age": "age_approx",
    "site": "anatom_site_general_challenge",
    "sex": "sex",
}


def read_isic2020(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISIC_2020_Training_GroundTruth_v2.csv``, the first version of it, or Kaggle's ``train.csv``.

    Images that ``ISIC_2020_Training_Duplicates.csv`` names as the second of a pair are left out.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (the diagnosis, or benign or malignant where it is unknown), ``group`` (the
        patient), and the strata ``lesion``, ``age``, ``site``, ``sex``.
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
    for column, published in _STRATA_2020.items():
        if published in table:
            rows[column] = table[published]
    return rows


_STRATA_HAM10000 = {
    "confirmed": "dx_type",
    "age": "age",
    "sex": "sex",
    "site": "localization",
    "collection": "dataset",
}


def read_ham10000(source: PublishedTable) -> pd.DataFrame:
    """Read ``HAM10000_metadata``, with whatever ending: Dataverse gives it none and tabs, Kaggle CSV.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion), and the strata ``confirmed``, ``age``, ``sex``, ``site``,
        ``collection``.
    """
    path = source.first("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.*")
    table = read_text_table(path, columns=("image_id", "lesion_id", "dx"))
    labels = table["dx"].str.upper().map(CODES)
    if labels.isna().any():
        odd = sorted(set(table["dx"][labels.isna()]))
        raise ManifestError(
            f"{path}: the column dx holds {listing(odd)}, known are {', '.join(CODES).lower()}"
        )
    rows = pd.DataFrame({"image": table["image_id"], "label": labels, "group": table["lesion_id"]})
    for column, published in _STRATA_HAM10000.items():
        if published in table:
            rows[column] = table[published]
    return rows
