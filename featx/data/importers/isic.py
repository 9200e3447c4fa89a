"""The challenges of the ISIC archive from 2016 to 2020, and HAM10000."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from featx.data.importers.source import (
    PublishedFiles,
    coded,
    filled,
    one_hot,
    read_text_table,
    with_strata,
)
from featx.errors import ManifestError

__all__ = [
    "read_ham10000",
    "read_isic2016",
    "read_isic2017",
    "read_isic2018",
    "read_isic2019",
    "read_isic2020",
]

_CODES_2018 = {
    "MEL": "melanoma",
    "NV": "nevus",
    "BCC": "basal cell carcinoma",
    "AKIEC": "actinic keratosis",
    "BKL": "benign keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
}
_CODES_2019 = {**_CODES_2018, "AK": "actinic keratosis", "SCC": "squamous cell carcinoma", "UNK": "unknown"}
_COLUMNS_2019 = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
_CODES_2017 = {"melanoma": "melanoma", "seborrheic_keratosis": "seborrheic keratosis"}
# In the challenge of 2016 malignant means melanoma: it has no other malignant lesions.
_CODES_2016 = {
    "benign": "benign", "malignant": "melanoma", "0.0": "benign", "1.0": "melanoma", "0": "benign", "1": "melanoma",
}  # fmt: skip
_STRATA_2017 = {"age": "age_approximate", "sex": "sex"}
_STRATA_2019 = {"age": "age_approx", "site": "anatom_site_general", "sex": "sex"}
_STRATA_2020 = {
    "lesion": "lesion_id",
    "age": "age_approx",
    "site": "anatom_site_general_challenge",
    "sex": "sex",
}
_STRATA_HAM10000 = {
    "confirmed": "dx_type",
    "age": "age",
    "sex": "sex",
    "site": "localization",
    "collection": "dataset",
}


def read_isic2016(source: PublishedFiles) -> pd.DataFrame:
    """Read ``ISBI2016_ISIC_Part3_{Training,Test}_GroundTruth.csv``, which have no header."""
    parts = []
    for split, name in (("train", "Training"), ("test", "Test")):
        path = source.first(f"ISBI2016_ISIC_Part3_{name}_GroundTruth.csv")
        table = read_text_table(path, columns=("0", "1"), header=False)
        table = table.rename(columns={"0": "image", "1": "label"})
        table = table[table["image"].str.startswith("ISIC_")]
        if table.empty:
            raise ManifestError(
                f"{path}: no row begins with ISIC_; expected the published table: ISIC_0000000,benign"
            )
        labels = coded(table, "label", _CODES_2016, path)
        parts.append(pd.DataFrame({"image": table["image"], "label": labels, "split": split}))
    return pd.concat(parts, ignore_index=True)


def read_isic2017(source: PublishedFiles) -> pd.DataFrame:
    """Read ``ISIC-2017_*_Part3_GroundTruth.csv``, and age and sex from ``ISIC-2017_*_Data_metadata.csv``.

    An image marked neither melanoma nor seborrheic keratosis is a nevus, as the challenge says.
    """
    files = {
        split: f"ISIC-2017_{name}_Part3_GroundTruth.csv"
        for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test_v2"))
    }
    rows = _ground_truth(source, files, _CODES_2017, image="image_id", otherwise="nevus")
    known = _metadata(source, "ISIC-2017_*_Data_metadata.csv", ("image_id", *_STRATA_2017.values()))
    if known is not None:
        for column, published in _STRATA_2017.items():
            rows[column] = rows["image"].map(known[published]).fillna("").replace("unknown", "")
    return rows


def read_isic2018(source: PublishedFiles) -> pd.DataFrame:
    """Read ``ISIC2018_Task3_*_GroundTruth.csv``, and the lesions from ``ISIC2018_Task3_*LesionGroupings.csv``.

    The group is the lesion, or the image where no lesion is published; ``confirmed`` is how the diagnosis was made.
    """
    files = {
        split: f"ISIC2018_Task3_{name}_GroundTruth.csv"
        for split, name in (("train", "Training"), ("val", "Validation"), ("test", "Test"))
    }
    rows = _ground_truth(source, files, _CODES_2018).assign(group=lambda table: table["image"])
    columns = ("image", "lesion_id", "diagnosis_confirm_type")
    known = _metadata(source, "ISIC2018_Task3_*LesionGroupings.csv", columns)
    if known is not None:
        rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        rows["confirmed"] = rows["image"].map(known["diagnosis_confirm_type"]).fillna("")
    return rows


def read_isic2019(source: PublishedFiles) -> pd.DataFrame:
    """Read ``ISIC_2019_{Training,Test}_GroundTruth.csv`` and ``ISIC_2019_*_Metadata.csv``.

    The group is the lesion, or the image where no lesion is published.
    """
    files = {
        split: f"ISIC_2019_{name}_GroundTruth.csv"
        for split, name in (("train", "Training"), ("test", "Test"))
    }
    rows = _ground_truth(source, files, _CODES_2019, columns=_COLUMNS_2019)
    rows["group"] = rows["image"]
    known = _metadata(source, "ISIC_2019_*_Metadata.csv", ("image", *_STRATA_2019.values()))
    if known is not None:
        if "lesion_id" in known:
            rows["group"] = filled(rows["image"].map(known["lesion_id"]).fillna(""), rows["group"])
        for column, published in _STRATA_2019.items():
            rows[column] = rows["image"].map(known[published]).fillna("")
    return rows


def _ground_truth(
    source: PublishedFiles,
    files: Mapping[str, str],
    codes: Mapping[str, str],
    *,
    columns: tuple[str, ...] = (),
    image: str = "image",
    otherwise: str | None = None,
) -> pd.DataFrame:
    """Read the tables of a challenge that are there, one for each split; that of the training set must be."""
    source.first(files["train"])
    parts = []
    for split, name in files.items():
        for path in source.find(name):
            table = read_text_table(path, columns=(image, *(columns or codes)))
            labels = one_hot(table, codes, path, otherwise)
            parts.append(pd.DataFrame({"image": table[image], "label": labels, "split": split}))
    return pd.concat(parts, ignore_index=True)


def _metadata(source: PublishedFiles, pattern: str, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """Read the tables of metadata that are there, by image (the first column), each image once."""
    found = [read_text_table(path, columns=columns) for path in source.find(pattern)]
    return pd.concat(found).drop_duplicates(columns[0]).set_index(columns[0]) if found else None


def read_isic2020(source: PublishedFiles) -> pd.DataFrame:
    """Read ``ISIC_2020_Training_GroundTruth_v2.csv``, its first version, or Kaggle's ``train.csv``.

    Images that ``ISIC_2020_Training_Duplicates.csv`` names as the second of a pair are left out. The label is the
    diagnosis, or benign or malignant where it is unknown; the group is the patient.
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
    return with_strata(rows, table, _STRATA_2020)


def read_ham10000(source: PublishedFiles) -> pd.DataFrame:
    """Read ``HAM10000_metadata``, with any ending: Dataverse has none and tabs, Kaggle CSV. The group is the lesion."""
    path = source.first("HAM10000_metadata.csv", "HAM10000_metadata", "HAM10000_metadata.*")
    table = read_text_table(path, columns=("image_id", "lesion_id", "dx"))
    labels = coded(table, "dx", _CODES_2018, path)
    rows = pd.DataFrame({"image": table["image_id"], "label": labels, "group": table["lesion_id"]})
    return with_strata(rows, table, _STRATA_HAM10000)
