"""Grad-CAM on any backend of Keras: the positions of a layer that raise a value computed from its output.

Selvaraju et al. 2017, "Grad-CAM: visual explanations from deep networks via gradient-based localization",
arXiv 1610.02391: the channels of the layer are summed, weighted by the mean gradient of the value in each of them, and
negative sums are set to zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.errors import BackboneError
from featx.zoo import layer_names

if TYPE_CHECKING:
    import keras

    from featx.zoo import Network

__all__ = ["Halves", "grad_cam", "halve"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Halves:
    """A network cut at a layer.

    Attributes
    ----------
    layer : str
        The layer.
    front : keras.Model
        From the pixels to the output of the layer, of shape (n, height, width, channels) or (n, tokens, channels).
    back : keras.Model
        From that output to the feature, shape (n, width).
    """

    layer: str
    front: keras.Model
    back: keras.Model


def halve(network: Network, layer: str | None = None) -> Halves:
    """Cut a network at a layer with spatial positions: the named one, or the last suitable one."""
    known = layer_names(network.model)
    if layer is not None:
        if layer not in known:
            raise BackboneError(
                f"{network.backbone.name} has no layer {layer!r} before its feature; "
                f"`featx zoo show {network.backbone.name} --layers` lists its layers"
            )
        halves = _cut(network.model, layer, known[layer])
        if _grid(known[layer].output) is None or halves is None:
            raise BackboneError(
                f"layer {layer!r} of {network.backbone.name} is not a feature map that the whole feature is computed from; "
                "give another layer, such as the last one of a block"
            )
        return halves
    found = next(_candidates(network.model, known), None)
    if found is None:
        raise BackboneError(
            f"{network.backbone.name} has no layer with spatial positions before {network.layers[0]!r}; "
            "a saliency map needs a feature map or a sequence of patches"
        )
    return found


def _candidates(model: keras.Model, known: dict[str, Any]) -> Iterator[Halves]:
    for name, layer in reversed(known.items()):
        output = layer.output
        if _grid(output) is None or "Pooling" in type(layer).__name__:
            continue
        halves = _cut(model, name, layer)
        if halves is not None and (len(output.shape) == 4 or _sees_patches(halves)):
            yield halves


def _cut(model: keras.Model, name: str, layer: Any) -> Halves | None:
    """Cut at a layer; None if part of the feature bypasses it."""
    import keras

    try:
        back = keras.Model(layer.output, model.outputs[0])
    except ValueError:
        return None
    return Halves(name, keras.Model(model.inputs[0], layer.output), back)


def _grid(output: Any) -> tuple[int, int] | None:
    """Height and width of a layer's output, or None if it has no spatial positions."""
    if isinstance(output, list | tuple):
        return None
    if len(output.shape) == 4:
        height, width = int(output.shape[1]), int(output.shape[2])
        return (height, width) if height * width > 1 else None
    if len(output.shape) == 3:
        side = math.isqrt(int(output.shape[1]))
        return (side, side) if side > 1 else None
    return None


def _sees_patches(halves: Halves) -> bool:
    """Whether the feature depends on patches; after the last attention it depends on the class token only."""
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(1, *halves.back.inputs[0].shape[1:])).astype(np.float32)
    # The slopes must differ: the sum of the outputs of a layer normalisation is constant.
    slopes = rng.normal(size=(1, *halves.back.outputs[0].shape[1:])).astype(np.float32)
    slope = _vjp(halves.back, tokens, slopes)
    return bool(np.abs(_places(slope[0])).max() > 0)


def grad_cam(
    halves: Halves,
    pixels: npt.NDArray[np.uint8],
    value: Callable[[npt.NDArray[np.float32]], tuple[float, Floats]],
) -> tuple[float, Floats]:
    """Map which positions of an image raise a value of its feature.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (side, side, 3)
        The image.

    Returns
    -------
    value : float
        Of the image.
    heat : ndarray of float64, shape (height, width)
        From 0 to 1, relative to the position that raises the value most; all 0 if none does.
    """
    inner = _array(halves.front(_tensor(pixels[None]), training=False))
    feature = _array(halves.back(_tensor(inner), training=False))[0]
    found, gradient = value(feature)
    # The scale cancels in the end; a gradient near 1 keeps its precision in float32.
    scale = np.abs(gradient).max()
    slope = _vjp(halves.back, inner, (gradient / (scale or 1.0)).astype(np.float32)[None])
    maps, slopes = _places(inner[0]).astype(np.float64), _places(slope[0]).astype(np.float64)
    raised = np.maximum(maps @ slopes.mean(axis=(0, 1)), 0.0)
    return found, raised / raised.max() if raised.max() > 0 else raised


def _places(output: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Arrange the tokens of patches as a grid; class and register tokens, which come first, are dropped."""
    if output.ndim == 3:
        return output
    side = math.isqrt(len(output))
    return output[len(output) - side * side :].reshape(side, side, -1)


def _tensor(values: npt.NDArray[Any]) -> Any:
    import keras

    return keras.ops.convert_to_tensor(values, dtype="float32")


def _array(values: Any) -> npt.NDArray[np.float32]:
    import keras

    return np.asarray(keras.ops.convert_to_numpy(values), np.float32)


def _vjp(
    model: keras.Model, values: npt.NDArray[np.float32], slopes: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the vector-Jacobian product: slopes of a model's output to slopes of its input."""
    import keras

    return _array(_VJPS[keras.config.backend()](model, _tensor(values), _tensor(slopes)))


def _vjp_tensorflow(model: keras.Model, values: Any, slopes: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(values)
        output = model(values, training=False)
    return tape.gradient(output, values, output_gradients=slopes)


def _vjp_jax(model: keras.Model, values: Any, slopes: Any) -> Any:
    import jax

    trainable = [variable.value for variable in model.trainable_variables]
    fixed = [variable.value for variable in model.non_trainable_variables]
    _, back = jax.vjp(lambda x: model.stateless_call(trainable, fixed, x, training=False)[0], values)
    return back(slopes)[0]


def _vjp_torch(model: keras.Model, values: Any, slopes: Any) -> Any:
    import torch

    values = values.detach().requires_grad_(True)
    with torch.enable_grad():
        output = model(values, training=False)
    return torch.autograd.grad(output, values, slopes)[0]


_VJPS = {"jax": _vjp_jax, "tensorflow": _vjp_tensorflow, "torch": _vjp_torch}
