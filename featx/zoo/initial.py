"""Initial values of random weights, drawn by NumPy from a seed alone, by the rules of Keras' initialisers.

Keras seeds its initialisers from the process-wide generator of `random`, which all threads of a process share.
Here each weight has its own generator, seeded with the random seed and the weight's index in the network. Its values
do not depend on other threads, on the backend or on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import BackboneError

if TYPE_CHECKING:
    import keras

__all__ = ["VERSION", "draw_weights"]

VERSION = 2
"""Version of these rules, part of the digest of random weights. In version 1 Keras drew the weights."""

Shape = tuple[int, ...]
Values = NDArray[np.float32]

# Standard deviation of a normal distribution that is truncated at two standard deviations.
_TRUNCATED_DEVIATION = 0.87962566103423978
_TRUNCATED_AT = 2.0

# Weights whose layer does not store their initialiser in an attribute, by class of the layer and attribute of the weight.
_UNNAMED: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("DINOV2Embedding", "cls_token"): ("TruncatedNormal", {"stddev": 0.02}),
    ("DINOV2Embedding", "position_embeddings"): ("TruncatedNormal", {"stddev": 0.02}),
    ("PositionEmbedding", "places"): ("TruncatedNormal", {"stddev": 0.02}),
    ("SigLIPMultiHeadAttentionPooling", "probe"): ("GlorotUniform", {}),
    ("ViTPatchingAndEmbedding", "class_token"): ("RandomNormal", {"stddev": 0.05}),
}
# All other weights of these layers, and all weights with these initialisers, start with constants.
_CONSTANT_LAYERS = frozenset(
    {
        "ClassToken",
        "DINOV2Embedding",
        "DINOV2LayerScale",
        "LayerScale",
        "MeanImage",
        "Normalization",
        "SigLIPVisionEmbedding",
        "ViTPatchingAndEmbedding",
    }
)
_CONSTANT = frozenset({"Constant", "Ones", "Zeros"})


def draw_weights(whole: keras.Model, network: keras.Model, seed: int) -> None:
    """Draw the random weights of a network; weights that start with constants are not changed.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks.
    He et al. 2015, Delving deep into rectifiers, arXiv 1502.01852.
    """
    owners, used = _owners(whole), {id(weight) for weight in network.weights}
    for place, weight in enumerate(whole.weights):
        draw = _rule(owners[id(weight)], weight) if id(weight) in used else None
        if draw is not None:
            weight.assign(draw(np.random.default_rng([seed, place])))


def _owners(model: keras.Model) -> dict[int, Any]:
    """Map the id of each weight to the layer that added it."""
    # A layer comes before the layers inside it: the innermost one is the owner.
    return {id(weight): layer for layer in model._flatten_layers() for weight in layer.weights}


def _rule(layer: Any, weight: Any) -> Callable[[np.random.Generator], Values] | None:
    """Find the function that draws a weight; None if it starts with a constant."""
    initializer = _initializer(layer, weight)
    kinds = [kind.__name__ for kind in type(initializer).__mro__]
    rule = next((_RULES[kind] for kind in kinds if kind in _RULES), None)
    if rule is not None:
        return partial(rule, initializer, tuple(weight.shape), _fans(layer, weight))
    if initializer is not None and kinds[0] not in _CONSTANT:
        raise _unknown(layer, weight, f"its initialiser {kinds[0]} is not supported")
    return None


def _initializer(layer: Any, weight: Any) -> Any:
    """Find the initialiser of a weight; None for a constant of a layer without an initialiser."""
    import keras

    kind, name = type(layer).__name__, str(weight.name)
    for attribute in (f"{name}_initializer", f"{name.removesuffix('_kernel')}_initializer"):
        if hasattr(layer, attribute):
            return getattr(layer, attribute)
    if kind == "DepthwiseConv2D":
        return layer.depthwise_initializer
    for (owner, attribute), (rule, settings) in _UNNAMED.items():
        if owner == kind and getattr(layer, attribute) is weight:
            return getattr(keras.initializers, rule)(**settings)
    if kind not in _CONSTANT_LAYERS:
        raise _unknown(layer, weight, "the layer has no initialiser for it")
    return None


def _unknown(layer: Any, weight: Any, why: str) -> BackboneError:
    return BackboneError(
        f"weight {weight.name!r} of layer {layer.name!r} ({type(layer).__name__}) cannot be drawn at random: {why}; "
        "give trained weights"
    )


def _fans(layer: Any, weight: Any) -> tuple[int, int]:
    """Count the inputs and outputs of a kernel as Keras does: the last two axes, times the receptive field."""
    shape = tuple(weight.shape)
    if type(layer).__name__ == "EinsumDense" and weight.name == "kernel":
        kernel, output = layer.equation.split(",")[1].split("->")
        sizes = list(zip(kernel, shape, strict=True))
        return (
            math.prod(size for axis, size in sizes if axis not in output),
            math.prod(size for axis, size in sizes if axis in output),
        )
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _scaled(initializer: Any, shape: Shape, fans: tuple[int, int], rng: np.random.Generator) -> Values:
    """Draw with a variance of scale / fan (the initialisers of Glorot, He and LeCun)."""
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[initializer.mode]
    variance = initializer.scale / max(1.0, fan)
    if initializer.distribution == "uniform":
        limit = math.sqrt(3 * variance)
        return (2 * rng.random(shape, np.float32) - 1) * np.float32(limit)
    if initializer.distribution == "untruncated_normal":
        return rng.standard_normal(shape, np.float32) * np.float32(math.sqrt(variance))
    return _truncated(shape, rng) * np.float32(math.sqrt(variance) / _TRUNCATED_DEVIATION)


def _normal(initializer: Any, shape: Shape, fans: tuple[int, int], rng: np.random.Generator) -> Values:
    return rng.standard_normal(shape, np.float32) * np.float32(initializer.stddev) + np.float32(
        initializer.mean
    )


def _truncated_normal(
    initializer: Any, shape: Shape, fans: tuple[int, int], rng: np.random.Generator
) -> Values:
    return _truncated(shape, rng) * np.float32(initializer.stddev) + np.float32(initializer.mean)


def _truncated(shape: Shape, rng: np.random.Generator) -> Values:
    """Draw from a standard normal distribution, and redraw values beyond two standard deviations."""
    values = rng.standard_normal(math.prod(shape), np.float32)
    beyond = np.flatnonzero(np.abs(values) > _TRUNCATED_AT)
    while len(beyond):
        values[beyond] = rng.standard_normal(len(beyond), np.float32)
        beyond = beyond[np.abs(values[beyond]) > _TRUNCATED_AT]
    return values.reshape(shape)


# By the class of an initialiser or one of its base classes.
_RULES: dict[str, Callable[[Any, Shape, tuple[int, int], np.random.Generator], Values]] = {
    "RandomNormal": _normal,
    "TruncatedNormal": _truncated_normal,
    "VarianceScaling": _scaled,
}
