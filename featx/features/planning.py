"""Planning: from options to networks, their engines, recipes and stores. Keras is imported when a network is built."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.digest import short
from featx.errors import BackboneError, ConfigError, StoreError
from featx.files import write_aside
from featx.gpus import Device
from featx.images import DECODE_VERSION, PRESETS, preparation_key
from featx.machine import versions
from featx.progress import Progress
from featx.zoo import (
    Backbone,
    Cost,
    Weights,
    check_own,
    checked_size,
    count_costs,
    estimated_multiply_adds,
    find_backbone,
    load_own,
    resolve_weights,
)

from .engines import (
    Engine,
    FunctionEngine,
    KerasEngine,
    OpenVinoEngine,
    Outputs,
    PrecisionCheck,
    export_costs,
    export_network,
    exported,
    is_exported,
    reference_outputs,
)
from .exports.export_process import export_apart
from .exports.network_build import NetworkBuild
from .extract_settings import FeatureOptions
from .feature_recipe import Recipe, folder_name
from .low_precision.bfloat16_networks import kept_layers
from .store import RECIPE, TRAINED_ON, FeatureStore

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "ExtractionTarget",
    "LoadedNetwork",
    "NetworkLoad",
    "choose_engine",
    "export_folder",
    "first_bad_layer",
    "missing_keys",
    "open_stores",
    "targets",
]

_LIBRARIES = ("featx", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "pillow")
_POLICIES = {
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}
# Processor time measured on two cores of an AMD EPYC, batches of 16, random weights. For an image, Keras on TensorFlow
# took 3.2 ms with MobileNet 0.25, 18 ms with MobileNet, 84 ms with DenseNet-121, 86 ms with ResNet-50 and 208 ms with
# Xception; OpenVINO took 5 to 25 % less, and keeps the cores busier: 1.3 to 2 times as fast by the clock. An export
# took 2 to 14 s, with the number of layers.
_SECONDS_PER_IMAGE = 2e-3
_SECONDS_PER_MULTIPLY_ADD = 2.3e-11
_FRACTION_SAVED = 0.3
_EXPORT_SECONDS = 8.0


@dataclass(frozen=True)
class ExtractionTarget:
    """A network to run, and a store for each of its layers.

    Attributes
    ----------
    backbone : Backbone
        Row of the zoo's table.
    weights : Weights
        Its weights.
    image_size : int
        Input size in pixels.
    preparation : str
        Key of `featx.images.prepare.PREPARATIONS`.
    precision : str
        Arithmetic of the forward pass.
    recipes : tuple of Recipe
        One for each layer.
    folders : tuple of Path
        Their stores, which need not exist yet.
    """

    backbone: Backbone
    weights: Weights
    image_size: int
    preparation: str
    precision: str
    recipes: tuple[Recipe, ...]
    folders: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Backbone and weights, for messages."""
        return f"{self.backbone.name} ({self.weights.label})"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Notes that readers of results on these features need."""
        return self.recipes[0].warnings


def targets(
    backbones: Sequence[str], sources: Sequence[str], settings: FeatureOptions, cache: Path
) -> tuple[ExtractionTarget, ...]:
    """Find the networks and stores that names of backbones and weights stand for.

    Parameters
    ----------
    backbones : sequence of str
        Names in the zoo's table.
    sources : sequence of str
        Weights sources. With several backbones: one for all, or one each, in the same order.
    settings : FeatureOptions
        How to compute features.
    cache : Path
        Folder of caches.

    Returns
    -------
    tuple of ExtractionTarget
        One for each network; a folder of fine-tuning runs gives one for each fold.

    Raises
    ------
    BackboneError, WeightsError, ConfigError
        If a name is unknown, a file does not fit, or backbones and sources cannot be matched.

    Examples
    --------
    >>> (target,) = targets(["tiny"], ["random"], FeatureOptions(), Path("cache"))
    >>> target.name, target.image_size
    ('tiny (random0)', 64)
    """
    if not backbones or not sources:
        raise ConfigError("At least one backbone and one weights source are needed. Got none.")
    if len(backbones) > 1 and len(sources) not in (1, len(backbones)):
        raise ConfigError(
            f"Got {len(backbones)} backbones and {len(sources)} weights sources; "
            "give one source for all backbones, or one for each in the same order"
        )
    if len(backbones) == 1:
        pairs = [(backbones[0], source) for source in sources]
    else:
        pairs = list(
            zip(backbones, list(sources) * (len(backbones) if len(sources) == 1 else 1), strict=True)
        )
    found: dict[tuple[str, str], ExtractionTarget] = {}
    for name, source in pairs:
        backbone = find_backbone(name)
        for weights in resolve_weights(source, backbone):
            target = _target(backbone, weights, settings, cache)
            found.setdefault((backbone.name, target.recipes[0].digest), target)
    return tuple(found.values())


def _target(backbone: Backbone, weights: Weights, settings: FeatureOptions, cache: Path) -> ExtractionTarget:
    chosen = _pixels(backbone, weights, settings)
    if backbone.is_own:
        _check_own(backbone, settings, chosen)
    layers = tuple(settings.layers) or (backbone.layer,)
    recipes = tuple(_recipe(backbone, weights, layer, chosen, settings) for layer in layers)
    return ExtractionTarget(
        backbone,
        weights,
        **chosen,
        recipes=recipes,
        folders=tuple(_folder(cache, recipe) for recipe in recipes),
    )


def _check_own(backbone: Backbone, settings: FeatureOptions, chosen: Mapping[str, Any]) -> None:
    """Refuse what a user's own network cannot be asked for."""
    check_own(backbone, tuple(settings.layers))
    checked_size(backbone, chosen["image_size"])
    if chosen["precision"] not in ("float32", "tf32"):
        raise BackboneError(
            f"{backbone.name} is your own function and computes in its own arithmetic; leave out --precision, got "
            f"{chosen['precision']!r}"
        )
    if settings.engine == "openvino" and backbone.is_function:
        raise BackboneError(
            f"{backbone.name} is a function on batches and no Keras model, so that it cannot be exported to OpenVINO; leave "
            "out --engine"
        )


def _pixels(backbone: Backbone, weights: Weights, settings: FeatureOptions) -> dict[str, Any]:
    """Choose size, preparation and precision: as given, as the weights were trained with, or the default."""
    usual = {"image_size": backbone.image_size, "preparation": "resize", "precision": "float32"}
    asked = {name: value for name in usual if (value := getattr(settings, name)) is not None}
    return {**usual, **(weights.trained_with or {}), **asked}


def _warnings(weights: Weights, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the settings that differ from those that fine-tuned weights were trained with."""
    return tuple(
        f"the weights were fine-tuned with {name.replace('_', ' ')} {value}, "
        f"their features are extracted with {chosen[name]}"
        for name, value in (weights.trained_with or {}).items()
        if chosen[name] != value
    )


def _recipe(
    backbone: Backbone, weights: Weights, layer: str, chosen: Mapping[str, Any], settings: FeatureOptions
) -> Recipe:
    precision = chosen["precision"]
    engine = None if precision == "float32" else settings.chosen_engine(precision)
    kept = kept_layers(backbone.name) if (engine, precision) == ("openvino", "bfloat16") else 0
    return Recipe(
        backbone=backbone.name,
        weights=weights.digest,
        layer=layer,
        pool=settings.pool,
        image_size=chosen["image_size"],
        preparation=preparation_key(chosen["preparation"]),
        decode=DECODE_VERSION,
        views=_views_key(settings),
        view_pool=settings.view_pool if settings.views > 1 else "none",
        precision=precision,
        engine=engine,
        float32_layers=kept or None,
        trained_on=weights.trained_on,
        weights_source=str(weights.source),
        weights_label=weights.label,
        lineage=weights.lineage,
        versions=versions(_LIBRARIES),
        warnings=_warnings(weights, chosen),
    )


def _views_key(settings: FeatureOptions) -> Mapping[str, Any] | None:
    if settings.views == 1:
        return None
    return {"count": settings.views, "sequence": "halton", "ranges": PRESETS[settings.view_ranges]}


def _folder(cache: Path, recipe: Recipe) -> Path:
    """Return the store's folder; an existing store of the same recipe with another label of the weights is used."""
    folder = cache / "features"
    named = folder / folder_name(recipe)
    if named.is_dir():
        return named
    same = sorted(folder.glob(f"*-{short(recipe.digest)}"))
    return next((path for path in same if _follows(path, recipe)), named)


def _follows(path: Path, recipe: Recipe) -> bool:
    try:
        return FeatureStore(path).digest == recipe.digest
    except StoreError:
        return False


def open_stores(target: ExtractionTarget) -> tuple[FeatureStore, ...]:
    """Open a target's stores, one for each layer, and create those that do not exist.

    Stores of fine-tuned weights get a copy of the list of images that these were trained on.

    Raises
    ------
    StaleStoreError
        If a folder holds the store of another recipe.
    """
    stores = []
    for recipe, folder in zip(target.recipes, target.folders, strict=True):
        store = FeatureStore.open_or_create(folder, recipe)
        trained_on = _trained_on(target.weights)
        if trained_on is not None and not (folder / TRAINED_ON).exists():
            with write_aside(folder / TRAINED_ON) as aside:
                shutil.copyfile(trained_on, aside)
        stores.append(store)
    return tuple(stores)


def missing_keys(target: ExtractionTarget, keys: Collection[str]) -> tuple[frozenset[str], ...]:
    """Find the images of which a target's stores hold no features, without creating a store.

    Parameters
    ----------
    target : ExtractionTarget
        A network.
    keys : collection of str
        Content keys of images.

    Returns
    -------
    tuple of frozenset of str
        For each layer the keys that its store lacks; all of them if the store does not exist.

    Raises
    ------
    StoreError
        If a store is damaged or of another recipe.

    Examples
    --------
    >>> (target,) = targets(["tiny"], ["random"], FeatureOptions(), Path("nowhere"))
    >>> missing_keys(target, ["ab" * 32]) == (frozenset(["ab" * 32]),)
    True
    """
    return tuple(
        frozenset(FeatureStore.open_or_create(folder, recipe).missing(keys))
        if (folder / RECIPE).exists()
        else frozenset(keys)
        for recipe, folder in zip(target.recipes, target.folders, strict=True)
    )


def _trained_on(weights: Weights) -> Path | None:
    if weights.path is None or weights.trained_on is None:
        return None
    folders = (weights.path, weights.path.parent)
    return next((folder / TRAINED_ON for folder in folders if (folder / TRAINED_ON).is_file()), None)


@dataclass(frozen=True)
class NetworkLoad:
    """What a network computes in a pass; `rows` are images times the views of each."""

    backbone: Backbone
    image_size: int
    rows: int
    exported: bool


def choose_engine(loads: Sequence[NetworkLoad], cores: int) -> tuple[str, str]:
    """Choose between Keras and OpenVINO on a CPU, and say why, for the log.

    The engine is ``"openvino"`` where it saves more time than the missing exports take, else ``"keras"``. Features
    agree within 2e-4 of the largest, so that the choice affects time only.

    Examples
    --------
    >>> choose_engine([NetworkLoad(find_backbone("xception"), 299, 1011, False)], 2)
    ('openvino', 'exporting takes about 8 s and saves about 29 s of 98 s')
    >>> choose_engine([NetworkLoad(find_backbone("tiny"), 64, 1011, False)], 2)
    ('keras', 'exporting to openvino takes about 8 s and saves about 0 s of 1 s')
    """
    export = _EXPORT_SECONDS * sum(not load.exported for load in loads)
    if not export:
        return "openvino", "its exports exist"
    keras = sum(_keras_seconds(load) for load in loads) / cores
    saved = _FRACTION_SAVED * keras
    times = f"takes about {export:.0f} s and saves about {saved:.0f} s of {keras:.0f} s"
    if saved > export:
        return "openvino", f"exporting {times}"
    return "keras", f"exporting to openvino {times}"


def _keras_seconds(load: NetworkLoad) -> float:
    """Estimate the seconds of one core."""
    work = estimated_multiply_adds(load.backbone, load.image_size)
    return load.rows * (_SECONDS_PER_IMAGE + _SECONDS_PER_MULTIPLY_ADD * work)


class LoadedNetwork:
    """A target's network with its engine, each built when it is first needed.

    `networks` is the number of networks that run side by side.
    """

    def __init__(
        self,
        target: ExtractionTarget,
        settings: FeatureOptions,
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

    @property
    def _build(self) -> NetworkBuild:
        return NetworkBuild(
            self.target.backbone,
            self.target.weights,
            tuple(self._settings.layers),
            self._settings.pool,
            self.target.image_size,
            str(self._device),
        )

    @cached_property
    def network(self) -> Network:
        """The network in float32."""
        return self._build("float32")

    @cached_property
    def engine(self) -> Engine:
        """The engine that runs it at the wanted precision."""
        if self.target.backbone.is_function:
            return FunctionEngine(self.target.backbone.name)
        if self._wanted == "openvino":
            try:
                return self._openvino(self.target.precision)
            except ConfigError as error:
                if self._settings.engine != "auto" or self.target.precision != "float32":
                    raise
                self._progress.say(f"{self.target.name}: {error}; using keras instead")
        return self._keras(self.target.precision)

    @cached_property
    def exact(self) -> Engine:
        """The engine that runs it in float32."""
        if self.target.precision == "float32":
            return self.engine
        return self._openvino("float32") if self.engine.name == "openvino" else self._keras("float32")

    def drop(self, batch_size: int) -> None:
        """Forget the network and its engines; those that are built next take batches of this size."""
        for name in ("network", "engine", "exact", "_reference"):
            self.__dict__.pop(name, None)
        self._settings = replace(self._settings, batch_size=batch_size)

    def check(self) -> PrecisionCheck | None:
        """Return the comparison with float32 that low precision needs; None for float32."""
        precision = self.target.precision
        if precision == "float32":
            return None
        return PrecisionCheck(self.target.name, precision, lambda: self.exact, self._progress)

    def costs(self) -> tuple[Cost, ...]:
        """Count what each layer costs; that of an export was counted when it was made, without importing Keras now."""
        if self.target.backbone.is_function:
            return (Cost(load_own(self.target.backbone.name).parameters, None),)
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
            self._progress.say(
                f"{self.target.name}: exporting to OpenVINO; later extractions use this export"
            )
            self._export(folder)
        settings = self._settings
        return OpenVinoEngine(
            folder,
            settings.batch_size,
            self.target.image_size,
            precision=precision,
            threads=settings.threads,
            kept=0 if precision == "float32" else self.target.recipes[0].float32_layers or 0,
            networks=self._networks,
        )

    def _export(self, folder: Path) -> None:
        # A process that has Keras keeps most of its memory anyway, and need not wait for it to be imported again.
        if "keras" in sys.modules:
            export_network(self.network, folder)
            del self.network  # the export runs; the network is rebuilt in the rare case that it is needed
        else:
            export_apart(export_network, self._build, folder)

    @cached_property
    def _reference(self) -> Engine:
        return (
            self.engine
            if self.engine is self.exact and self.engine.name != "openvino"
            else self._keras("float32")
        )

    def rescue(self, pixels: npt.NDArray[np.uint8], rows: list[int]) -> tuple[Outputs, list[str]]:
        """Recompute rows with NaN or infinity by Keras in float32, and find the layer where those that stay bad began.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (batch size, side, side, 3)
            A batch.
        rows : list of int
            Its rows with NaN or infinity.

        Returns
        -------
        outputs : list of ndarray, each (rows, width)
            One array for each layer.
        layers : list of str
            For each row the first layer with NaN or infinity; empty for a row that is finite now.
        """
        outputs = [layer[rows] for layer in self._reference.start(pixels)()]
        sound = np.all([np.isfinite(layer).all(axis=1) for layer in outputs], axis=0)
        layers = [
            ""
            if good
            else "output"
            if self.target.backbone.is_function
            else first_bad_layer(self.network.model, pixels[row : row + 1])
            for row, good in zip(rows, sound, strict=True)
        ]
        return outputs, layers


def export_folder(target: ExtractionTarget, settings: FeatureOptions, cache: Path) -> Path:
    """Return the folder of a network's OpenVINO export, which need not exist."""
    facts = {
        "backbone": target.backbone.name,
        "weights": target.weights.digest,
        "layers": [recipe.layer for recipe in target.recipes],
        "pool": settings.pool,
        "image_size": target.image_size,
    }
    return exported(cache, facts)


def first_bad_layer(model: Any, pixels: npt.NDArray[np.uint8]) -> str:
    """Return the first layer of a network that gives NaN or infinity for an image, or an empty text."""
    import keras

    from featx.zoo import layer_names

    layers = layer_names(model)
    probe = keras.Model(model.inputs, [layer.output for layer in layers.values()])
    outputs = reference_outputs(probe, pixels)
    bad = (name for name, output in zip(layers, outputs, strict=True) if not np.isfinite(output).all())
    return next(bad, "")
