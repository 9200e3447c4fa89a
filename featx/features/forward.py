"""The pass over the pixels: batches in, rows out, any number of networks at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from featx.features.engines import Engine, Outputs
from featx.features.reading import Busy, ImageFile, PixelBatch, Prepare, PreparedPixels, batches, read_ahead
from featx.features.writing import BlockWriter
from featx.progress import Progress

__all__ = ["Failure", "Lane", "Rescue", "run_pass"]

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
    """Read images, run every network that lacks them, and hand the features to the writer.

    Parameters
    ----------
    sources : iterable of Source
        Images, each once.
    prepare : callable
        See `read_ahead`.
    lanes : sequence of Lane
        The networks; they share pixels and batch size.
    writer : BlockWriter
        Where features go. It is not closed here.
    views : int
        Rows of an image.
    mean : bool
        Whether the rows of an image are averaged.
    batch_size : int
        Rows of a batch.
    workers, ahead : int
        Reader threads, and images that they may be ahead.
    failed : callable
        Called with each `Failure`; may raise to stop.
    progress : Progress
        Advanced by image.
    read, forward : Busy
        Count the seconds of reading and of the forward pass.
    """

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
