"""Networks of a pass: built when first needed, compiled into engines, and asked where a NaN comes from."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.features.engines import Device, Engine, KerasEngine, Outputs
from featx.features.plan import Settings, Target

if TYPE_CHECKING:
    from featx.zoo.network import Network

__all__ = ["NetworkAtWork", "first_bad_layer"]

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class NetworkAtWork:
    """A target's network with its engine.

    Parameters
    ----------
    target : Target
        Which network.
    settings : Settings
        Layers, pooling, precision, engine and batch size.
    device : Device
        Where it runs.

    Attributes
    ----------
    target : Target
        Which network.
    """

    def __init__(self, target: Target, settings: Settings, device: Device) -> None:
        self.target = target
        self._settings = settings
        self._device = device

    def _build(self, policy: str) -> Network:
        import keras

        from featx.zoo.network import build_network

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
        policy = _POLICIES[self._settings.precision]
        network = self.network if policy == "float32" else self._build(policy)
        return KerasEngine(network, self._settings.batch_size, self._device)

    @cached_property
    def _exact(self) -> Engine:
        if self._settings.precision == "float32" and self.engine.name == "keras":
            return self.engine
        return KerasEngine(self.network, self._settings.batch_size, self._device)

    def rescue(self, pixels: npt.NDArray[np.uint8], rows: list[int]) -> tuple[Outputs, list[str]]:
        """Compute rows again in float32, and find where those go wrong that stay bad.

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
        outputs = [layer[rows] for layer in self._exact.start(pixels)()]
        sound = np.all([np.isfinite(layer).all(axis=1) for layer in outputs], axis=0)
        layers = [
            "" if good else first_bad_layer(self.network.model, pixels[row : row + 1])
            for row, good in zip(rows, sound, strict=True)
        ]
        return outputs, layers


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

    from featx.zoo.network import layer_names

    layers = layer_names(model)
    probe = keras.Model(model.inputs, [layer.output for layer in layers.values()])
    outputs = probe([keras.ops.cast(pixels, "float32")], training=False)
    bad = (
        name
        for name, output in zip(layers, outputs, strict=True)
        if not np.isfinite(keras.ops.convert_to_numpy(output)).all()
    )
    return next(bad, "")
