"""What a weights file may unpack to: a small file must not ask for more memory than the machine has."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError

__all__ = ["SPARE", "TIMES", "Allowance", "Contents", "StoredLayer"]


TIMES = 4


"""Times its own size that a file may unpack to: weights hardly compress, and halves become twice as long."""


SPARE = 2**26


"""Bytes allowed beside that, for small files whose weights are all alike."""


class Allowance:
    """Bytes that a weights file may still unpack to."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, path.stat().st_size
        self._left = TIMES * self._size + SPARE

    def take(self, count: int) -> None:
        """Take some bytes before they are unpacked."""
        self._left -= count
        if self._left < 0:
            raise WeightsError(
                f"{self._path}: its {self._size:,} bytes would unpack to more than {TIMES} times as many and {SPARE:,} "
                "beside; no weights do, so it is damaged or made to fill the memory"
            )

    def take_archive(self, archive: zipfile.ZipFile) -> None:
        """Take what a zip archive says that it unpacks to; reading a member gives no more than it says."""
        self.take(sum(item.file_size for item in archive.infolist()))

    def take_dataset(self, dataset: Any) -> Any:
        """Take the numbers of an HDF5 data set, which may be declared without being in the file."""
        if dataset.dtype.hasobject:
            raise ValueError(f"{dataset.name} holds no numbers")
        self.take(dataset.size * dataset.dtype.itemsize)
        return dataset


@dataclass(frozen=True)
class StoredLayer:
    """One layer of a weights file.

    Attributes
    ----------
    name : str
        Its name in the file; in the layout of Keras 3 its path, such as ``layers/conv2d_3``.
    arrays : tuple of ndarray
        Its weights in the file's order.
    """

    name: str
    arrays: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Contents:
    """What a weights file holds.

    Attributes
    ----------
    path : Path
        The file.
    layout : str
        ``legacy`` (`.h5` of `keras.applications`, layers in order), ``keras`` (Keras 3, layers by path) or
        ``named`` (another framework's, put under the names that the backbone's layers have).
    layers : tuple of StoredLayer
        Layers that have weights, in the file's order.
    classes : tuple of str
        Names of the classes that the network was trained on, where the file has them.
    """

    path: Path
    layout: str
    layers: tuple[StoredLayer, ...]
    classes: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """How many numbers it holds."""
        return sum(array.size for layer in self.layers for array in layer.arrays)
