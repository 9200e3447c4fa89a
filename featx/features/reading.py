"""Reading: images decoded and prepared ahead of the network by threads, cut into batches of one shape.

Decoding and resizing leave Python's lock, so that threads use all cores. Images come out in the order given, so
that features do not depend on which thread was faster; what waits is bounded, so that memory does not grow with
the number of images.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.digest import digest_bytes
from featx.errors import ImageError
from featx.files import open_regular
from featx.images import FILE_LIMIT

__all__ = ["Busy", "ImageFile", "PixelBatch", "PreparedPixels", "batches", "read_ahead"]

Array = npt.NDArray[np.uint8]
Prepare = Callable[[bytes, str], Array]


@dataclass(frozen=True)
class ImageFile:
    """An image to read.

    Attributes
    ----------
    key : str
        SHA-256 of its bytes.
    path : str
        Its file.
    """

    key: str
    path: str


@dataclass(frozen=True)
class PreparedPixels:
    """What reading an image gave.

    Attributes
    ----------
    source : Source
        The image.
    views : ndarray of uint8, shape (views, side, side, 3), optional
        Prepared pixels of each view; None if reading failed.
    reason : str
        Why reading failed.
    """

    source: ImageFile
    views: Array | None
    reason: str = ""


@dataclass
class Busy:
    """Seconds of work, summed over threads."""

    seconds: float = 0.0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def add(self, seconds: float) -> None:
        """Count seconds."""
        with self._lock:
            self.seconds += seconds


@dataclass(frozen=True)
class PixelBatch:
    """Rows for the network.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (rows, side, side, 3)
        Always the full number of rows; those behind `keys` are padding.
    keys : tuple of str
        For each row that counts, the key of its image; an image with several views has as many rows in
        succession, maybe across batches.
    """

    pixels: Array
    keys: tuple[str, ...]


def _read(source: ImageFile, prepare: Prepare, busy: Busy) -> PreparedPixels:
    begun = time.perf_counter()
    try:
        with open_regular(source.path) as file:
            data = file.read(FILE_LIMIT + 1)
        # The very bytes that are decoded: a file can be written anew without its size or time telling.
        if len(data) <= FILE_LIMIT and digest_bytes(data) != source.key:
            return PreparedPixels(
                source, None, f"{source.path}: changed while it was being extracted; run again"
            )
        return PreparedPixels(source, prepare(data, source.path))
    except OSError as error:
        return PreparedPixels(source, None, f"{source.path}: cannot be read: {error.strerror or error}")
    except ImageError as error:
        return PreparedPixels(source, None, str(error))
    finally:
        busy.add(time.perf_counter() - begun)


def read_ahead(
    sources: Iterable[ImageFile], prepare: Prepare, *, workers: int, ahead: int, busy: Busy | None = None
) -> Generator[PreparedPixels, None, None]:
    """Read images in threads, some ahead of the one asked for.

    Parameters
    ----------
    sources : iterable of Source
        What to read.
    prepare : callable
        Takes a file's bytes and its path, returns uint8 pixels of shape (views, side, side, 3); raises
        `ImageError` for an image that cannot be used.
    workers : int
        Threads.
    ahead : int
        Images that may be read or being read before they are asked for.
    busy : Busy, optional
        Counts the seconds of the threads' work.

    Yields
    ------
    Pixels
        In the order of the sources. An image that cannot be used says why instead of raising.
    """
    busy = busy or Busy()
    waiting = iter(sources)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-read")
    queue: deque[Future[PreparedPixels]] = deque()
    try:
        queue.extend(pool.submit(_read, source, prepare, busy) for source in islice(waiting, max(ahead, 1)))
        while queue:
            pixels = queue.popleft().result()
            queue.extend(pool.submit(_read, source, prepare, busy) for source in islice(waiting, 1))
            yield pixels
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(
    images: Iterable[PreparedPixels], rows: int, failed: Callable[[PreparedPixels], Any]
) -> Generator[PixelBatch, None, None]:
    """Cut images into batches of one shape.

    Parameters
    ----------
    images : iterable of Pixels
        Images of one size and number of views.
    rows : int
        Rows of a batch.
    failed : callable
        Called with each image that could not be read; it takes no row.

    Yields
    ------
    PixelBatch
        Full batches, the last one padded with black.
    """
    batch: Array | None = None
    keys: list[str] = []
    for image in images:
        if image.views is None:
            failed(image)
            continue
        for view in image.views:
            if batch is None:
                batch = np.zeros((rows, *view.shape), np.uint8)
            batch[len(keys)] = view
            keys.append(image.source.key)
            if len(keys) == rows:
                yield PixelBatch(batch, tuple(keys))
                batch, keys = None, []
    if batch is not None:
        yield PixelBatch(batch, tuple(keys))
