"""A pass: the networks of one input size and preparation, run over the pixels that any of them lacks."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.digest import canonical
from featx.errors import ConfigError, ExtractionError
from featx.features.engines import (
    Device,
    Engine,
    KerasEngine,
    Load,
    Outputs,
    PrecisionCheck,
    choose_device,
    choose_engine,
    reference_outputs,
    set_threads,
)
from featx.features.extraction_plan import ExtractSettings, NetworkPlan, open_stores
from featx.features.openvino_engine import OpenVinoEngine, export_costs, export_network, exported, is_exported
from featx.features.pipeline import (
    Array,
    BlockWriter,
    Busy,
    Failure,
    ImageFile,
    Lane,
    Prepare,
    hand_bytes,
    read_ahead,
    run_pass,
)
from featx.features.store import FeatureStore
from featx.images import PRESETS, apply_view, halton_views, load_image
from featx.progress import Progress
from featx.zoo import Cost, count_costs

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "ExtractionJob",
    "NetworkAtWork",
    "PassOutcome",
    "PassWork",
    "export_folder",
    "first_bad_layer",
    "one_view",
    "run_networks",
    "try_networks",
]


_POLICIES = {
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


class NetworkAtWork:
    """A target's network with its engine.

    Attributes
    ----------
    target : Target
        Which network.
    """

    def __init__(
        self,
        target: NetworkPlan,
        settings: ExtractSettings,
        device: Device,
        engine: str,
        cache: Path,
        progress: Progress,
        networks: int = 1,
    ) -> None:
        self.target = target
        self._settings = settings
        self._device = device
        self._wanted = engine
        self._cache = cache
        self._progress = progress
        self._networks = networks

    def _build(self, policy: str) -> Network:
        import keras

        from featx.zoo import build_network

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            with keras.device(str(self._device)):
                return build_network(
                    self.target.backbone,
                    self.target.weights,
                    layers=self._settings.layers,
                    pool=self._settings.pool,
                    image_size=self.target.image_size,
                )
        finally:
            keras.config.set_dtype_policy(before)

    @cached_property
    def network(self) -> Network:
        """The network in float32."""
        return self._build("float32")

    @cached_property
    def engine(self) -> Engine:
        """What runs it at the wanted precision."""
        if self._wanted == "openvino":
            try:
                return self._openvino(self.target.precision)
            except ConfigError as error:
                if self._settings.engine != "auto" or self.target.precision != "float32":
                    raise
                self._progress.say(f"{self.target.name}: {error}; taking keras")
        return self._keras(self.target.precision)

    @cached_property
    def exact(self) -> Engine:
        """What runs it in float32."""
        if self.target.precision == "float32":
            return self.engine
        return self._openvino("float32") if self.engine.name == "openvino" else self._keras("float32")

    def check(self) -> PrecisionCheck | None:
        """Make the check that low precision has to show."""
        precision = self.target.precision
        if precision == "float32":
            return None
        return PrecisionCheck(self.target.name, precision, lambda: self.exact, self._progress)

    def costs(self) -> tuple[Cost, ...]:
        """Count what each layer costs.

        Returns
        -------
        tuple of Cost
            One a layer; of an export as counted when it was made, so that Keras need not be imported for it.
        """
        if self.engine.name == "openvino":
            return export_costs(export_folder(self.target, self._settings, self._cache))
        return count_costs(self.network.model)

    def _keras(self, precision: str) -> Engine:
        policy = _POLICIES[precision]
        network = self.network if policy == "float32" else self._build(policy)
        return KerasEngine(network, self._settings.batch_size, self._device, tf32=precision == "tf32")

    def _openvino(self, precision: str) -> Engine:
        folder = export_folder(self.target, self._settings, self._cache)
        if not is_exported(folder):
            self._progress.say(f"{self.target.name}: exporting to OpenVINO, once")
            export_network(self.network, folder)
            del self.network  # the export runs; what is rarely needed beside it is built again then
        settings = self._settings
        return OpenVinoEngine(
            folder,
            settings.batch_size,
            self.target.image_size,
            precision=precision,
            threads=settings.threads,
            networks=self._networks,
        )

    @cached_property
    def _reference(self) -> Engine:
        return (
            self.engine
            if self.engine is self.exact and self.engine.name == "keras"
            else self._keras("float32")
        )

    def rescue(self, pixels: npt.NDArray[np.uint8], rows: list[int]) -> tuple[Outputs, list[str]]:
        """Compute rows again by Keras in float32, and find where those go wrong that stay bad.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (batch size, side, side, 3)
            A batch.

        Returns
        -------
        outputs : list of ndarray, each (rows, width)
            One array a layer.
        layers : list of str
            For each row the first layer with NaN or infinity; empty for a row that came out well.
        """
        outputs = [layer[rows] for layer in self._reference.start(pixels)()]
        sound = np.all([np.isfinite(layer).all(axis=1) for layer in outputs], axis=0)
        layers = [
            "" if good else first_bad_layer(self.network.model, pixels[row : row + 1])
            for row, good in zip(rows, sound, strict=True)
        ]
        return outputs, layers


def export_folder(target: NetworkPlan, settings: ExtractSettings, cache: Path) -> Path:
    """Name the folder of a network's OpenVINO export."""
    facts = {
        "backbone": target.backbone.name,
        "weights": target.weights.digest,
        "layers": [recipe.layer for recipe in target.recipes],
        "pool": settings.pool,
        "image_size": target.image_size,
    }
    return exported(cache, facts)


def first_bad_layer(model: Any, pixels: npt.NDArray[np.uint8]) -> str:
    """Name the first layer of a network that makes NaN or infinity of an image.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (1, side, side, 3)
        The image.
    """
    import keras

    from featx.zoo import layer_names

    layers = layer_names(model)
    probe = keras.Model(model.inputs, [layer.output for layer in layers.values()])
    outputs = reference_outputs(probe, pixels)
    bad = (name for name, output in zip(layers, outputs, strict=True) if not np.isfinite(output).all())
    return next(bad, "")


_TRIED_IMAGES = 32


@dataclass(frozen=True)
class ExtractionJob:
    """What to do, apart from images and networks.

    Attributes
    ----------
    settings : Settings
        How to extract.
    cache : Path
        Folder of caches.
    on_error : str
        One of `featx.features.extraction_plan.ON_ERROR`.
    overwrite, dry_run : bool
        Compute again what stands there; compute nothing.
    shard : str, optional
        ``"I/N"``.
    progress : Progress
        Receiver of progress and messages.
    """

    settings: ExtractSettings
    cache: Path
    on_error: str
    overwrite: bool
    dry_run: bool
    shard: str | None
    progress: Progress


@dataclass(frozen=True)
class PassWork:
    """A target and what its stores lack.

    Attributes
    ----------
    target : Target
        The network.
    missing : tuple of frozenset of str
        For each of its layers, the keys of images without features.
    """

    target: NetworkPlan
    missing: tuple[frozenset[str], ...]

    @property
    def keys(self) -> frozenset[str]:
        """What the network has to be run on."""
        return frozenset().union(*self.missing)


@dataclass(frozen=True)
class PassOutcome:
    """What a pass over the pixels gave.

    Attributes
    ----------
    failures : tuple of Failure
        Images without features.
    stores : tuple of Path
        Folders of the stores written, which `Failure.store` counts.
    seconds : mapping of str to float
        As in `featx.features.extraction.Extraction`.
    engine, device : str
        What ran the forward pass, and where.
    """

    failures: tuple[Failure, ...] = ()
    stores: tuple[Path, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    engine: str = ""
    device: str = ""


def run_networks(
    job: ExtractionJob,
    works: Sequence[PassWork],
    sources: Mapping[str, ImageFile],
    start: Mapping[str, float],
) -> PassOutcome:
    """Run the networks of one input size over the pixels that any of them lacks."""
    needed = [work for work in works if work.keys]
    if not needed:
        for work in works:
            open_stores(work.target)
        return PassOutcome()
    begun = time.perf_counter()
    networks, device = _build(job, needed)
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
    costs = [network.costs() for network in networks]
    facts = _cost_facts(networks, costs, device)
    # Written before rows are, so that a killed pass leaves none without; its speed follows.
    for store, fact in zip(stores, facts, strict=True):
        store.write_cost({**(store.cost or {"images_per_second": None}), **fact})
    built = time.perf_counter() - begun
    weights = 4 * sum(max(cost.parameters for cost in layers) for layers in costs)
    failures: list[Failure] = []
    wanted = _ordered(needed, sources)
    prepare = _prepare(job.settings, needed[0].target)
    seconds = _run(job, prepare, lanes, stores, wanted, failures, weights)
    if computed := len(wanted) - sum(failure.store is None for failure in failures):
        for store, fact in zip(stores, facts, strict=True):
            store.write_cost({**fact, "images_per_second": round(computed / seconds["wall"], 2)})
    folders = tuple(store.path for store in stores)
    return PassOutcome(
        tuple(failures), folders, {**start, "build": built, **seconds}, engines[0].name, str(device)
    )


def _cost_facts(
    networks: Sequence[NetworkAtWork], costs: Sequence[Sequence[Cost]], device: Device
) -> list[dict[str, Any]]:
    """State for each store what its features cost, apart from the speed."""
    return [
        {**canonical(cost), "device": str(device), "engine": network.engine.name, "networks": len(networks)}
        for network, layers in zip(networks, costs, strict=True)
        for cost in layers
    ]


def _build(job: ExtractionJob, works: Sequence[PassWork]) -> tuple[list[NetworkAtWork], Device]:
    name = _engine(job, works)
    device = _settle(job.settings, name, works)
    networks = [
        NetworkAtWork(work.target, job.settings, device, name, job.cache, job.progress, len(works))
        for work in works
    ]
    return networks, device


def try_networks(job: ExtractionJob, works: Sequence[PassWork], sources: Mapping[str, ImageFile]) -> None:
    """Say what a pass would read, compute and store, and how long by a trial of a few images."""
    needed = [work for work in works if work.keys]
    if not needed:
        return
    networks, device = _build(job, needed)
    wanted = _ordered(needed, sources)
    settings, size = job.settings, needed[0].target.image_size
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
    # On a CPU both use the same cores; a GPU works while the CPU reads.
    each = max(read, forward) if device.kind == "gpu" else read + forward
    kept = 1 if settings.mean else settings.views
    missing = [len(missing) for work in needed for missing in work.missing]
    stored = sum(4 * width * count * kept for width, count in zip(widths, missing, strict=True))
    job.progress.say(
        f"{len(wanted)} images to read ({_bytes(wanted) / 1e6:.1f} MB), {sum(missing)} "
        f"features of images to compute and store ({stored / 1e6:.1f} MB) at {size} px by {networks[0].engine.name} "
        f"on {device}: about {each * len(wanted):.0f} s at {1 / each:.1f} images/s, start-up left out"
    )


def _bytes(sources: Sequence[ImageFile]) -> int:
    """Sum the sizes of files, leaving out those that are gone."""
    paths = [Path(source.path) for source in sources]
    return sum(path.stat().st_size for path in paths if path.is_file())


def _engine(job: ExtractionJob, works: Sequence[PassWork]) -> str:
    """Choose the engine; ``auto`` exports networks to OpenVINO only where that saves time."""
    settings = job.settings
    lower = [work.target.precision for work in works if work.target.precision != "float32"]
    chosen = settings.chosen_engine(*lower[:1])
    if chosen == "keras" or settings.engine != "auto" or lower:
        return chosen
    loads = [
        Load(
            work.target.backbone,
            work.target.image_size,
            settings.views * len(work.keys),
            is_exported(export_folder(work.target, settings, job.cache)),
        )
        for work in works
    ]
    engine, why = choose_engine(loads, settings.threads or len(os.sched_getaffinity(0)))
    job.progress.say(f"engine {engine}: {why}")
    return engine


def _settle(settings: ExtractSettings, engine: str, works: Sequence[PassWork]) -> Device:
    if engine == "openvino":
        return Device("cpu")
    if settings.threads is not None:
        set_threads(settings.threads)
    device = choose_device(settings.wanted_device)
    if device.kind == "cpu" and any(work.target.precision == "tf32" for work in works):
        raise ConfigError(
            f"The precision tf32 is arithmetic of NVIDIA GPUs. Got device {device}; use float32"
        )
    return device


def _ordered(works: Sequence[PassWork], sources: Mapping[str, ImageFile]) -> list[ImageFile]:
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
    job: ExtractionJob,
    prepare: Prepare,
    lanes: Sequence[Lane],
    stores: Sequence[FeatureStore],
    sources: Sequence[ImageFile],
    failures: list[Failure],
    weights: int,
) -> dict[str, float]:
    """Run the pass; what is computed when it ends is stored, however it ends."""
    settings = job.settings
    read, forward, write = Busy(), Busy(), Busy()
    size = lanes[0].side
    ahead = settings.ahead(size)
    job.progress.say(_plan_line(settings, size, ahead, len(sources), lanes, weights))

    def failed(failure: Failure) -> None:
        failures.append(failure)
        if job.on_error == "fail":
            raise ExtractionError(failure.reason)

    begun, cpu = time.perf_counter(), time.process_time()
    job.progress.start("extracting", len(sources))
    writer = BlockWriter(stores, busy=write)
    try:
        run_pass(
            sources,
            prepare,
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
    return {
        "read": read.seconds,
        "forward": forward.seconds,
        "write": write.seconds,
        "wall": time.perf_counter() - begun,
        "cpu": time.process_time() - cpu,
    }


def _plan_line(
    settings: ExtractSettings, size: int, ahead: int, images: int, lanes: Sequence[Lane], weights: int
) -> str:
    image = 3 * size * size * settings.views
    batches = max(lane.engine.in_flight for lane in lanes) * settings.batch_size * 3 * size * size
    megabytes = (ahead * image + batches + hand_bytes(sum(len(lane.stores) for lane in lanes))) / 1e6
    return (
        f"{images} images to compute with {len(lanes)} network{'s' if len(lanes) > 1 else ''} at {size} px; at most "
        f"{megabytes:.0f} MB of pixels and features in hand, however many images, beside {weights / 1e6:.1f} MB of "
        "weights and what the engine needs for a batch"
    )


def _prepare(settings: ExtractSettings, target: NetworkPlan) -> Prepare:
    preparation, size = target.preparation, target.image_size
    if settings.views == 1:
        return partial(one_view, preparation=preparation, size=size)
    views = halton_views(settings.views, PRESETS[settings.view_ranges])

    def several(data: bytes, path: str) -> Array:
        image = load_image(data, preparation, size, name=path)
        return np.stack([apply_view(image, view) for view in views])

    return several


def one_view(data: bytes, path: str, *, preparation: str, size: int) -> Array:
    """Decode and prepare an image as it is.

    Returns
    -------
    ndarray of uint8, shape (1, size, size, 3)
        Pixels.
    """
    return load_image(data, preparation, size, name=path)[None]
