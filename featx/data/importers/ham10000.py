"""HAM10000: 10,015 images of 7,470 lesions in seven diagnoses."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.isic2018 import CODES
from featx.data.importers.source import PublishedTable, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_ham10000"]

_STRATA = {
    "confirmed": "dx_type",
    "age": "age",
    "sex": "sex",
    "site": "localization",
    "collection": "dataset",
}


def read_ham10000(source: PublishedTable) -> pd.DataFrame:
    """Read ``HAM10000_metadata``, with whatever ending: Dataverse gives it none and tabs, Kaggle CSV.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``, ``group`` (the lesion), and the strata ``confirmed``, ``age``, ``sex``, ``site``,
        ``collection``.

    Raises
    ------
    ManifestError
        If the table is missing or damaged, or holds a diagnosis that is none of the seven.
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
    for column, published in _STRATA.items():
        if published in table:
            rows[column] = table[published]
    return rows
