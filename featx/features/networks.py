"""Networks of a pass: built when first needed, compiled into engines, and asked where a NaN comes from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import ConfigError
from featx.features.engines import Device, Engine, KerasEngine, Outputs, reference_outputs
from featx.features.openvino_engine import OpenVinoEngine, export_costs, export_network, exported, is_exported
from featx.features.plan import ExtractSettings, NetworkPlan
from featx.features.precision import PrecisionCheck
from featx.progress import Progress
from featx.zoo import Cost, count_costs

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["NetworkAtWork", "export_folder", "first_bad_layer"]

_POLICIES = {
    "float32": "float32",
    "tf32": "float32",
    "bfloat16": "mixed_bfloat16",
    "float16": "mixed_float16",
}


class NetworkAtWork:
    """A target's network with its engine.

    Parameters
    ----------
    target : Target
        Which network.
    settings : Settings
        Layers, pooling, engine and batch size.
    device : Device
        Where it runs.
    engine : str
        ``"keras"`` or ``"openvino"``.
    cache : Path
        Folder of caches, where exports are kept.
    progress : Progress
        Receiver of messages.
    networks : int
        Networks that run side by side.

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
        """Make the check that low precision has to show.

        Returns
        -------
        PrecisionCheck or None
            None for float32.
        """
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
        rows : list of int
            Its rows with NaN or infinity.

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
    """Name the folder of a network's OpenVINO export.

    Parameters
    ----------
    target : Target
        Which network.
    settings : Settings
        Layers and pooling.
    cache : Path
        Folder of caches.

    Returns
    -------
    Path
        It need not exist.
    """
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
    model : keras.Model
        A functional model.
    pixels : ndarray of uint8, shape (1, side, side, 3)
        The image.

    Returns
    -------
    str
        The layer's name; empty if all layers give finite numbers.
    """
    import keras

    from featx.zoo import layer_names

    layers = layer_names(model)
    probe = keras.Model(model.inputs, [layer.output for layer in layers.values()])
    outputs = reference_outputs(probe, pixels)
    bad = (name for name, output in zip(layers, outputs, strict=True) if not np.isfinite(output).all())
    return next(bad, "")
