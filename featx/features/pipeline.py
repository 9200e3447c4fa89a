"""The pass over the pixels: batches in, rows out, any number of networks at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, Queue
from threading import Lock, Thread
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.digest import digest_bytes
from featx.errors import ExtractionError, ImageError
from featx.features.engines import Engine, Outputs
from featx.features.store import FeatureStore
from featx.files import open_regular
from featx.images import FILE_LIMIT
from featx.progress import Progress

__all__ = [
    "BlockWriter",
    "Busy",
    "Failure",
    "ImageFile",
    "Lane",
    "PixelBatch",
    "PreparedPixels",
    "Rescue",
    "batches",
    "block_rows",
    "hand_bytes",
    "read_ahead",
    "run_pass",
]


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
    """Cut images into batches of one shape."""
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


StoredRows = npt.NDArray[np.float32]


_BLOCK_BYTES = 8 << 20


_ALL_BYTES = 128 << 20


_LEAST_ROWS, _MOST_ROWS = 64, 4096


_WAITING = 8


def block_rows(row_bytes: int, stores: int) -> int:
    """Choose the rows of a block: about 8 MB, less where many stores are written at once.

    Examples
    --------
    >>> block_rows(4 * 2048, 1)
    1024
    """
    share = min(_BLOCK_BYTES, _ALL_BYTES // max(stores, 1))
    return int(np.clip(share // max(row_bytes, 1), _LEAST_ROWS, _MOST_ROWS))


def hand_bytes(stores: int) -> int:
    """Bound the bytes of rows that wait for their block, for rows of less than 128 KB.

    Examples
    --------
    >>> hand_bytes(1) == 2 * 8 * 2**20
    True
    """
    return 2 * min(_BLOCK_BYTES * stores, _ALL_BYTES)


@dataclass
class _Gathered:
    keys: list[str] = field(default_factory=list)
    parts: list[StoredRows] = field(default_factory=list)
    since: float = 0.0


class BlockWriter:
    """Commits rows to stores in a thread of its own.

    Parameters
    ----------
    seconds : float
        A block is committed when its first row is this old, full or not.
    """

    def __init__(
        self, stores: Sequence[FeatureStore], seconds: float = 30.0, busy: Busy | None = None
    ) -> None:
        self._stores = stores
        self._seconds = seconds
        self._busy = busy or Busy()
        self._queue: Queue[tuple[int, list[str], StoredRows] | None] = Queue(_WAITING)
        self._gathered = [_Gathered() for _ in stores]
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="featx-write", daemon=True)
        self._thread.start()

    def put(self, store: int, keys: list[str], rows: StoredRows) -> None:
        """Hand over rows; waits while too many are on their way.

        Parameters
        ----------
        rows : ndarray of float32, shape (rows, views, width)
            Their features.
        """
        self._check()
        self._queue.put((store, keys, rows))

    def close(self) -> None:
        """Commit what is in hand and end the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise ExtractionError(
                f"features cannot be written: {self._error}; free the disk or fix its permissions and run again, "
                "what is committed is not computed again"
            ) from self._error

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=self._seconds / 4)
            except Empty:
                self._commit_old()
                continue
            if item is None:
                break
            # After an error the queue is still emptied, so that whoever fills it is not left waiting.
            if self._error is None:
                self._gather(*item)
        for place in range(len(self._stores)):
            self._commit(place)

    def _gather(self, place: int, keys: list[str], rows: StoredRows) -> None:
        self._commit_old()
        gathered = self._gathered[place]
        if not gathered.keys:
            gathered.since = time.monotonic()
        gathered.keys += keys
        gathered.parts.append(rows)
        if len(gathered.keys) >= block_rows(rows[0].nbytes, len(self._stores)):
            self._commit(place)

    def _commit_old(self) -> None:
        for place, gathered in enumerate(self._gathered):
            if gathered.keys and time.monotonic() - gathered.since >= self._seconds:
                self._commit(place)

    def _commit(self, place: int) -> None:
        gathered = self._gathered[place]
        if self._error is not None or not gathered.keys:
            return
        begun = time.perf_counter()
        try:
            self._stores[place].write_block(gathered.keys, np.concatenate(gathered.parts))
        except Exception as error:
            self._error = error
        self._gathered[place] = _Gathered()
        self._busy.add(time.perf_counter() - begun)


Rows = npt.NDArray[np.float32]


# Takes a pixel batch and the positions of its bad rows; returns their features recomputed in float32, one array a
# layer, and the layer where each row went wrong (empty where it came out well).
Rescue = Callable[[npt.NDArray[np.uint8], list[int]], tuple[Outputs, list[str]]]


@dataclass(frozen=True)
class Failure:
    """An image without features.

    Attributes
    ----------
    key : str
        SHA-256 of its bytes.
    reason : str
        Why, in one line.
    store : int, optional
        Position of the store that lacks it; None for all.
    """

    key: str
    reason: str
    store: int | None = None


@dataclass
class _Output:
    """One layer of a network: gathers the rows of an image's views and hands images to the writer."""

    store: int
    wanted: frozenset[str]
    views: int
    mean: bool
    writer: BlockWriter
    failed: Callable[[Failure], None]
    bad: dict[str, str] = field(default_factory=dict)
    _keys: list[str] = field(default_factory=list)
    _rows: list[Rows] = field(default_factory=list)

    def take(self, keys: Sequence[str], rows: Rows) -> None:
        kept = [place for place, key in enumerate(keys) if key in self.wanted]
        self._keys += [keys[place] for place in kept]
        self._rows.append(rows[kept])
        whole = len(self._keys) // self.views
        if not whole:
            return
        gathered = np.concatenate(self._rows)
        names, done = self._keys[: whole * self.views : self.views], gathered[: whole * self.views]
        self._keys, self._rows = self._keys[whole * self.views :], [gathered[whole * self.views :]]
        self._give(names, done.reshape(whole, self.views, -1))

    def _give(self, keys: list[str], images: Rows) -> None:
        if self.mean:
            images = images.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        sound = np.isfinite(images).all(axis=(1, 2))
        for place in np.flatnonzero(~sound):
            self.failed(
                Failure(keys[place], self.bad.get(keys[place], "features are not finite"), self.store)
            )
        if sound.any():
            self.writer.put(self.store, [keys[place] for place in np.flatnonzero(sound)], images[sound])


@dataclass
class Lane:
    """A network at work.

    Attributes
    ----------
    name : str
        For messages.
    engine : Engine
        What runs it.
    side : int
        Side of its input in pixels.
    rescue : callable
        Recomputes rows with NaN or infinity in float32; see `Rescue`.
    stores : tuple of int
        For each of its layers, the position of the store.
    wanted : tuple of frozenset of str
        For each of its layers, the keys to compute.
    check : callable, optional
        Called with the pixels, the rows that count and the outputs of each batch; see `PrecisionCheck`.
    """

    name: str
    engine: Engine
    side: int
    rescue: Rescue
    stores: tuple[int, ...]
    wanted: tuple[frozenset[str], ...]
    check: Callable[[npt.NDArray[np.uint8], int, Outputs], None] | None = None

    def wants(self, keys: Iterable[str]) -> bool:
        """Whether any of the keys is to be computed."""
        return any(key in wanted for wanted in self.wanted for key in keys)


@dataclass
class _Pass:
    """Lanes with their outputs, and the batches on their way."""

    lanes: Sequence[Lane]
    outputs: list[list[_Output]]
    forward: Busy
    pending: deque[tuple[PixelBatch, list[tuple[int, Callable[[], Outputs]]]]] = field(default_factory=deque)
    _busy_since: float = 0.0

    def start(self, batch: PixelBatch) -> None:
        if not self.pending:
            self._busy_since = time.perf_counter()
        started = [
            (place, lane.engine.start(batch.pixels))
            for place, lane in enumerate(self.lanes)
            if lane.wants(batch.keys)
        ]
        self.pending.append((batch, started))

    def finish(self) -> int:
        """Wait for the oldest batch, hand its rows on, and return how many there were."""
        batch, started = self.pending.popleft()
        results = [(place, collect()) for place, collect in started]
        now = time.perf_counter()
        self.forward.add(now - self._busy_since)
        self._busy_since = now
        for place, layers in results:
            self._hand_on(place, batch, layers)
        return len(batch.keys)

    def abandon(self) -> None:
        """Wait for batches that are still computed: an engine may read their memory until it is done."""
        for _, started in self.pending:
            for _, collect in started:
                with suppress(Exception):
                    collect()
        self.pending.clear()

    def _hand_on(self, place: int, batch: PixelBatch, layers: Outputs) -> None:
        count, check = len(batch.keys), self.lanes[place].check
        if check is not None:
            check(batch.pixels, count, layers)
        rows = [layer[:count] for layer in layers]
        bad = sorted({int(row) for layer in rows for row in np.flatnonzero(~np.isfinite(layer).all(axis=1))})
        if bad:
            rows = self._rescue(place, batch, rows, bad)
        for output, layer in zip(self.outputs[place], rows, strict=True):
            output.take(batch.keys, layer)

    def _rescue(self, place: int, batch: PixelBatch, rows: list[Rows], bad: list[int]) -> list[Rows]:
        lane = self.lanes[place]
        again, layers = lane.rescue(batch.pixels, bad)
        rows = [layer.copy() for layer in rows]
        for layer, fixed in zip(rows, again, strict=True):
            layer[bad] = fixed
        for row, where in zip(bad, layers, strict=True):
            for output in self.outputs[place] if where else ():
                output.bad[batch.keys[row]] = (
                    f"{lane.name}: NaN or infinity, first in layer {where}, also in float32"
                )
        return rows


def run_pass(
    sources: Iterable[ImageFile],
    prepare: Prepare,
    lanes: Sequence[Lane],
    writer: BlockWriter,
    *,
    views: int,
    mean: bool,
    batch_size: int,
    workers: int,
    ahead: int,
    failed: Callable[[Failure], None],
    progress: Progress,
    read: Busy,
    forward: Busy,
) -> None:
    """Read images, run every network that lacks them, and hand the features to the writer."""

    def unreadable(image: PreparedPixels) -> None:
        progress.advance()
        failed(Failure(image.source.key, image.reason))

    outputs = [
        [
            _Output(store, wanted, views, mean, writer, failed)
            for store, wanted in zip(lane.stores, lane.wanted, strict=True)
        ]
        for lane in lanes
    ]
    state = _Pass(lanes, outputs, forward)
    depth = max(lane.engine.in_flight for lane in lanes)
    done = 0
    images = read_ahead(sources, prepare, workers=workers, ahead=ahead, busy=read)
    with closing(images), closing(batches(images, batch_size, unreadable)) as ready:
        try:
            for batch in ready:
                state.start(batch)
                if len(state.pending) >= depth:
                    done = _advance(progress, done, state.finish(), views)
            while state.pending:
                done = _advance(progress, done, state.finish(), views)
        finally:
            state.abandon()


def _advance(progress: Progress, done: int, rows: int, views: int) -> int:
    progress.advance((done + rows) // views - done // views)
    return done + rows
