"""The tables that Menegola et al. 2017 publish beside their folds: ``image,level`` without endings or images.

``protocol1.csv`` to ``protocol3.csv`` name images of the Interactive Atlas of Dermoscopy, ``isic.csv`` those of the
ISIC challenge 2016, ``retina.csv`` those of Kaggle's retinopathy challenge. The fold lists beside them are read
by `featx protocol make --protocol protocol1.yml`.
"""

from __future__ import annotations

import pandas as pd

from featx.data.importers.kaggle_dr import read_eyes
from featx.data.importers.source import PublishedTable, read_text_table
from featx.errors import ManifestError, listing

__all__ = ["read_menegola2017"]

_LEVELS = {
    "protocol1": {"0": "benign", "1": "malignant"},
    "protocol2": {"0": "benign", "1": "melanoma"},
    "protocol3": {"0": "basal cell carcinoma", "1": "melanoma", "2": "benign"},
    "isic": {"0": "benign", "1": "melanoma"},
}


def read_menegola2017(source: PublishedTable) -> pd.DataFrame:
    """Read one of the tables.

    Parameters
    ----------
    source : Source
        The table; its images lie elsewhere.

    Returns
    -------
    pandas.DataFrame
        ``image``, ``label``; for retinas ``group`` and ``eye``.

    Raises
    ------
    ManifestError
        If it is none of the published tables, is damaged, or holds another level.
    """
    name = source.path.stem.lower()
    if source.path.is_dir() or name not in {*_LEVELS, "retina"}:
        known = listing([f"{stem}.csv" for stem in (*_LEVELS, "retina")], 9)
        raise ManifestError(f"{source.path}: give one of the published tables: {known}")
    if name == "retina":
        return read_eyes(source.path)
    table = read_text_table(source.path, columns=("image", "level"))
    labels = table["level"].map(_LEVELS[name])
    if labels.isna().any():
        odd = sorted(set(table["level"][labels.isna()]))
        raise ManifestError(f"{source.path}: levels must be {', '.join(_LEVELS[name])}, got {listing(odd)}")
    return pd.DataFrame({"image": table["image"], "label": labels})
