"""The pipeline of a pass: threads read images, networks compute batches, and a thread writes blocks.

Decoding and resizing leave Python's lock, so that reader threads use all cores. Images come out in the order given, so
that features do not depend on which thread was faster. The number of images that wait is bounded, so that memory does
not grow with the number of images.
"""

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
from featx.files import open_regular, retry_stale
from featx.gpus import memory_error
from featx.images import FILE_LIMIT
from featx.progress import Progress

from .batch_sizes import BatchFit
from .engines import Engine, Outputs, PrecisionCheck
from .store import FeatureStore

__all__ = [
    "BlockWriter",
    "BusyTime",
    "ImageFailure",
    "ImageSource",
    "PassNetwork",
    "PixelBatch",
    "PreparedImage",
    "batches",
    "block_rows",
    "read_ahead",
    "run_pass",
    "waiting_bytes",
]

Array = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float32]
# Takes a file's bytes and its path; returns pixels of shape (views, side, side, 3), or raises ImageError.
Prepare = Callable[[bytes, str], Array]
# Takes a pixel batch and the positions of its bad rows; returns their features recomputed in float32, one array for
# each layer, and the layer where each row became NaN or infinity (empty where it is finite now).
Rescue = Callable[[Array, list[int]], tuple[Outputs, list[str]]]

_BLOCK_BYTES = 8 << 20
_ALL_BYTES = 128 << 20
_LEAST_ROWS, _MOST_ROWS = 64, 4096
_WAITING = 8


@dataclass(frozen=True)
class ImageSource:
    """An image to read: the SHA-256 of its bytes, and its file."""

    key: str
    path: str


@dataclass(frozen=True)
class PreparedImage:
    """Pixels of each view of an image, uint8 of shape (views, side, side, 3); None and a reason if reading failed."""

    source: ImageSource
    views: Array | None
    reason: str = ""


@dataclass
class BusyTime:
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

    `pixels` always has the full number of rows, uint8 of shape (rows, side, side, 3); those beyond `keys` are padding.
    `keys` gives the image of each other row. The views of an image are successive rows, maybe across batches.
    """

    pixels: Array
    keys: tuple[str, ...]

    def cut(self, rows: int) -> list[PixelBatch]:
        """Cut into batches of at most `rows` rows, the last one padded with black."""
        if rows >= len(self.pixels):
            return [self]
        return [
            PixelBatch(_padded(self.pixels[at : at + rows], rows), self.keys[at : at + rows])
            for at in range(0, len(self.keys), rows)
        ]


def _padded(pixels: Array, rows: int) -> Array:
    black = np.zeros((rows - len(pixels), *pixels.shape[1:]), np.uint8)
    return np.concatenate([pixels, black]) if len(black) else pixels


@dataclass(frozen=True)
class ImageFailure:
    """An image without features, the reason, and the position of the store that lacks it (None: all stores)."""

    key: str
    reason: str
    store: int | None = None


@retry_stale
def _bytes(path: str) -> bytes:
    with open_regular(path) as file:
        return file.read(FILE_LIMIT + 1)


def _read(source: ImageSource, prepare: Prepare, busy: BusyTime) -> PreparedImage:
    begun = time.perf_counter()
    try:
        data = _bytes(source.path)
        # The bytes that are decoded are hashed: a file can be rewritten with the same size and times.
        if len(data) <= FILE_LIMIT and digest_bytes(data) != source.key:
            return PreparedImage(
                source,
                None,
                f"{source.path}: the file was changed after its key was computed; run the extraction again, with new keys "
                "if `keys` were given",
            )
        return PreparedImage(source, prepare(data, source.path))
    except OSError as error:
        return PreparedImage(source, None, f"{source.path}: cannot be read: {error.strerror or error}")
    except ImageError as error:
        return PreparedImage(source, None, str(error))
    finally:
        busy.add(time.perf_counter() - begun)


def read_ahead(
    sources: Iterable[ImageSource],
    prepare: Prepare,
    *,
    workers: int,
    ahead: int,
    busy: BusyTime | None = None,
) -> Generator[PreparedImage, None, None]:
    """Read images in threads, at most `ahead` of them before they are asked for, and yield them in order.

    An image that cannot be used has a reason instead of pixels.
    """
    busy = busy or BusyTime()
    waiting = iter(sources)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-read")
    queue: deque[Future[PreparedImage]] = deque()
    try:
        queue.extend(pool.submit(_read, source, prepare, busy) for source in islice(waiting, max(ahead, 1)))
        while queue:
            image = queue.popleft().result()
            queue.extend(pool.submit(_read, source, prepare, busy) for source in islice(waiting, 1))
            yield image
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batches(
    images: Iterable[PreparedImage], rows: int, failed: Callable[[PreparedImage], Any]
) -> Generator[PixelBatch, None, None]:
    """Cut images into batches of `rows` rows, the last one padded with black; call `failed` with unreadable images."""
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


@dataclass
class PassNetwork:
    """A network of a pass.

    Attributes
    ----------
    name : str
        For messages.
    engine : Engine
        What runs it.
    side : int
        Input size in pixels.
    rescue : callable
        Recomputes rows with NaN or infinity in float32; see `Rescue`.
    stores : tuple of int
        For each of its layers, the position of the store.
    wanted : tuple of frozenset of str
        For each of its layers, the keys of the images to compute.
    check : PrecisionCheck, optional
        Called with the pixels, the number of rows that are not padding and the outputs of each batch.
    """

    name: str
    engine: Engine
    side: int
    rescue: Rescue
    stores: tuple[int, ...]
    wanted: tuple[frozenset[str], ...]
    check: PrecisionCheck | None = None

    def wants(self, keys: Iterable[str]) -> bool:
        """Tell whether any of the images is to be computed."""
        return any(key in wanted for wanted in self.wanted for key in keys)


@dataclass
class _LayerOutput:
    """One layer of a network: gathers the rows of an image's views and hands whole images to the writer."""

    store: int
    wanted: frozenset[str]
    views: int
    mean: bool
    writer: BlockWriter
    failed: Callable[[ImageFailure], None]
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
                ImageFailure(keys[place], self.bad.get(keys[place], "features are not finite"), self.store)
            )
        if sound.any():
            self.writer.put(self.store, [keys[place] for place in np.flatnonzero(sound)], images[sound])


@dataclass
class _Batches:
    """The batches that wait, and those that the engines have started and not finished."""

    networks: Sequence[PassNetwork]
    outputs: list[list[_LayerOutput]]
    forward: BusyTime
    fit: BatchFit
    waiting: deque[PixelBatch] = field(default_factory=deque)
    pending: deque[tuple[PixelBatch, list[tuple[int, Callable[[], Outputs]]]]] = field(default_factory=deque)
    _busy_since: float = 0.0

    def work(self, depth: int) -> int:
        """Start a batch that waits, wait for the oldest if `depth` are started, and return the rows that it had.

        Where memory runs out, batches whose rows were not passed on are cut, and wait again.
        """
        try:
            if self.waiting:
                self._start(self.waiting.popleft())
            if len(self.pending) < depth:
                return 0
            batch, rows = self._finish()
        except Exception as error:
            full = memory_error(error)
            if not full:
                raise
        else:
            self._hand_on(batch, rows)
            self.fit.done()
            return len(batch.keys)
        # Only here the error is gone, and with it what its traceback refers to.
        self._halve(full)
        return 0

    def _start(self, batch: PixelBatch) -> None:
        if not self.pending:
            self._busy_since = time.perf_counter()
        started: list[tuple[int, Callable[[], Outputs]]] = []
        self.pending.append((batch, started))
        started.extend(
            (place, network.engine.start(batch.pixels))
            for place, network in enumerate(self.networks)
            if network.wants(batch.keys)
        )

    def _finish(self) -> tuple[PixelBatch, list[tuple[int, list[Rows]]]]:
        """Wait for the oldest batch; return the rows of each network that ran on it."""
        batch, started = self.pending[0]
        results = []
        while started:
            place, collect = started.pop(0)
            results.append((place, collect()))
        now = time.perf_counter()
        self.forward.add(now - self._busy_since)
        self._busy_since = now
        rows = [(place, self._sound(place, batch, layers)) for place, layers in results]
        self.pending.popleft()
        return batch, rows

    def _halve(self, reason: str) -> None:
        left = [batch for batch, _ in self.pending]
        self.abandon()
        self.fit.halve(reason)
        self.waiting = deque(part for batch in [*left, *self.waiting] for part in batch.cut(self.fit.rows))

    def abandon(self) -> None:
        """Wait for batches that are still computed: an engine may read their memory until it is done."""
        for _, started in self.pending:
            for _, collect in started:
                with suppress(Exception):
                    collect()
        self.pending.clear()

    def _sound(self, place: int, batch: PixelBatch, layers: Outputs) -> list[Rows]:
        """Return the rows that are not padding, those with NaN or infinity recomputed."""
        count, check = len(batch.keys), self.networks[place].check
        if check is not None:
            check(batch.pixels, count, layers)
        rows = [layer[:count] for layer in layers]
        bad = sorted({int(row) for layer in rows for row in np.flatnonzero(~np.isfinite(layer).all(axis=1))})
        return self._rescue(place, batch, rows, bad) if bad else rows

    def _hand_on(self, batch: PixelBatch, rows: list[tuple[int, list[Rows]]]) -> None:
        for place, layers in rows:
            for output, layer in zip(self.outputs[place], layers, strict=True):
                output.take(batch.keys, layer)

    def _rescue(self, place: int, batch: PixelBatch, rows: list[Rows], bad: list[int]) -> list[Rows]:
        network = self.networks[place]
        again, layers = network.rescue(batch.pixels, bad)
        rows = [layer.copy() for layer in rows]
        for layer, fixed in zip(rows, again, strict=True):
            layer[bad] = fixed
        for row, where in zip(bad, layers, strict=True):
            for output in self.outputs[place] if where else ():
                output.bad[batch.keys[row]] = (
                    f"{network.name}: NaN or infinity, first in layer {where}, also in float32"
                )
        return rows


def run_pass(
    sources: Iterable[ImageSource],
    prepare: Prepare,
    networks: Sequence[PassNetwork],
    writer: BlockWriter,
    *,
    views: int,
    mean: bool,
    fit: BatchFit,
    workers: int,
    ahead: int,
    failed: Callable[[ImageFailure], None],
    progress: Progress,
    read: BusyTime,
    forward: BusyTime,
) -> None:
    """Read images, run every network that lacks them, and pass the features to the writer, which stays open.

    Each image has `views` rows, averaged if `mean`. `fit` makes batches smaller where memory runs out. `failed` is called with each failure; it may raise to stop the
    pass. `progress` advances by images.
    """

    def unreadable(image: PreparedImage) -> None:
        progress.advance()
        failed(ImageFailure(image.source.key, image.reason))

    outputs = [
        [
            _LayerOutput(store, wanted, views, mean, writer, failed)
            for store, wanted in zip(network.stores, network.wanted, strict=True)
        ]
        for network in networks
    ]
    state = _Batches(networks, outputs, forward, fit)
    depth = max(network.engine.in_flight for network in networks)
    done = 0
    images = read_ahead(sources, prepare, workers=workers, ahead=ahead, busy=read)
    with closing(images), closing(batches(images, fit.rows, unreadable)) as ready:
        try:
            for batch in ready:
                state.waiting.extend(batch.cut(fit.rows))
                while state.waiting:
                    done = _advance(progress, done, state.work(depth), views)
            while state.waiting or state.pending:
                done = _advance(progress, done, state.work(1), views)
        finally:
            state.abandon()


def _advance(progress: Progress, done: int, rows: int, views: int) -> int:
    progress.advance((done + rows) // views - done // views)
    return done + rows


def block_rows(row_bytes: int, stores: int) -> int:
    """Choose the rows of a block, from 64 to 4096: about 8 MB, less where many stores are written at once.

    Examples
    --------
    >>> block_rows(4 * 2048, 1)
    1024
    """
    share = min(_BLOCK_BYTES, _ALL_BYTES // max(stores, 1))
    return int(np.clip(share // max(row_bytes, 1), _LEAST_ROWS, _MOST_ROWS))


def waiting_bytes(stores: int) -> int:
    """Bound the bytes of rows (of less than 128 KB) that wait for their block; twice the rows, as they are joined.

    Examples
    --------
    >>> waiting_bytes(1) == 2 * 8 * 2**20
    True
    """
    return 2 * min(_BLOCK_BYTES * stores, _ALL_BYTES)


@dataclass
class _Gathered:
    keys: list[str] = field(default_factory=list)
    parts: list[Rows] = field(default_factory=list)
    since: float = 0.0


class BlockWriter:
    """Writes rows to stores in a thread of its own, as blocks.

    Parameters
    ----------
    stores : sequence of FeatureStore
        Where rows go.
    seconds : float
        A block is written when its first row is this old, full or not.
    busy : BusyTime, optional
        Counts the seconds of writing.
    """

    def __init__(
        self, stores: Sequence[FeatureStore], seconds: float = 30.0, busy: BusyTime | None = None
    ) -> None:
        self._stores = stores
        self._seconds = seconds
        self._busy = busy or BusyTime()
        self._queue: Queue[tuple[int, list[str], Rows] | None] = Queue(_WAITING)
        self._gathered = [_Gathered() for _ in stores]
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="featx-write", daemon=True)
        self._thread.start()

    def put(self, store: int, keys: list[str], rows: Rows) -> None:
        """Hand over rows, shape (rows, views, width), for the store at a position; wait while the queue is full.

        Raises
        ------
        ExtractionError
            If a block could not be written.
        """
        self._check()
        self._queue.put((store, keys, rows))

    def close(self) -> None:
        """Write the rows that wait and end the thread; raise `ExtractionError` if a block could not be written."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise ExtractionError(
                f"features cannot be written: {self._error}; make room on the disk or correct its permissions, and "
                "run again: rows that are already stored are not recomputed"
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

    def _gather(self, place: int, keys: list[str], rows: Rows) -> None:
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
