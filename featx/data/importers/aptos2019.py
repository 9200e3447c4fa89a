"""APTOS 2019 blindness detection: retinas in grades 0 to 4, patients not published."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable

__all__ = ["read_aptos2019"]


def read_aptos2019(source: PublishedTable) -> pd.DataFrame:
    """Read ``train.csv``; the test part has no labels.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (grade0 to grade4).

    Raises
    ------
    ManifestError
        If the table is missing or damaged.
    """
    table = source.table("train.csv", columns=("id_code", "diagnosis"))
    return pd.DataFrame({"image": table["id_code"], "label": "grade" + table["diagnosis"]})
