"""A job: which images and networks are left, passes over their pixels, and what came of each."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featx.digest import digest
from featx.errors import ExtractionError
from featx.features.engines import Device, choose_device, set_threads
from featx.features.forward import Failure, Lane, run_pass
from featx.features.networks import NetworkAtWork, export_folder
from featx.features.openvino_engine import is_exported
from featx.features.plan import Settings, Target, open_stores, shard_of
from featx.features.reading import Array, Busy, Prepare, Source, stamp
from featx.features.results import Extraction, write_failures
from featx.features.store import RECIPE, FeatureStore
from featx.features.writing import BlockWriter, hand_bytes
from featx.images.augment import PRESETS, apply_view, halton_views
from featx.images.content import content_keys
from featx.images.prepare import load
from featx.progress import Progress

if TYPE_CHECKING:
    from featx.data.manifest import Manifest

__all__ = ["Job", "run_job"]

# Rows from which an export of 5 to 11 seconds pays on a small network.
_WORTH_EXPORTING = 2000


@dataclass(frozen=True)
class Job:
    """What to do, apart from images and networks.

    Attributes
    ----------
    settings : Settings
        How to extract.
    cache : Path
        Folder of caches.
    on_error : str
        One of `featx.features.plan.ON_ERROR`.
    overwrite, dry_run : bool
        Compute again what stands there; compute nothing.
    shard : str, optional
        ``"I/N"``.
    progress : Progress
        Receiver of progress and messages.
    """

    settings: Settings
    cache: Path
    on_error: str
    overwrite: bool
    dry_run: bool
    shard: str | None
    progress: Progress


@dataclass(frozen=True)
class _Images:
    """Images of a manifest: (id, path, key) each, the key empty where the file cannot be read."""

    rows: tuple[tuple[str, str, str], ...]
    reasons: Mapping[str, str]  # path -> why it cannot be read
    stamps: Mapping[str, tuple[int, int]]

    def sources(self) -> dict[str, Source]:
        """Give each key once, with the first image that has it."""
        return {key: Source(key, path, self.stamps[path]) for _, path, key in reversed(self.rows) if key}


@dataclass(frozen=True)
class _Work:
    """A target and what its stores lack."""

    target: Target
    missing: tuple[frozenset[str], ...]  # one a layer

    @property
    def keys(self) -> frozenset[str]:
        return frozenset().union(*self.missing)


def run_job(job: Job, table: Manifest, wanted: Sequence[Target]) -> tuple[Extraction, ...]:
    """Compute what the stores lack.

    Parameters
    ----------
    job : Job
        How.
    table : Manifest
        The images.
    wanted : sequence of Target
        The networks.

    Returns
    -------
    tuple of Extraction
        One a store, in the order of the targets.

    Raises
    ------
    StoreError
        If a store is damaged or of another recipe.
    ExtractionError
        If an image fails and ``on_error`` is ``"fail"``, or features cannot be written.
    """
    begun = time.perf_counter()
    images = _images(job, table)
    sources = images.sources()
    works = [_work(job, target, sources) for target in wanted]
    done: dict[int, tuple[Extraction, ...]] = {}
    for size in dict.fromkeys(work.target.image_size for work in works):
        places = [place for place, work in enumerate(works) if work.target.image_size == size]
        here = [works[place] for place in places]
        outcome = None if job.dry_run else _pass(job, here, sources, begun)
        done |= {place: _results(job, works[place], images, outcome) for place in places}
        begun = time.perf_counter()
    return tuple(item for place in sorted(done) for item in done[place])


def _images(job: Job, table: Manifest) -> _Images:
    paths = table.paths
    stamps = {path: stamp(path) for path in paths}
    found = content_keys(paths, cache=job.cache, workers=job.settings.workers, progress=job.progress)
    reasons = {path: str(error) for path, error in found.failures.items()}
    rows = [(name, path, found.keys.get(path, "")) for name, path in zip(table.ids, paths, strict=True)]
    if job.shard:
        part, whole = shard_of(job.shard)
        rows = [row for row in rows if int((row[2] or digest(row[0]))[:12], 16) % whole == part - 1]
    if reasons and job.on_error == "fail":
        raise ExtractionError(next(iter(reasons.values())))
    return _Images(tuple(rows), reasons, stamps)


def _work(job: Job, target: Target, keys: Iterable[str]) -> _Work:
    wanted = list(keys)
    missing = []
    for recipe, folder in zip(target.recipes, target.folders, strict=True):
        if job.overwrite or not (folder / RECIPE).exists():
            missing.append(frozenset(wanted))
        else:
            missing.append(frozenset(FeatureStore.open_or_create(folder, recipe).missing(wanted)))
    return _Work(target, tuple(missing))


@dataclass(frozen=True)
class _Outcome:
    """What a pass over the pixels gave."""

    failures: tuple[Failure, ...]
    stores: tuple[Path, ...]  # what `Failure.store` counts
    seconds: Mapping[str, float]
    engine: str
    device: str


def _pass(job: Job, works: Sequence[_Work], sources: Mapping[str, Source], begun: float) -> _Outcome:
    """Run the networks of one input size over the pixels that any of them lacks."""
    needed = [work for work in works if work.keys]
    if not needed:
        for work in works:
            open_stores(work.target)
        return _Outcome((), (), {}, "", "")
    name = _engine(job, needed)
    device = _settle(job.settings, name)
    networks = [
        NetworkAtWork(work.target, job.settings, device, name, job.cache, job.progress) for work in needed
    ]
    engines = [network.engine for network in networks]
    # Only now, when every network has been built, may stores appear.
    stores: list[FeatureStore] = []
    lanes = []
    for work, network, engine in zip(needed, networks, engines, strict=True):
        opened = open_stores(work.target)
        places = tuple(range(len(stores), len(stores) + len(opened)))
        lanes.append(
            Lane(
                work.target.name,
                engine,
                work.target.image_size,
                network.rescue,
                places,
                work.missing,
                network.check(),
            )
        )
        stores += opened
        if job.overwrite:
            for store, missing in zip(opened, work.missing, strict=True):
                store.discard(missing)
    started = time.perf_counter() - begun
    failures: list[Failure] = []
    seconds = _run(job, lanes, stores, _ordered(needed, sources), failures)
    folders = tuple(store.path for store in stores)
    return _Outcome(tuple(failures), folders, {"start": started, **seconds}, engines[0].name, str(device))


def _engine(job: Job, works: Sequence[_Work]) -> str:
    """Choose the engine; ``auto`` exports no network to OpenVINO for less work than the export takes."""
    chosen = job.settings.chosen_engine()
    if chosen == "keras" or job.settings.engine != "auto" or job.settings.precision != "float32":
        return chosen
    rows = job.settings.views * max(len(work.keys) for work in works)
    ready = all(is_exported(export_folder(work.target, job.settings, job.cache)) for work in works)
    return chosen if ready or rows >= _WORTH_EXPORTING else "keras"


def _settle(settings: Settings, engine: str) -> Device:
    if engine == "openvino":
        return Device("cpu")
    if settings.threads is not None:
        set_threads(settings.threads)
    return choose_device(settings.wanted_device)


def _ordered(works: Sequence[_Work], sources: Mapping[str, Source]) -> list[Source]:
    """Put images that lack the same features side by side, so that few batches are of use to some networks only."""
    lacking = {
        key: tuple(key in missing for work in works for missing in work.missing)
        for key in frozenset().union(*(work.keys for work in works))
    }
    kinds = dict.fromkeys(lacking[key] for key in sources if key in lacking)
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    return sorted(
        (sources[key] for key in sources if key in lacking), key=lambda source: ranks[lacking[source.key]]
    )


def _run(
    job: Job,
    lanes: Sequence[Lane],
    stores: Sequence[FeatureStore],
    sources: Sequence[Source],
    failures: list[Failure],
) -> dict[str, float]:
    """Run the pass; what is computed when it ends is stored, however it ends."""
    settings = job.settings
    read, forward, write = Busy(), Busy(), Busy()
    size = lanes[0].side
    ahead = settings.ahead(size)
    job.progress.say(_plan_line(settings, size, ahead, len(sources), lanes))

    def failed(failure: Failure) -> None:
        failures.append(failure)
        if job.on_error == "fail":
            raise ExtractionError(failure.reason)

    begun = time.perf_counter()
    job.progress.start("extracting", len(sources))
    writer = BlockWriter(stores, busy=write)
    try:
        run_pass(
            sources,
            _prepare(settings, size),
            lanes,
            writer,
            views=settings.views,
            mean=settings.mean,
            batch_size=settings.batch_size,
            workers=settings.cores,
            ahead=ahead,
            failed=failed,
            progress=job.progress,
            read=read,
            forward=forward,
        )
    finally:
        job.progress.finish()
        writer.close()
    wall = time.perf_counter() - begun
    return {"read": read.seconds, "forward": forward.seconds, "write": write.seconds, "wall": wall}


def _plan_line(settings: Settings, size: int, ahead: int, images: int, lanes: Sequence[Lane]) -> str:
    image = 3 * size * size * settings.views
    batches = max(lane.engine.in_flight for lane in lanes) * settings.batch_size * 3 * size * size
    megabytes = (ahead * image + batches + hand_bytes(sum(len(lane.stores) for lane in lanes))) / 1e6
    return (
        f"{images} images to compute with {len(lanes)} network{'s' if len(lanes) > 1 else ''} at {size} px; at most "
        f"{megabytes:.0f} MB of pixels and features in hand beside the networks, however many images"
    )


def _prepare(settings: Settings, size: int) -> Prepare:
    if settings.views == 1:
        return partial(_one_view, preparation=settings.preparation, size=size)
    views = halton_views(settings.views, PRESETS[settings.view_ranges])

    def several(data: bytes, path: str) -> Array:
        image = load(data, settings.preparation, size, name=path)
        return np.stack([apply_view(image, view) for view in views])

    return several


def _one_view(data: bytes, path: str, *, preparation: str, size: int) -> Array:
    return load(data, preparation, size, name=path)[None]


def _results(job: Job, work: _Work, images: _Images, outcome: _Outcome | None) -> tuple[Extraction, ...]:
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


def _reasons(folder: Path, missing: frozenset[str], outcome: _Outcome | None) -> dict[str, str]:
    """Key to reason, for the images that failed for a store."""
    if outcome is None:
        return {}
    return {
        failure.key: failure.reason
        for failure in outcome.failures
        if failure.key in missing and (failure.store is None or outcome.stores[failure.store] == folder)
    }
