"""What a weights file holds, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Contents", "StoredLayer"]


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
