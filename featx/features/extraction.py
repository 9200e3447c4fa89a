"""Extraction: images of a manifest to rows of feature stores, computing only what the stores lack."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.cells import csv_text
from featx.data import Manifest, read_manifest
from featx.digest import canonical, digest
from featx.errors import ConfigError, ExtractionError, listing
from featx.features.extraction_plan import (
    ON_ERROR,
    ExtractSettings,
    NetworkPlan,
    missing_keys,
    shard_of,
    targets,
)
from featx.features.passes import ExtractionJob, PassOutcome, PassWork, run_networks, try_networks
from featx.features.pipeline import ImageFile
from featx.files import write_text
from featx.images import content_keys
from featx.progress import Progress, Silent

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["Extraction", "extract", "failure_message", "run_job", "summarise_extraction", "write_failures"]


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
        """Return everything in JSON types."""
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
    """Write the failed images beside the features, or remove the list of an earlier run where none failed."""
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


@dataclass(frozen=True)
class _Images:
    """Images of a manifest: (id, path, key) each, the key empty where the file cannot be read."""

    rows: tuple[tuple[str, str, str], ...]
    reasons: Mapping[str, str]  # path -> why it cannot be read

    def sources(self) -> dict[str, ImageFile]:
        """Give each key once, with the first image that has it."""
        found: dict[str, ImageFile] = {}
        for _, path, key in self.rows:
            if key and key not in found:
                found[key] = ImageFile(key, path)
        return found


def run_job(job: ExtractionJob, table: Manifest, wanted: Sequence[NetworkPlan]) -> tuple[Extraction, ...]:
    """Compute what the stores lack."""
    begun = time.perf_counter()
    images = _images(job, table)
    start = {"hash": time.perf_counter() - begun}
    sources = images.sources()
    works = [_work(job, target, sources) for target in wanted]
    done: dict[int, tuple[Extraction, ...]] = {}
    for text in dict.fromkeys(text for target in wanted for text in target.warnings):
        job.progress.say(f"warning: {text}")
    passes = [(work.target.image_size, work.target.preparation) for work in works]
    for pixels in dict.fromkeys(passes):
        places = [place for place, wanted_pixels in enumerate(passes) if wanted_pixels == pixels]
        here = [works[place] for place in places]
        outcome = None
        if job.dry_run:
            try_networks(job, here, sources)
        else:
            outcome = run_networks(job, here, sources, start)
        done |= {place: _results(job, works[place], images, outcome) for place in places}
        start = {"hash": 0.0}
    return tuple(item for place in sorted(done) for item in done[place])


def _images(job: ExtractionJob, table: Manifest) -> _Images:
    paths = table.paths
    found = content_keys(paths, cache=job.cache, workers=job.settings.workers, progress=job.progress)
    reasons = {path: str(error) for path, error in found.failures.items()}
    rows = [(name, path, found.keys.get(path, "")) for name, path in zip(table.ids, paths, strict=True)]
    if job.shard:
        part, whole = shard_of(job.shard)
        rows = [row for row in rows if int((row[2] or digest(row[0]))[:12], 16) % whole == part - 1]
    if reasons and job.on_error == "fail":
        raise ExtractionError(next(iter(reasons.values())))
    return _Images(tuple(rows), reasons)


def _work(job: ExtractionJob, target: NetworkPlan, keys: Iterable[str]) -> PassWork:
    wanted = list(keys)
    if job.overwrite:
        return PassWork(target, (frozenset(wanted),) * len(target.recipes))
    return PassWork(target, missing_keys(target, wanted))


def _results(
    job: ExtractionJob, work: PassWork, images: _Images, outcome: PassOutcome | None
) -> tuple[Extraction, ...]:
    target, results = work.target, []
    for recipe, folder, missing in zip(target.recipes, target.folders, work.missing, strict=True):
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
            workers=job.settings.cores,
            engine=outcome.engine if outcome and ran else "",
            device=outcome.device if outcome and ran else "",
            batch_size=job.settings.batch_size,
        )
        if outcome is not None:
            write_failures(result, job.shard)
        results.append(result)
    return tuple(results)


def _reasons(folder: Path, missing: frozenset[str], outcome: PassOutcome | None) -> dict[str, str]:
    """Key to reason, for the images that failed for a store."""
    if outcome is None:
        return {}
    return {
        failure.key: failure.reason
        for failure in outcome.failures
        if failure.key in missing and (failure.store is None or outcome.stores[failure.store] == folder)
    }


def extract(
    manifest: Manifest | Path | str,
    *,
    backbone: str | Sequence[str],
    weights: str | Path | Sequence[str | Path] = "imagenet",
    layers: Sequence[str] = (),
    pool: str = "avg",
    image_size: int | None = None,
    preparation: str | None = None,
    precision: str | None = None,
    views: int = 1,
    view_ranges: str = "paper",
    view_pool: str = "mean",
    engine: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    cache: Path | str = "cache",
    root: Path | str | None = None,
    allow_outside: bool = False,
    on_error: str = "finish",
    overwrite: bool = False,
    dry_run: bool = False,
    shard: str | None = None,
    progress: Progress | None = None,
) -> tuple[Extraction, ...]:
    """Compute the features that the stores lack.

    Parameters
    ----------
    manifest : Manifest, Path or str
        The images.
    backbone : str or sequence of str
        Names in the zoo's table. Networks of one input size and preparation share one pass over the pixels.
    weights : str, Path or sequence of these
        ``random``, ``random:SEED``, ``imagenet``, a weights file, a fine-tuning run, or a folder of such runs (a
        network a fold). With several backbones: one source for all, or one each, in the same order.
    layers : sequence of str
        Layers to read, a store each; empty for the penultimate one.
    pool : str
        How feature maps become vectors.
    image_size : int, optional
        Side of the network's input in pixels. Default: what fine-tuned weights were trained with, else the
        backbone's own.
    preparation : str, optional
        Key of `featx.images.prepare.PREPARATIONS`. Default: what fine-tuned weights were trained with, else
        ``resize``.
    precision : {"float32", "tf32", "bfloat16", "float16"}, optional
        Arithmetic of the forward pass. ``tf32`` is float32 whose products an NVIDIA GPU rounds to ten bits of
        mantissa. Default: what fine-tuned weights were trained with, else ``float32``. Another size, preparation
        or precision than the weights were trained with is warned of.
    views : int
        Views of an image, from a Halton sequence over the ranges; 1 for the image as it is.
    view_ranges : str
        Key of `featx.images.augment.PRESETS`.
    view_pool : {"mean", "keep"}
        Whether an image's views are averaged or kept apart.
    engine : {"auto", "keras", "openvino"}
        What runs the forward pass.
    batch_size : int
        Rows of a batch; every batch has this many, the last one is padded.
    workers : int, optional
        Reader threads; one a core if not given.
    threads : int, optional
        Threads of the forward pass; left to the engine if not given.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    cache : Path or str
        Folder of caches; stores are in ``features`` below it.
    root : Path or str, optional
        Folder that the manifest's image paths are relative to.
    allow_outside : bool
        Whether image paths may lead out of it.
    on_error : {"finish", "skip", "fail"}
        What a bad image leads to: an error once everything else is stored, nothing but a line in the result, or
        an error at once (what is computed by then is stored).
    overwrite : bool
        Compute again what stands there.
    dry_run : bool
        Say what would be computed, and stop.
    shard : str, optional
        ``"I/N"``: only the I-th of N parts of the images, by content, for several machines at once.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    tuple of Extraction
        One a store: each network's layers in turn.

    Raises
    ------
    InputError
        If an option, the manifest, a backbone, a weights source or a store cannot be used.
    ExtractionError
        If images failed (with ``on_error="finish"`` or ``"fail"``), or features cannot be written.
    """
    if on_error not in ON_ERROR:
        raise ConfigError(
            f"The 'on_error' parameter must be one of {', '.join(ON_ERROR)}. Got {on_error!r} instead."
        )
    settings = ExtractSettings(
        tuple([layers] if isinstance(layers, str) else layers),
        pool,
        image_size,
        preparation,
        precision,
        views,
        view_ranges,
        view_pool,
        engine,
        batch_size,
        workers,
        threads,
        device,
    )
    names = [backbone] if isinstance(backbone, str) else list(backbone)
    sources = [str(item) for item in ([weights] if isinstance(weights, str | Path) else weights)]
    if shard is not None:
        shard_of(shard)
    wanted = targets(names, sources, settings, Path(cache))
    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    job = ExtractionJob(settings, Path(cache), on_error, overwrite, dry_run, shard, progress or Silent())
    done = run_job(job, table, wanted)
    if on_error == "finish" and (message := failure_message(done)):
        raise ExtractionError(message)
    return done
