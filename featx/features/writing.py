"""Writing: a thread that gathers rows and commits them as blocks, by size and by time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from queue import Empty, Queue
from threading import Thread

import numpy as np
import numpy.typing as npt

from featx.errors import ExtractionError
from featx.features.reading import Busy
from featx.features.store import FeatureStore

__all__ = ["BlockWriter", "block_rows", "hand_bytes"]

Rows = npt.NDArray[np.float32]

_BLOCK_BYTES = 8 << 20
_ALL_BYTES = 128 << 20
_LEAST_ROWS, _MOST_ROWS = 64, 4096
_WAITING = 8


def block_rows(row_bytes: int, stores: int) -> int:
    """Choose the rows of a block: about 8 MB, less where many stores are written at once.

    Parameters
    ----------
    row_bytes : int
        Bytes of a row.
    stores : int
        Stores written at once.

    Returns
    -------
    int
        From 64 to 4096.

    Examples
    --------
    >>> block_rows(4 * 2048, 1)
    1024
    """
    share = min(_BLOCK_BYTES, _ALL_BYTES // max(stores, 1))
    return int(np.clip(share // max(row_bytes, 1), _LEAST_ROWS, _MOST_ROWS))


def hand_bytes(stores: int) -> int:
    """Bound the bytes of rows that wait for their block, for rows of less than 128 KB.

    Parameters
    ----------
    stores : int
        Stores written at once.

    Returns
    -------
    int
        Bytes; twice the rows, as they are joined for writing.

    Examples
    --------
    >>> hand_bytes(1) == 2 * 8 * 2**20
    True
    """
    return 2 * min(_BLOCK_BYTES * stores, _ALL_BYTES)


@dataclass
class _Gathered:
    keys: list[str] = field(default_factory=list)
    parts: list[Rows] = field(default_factory=list)
    since: float = 0.0


class BlockWriter:
    """Commits rows to stores in a thread of its own.

    Parameters
    ----------
    stores : sequence of FeatureStore
        Where rows go.
    seconds : float
        A block is committed when its first row is this old, full or not.
    busy : Busy, optional
        Counts the seconds of writing.
    """

    def __init__(
        self, stores: Sequence[FeatureStore], seconds: float = 30.0, busy: Busy | None = None
    ) -> None:
        self._stores = stores
        self._seconds = seconds
        self._busy = busy or Busy()
        self._queue: Queue[tuple[int, list[str], Rows] | None] = Queue(_WAITING)
        self._gathered = [_Gathered() for _ in stores]
        self._error: BaseException | None = None
        self._thread = Thread(target=self._work, name="featx-write", daemon=True)
        self._thread.start()

    def put(self, store: int, keys: list[str], rows: Rows) -> None:
        """Hand over rows; waits while too many are on their way.

        Parameters
        ----------
        store : int
            Position of the store.
        keys : list of str
            SHA-256 of each row's image.
        rows : ndarray of float32, shape (rows, views, width)
            Their features.

        Raises
        ------
        ExtractionError
            If a block could not be written.
        """
        self._check()
        self._queue.put((store, keys, rows))

    def close(self) -> None:
        """Commit what is in hand and end the thread.

        Raises
        ------
        ExtractionError
            If a block could not be written.
        """
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
