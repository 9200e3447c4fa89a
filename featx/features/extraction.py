"""Extraction: images of a manifest to rows of feature stores. Rows that are already stored are not recomputed."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, cast

from featx.cells import csv_text, unguarded
from featx.data import Manifest, read_manifest
from featx.digest import canonical
from featx.documents import read_text
from featx.errors import ExtractionError, listing
from featx.files import write_text
from featx.images import content_keys
from featx.options import verb

from .arm_files import write_arm
from .extract_settings import ExtractSettings, shard_of
from .network_pass import PassOutcome, PendingTarget, estimate_pass, run_networks
from .pipeline import ImageSource
from .planning import ExtractionTarget, missing_keys, targets
from .store import FeatureStore

__all__ = ["Extraction", "extract", "failed_paths", "failure_message", "summarise_extraction"]

# Bytes of a list of failed images: half a million rows have about 60 MB.
_FAILURES_LIMIT = 2**27


@dataclass(frozen=True)
class Extraction:
    """What an extraction did for one store.

    Attributes
    ----------
    store : Path
        Folder of the store.
    backbone, weights, layer : str
        Network, weights and layer of its features.
    images : int
        Number of images of the manifest, or of its shard.
    reused : int
        Images whose features were already stored.
    computed : int
        Images whose features were computed; images with equal bytes are computed once.
    pending : int
        Images left to compute, in a dry run.
    failed : tuple of (id, path, reason)
        Images without features.
    seconds : mapping of str to float
        Of the start-up: ``hash`` (of the images' files) and ``build`` (of the networks). Of the pass over the
        images: ``wall``, ``cpu`` (of the whole process), the work of ``read`` (summed over threads), ``forward`` and
        ``write``, and ``check``, the part that compared low precision with float32. Networks of one pass share these.
    workers : int
        Number of data-loading threads.
    engine, device : str
        What ran the forward pass, and where; empty if nothing had to run.
    batch_size : int
        Images of a batch; the smaller number that fitted, if memory ran out.
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
        """Images computed per second, without the start-up; 0 if none were."""
        wall = self.seconds.get("wall", 0.0)
        return self.computed / wall if wall else 0.0

    @property
    def busy(self) -> dict[str, float]:
        """Fraction of the time that loading (of all its threads), forward pass and writing were busy."""
        wall = self.seconds.get("wall", 0.0)
        threads = {"read": self.workers, "forward": 1, "write": 1}
        return {name: self.seconds[name] / wall / count for name, count in threads.items()} if wall else {}

    def record(self) -> dict[str, Any]:
        """Return everything in JSON types: fields by name, with `rate` and `busy`."""
        record: dict[str, Any] = canonical(self)
        return {**record, "rate": self.rate, "busy": self.busy}


def failure_message(extractions: Sequence[Extraction]) -> str:
    """Return one line that names the images that failed; empty if none did.

    Parameters
    ----------
    extractions : sequence of Extraction
        What `extract` returned.

    Returns
    -------
    str
        The line.

    Examples
    --------
    >>> bad = ("a", "a.png", "a.png: not an image")
    >>> done = Extraction(Path("store"), "tiny", "random0", "global pool", images=2, reused=1, failed=(bad,))
    >>> failure_message([done])
    '1 of 2 images has no features, all others are stored; first: a (a.png: not an image); listed in failures.csv of store'
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
        f"{len(failed)} of {images} images {'has' if len(failed) == 1 else 'have'} no features, all others are stored; "
        f"first: {first[0]} ({first[1]}); listed in failures.csv of {lists}"
    )


def summarise_extraction(extractions: Sequence[Extraction]) -> str:
    """Tell what was done, in a line for each store and one for each pass over the images.

    Parameters
    ----------
    extractions : sequence of Extraction
        What `extract` returned.

    Returns
    -------
    str
        Lines.

    Examples
    --------
    >>> summarise_extraction([Extraction(Path("store"), "tiny", "random0", "global pool", images=2, reused=2)])
    'tiny (random0), global pool: 2 images, 2 reused, 0 computed, 0 failed'
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
        f"{stage} {seconds[name]:.1f} s ({100 * busy[name]:.0f} % busy)"
        for name, stage in (("read", "reading"), ("forward", "forward pass"), ("write", "writing"))
    )
    return (
        f"{item.rate:.1f} images/s, {seconds['wall']:.1f} s after {seconds['hash'] + seconds['build']:.1f} s of start-up: "
        f"{shares}; {seconds['cpu'] / seconds['wall']:.1f} cores busy; {item.engine} on {item.device}, "
        f"batches of {item.batch_size}, {item.workers} reader threads"
    )


@verb(ExtractSettings)
def extract(manifest: Manifest | Path | str, options: ExtractSettings) -> tuple[Extraction, ...]:
    """Compute the features that the stores lack.

    Parameters
    ----------
    manifest : Manifest, Path or str
        The images.
    {options}

    Returns
    -------
    tuple of Extraction
        One for each store: the layers of each network in turn.

    Raises
    ------
    InputError
        If an option, the manifest, a backbone, a weights source or a store cannot be used.
    ExtractionError
        If images failed (with ``on_error="finish"`` or ``"fail"``), features cannot be written, or a network does not
        fit into memory even with batches of one image (`DeviceMemoryError`).

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for label in ("benign", "malignant"):
    ...     (folder / "images" / label).mkdir(parents=True)
    ...     Image.new("RGB", (64, 64), "brown").save(folder / "images" / label / f"{label}.png", dpi=(72, 72))
    >>> given = {"backbone": "tiny", "weights": "random", "cache": folder / "cache", "arm": "plain"}
    >>> (done,) = extract(folder / "images", **given)
    >>> done.images, done.computed, done.store.parent.name
    (2, 2, 'features')
    """
    options.begin()
    # Made options hold tuples, also of a single name.
    sources = [str(source) for source in cast(Sequence[str | Path], options.weights)]
    wanted = targets(options.backbone, sources, options, options.home)
    table = read_manifest(manifest, root=options.root, allow_outside=options.allow_outside)
    done = _compute(options, table, wanted)
    if options.arm is not None and not options.dry_run:
        write_arm(options.home, options.arm, [item.store for item in done])
    if options.on_error == "finish" and (message := failure_message(done)):
        raise ExtractionError(message)
    return done


@dataclass(frozen=True)
class _Images:
    """Images of a manifest: id, path and key of each; the key is empty where the file cannot be read."""

    rows: tuple[tuple[str, str, str], ...]
    reasons: Mapping[str, str]  # path -> why it cannot be read

    def sources(self) -> dict[str, ImageSource]:
        """Return each key once, with the first image that has it."""
        found: dict[str, ImageSource] = {}
        for _, path, key in self.rows:
            if key and key not in found:
                found[key] = ImageSource(key, path)
        return found


def _compute(
    settings: ExtractSettings, table: Manifest, wanted: Sequence[ExtractionTarget]
) -> tuple[Extraction, ...]:
    """Compute what the stores lack; one `Extraction` for each store, in the order of the targets."""
    begun = time.perf_counter()
    images = _images(settings, table)
    start = {"hash": time.perf_counter() - begun}
    sources = images.sources()
    pending = [_pending(settings, target, sources) for target in wanted]
    done: dict[int, tuple[Extraction, ...]] = {}
    for text in dict.fromkeys(text for target in wanted for text in target.warnings):
        settings.receiver.say(f"warning: {text}")
    passes = [(item.target.image_size, item.target.preparation) for item in pending]
    for pixels in dict.fromkeys(passes):
        places = [place for place, wanted_pixels in enumerate(passes) if wanted_pixels == pixels]
        here = [pending[place] for place in places]
        outcome = None
        if settings.dry_run:
            estimate_pass(settings, here, sources)
        else:
            outcome = run_networks(settings, here, sources, start)
        done |= {place: _results(settings, pending[place], images, outcome) for place in places}
        start = {"hash": 0.0}
    return tuple(item for place in sorted(done) for item in done[place])


def _images(settings: ExtractSettings, table: Manifest) -> _Images:
    paths = table.paths
    found = content_keys(
        paths,
        cache=settings.home,
        workers=settings.workers,
        progress=settings.receiver,
        known=settings.keys,
    )
    reasons = {path: str(error) for path, error in found.failures.items()}
    rows = [(name, path, found.keys.get(path, "")) for name, path in zip(table.ids, paths, strict=True)]
    if settings.shard:
        rows = _of_shard(rows, settings)
    if reasons and settings.on_error == "fail":
        raise ExtractionError(next(iter(reasons.values())))
    return _Images(tuple(rows), reasons)


def _of_shard(rows: list[tuple[str, str, str]], settings: ExtractSettings) -> list[tuple[str, str, str]]:
    """Choose the rows of a shard: whole batches of distinct images, those that an undivided extraction has too.

    The last bits of a feature may depend on the place of its image in the batch. Images with equal bytes are in one
    shard.
    """
    part, whole = shard_of(settings.shard or "1/1")
    together = settings.batch_size // math.gcd(settings.batch_size, settings.views)
    place = {name: number for number, name in enumerate(dict.fromkeys(key or name for name, _, key in rows))}
    groups = -(-len(place) // together)
    first, end = ((number * groups // whole) * together for number in (part - 1, part))
    return [row for row in rows if first <= place[row[2] or row[0]] < end]


def _pending(settings: ExtractSettings, target: ExtractionTarget, keys: Iterable[str]) -> PendingTarget:
    wanted = list(keys)
    if settings.overwrite:
        return PendingTarget(target, (frozenset(wanted),) * len(target.recipes))
    return PendingTarget(target, missing_keys(target, wanted))


def _results(
    settings: ExtractSettings, item: PendingTarget, images: _Images, outcome: PassOutcome | None
) -> tuple[Extraction, ...]:
    target, results = item.target, []
    for recipe, folder, missing in zip(target.recipes, target.folders, item.missing, strict=True):
        reasons = _reasons(folder, missing, outcome)
        failed = tuple(
            (name, path, reasons.get(key) or images.reasons[path])
            for name, path, key in images.rows
            if not key or key in reasons
        )
        lacking = sum(key in missing for _, _, key in images.rows if key)
        left = lacking if outcome is None else 0
        ran = outcome is not None and bool(missing)
        result = Extraction(
            store=folder,
            backbone=target.backbone.name,
            weights=target.weights.label,
            layer=recipe.layer,
            images=len(images.rows),
            reused=sum(bool(key) for _, _, key in images.rows) - lacking,
            computed=lacking - left - sum(bool(key) and key in reasons for _, _, key in images.rows),
            pending=left,
            failed=failed,
            seconds=outcome.seconds if outcome and ran else {},
            workers=settings.cores,
            engine=outcome.engine if outcome and ran else "",
            device=outcome.device if outcome and ran else "",
            batch_size=outcome.batch_size if outcome and ran else settings.batch_size,
        )
        if outcome is not None:
            _write_failures(result, settings.shard)
        results.append(result)
    return tuple(results)


def _reasons(folder: Path, missing: frozenset[str], outcome: PassOutcome | None) -> dict[str, str]:
    """Return the reasons by key, for the images that failed for a store."""
    if outcome is None:
        return {}
    return {
        failure.key: failure.reason
        for failure in outcome.failures
        if failure.key in missing and (failure.store is None or outcome.stores[failure.store] == folder)
    }


def failed_paths(store: FeatureStore) -> frozenset[str]:
    """Read the paths of the images whose last extraction into a store failed, as ``failures.csv`` and its parts list them."""
    found: set[str] = set()
    for path in (file for part in store.parts for file in sorted(part.path.glob("failures*.csv"))):
        rows = csv.DictReader(StringIO(read_text(path, _FAILURES_LIMIT), newline=""))
        found |= {unguarded(row["path"]) for row in rows if row.get("path")}
    return frozenset(found)


def _write_failures(extraction: Extraction, shard: str | None = None) -> None:
    """Write the list of failed images beside the features, or remove that of an earlier run; one for each shard."""
    name = f"failures-{shard.replace('/', '-of-')}.csv" if shard else "failures.csv"
    path = extraction.store / name
    text = csv_text([("id", "path", "reason"), *extraction.failed]) if extraction.failed else None
    # A store of which everything is reused may be on a read-only disk: an equal list is not written again.
    existing = path.read_bytes() if path.exists() else None
    if text is None and existing is not None:
        path.unlink()
    elif text is not None and existing != text.encode("utf-8"):
        write_text(path, text)
