"""derm7pt, the released form of the Interactive Atlas of Dermoscopy: 1,011 cases with their difficulty."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, read_text_table
from featx.data.manifest import image_name
from featx.errors import ManifestError, listing

__all__ = ["read_derm7pt"]

_STRATA = {
    "difficulty": "level_of_diagnostic_difficulty",
    "seven-point score": "seven_point_score",
    "site": "location",
    "sex": "sex",
    "elevation": "elevation",
    "management": "management",
}


def read_derm7pt(source: PublishedTable) -> pd.DataFrame:
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
        If a table is missing or damaged, or a row number is out of range.
    """
    table = source.table("meta.csv", columns=("case_num", "diagnosis", "derm", *_STRATA.values()))
    splits = pd.Series("", index=table.index)
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        path = source.first(f"{name}_indexes.csv")
        listed = read_text_table(path, columns=("indexes",))["indexes"]
        odd = listed[~listed.isin([str(row) for row in table.index])]
        if len(odd):
            raise ManifestError(
                f"{path}: row numbers must be 0 to {len(table) - 1}, the rows of meta.csv; "
                f"got {listing(odd.tolist())}"
            )
        splits.loc[listed.astype(int)] = split
    rows = pd.DataFrame({"image": table["derm"], "id": table["derm"].map(image_name).str.lower()})
    rows["label"] = table["diagnosis"]
    rows["group"] = "case" + table["case_num"]
    rows["split"] = splits
    for column, published in _STRATA.items():
        rows[column] = table[published]
    return rows
