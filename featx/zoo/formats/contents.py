"""Content of weights files, and the limit of their unpacked size: a small file must not fill the memory."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError

__all__ = ["SPARE", "TIMES", "Allowance", "Contents", "StoredLayer"]


TIMES = 4


"""Maximum ratio of unpacked size to file size: weights hardly compress, and half precision is doubled to float32."""


SPARE = 2**26


"""Bytes allowed beyond that, for small files with constant weights."""


class Allowance:
    """The number of bytes that a weights file may still unpack to."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, path.stat().st_size
        self._left = TIMES * self._size + SPARE

    def take(self, count: int) -> None:
        """Count bytes before they are unpacked."""
        self._left -= count
        if self._left < 0:
            raise WeightsError(
                f"{self._path}: its {self._size:,} bytes would unpack to more than {TIMES} times its size plus "
                f"{SPARE:,} bytes; the file is damaged or malicious, copy or download it again"
            )

    def take_archive(self, archive: zipfile.ZipFile) -> None:
        """Count the declared sizes of a zip archive; reading a member gives no more than its declared size."""
        self.take(sum(item.file_size for item in archive.infolist()))

    def take_dataset(self, dataset: Any) -> Any:
        """Count the values of an HDF5 dataset, which may be declared without being in the file."""
        if dataset.dtype.hasobject:
            raise ValueError(f"{dataset.name} contains no numbers")
        self.take(dataset.size * dataset.dtype.itemsize)
        return dataset


@dataclass(frozen=True)
class StoredLayer:
    """One layer of a weights file.

    Attributes
    ----------
    name : str
        Its name in the file; in the layout of Keras 3, its path such as ``layers/conv2d_3``.
    arrays : tuple of ndarray
        Its weights in the file's order.
    """

    name: str
    arrays: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Contents:
    """Content of a weights file.

    Attributes
    ----------
    path : Path
        The file.
    layout : str
        ``legacy`` (`.h5` of `keras.applications`, layers in order), ``keras`` (Keras 3, layers by path) or
        ``named`` (of another framework, renamed to the layers of the backbone).
    layers : tuple of StoredLayer
        Layers that have weights, in the file's order.
    classes : tuple of str
        Names of the classes that the network was trained on, if the file has them.
    """

    path: Path
    layout: str
    layers: tuple[StoredLayer, ...]
    classes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(array.size for layer in self.layers for array in layer.arrays)
