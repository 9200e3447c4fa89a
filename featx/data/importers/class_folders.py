"""A folder with a folder of images for each class."""

from __future__ import annotations

import pandas as pd

from featx.data.importers.source import PublishedTable
from featx.data.manifest import read_manifest

__all__ = ["read_class_folders"]


def read_class_folders(source: PublishedTable) -> pd.DataFrame:
    """List the images of each class folder.

    Parameters
    ----------
    source : Source
        The folder.

    Returns
    -------
    pandas.DataFrame
        ``image`` and ``id`` (the path below the folder), ``label`` (the class folder).

    Raises
    ------
    ManifestError
        If there are no images in class folders.
    """
    table = read_manifest(source.path).table
    return pd.DataFrame({"image": table["path"], "id": table["id"], "label": table["label"]})
