"""ISIC challenge 2016, part 3: melanoma or benign, 900 images to train on and 379 to test on.

The tables have no header; the training table says ``benign`` and ``malignant``, the test table 0.0 and 1.0.
"""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_isic2016"]

# In this challenge malignant means melanoma: there is nothing else malignant in it.
_LABELS = {"benign": "benign", "malignant": "melanoma", "0.0": "benign", "1.0": "melanoma", "0": "benign"}
_LABELS |= {"1": "melanoma"}


def read_isic2016(source: PublishedTable) -> pd.DataFrame:
    """Read ``ISBI2016_ISIC_Part3_Training_GroundTruth.csv`` and ``…_Test_GroundTruth.csv``.

    Parameters
    ----------
    source : Source
        The unpacked data set.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label`` (benign, melanoma), ``split``.

    Raises
    ------
    ManifestError
        If a table is missing or damaged, or holds another value.
    """
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
