"""What an extraction did: counts, failures and times for each store, and the lines that tell them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from featx.cells import csv_text
from featx.digest import canonical
from featx.errors import listing
from featx.files import write_text

__all__ = ["Extraction", "failure_message", "summarise_extraction", "write_failures"]


@dataclass(frozen=True)
class Extraction:
    """What an extraction did for one store.

    Attributes
    ----------
    store : Path
        Folder of the store.
    backbone, weights, layer : str
        Whose features it holds.
    images : int
        Images of the manifest, or of its shard.
    reused : int
        Those whose features stood there already.
    computed : int
        Those whose features were computed; images with equal bytes are computed once.
    pending : int
        Those left to compute: in a dry run.
    failed : tuple of (id, path, reason)
        Those without features.
    seconds : mapping of str to float
        Of the start-up: ``hash`` (finding the images' keys) and ``build`` (networks). Of the pass over the
        pixels: ``wall``, ``cpu`` (of the whole process), and the work of ``read`` (summed over threads),
        ``forward`` and ``write``. Networks of one pass share these.
    workers : int
        Reader threads.
    engine, device : str
        What ran the forward pass, and where; empty if nothing had to run.
    batch_size : int
        Rows of a batch.
    """

    store: Path
    backbone: str
    weights: str
    layer: str
    images: int
    reused: int
    computed: int = 0
    pending: int = 0
    failed: tuple[tuple[str, str, str], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    workers: int = 1
    engine: str = ""
    device: str = ""
    batch_size: int = 0

    @property
    def rate(self) -> float:
        """Images computed a second, start-up left out; 0 if none were."""
        wall = self.seconds.get("wall", 0.0)
        return self.computed / wall if wall else 0.0

    @property
    def busy(self) -> dict[str, float]:
        """Share of the time that reading (of all its threads), forward pass and writing were at work."""
        wall = self.seconds.get("wall", 0.0)
        threads = {"read": self.workers, "forward": 1, "write": 1}
        return {name: self.seconds[name] / wall / count for name, count in threads.items()} if wall else {}

    def record(self) -> dict[str, Any]:
        """Return everything in JSON types.

        Returns
        -------
        dict
            Fields by name, with `rate` and `busy`.
        """
        record: dict[str, Any] = canonical(self)
        return {**record, "rate": self.rate, "busy": self.busy}


def failure_message(extractions: Sequence[Extraction]) -> str:
    """Say in one line which images failed.

    Parameters
    ----------
    extractions : sequence of Extraction
        What `extract` returned.

    Returns
    -------
    str
        Empty if none did.
    """
    failed = {name: reason for item in extractions for name, _, reason in item.failed}
    if not failed:
        return ""
    images = max(item.images for item in extractions)
    lists = listing(
        [str(path) for path in dict.fromkeys(item.store for item in extractions if item.failed)], 2
    )
    first = next(iter(failed.items()))
    return (
        f"{len(failed)} of {images} images have no features, all others are stored; first: {first[0]} ({first[1]}); "
        f"all in failures.csv in {lists}"
    )


def write_failures(extraction: Extraction, shard: str | None = None) -> None:
    """Write the failed images beside the features, or remove the list of an earlier run where none failed.

    Parameters
    ----------
    extraction : Extraction
        What was done for the store.
    shard : str, optional
        ``"I/N"``; each shard has its own list.
    """
    name = f"failures-{shard.replace('/', '-of-')}.csv" if shard else "failures.csv"
    path = extraction.store / name
    text = csv_text([("id", "path", "reason"), *extraction.failed]) if extraction.failed else None
    # A store that everything is reused of may lie on a read-only disk: what stands there already is left alone.
    standing = path.read_bytes() if path.exists() else None
    if text is None and standing is not None:
        path.unlink()
    elif text is not None and standing != text.encode("utf-8"):
        write_text(path, text)


def summarise_extraction(extractions: Sequence[Extraction]) -> str:
    """Tell what was done, a line for each store and one for each pass over the pixels.

    Parameters
    ----------
    extractions : sequence of Extraction
        What `extract` returned.

    Returns
    -------
    str
        Lines.
    """
    lines = []
    for item in extractions:
        counts = [f"{item.images} images", f"{item.reused} reused", f"{item.computed} computed"]
        counts += [f"{item.pending} to compute"] if item.pending else []
        lines.append(
            f"{item.backbone} ({item.weights}), {item.layer}: {', '.join(counts)}, {len(item.failed)} failed"
        )
    passes = {id(item.seconds): item for item in extractions if item.seconds.get("wall")}
    return "\n".join([*lines, *(_times(item) for item in passes.values())])


def _times(item: Extraction) -> str:
    seconds, busy = item.seconds, item.busy
    shares = ", ".join(
        f"{stage} {seconds[name]:.1f} s ({busy[name]:.0%} busy)"
        for name, stage in (("read", "reading"), ("forward", "forward"), ("write", "writing"))
    )
    return (
        f"{item.rate:.1f} images/s, {seconds['wall']:.1f} s after {seconds['hash'] + seconds['build']:.1f} s of start-up: {shares}; "
        f"{seconds['cpu'] / seconds['wall']:.1f} cores at work; {item.engine} on {item.device}, batches of {item.batch_size}, {item.workers} readers"
    )
