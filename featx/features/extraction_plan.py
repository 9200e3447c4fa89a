"""Planning: from options to networks, recipes and stores, without importing keras."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.digest import short
from featx.errors import ConfigError, StoreError
from featx.features.engines import ENGINES, Device, parse_device
from featx.features.feature_recipe import Recipe, folder_name
from featx.features.store import RECIPE, TRAINED_ON, FeatureStore
from featx.files import write_aside
from featx.images import DECODE_VERSION, PRESETS, preparation_key
from featx.machine import usable_cores, versions
from featx.zoo import Backbone, Weights, find_backbone, resolve_weights

__all__ = [
    "ON_ERROR",
    "PRECISIONS",
    "VIEW_POOLS",
    "ExtractSettings",
    "NetworkPlan",
    "missing_keys",
    "open_stores",
    "shard_of",
    "targets",
]


PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


VIEW_POOLS = ("mean", "keep")


ON_ERROR = ("finish", "skip", "fail")


_LIBRARIES = ("featx", "keras", "tensorflow", "jax", "torch", "openvino", "numpy", "pillow")


_READ_AHEAD_BYTES = 256 << 20


@dataclass(frozen=True)
class ExtractSettings:
    """How to extract; what decides a feature's value goes into recipes.

    Attributes
    ----------
    layers : tuple of str
        Layers to read; empty for the penultimate one.
    pool : str
        How feature maps become vectors.
    image_size : int, optional
        Side of the network's input in pixels; None for what fine-tuned weights were trained with, or the
        backbone's own.
    preparation : str, optional
        Key of `featx.images.prepare.PREPARATIONS`; None for what fine-tuned weights were trained with, or
        ``resize``.
    precision : str, optional
        One of `PRECISIONS`; None for what fine-tuned weights were trained with, or ``float32``.
    views : int
        Augmented views of an image; 1 for the image as it is.
    view_ranges : str
        Key of `featx.images.augment.PRESETS`.
    view_pool : str
        One of `VIEW_POOLS`.
    engine : str
        One of `featx.features.engines.ENGINES`.
    batch_size : int
        Rows of a batch.
    workers : int, optional
        Reader threads; None for one a core.
    threads : int, optional
        Threads of the forward pass; None leaves it to the engine.
    device : str
        ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
    """

    layers: tuple[str, ...] = ()
    pool: str = "avg"
    image_size: int | None = None
    preparation: str | None = None
    precision: str | None = None
    views: int = 1
    view_ranges: str = "paper"
    view_pool: str = "mean"
    engine: str = "auto"
    batch_size: int = 32
    workers: int | None = None
    threads: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        choices: tuple[tuple[str, Any, Sequence[str | None]], ...] = (
            ("precision", self.precision, (None, *PRECISIONS)),
            ("view_ranges", self.view_ranges, tuple(PRESETS)),
            ("view_pool", self.view_pool, VIEW_POOLS),
            ("engine", self.engine, ENGINES),
        )
        for name, value, allowed in choices:
            if value not in allowed:
                known = ", ".join(filter(None, allowed))
                raise ConfigError(f"The {name!r} parameter must be one of {known}. Got {value!r} instead.")
        for name, number in (("views", self.views), ("batch_size", self.batch_size), ("workers", self.cores)):
            if number < 1:
                raise ConfigError(f"The {name!r} parameter must be at least 1. Got {number} instead.")
        parse_device(self.device)
        if self.preparation is not None:
            preparation_key(self.preparation)

    @property
    def cores(self) -> int:
        """Reader threads: as told, or one for each core that this process may use."""
        return usable_cores() if self.workers is None else self.workers

    @property
    def wanted_device(self) -> Device | None:
        """The device, or None for any."""
        return parse_device(self.device)

    @property
    def mean(self) -> bool:
        """Whether an image's rows are averaged."""
        return self.views > 1 and self.view_pool == "mean"

    def chosen_engine(self, precision: str = "float32") -> str:
        """Settle ``auto``: OpenVINO on a CPU where it is installed, else Keras.

        Parameters
        ----------
        precision : str
            One of `PRECISIONS`; OpenVINO knows all but ``tf32``.

        Returns
        -------
        str
            ``"keras"`` or ``"openvino"``.

        Raises
        ------
        ConfigError
            If OpenVINO is wanted and not installed, or wanted on a GPU or for TF32.
        """
        installed = importlib.util.find_spec("openvino") is not None
        on_gpu = self.wanted_device.kind == "gpu" if self.wanted_device else Path("/dev/nvidiactl").exists()
        if self.engine == "auto":
            return "openvino" if installed and not on_gpu and precision != "tf32" else "keras"
        if self.engine == "openvino" and precision == "tf32":
            raise ConfigError("The 'openvino' engine has no tf32 arithmetic; use the keras engine on a GPU")
        if self.engine == "openvino" and not installed:
            raise ConfigError(
                "The 'openvino' engine is not installed; `pip install 'featx[openvino]'`, or use keras"
            )
        if self.engine == "openvino" and self.wanted_device and on_gpu:
            raise ConfigError(
                f"The 'openvino' engine runs on the CPU. Got device {self.device!r}; use engine keras"
            )
        return self.engine

    def ahead(self, side: int) -> int:
        """Choose how many images may wait, within 256 MB of pixels.

        Parameters
        ----------
        side : int
            Side of the prepared image in pixels.

        Returns
        -------
        int
            Images.
        """
        fitting = _READ_AHEAD_BYTES // (3 * side * side * self.views)
        return max(self.cores + 1, min(2 * self.batch_size // self.views + self.cores, fitting))


@dataclass(frozen=True)
class NetworkPlan:
    """A network to run, and a store for each of its layers.

    Attributes
    ----------
    backbone : Backbone
        Row of the zoo's table.
    weights : Weights
        What fills it.
    image_size : int
        Side of its input in pixels.
    preparation : str
        Key of `featx.images.prepare.PREPARATIONS`.
    precision : str
        One of `PRECISIONS`.
    recipes : tuple of Recipe
        One a layer.
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
        """What a reader of results on these features has to know."""
        return self.recipes[0].warnings


def targets(
    backbones: Sequence[str], sources: Sequence[str], settings: ExtractSettings, cache: Path
) -> tuple[NetworkPlan, ...]:
    """Resolve names to networks and stores.

    Parameters
    ----------
    backbones : sequence of str
        Names in the zoo's table.
    sources : sequence of str
        Weights sources. With several backbones: one for all, or one each, in the same order.
    settings : Settings
        How to extract.
    cache : Path
        Folder of caches.

    Returns
    -------
    tuple of Target
        One a network; a folder of fine-tuning runs gives one a fold.

    Raises
    ------
    BackboneError, WeightsError, ConfigError
        If a name is unknown, a file does not fit, or backbones and sources cannot be matched.
    """
    if not backbones or not sources:
        raise ConfigError("Give at least one backbone and one weights source")
    if len(backbones) > 1 and len(sources) not in (1, len(backbones)):
        raise ConfigError(
            f"Got {len(backbones)} backbones and {len(sources)} weights sources; "
            "give one source for all, or one for each backbone in the same order"
        )
    if len(backbones) == 1:
        pairs = [(backbones[0], source) for source in sources]
    else:
        pairs = list(
            zip(backbones, list(sources) * (len(backbones) if len(sources) == 1 else 1), strict=True)
        )
    found: dict[tuple[str, str], NetworkPlan] = {}
    for name, source in pairs:
        backbone = find_backbone(name)
        for weights in resolve_weights(source, backbone):
            target = _target(backbone, weights, settings, cache)
            found.setdefault((backbone.name, target.recipes[0].digest), target)
    return tuple(found.values())


def _target(backbone: Backbone, weights: Weights, settings: ExtractSettings, cache: Path) -> NetworkPlan:
    chosen = _pixels(backbone, weights, settings)
    layers = settings.layers or (backbone.layer,)
    recipes = tuple(_recipe(backbone, weights, layer, chosen, settings) for layer in layers)
    return NetworkPlan(
        backbone,
        weights,
        **chosen,
        recipes=recipes,
        folders=tuple(_folder(cache, recipe) for recipe in recipes),
    )


def _pixels(backbone: Backbone, weights: Weights, settings: ExtractSettings) -> dict[str, Any]:
    """Choose size, preparation and precision: as asked for, as the weights were trained with, or the usual."""
    usual = {"image_size": backbone.image_size, "preparation": "resize", "precision": "float32"}
    asked = {name: value for name in usual if (value := getattr(settings, name)) is not None}
    return {**usual, **(weights.trained_with or {}), **asked}


def _warnings(weights: Weights, chosen: Mapping[str, Any]) -> tuple[str, ...]:
    """Say where features are made otherwise than the images that fine-tuned weights were trained on."""
    return tuple(
        f"the weights were fine-tuned with {name.replace('_', ' ')} {value}, "
        f"their features are extracted with {chosen[name]}"
        for name, value in (weights.trained_with or {}).items()
        if chosen[name] != value
    )


def _recipe(
    backbone: Backbone, weights: Weights, layer: str, chosen: Mapping[str, Any], settings: ExtractSettings
) -> Recipe:
    precision = chosen["precision"]
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
        engine=None if precision == "float32" else settings.chosen_engine(precision),
        trained_on=weights.trained_on,
        weights_source=str(weights.source),
        weights_label=weights.label,
        lineage=weights.lineage,
        versions=versions(_LIBRARIES),
        warnings=_warnings(weights, chosen),
    )


def _views_key(settings: ExtractSettings) -> Mapping[str, Any] | None:
    if settings.views == 1:
        return None
    return {"count": settings.views, "sequence": "halton", "ranges": PRESETS[settings.view_ranges]}


def _folder(cache: Path, recipe: Recipe) -> Path:
    """Name the store's folder; one of the same recipe under another label of the weights is used as it is."""
    folder = cache / "features"
    named = folder / folder_name(recipe)
    if named.is_dir():
        return named
    same = sorted(folder.glob(f"{recipe.backbone}-*-{short(recipe.digest)}"))
    return next((path for path in same if _follows(path, recipe)), named)


def _follows(path: Path, recipe: Recipe) -> bool:
    try:
        return FeatureStore(path).digest == recipe.digest
    except StoreError:
        return False


def open_stores(target: NetworkPlan) -> tuple[FeatureStore, ...]:
    """Open a target's stores, making those that do not exist.

    Returns
    -------
    tuple of FeatureStore
        One a layer. Stores of fine-tuned weights get a copy of the list of images these were trained on.
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


def missing_keys(target: NetworkPlan, keys: Collection[str]) -> tuple[frozenset[str], ...]:
    """Find the images of which a target's stores hold no features, without making a store.

    Parameters
    ----------
    target : Target
        A network.
    keys : collection of str
        Content keys of images.

    Returns
    -------
    tuple of frozenset of str
        For each layer the keys that its store lacks; all of them where there is no store yet.

    Raises
    ------
    StoreError
        If a store is damaged or of another recipe.
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


def shard_of(text: str) -> tuple[int, int]:
    """Read a shard.

    Examples
    --------
    >>> shard_of("2/3")
    (2, 3)
    """
    part, _, whole = text.partition("/")
    if not (part.isdecimal() and whole.isdecimal() and 1 <= int(part) <= int(whole)):
        raise ConfigError(f"The 'shard' parameter must be I/N with I from 1 to N. Got {text!r} instead.")
    return int(part), int(whole)
