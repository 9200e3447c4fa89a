"""Batch sizes that fit into memory: halved when memory runs out, and remembered for the next extraction."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.digest import canonical
from featx.errors import DeviceMemoryError
from featx.files import write_json
from featx.gpus import memory_error
from featx.progress import Progress

__all__ = [
    "BATCH_SIZES",
    "BatchFit",
    "BatchPlace",
    "building",
    "remember_batch_size",
    "remembered_batch_size",
]

BATCH_SIZES = "batch-sizes.json"
"""File in the cache folder with a row for each place where memory ran out."""


@dataclass(frozen=True)
class BatchPlace:
    """What decides whether a batch fits.

    Attributes
    ----------
    gpu : str
        Model of the GPU, or ``"cpu"``.
    precision : str
        Arithmetic of the forward pass.
    image_size : int
        Input size in pixels.
    networks : tuple of (backbone, layers)
        Networks that run side by side, each with its layers.
    host : str
        Name of the machine.
    """

    gpu: str
    precision: str
    image_size: int
    networks: tuple[tuple[str, tuple[str, ...]], ...]
    host: str = platform.node()


def remembered_batch_size(cache: Path, place: BatchPlace) -> int | None:
    """Return the batch size that worked at a place after memory had run out; None if it never has.

    Examples
    --------
    >>> remembered_batch_size(Path("nowhere"), BatchPlace("cpu", "float32", 224, ())) is None
    True
    """
    key = canonical(place)
    sizes = [row["batch_size"] for row in _rows(cache) if row["place"] == key]
    return sizes[-1] if sizes else None


def remember_batch_size(cache: Path, place: BatchPlace, size: int) -> None:
    """Write down a batch size that worked at a place.

    Examples
    --------
    >>> import tempfile
    >>> cache, place = Path(tempfile.mkdtemp()), BatchPlace("cpu", "float32", 224, ())
    >>> remember_batch_size(cache, place, 8)
    >>> remembered_batch_size(cache, place)
    8
    """
    key = canonical(place)
    rows = [row for row in _rows(cache) if row["place"] != key]
    write_json(cache / BATCH_SIZES, [*rows, {"place": key, "batch_size": size}])


def _rows(cache: Path) -> list[dict[str, Any]]:
    """Read the rows that can be used: the file only saves time, so that a damaged one counts as empty."""
    try:
        found = json.loads((cache / BATCH_SIZES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    rows = found if isinstance(found, list) else []
    return [
        row
        for row in rows
        if isinstance(row, dict)
        and "place" in row
        and type(row.get("batch_size")) is int
        and row["batch_size"] > 0
    ]


def _no_room(device: str, what: str, reason: str) -> DeviceMemoryError:
    return DeviceMemoryError(
        f"{device} has not enough memory for {what} ({reason}); see who uses it (nvidia-smi, free), wait for a GPU with "
        "--wait-gpu MB, give another --device, or choose a smaller network or --image-size. Rows that are stored "
        "already are not recomputed"
    )


@contextmanager
def building(device: str) -> Iterator[None]:
    """Turn the error of a full memory while networks are built into one that says what to do."""
    try:
        yield
    except Exception as error:
        if not (reason := memory_error(error)):
            raise
        raise _no_room(device, "the networks themselves", reason) from error


@dataclass
class BatchFit:
    """The batch size of a pass, which is halved whenever memory runs out.

    Attributes
    ----------
    rows : int
        Rows of a batch now.
    rebuild : callable
        Makes the engines anew, for a number of rows.
    worked : callable
        Called with the number of rows when the first batch of this size is done.
    device : str
        Name of the device, for messages.
    progress : Progress
        Is told of every change.
    """

    rows: int
    rebuild: Callable[[int], None]
    worked: Callable[[int], None]
    device: str
    progress: Progress
    _done: int = 0

    def halve(self, reason: str) -> None:
        """Go on with half the rows.

        Raises
        ------
        DeviceMemoryError
            If a batch had one row only.
        """
        if self.rows == 1:
            raise _no_room(self.device, "a batch of one image", reason)
        before, self.rows = self.rows, (self.rows + 1) // 2
        self.progress.say(
            f"out of memory on {self.device} with batches of {before} images ({reason}): continuing with {self.rows}"
        )
        with building(self.device):
            self.rebuild(self.rows)

    def done(self) -> None:
        """Take note that a batch of the present size is done."""
        if self._done != self.rows:
            self._done = self.rows
            self.worked(self.rows)
