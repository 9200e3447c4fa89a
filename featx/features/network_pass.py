"""A pass: the networks of one input size and preparation, run once over the images that any of them lacks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from featx.digest import canonical
from featx.errors import ConfigError, ExtractionError
from featx.gpus import Device
from featx.images import PRESETS, apply_view, halton_views, load_image
from featx.machine import affinity, resident_memory
from featx.progress import pass_stages
from featx.zoo import Cost

from .batch_sizes import (
    BATCH_SIZES,
    BatchFit,
    BatchPlace,
    building,
    remember_batch_size,
    remembered_batch_size,
)
from .device_choice import TakenDevice, clear_device_memory, take_device
from .engines import check_arithmetic, is_exported, set_threads
from .extract_settings import ExtractSettings
from .low_precision.bfloat16_networks import refuse_bfloat16
from .pipeline import (
    Array,
    BlockWriter,
    BusyTime,
    ImageFailure,
    ImageSource,
    PassNetwork,
    Prepare,
    read_ahead,
    run_pass,
    waiting_bytes,
)
from .planning import ExtractionTarget, LoadedNetwork, NetworkLoad, choose_engine, export_folder, open_stores
from .store import FeatureStore

__all__ = [
    "PassOutcome",
    "PendingTarget",
    "estimate_pass",
    "one_view",
    "run_networks",
]

_TRIED_IMAGES = 32


@dataclass(frozen=True)
class PendingTarget:
    """A network, and for each of its layers the keys of the images without features."""

    target: ExtractionTarget
    missing: tuple[frozenset[str], ...]

    @property
    def keys(self) -> frozenset[str]:
        """The images that the network has to be run on."""
        return frozenset().union(*self.missing)


@dataclass(frozen=True)
class PassOutcome:
    """What a pass gave.

    `ImageFailure.store` is a position in `stores`, the stores that were written. `seconds` are those of `Extraction`,
    `batch_size` is the one of the last batches.
    """

    failures: tuple[ImageFailure, ...] = ()
    stores: tuple[Path, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    engine: str = ""
    device: str = ""
    batch_size: int = 0


def run_networks(
    settings: ExtractSettings,
    pending: Sequence[PendingTarget],
    sources: Mapping[str, ImageSource],
    start: Mapping[str, float],
) -> PassOutcome:
    """Run networks of one input size and preparation over the images that any of them lacks, and write their stores.

    `sources` are all images by key, `start` the seconds of start-up until now (``hash``).

    Raises
    ------
    ExtractionError
        If an image fails and ``on_error`` is ``"fail"``, or features cannot be written.
    """
    needed = [item for item in pending if item.keys]
    if not needed:
        for item in pending:
            open_stores(item.target)
        return PassOutcome()
    engine = _engine(settings, needed)
    with _device(settings, engine, needed) as taken:
        return _run_on(settings, needed, sources, start, engine, taken)


def _run_on(
    settings: ExtractSettings,
    needed: Sequence[PendingTarget],
    sources: Mapping[str, ImageSource],
    start: Mapping[str, float],
    engine: str,
    taken: TakenDevice,
) -> PassOutcome:
    begun = time.perf_counter()
    place = _place(needed, taken)
    settings = replace(settings, batch_size=_first_batch_size(settings, place))
    with building(taken.name):
        networks = _networks(settings, needed, engine, taken.one)
        engines = [network.engine for network in networks]
    # Stores are created only after every network has been built.
    stores: list[FeatureStore] = []
    running = []
    for item, network, runner in zip(needed, networks, engines, strict=True):
        opened = open_stores(item.target)
        places = tuple(range(len(stores), len(stores) + len(opened)))
        running.append(
            PassNetwork(
                item.target.name,
                runner,
                item.target.image_size,
                network.rescue,
                places,
                item.missing,
                network.check(),
            )
        )
        stores += opened
        if settings.overwrite:
            for store, missing in zip(opened, item.missing, strict=True):
                store.discard(missing)
    # Engines that are replaced during the pass must not be kept alive here.
    name = engines[0].name
    del engines, runner
    costs = [network.costs() for network in networks]
    facts = _cost_facts(networks, costs, taken.one)
    # The cost is written before the rows, so that a killed pass leaves no rows without it; the speed follows.
    for store, fact in zip(stores, facts, strict=True):
        store.write_cost({**(store.cost or {"images_per_second": None}), **fact})
    built = time.perf_counter() - begun
    weights = 4 * sum(max(cost.parameters or 0 for cost in layers) for layers in costs)
    failures: list[ImageFailure] = []
    wanted = _ordered(needed, sources)
    prepare = _prepare(settings, needed[0].target)
    fit = _fit(settings, place, running, networks, taken)
    seconds = _run(settings, prepare, running, stores, wanted, failures, weights, fit)
    seconds["check"] = sum(item.check.seconds for item in running if item.check)
    if computed := len(wanted) - sum(failure.store is None for failure in failures):
        for store, fact in zip(stores, facts, strict=True):
            store.write_cost({**fact, "images_per_second": round(computed / seconds["wall"], 2)})
    folders = tuple(store.path for store in stores)
    return PassOutcome(
        tuple(failures), folders, {**start, "build": built, **seconds}, name, str(taken.one), fit.rows
    )


def _place(needed: Sequence[PendingTarget], taken: TakenDevice) -> BatchPlace:
    targets = [item.target for item in needed]
    return BatchPlace(
        gpu=taken.name,
        precision=", ".join(dict.fromkeys(target.precision for target in targets)),
        image_size=targets[0].image_size,
        networks=tuple(
            (target.backbone.name, tuple(recipe.layer for recipe in target.recipes)) for target in targets
        ),
    )


def _first_batch_size(settings: ExtractSettings, place: BatchPlace) -> int:
    """Return the batch size asked for, or the smaller one that worked after memory had run out."""
    worked = remembered_batch_size(settings.home, place)
    if worked is None or worked >= settings.batch_size:
        return settings.batch_size
    settings.receiver.say(
        f"beginning with batches of {worked} images, since larger ones ran out of memory here before; delete "
        f"{settings.home / BATCH_SIZES} to try {settings.batch_size} again"
    )
    return worked


def _fit(
    settings: ExtractSettings,
    place: BatchPlace,
    running: Sequence[PassNetwork],
    networks: Sequence[LoadedNetwork],
    taken: TakenDevice,
) -> BatchFit:
    """Let the networks of a pass be rebuilt for smaller batches, and the batch size that worked be remembered."""

    def rebuild(rows: int) -> None:
        for item, network in zip(running, networks, strict=True):
            del item.engine
            network.drop(rows)
        clear_device_memory()
        for item, network in zip(running, networks, strict=True):
            item.engine = network.engine

    def worked(rows: int) -> None:
        taken.allocated()
        if rows < settings.batch_size:
            remember_batch_size(settings.home, place, rows)

    return BatchFit(settings.batch_size, rebuild, worked, taken.name, settings.receiver)


def _cost_facts(
    networks: Sequence[LoadedNetwork], costs: Sequence[Sequence[Cost]], device: Device
) -> list[dict[str, Any]]:
    """Return for each store what its features cost, apart from the speed."""
    return [
        {
            **canonical(cost),
            "device": str(device),
            "engine": network.engine.name,
            "networks": len(networks),
        }
        for network, layers in zip(networks, costs, strict=True)
        for cost in layers
    ]


def _networks(
    settings: ExtractSettings, pending: Sequence[PendingTarget], engine: str, device: Device
) -> list[LoadedNetwork]:
    return [
        LoadedNetwork(item.target, settings, device, engine, settings.home, settings.receiver, len(pending))
        for item in pending
    ]


def estimate_pass(
    settings: ExtractSettings, pending: Sequence[PendingTarget], sources: Mapping[str, ImageSource]
) -> None:
    """Tell what a pass would read, compute and store, and how long it would take by a trial of a few images."""
    needed = [item for item in pending if item.keys]
    if not needed:
        return
    engine = _engine(settings, needed)
    # A trial of a few images does not wait.
    with _device(replace(settings, wait_gpu=None), engine, needed) as taken, building(taken.name):
        _estimate(settings, needed, sources, _networks(settings, needed, engine, taken.one), taken.one)


def _estimate(
    settings: ExtractSettings,
    needed: Sequence[PendingTarget],
    sources: Mapping[str, ImageSource],
    networks: Sequence[LoadedNetwork],
    device: Device,
) -> None:
    wanted = _ordered(needed, sources)
    size = needed[0].target.image_size
    batch = np.zeros((settings.batch_size, size, size, 3), np.uint8)
    widths = [layer.shape[1] for network in networks for layer in network.engine.start(batch)()]
    begun = time.perf_counter()
    for network in networks:
        network.engine.start(batch)()
    forward = (time.perf_counter() - begun) / settings.batch_size * settings.views
    tried = wanted[:_TRIED_IMAGES]
    begun = time.perf_counter()
    for _ in read_ahead(
        tried, _prepare(settings, needed[0].target), workers=settings.cores, ahead=len(tried)
    ):
        pass
    read = (time.perf_counter() - begun) / len(tried)
    # On a CPU both use the same cores; a GPU computes while the CPU reads.
    each = max(read, forward) if device.kind == "gpu" else read + forward
    kept = 1 if settings.mean else settings.views
    missing = [len(missing) for item in needed for missing in item.missing]
    stored = sum(4 * width * count * kept for width, count in zip(widths, missing, strict=True))
    settings.receiver.say(
        f"{len(wanted)} images to read ({_bytes(wanted) / 1e6:.1f} MB), {sum(missing)} rows of features "
        f"to compute and store ({stored / 1e6:.1f} MB) at {size} px with {networks[0].engine.name} "
        f"on {device}: about {each * len(wanted):.0f} s at {1 / each:.1f} images/s, without the start-up"
    )


def _bytes(sources: Sequence[ImageSource]) -> int:
    """Sum the sizes of the files that exist."""
    paths = [Path(source.path) for source in sources]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _engine(settings: ExtractSettings, pending: Sequence[PendingTarget]) -> str:
    """Choose the engine; ``auto`` exports networks to OpenVINO only where that saves time."""
    lower = [item.target.precision for item in pending if item.target.precision != "float32"]
    chosen = settings.chosen_engine(*lower[:1])
    if chosen == "openvino":
        for precision in dict.fromkeys(lower):
            # Forcing does not help where the processor lacks it, so that it must not be what the user is told.
            check_arithmetic(precision)
        for item in pending:
            if item.target.precision == "bfloat16" and not settings.force_precision:
                refuse_bfloat16(item.target.backbone.name)
    if chosen == "keras" or settings.engine != "auto" or lower:
        return chosen
    if any(item.target.backbone.is_own for item in pending):
        return "keras"
    loads = [
        NetworkLoad(
            item.target.backbone,
            item.target.image_size,
            settings.views * len(item.keys),
            is_exported(export_folder(item.target, settings, settings.home)),
        )
        for item in pending
    ]
    engine, why = choose_engine(loads, settings.threads or len(affinity()))
    settings.receiver.say(f"engine {engine}: {why}")
    return engine


@contextmanager
def _device(
    settings: ExtractSettings, engine: str, pending: Sequence[PendingTarget]
) -> Iterator[TakenDevice]:
    if engine == "openvino":
        yield TakenDevice(Device("cpu"))
        return
    with take_device(settings, settings.receiver) as taken:
        if settings.threads is not None:
            set_threads(settings.threads)
        if taken.one.kind == "cpu" and any(item.target.precision == "tf32" for item in pending):
            raise ConfigError(
                f"The precision tf32 is arithmetic of NVIDIA GPUs. Got device {taken.one}; use --precision float32"
            )
        yield taken


def _ordered(pending: Sequence[PendingTarget], sources: Mapping[str, ImageSource]) -> list[ImageSource]:
    """Order images by the features that they lack, so that few batches are needed by some networks only."""
    lacking = {
        key: tuple(key in missing for item in pending for missing in item.missing)
        for key in frozenset().union(*(item.keys for item in pending))
    }
    kinds = dict.fromkeys(lacking[key] for key in sources if key in lacking)
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    return sorted(
        (sources[key] for key in sources if key in lacking), key=lambda source: ranks[lacking[source.key]]
    )


def _run(
    settings: ExtractSettings,
    prepare: Prepare,
    networks: Sequence[PassNetwork],
    stores: Sequence[FeatureStore],
    sources: Sequence[ImageSource],
    failures: list[ImageFailure],
    weights: int,
    fit: BatchFit,
) -> dict[str, float]:
    """Run the pass; rows that are computed are stored, however the pass ends."""
    read, forward, write = BusyTime(), BusyTime(), BusyTime()
    size, readers = networks[0].side, settings.cores
    ahead = settings.ahead(size)
    settings.receiver.say(_plan_line(settings, size, ahead, len(sources), networks, weights))

    def failed(failure: ImageFailure) -> None:
        failures.append(failure)
        if settings.on_error == "fail":
            raise ExtractionError(failure.reason)

    begun, cpu = time.perf_counter(), time.process_time()
    settings.receiver.start("extracting", len(sources))
    pass_stages(
        settings.receiver,
        {
            "decode": lambda: read.seconds / readers,
            "forward": lambda: forward.seconds,
            "write": lambda: write.seconds,
        },
    )
    writer = BlockWriter(stores, busy=write)
    try:
        run_pass(
            sources,
            prepare,
            networks,
            writer,
            views=settings.views,
            mean=settings.mean,
            fit=fit,
            workers=readers,
            ahead=ahead,
            failed=failed,
            progress=settings.receiver,
            read=read,
            forward=forward,
        )
    finally:
        try:
            writer.close()
        finally:
            settings.receiver.finish()
    return {
        "read": read.seconds,
        "forward": forward.seconds,
        "write": write.seconds,
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
    }


def _plan_line(
    settings: ExtractSettings,
    size: int,
    ahead: int,
    images: int,
    networks: Sequence[PassNetwork],
    weights: int,
) -> str:
    image = 3 * size * size * settings.views
    batches = max(network.engine.in_flight for network in networks) * settings.batch_size * 3 * size * size
    megabytes = (
        ahead * image + batches + waiting_bytes(sum(len(network.stores) for network in networks))
    ) / 1e6
    return (
        f"{images} images to compute with {len(networks)} network{'s' if len(networks) > 1 else ''} at {size} px; memory for "
        f"any number of images: at most {megabytes:.0f} MB of pixels and features, {weights / 1e6:.1f} MB of weights, and "
        f"{_computing(networks, megabytes)}"
    )


def _computing(networks: Sequence[PassNetwork], waiting: float) -> str:
    """Say what the engines take for their batches, and the peak with what the process holds already."""
    held = [network.engine.held_bytes for network in networks]
    known = [size / 1e6 for size in held if size is not None]
    if len(known) < len(held):
        return "what the engine needs for a batch"
    peak = resident_memory() / 1e6 + waiting + sum(known)
    return f"about {sum(known):.0f} MB of batches in the engine; about {peak:.0f} MB at the peak"


def _prepare(settings: ExtractSettings, target: ExtractionTarget) -> Prepare:
    preparation, size = target.preparation, target.image_size
    if settings.views == 1:
        return partial(one_view, preparation=preparation, size=size)
    views = halton_views(settings.views, PRESETS[settings.view_ranges])

    def several(data: bytes, path: str) -> Array:
        image = load_image(data, preparation, size, name=path)
        return np.stack([apply_view(image, view) for view in views])

    return several


def one_view(data: bytes, path: str, *, preparation: str, size: int) -> Array:
    """Decode and prepare an image as it is: uint8 of shape (1, size, size, 3)."""
    return load_image(data, preparation, size, name=path)[None]
