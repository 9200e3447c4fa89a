"""derm7pt, the released form of the Interactive Atlas of Dermoscopy: 1,011 cases with their difficulty."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import Source
from featx.data.manifest import image_name
from featx.errors import ManifestError

__all__ = ["read_derm7pt"]

_STRATA = {
    "difficulty": "level_of_diagnostic_difficulty",
    "seven-point score": "seven_point_score",
    "site": "location",
    "sex": "sex",
    "elevation": "elevation",
    "management": "management",
}


def read_derm7pt(source: Source) -> pd.DataFrame:
    """Read ``meta/meta.csv`` and the lists of row numbers ``meta/{train,valid,test}_indexes.csv``.

    The dermoscopic image of each case is taken, not the clinical one. Ids are in lower case, as the fold lists
    of Menegola et al. 2017 have them.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``id``, ``label``, ``group`` (the case), ``split`` and strata, ``difficulty`` among them.

    Raises
    ------
    ManifestError
        If a table is missing, or a row number is out of range.
    """
    table = source.table("meta.csv")
    splits = pd.Series("", index=table.index)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        at = pd.to_numeric(source.table(f"{name}_indexes.csv")["indexes"]).astype(int)
        if at.min() < 0 or at.max() >= len(table):
            raise ManifestError(
                f"{name}_indexes.csv: row numbers reach {at.max()}, meta.csv has {len(table)} rows"
            )
        splits.loc[at] = split
    rows = pd.DataFrame({"image": table["derm"], "id": table["derm"].map(image_name).str.lower()})
    rows["label"] = table["diagnosis"]
    rows["group"] = "case" + table["case_num"]
    rows["split"] = splits
    for column, published in _STRATA.items():
        rows[column] = table[published]
    return rows
