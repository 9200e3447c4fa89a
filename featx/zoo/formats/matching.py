"""Assign the arrays of a weights file to the layers of a network.

All shapes are compared before the first weight is set, so that a wrong file never leaves a network partly changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import WeightsError
from featx.zoo.backbones import POOLED, Backbone, list_backbones
from featx.zoo.formats.contents import Contents, StoredLayer

if TYPE_CHECKING:
    import keras

__all__ = ["fill", "layer_names", "snake_case"]


def snake_case(name: str) -> str:
    """Convert a class name to snake case as Keras does for automatic layer names.

    Examples
    --------
    >>> snake_case("SeparableConv2D")
    'separable_conv2d'
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def layer_names(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Return the layers of a network by name, with automatic names numbered from the beginning.

    Keras numbers layers without an explicit name across the whole process. Here the numbers of each network start at
    zero, as in a new process.

    Parameters
    ----------
    model : keras.Model
        A network.

    Returns
    -------
    dict of str to keras.layers.Layer
        Layers by name, in the model's order.
    """
    automatic: dict[str, list[tuple[int, Any]]] = {}
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        number = layer.name.removeprefix(kind).removeprefix("_") or "0"
        if layer.name.startswith(kind) and number.isdigit():
            automatic.setdefault(kind, []).append((int(number), layer))
    names = {id(layer): layer.name for layer in model.layers}
    for kind, numbered in automatic.items():
        first = min(number for number, _ in numbered)
        names |= {
            id(layer): f"{kind}_{number - first}" if number > first else kind for number, layer in numbered
        }
    return {names[id(layer)]: layer for layer in model.layers}


# The classifier on top of a network of `keras.applications` has at most this many layers with weights; VGG's has three.
_TOP_LAYERS = 2
_TOP_LAYERS_VGG = 3


_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class _Slot:
    """A layer to be set: its key in the layout of the file, and its variables."""

    key: str
    layer: Any
    variables: tuple[Any, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(variable.shape) for variable in self.variables)


def fill(whole: keras.Model, network: keras.Model, contents: Contents, backbone: Backbone) -> None:
    """Set the weights of a network from a file."""
    needed = {id(variable) for variable in network.weights}
    slots, found, spare = _LAYOUTS[contents.layout](whole, contents)
    wanted = [slot for slot in slots if needed.intersection(map(id, slot.variables))]
    side = whole.inputs[0].shape[1]
    try:
        _check(wanted, found, contents, backbone)
    except WeightsError as error:
        if backbone.layer == POOLED or side == backbone.image_size:
            raise
        # The number of weights of dense layers after a map, and of position embeddings, depends on the input size.
        hint = f"at {side} px its shapes differ from those at its default of {backbone.image_size} px"
        raise WeightsError(f"{error}; {hint}: omit --image-size, or give an earlier --layer") from error
    if spare > (_TOP_LAYERS_VGG if backbone.family == "vgg" else _TOP_LAYERS):
        raise _wrong(contents, backbone, f"it has {spare} more layers than {backbone.name}")
    for slot in wanted:
        arrays = _mended(slot, found[slot.key].arrays, backbone)
        for variable, array in zip(slot.variables, arrays, strict=True):
            variable.assign(array)
        if hasattr(slot.layer, "finalize_state"):  # Normalization derives other tensors from its weights
            slot.layer.finalize_state()


_Found = tuple[list[_Slot], Mapping[str, StoredLayer], int]


def _in_order(model: keras.Model, contents: Contents) -> _Found:
    slots = _by_layer(model)
    found = {slot.key: layer for slot, layer in zip(slots, contents.layers, strict=False)}
    return slots, found, len(contents.layers) - len(slots)


def _by_name(model: keras.Model, contents: Contents) -> _Found:
    named = [pair for name, layer in layer_names(model).items() for pair in _leaves(name, layer)]
    slots = [
        _Slot(name, layer, (*layer.trainable_weights, *layer.non_trainable_weights))
        for name, layer in named
        if layer.weights
    ]
    found = {layer.name: layer for layer in contents.layers}
    return slots, found, len(set(found) - {slot.key for slot in slots})


def _by_path(model: keras.Model, contents: Contents) -> _Found:
    """Find each layer by its path, also if the network is a part of the saved model."""
    slots = [slot for slot in _keras_slots(model, "layers") if slot.variables]
    stored = {layer.name: layer for layer in contents.layers}
    first = slots[0].key
    inside = [name.removesuffix(first) for name in stored if name.endswith(f"/{first}")]
    prefix = "" if first in stored or not inside else inside[0]
    keys = {f"{prefix}{slot.key}" for slot in slots}
    spare = sum(name.startswith(prefix) and name not in keys for name in stored)
    found = {slot.key: stored[f"{prefix}{slot.key}"] for slot in slots if f"{prefix}{slot.key}" in stored}
    return slots, found, spare


# For each layout, the function that returns the slots, the stored layers by slot, and the number of unused layers.
_LAYOUTS: dict[str, Callable[[Any, Contents], _Found]] = {
    "legacy": _in_order,
    "named": _by_name,
    "keras": _by_path,
}


def _leaves(name: str, layer: Any) -> Iterator[tuple[str, Any]]:
    inside = getattr(layer, "layers", None)
    if inside is None:
        yield name, layer
    for item in inside or ():
        yield from _leaves(item.name, item)


def _by_layer(model: keras.Model) -> list[_Slot]:
    return [
        _Slot(layer.name, layer, (*layer.trainable_weights, *layer.non_trainable_weights))
        for layer in model.layers
        if layer.weights
    ]


def _keras_slots(model: keras.Model, prefix: str) -> Iterator[_Slot]:
    """Iterate over the layers as Keras 3 does for saving: by class, numbered within each container."""
    import keras

    counts: dict[str, int] = {}
    for layer in model.layers:
        kind = snake_case(type(layer).__name__)
        number = counts.setdefault(kind, 0)
        counts[kind] += 1
        key = f"{prefix}/{kind}" + (f"_{number}" if number else "")
        if isinstance(layer, keras.Model):
            yield from _keras_slots(layer, f"{key}/layers")
        else:
            yield from _parts(layer, key)


def _parts(layer: Any, key: str, seen: set[int] | None = None) -> list[_Slot]:
    """List the layers inside a layer as Keras 3 does for saving: by attribute, those of a list by class."""
    import keras

    seen = {id(layer)} if seen is None else seen
    ordinary = set(dir(keras.layers.Layer()))
    names = sorted(set(dir(layer)) - ordinary, key=lambda name: (name.startswith("_"), name))
    slots: list[_Slot] = []
    for name in names:
        for suffix, part in _attribute(layer, name):
            if id(part) not in seen:
                seen.add(id(part))
                slots += _parts(part, f"{key}/{name}{suffix}", seen)
    inside = {id(variable) for slot in slots for variable in slot.variables}
    weights = (*layer.trainable_weights, *layer.non_trainable_weights)
    return [_Slot(key, layer, tuple(item for item in weights if id(item) not in inside)), *slots]


def _attribute(layer: Any, name: str) -> list[tuple[str, Any]]:
    """Return the layers in an attribute, and the suffix of the path of each."""
    import keras

    try:
        held = getattr(layer, name)
    except (AttributeError, RuntimeError, ValueError):  # properties that need a built layer
        return []
    if isinstance(held, keras.layers.Layer):
        return [("", held)]
    items = held.values() if isinstance(held, dict) else held if isinstance(held, list | tuple) else ()
    found, counts = [], dict[str, int]()
    for item in items:
        if isinstance(item, keras.layers.Layer):
            kind = snake_case(type(item).__name__)
            number = counts.setdefault(kind, 0)
            counts[kind] += 1
            found.append((f"/{kind}" + (f"_{number}" if number else ""), item))
    return found


def _check(
    wanted: list[_Slot], found: Mapping[str, StoredLayer], contents: Contents, backbone: Backbone
) -> None:
    for slot in wanted:
        layer = found.get(slot.key)
        if layer is None:
            raise _wrong(contents, backbone, _missing(slot, contents))
        shapes = tuple(array.shape for array in layer.arrays)
        if shapes != slot.shapes:
            raise _wrong(
                contents,
                backbone,
                f"the first layer that differs is {slot.layer.name!r}: "
                f"found {layer.name!r} {_text(shapes)}, expected {_text(slot.shapes)}",
            )
        if not all(np.isfinite(array).all() for array in layer.arrays):
            raise WeightsError(
                f"{contents.path}: layer {layer.name!r} contains NaN or infinite values; copy or download the file again"
            )


def _missing(slot: _Slot, contents: Contents) -> str:
    wanted = f"layer {slot.layer.name!r} {_text(slot.shapes)}"
    if contents.layout == "legacy":
        return f"it ends before {wanted}"
    first = contents.layers[0]
    return (
        f"it has no {wanted}; its first layer is {first.name!r} {_text(tuple(a.shape for a in first.arrays))}"
    )


def _text(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " ".join("x".join(map(str, shape)) or "number" for shape in shapes)


def _wrong(contents: Contents, backbone: Backbone, why: str) -> WeightsError:
    held = f"{len(contents.layers)} layers with {contents.parameters:,} weights"
    likely = _likely(contents)
    seems = f" (as many as {likely})" if likely else ""
    return WeightsError(
        f"{contents.path}: contains {held}{seems}, which are not the weights of {backbone.name}: {why}; "
        f"give a file of {backbone.name}, or another --backbone"
    )


def _likely(contents: Contents) -> str:
    """Return the names of backbones with as many weights as the file, with or without a classifier on top."""
    counts = {contents.parameters}
    for top in range(1, _TOP_LAYERS_VGG + 1):
        kept = contents.layers[:-top]
        counts.add(sum(array.size for layer in kept for array in layer.arrays))
    return " or ".join(row.name for row in list_backbones() if row.parameters in counts)


def _mended(slot: _Slot, arrays: tuple[np.ndarray, ...], backbone: Backbone) -> tuple[np.ndarray, ...]:
    """Correct the published EfficientNet files, which contain standard deviations in place of variances.

    Keras adds a rescaling by the square root of the deviation only if it loads these files itself. Squaring the values
    has the same effect, so that a file gives the same features by name and by path.
    """
    if backbone.family != "efficientnet" or type(slot.layer).__name__ != "Normalization":
        return arrays
    mean, variance, count = arrays
    if np.allclose(np.ravel(variance), _IMAGENET_DEVIATION, atol=1e-4):
        variance = np.square(variance)
    return mean, variance, count
