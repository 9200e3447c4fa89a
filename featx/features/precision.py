"""A check of low precision: the first batches are computed in float32 too, and the difference is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featx.features.engines import Batch, Engine, Outputs
from featx.progress import Progress

__all__ = ["Deviation", "PrecisionCheck", "deviation"]

_BATCHES = 2

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Deviation:
    """How far features lie from their reference.

    Attributes
    ----------
    cosine : float
        Smallest cosine between an image's features and their reference.
    worst : float
        Largest difference of a single feature, as a share of the largest feature.
    """

    cosine: float
    worst: float


def deviation(found: Rows, reference: Rows) -> Deviation:
    """Compare features with their reference.

    Parameters
    ----------
    found, reference : ndarray of float32, shape (n, width)
        Features of the same images.

    Returns
    -------
    Deviation
        Two zero vectors have the cosine 1.

    Examples
    --------
    >>> deviation(np.float32([[3, 4]]), np.float32([[3, 4]])).worst
    0.0
    >>> round(deviation(np.float32([[1, 0]]), np.float32([[1, 1]])).cosine, 3)
    0.707
    """
    a, b = found.astype(np.float64), reference.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    cosines = np.where(
        norms > 0, products / np.where(norms > 0, norms, 1), (a == b).all(axis=1).astype(float)
    )
    largest = max(float(np.abs(b).max(initial=0)), np.finfo(np.float32).tiny)
    return Deviation(float(cosines.min(initial=1)), float(np.abs(a - b).max(initial=0) / largest))


class PrecisionCheck:
    """Compares the first two batches of a network with float32 and says the outcome.

    Parameters
    ----------
    name : str
        The network, for messages.
    precision : str
        What it runs in.
    exact : callable
        Gives the engine that runs it in float32.
    progress : Progress
        Receiver of the messages.
    """

    def __init__(self, name: str, precision: str, exact: Callable[[], Engine], progress: Progress) -> None:
        self._name = f"{name} in {precision}"
        self._exact = exact
        self._progress = progress
        self._done = 0

    def __call__(self, pixels: Batch, count: int, outputs: Outputs) -> None:
        """Compare a batch, if it is among the first.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (batch size, side, side, 3)
            The batch.
        count : int
            Its rows that are no padding.
        outputs : list of ndarray of float32, each (batch size, width)
            What the network made of it.
        """
        if self._done >= _BATCHES:
            return
        self._done += 1
        references = self._exact().start(pixels)()
        found = [
            deviation(output[:count], wanted[:count])
            for output, wanted in zip(outputs, references, strict=True)
        ]
        cosine, worst = min(item.cosine for item in found), max(item.worst for item in found)
        self._progress.say(
            f"{self._name}, batch {self._done} against float32: smallest cosine {cosine:.5f}, "
            f"worst feature off by {worst:.2g} of the largest"
        )
