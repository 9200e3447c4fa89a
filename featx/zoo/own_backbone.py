"""Backbones of users: a function of theirs, named ``module:function``, returns the network and how it is used."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.errors import BackboneError

__all__ = [
    "CustomBackbone",
    "array_of",
    "features_of",
    "is_own",
    "load_own",
    "own_facts",
    "own_output",
    "own_width",
]


@dataclass(frozen=True, eq=False, kw_only=True)
class CustomBackbone:
    """A user's own network, as the function named by ``--backbone module:function`` returns it.

    Attributes
    ----------
    model : keras.Model or callable
        From a batch of shape (n, image_size, image_size, 3) to features of shape (n, width). A Keras model may also end
        with a feature map, which is pooled. A callable is given a float32 array and returns an array, or a tensor of
        PyTorch, TensorFlow or JAX; it must treat each image by itself, and be in inference mode.
    version : str
        Changed by the user whenever the features change; part of the recipe of the features.
    image_size : int
        Side of the square input, px.
    preprocess : callable, optional
        From pixels (float32, RGB, 0 to 255) to what the model takes, of the same shape or with the axes in another
        order. For a Keras model it must work on tensors, as ``preprocess_input`` of `keras.applications` does.
    parameters : int, optional
        Number of weights, for the cost in reports. Keras models are counted.

    Raises
    ------
    BackboneError
        If a value is of the wrong type or out of its bounds.

    Examples
    --------
    >>> def mean_colour():
    ...     return CustomBackbone(model=lambda batch: batch.mean(axis=(1, 2)), version="1", image_size=32)
    >>> mean_colour().model(np.ones((2, 32, 32, 3), np.float32)).shape
    (2, 3)
    """

    model: Any
    version: str
    image_size: int = 224
    preprocess: Callable[[Any], Any] | None = None
    parameters: int | None = None

    def __post_init__(self) -> None:
        for name, good, wanted in (
            ("model", callable(self.model), "a keras.Model or a callable on batches"),
            (
                "version",
                isinstance(self.version, str) and bool(self.version.strip()),
                "a text that is not empty",
            ),
            ("image_size", _whole(self.image_size), "a whole number of at least 1"),
            ("preprocess", self.preprocess is None or callable(self.preprocess), "a callable or None"),
            ("parameters", self.parameters is None or _whole(self.parameters), "a whole number or None"),
        ):
            if not good:
                raise BackboneError(
                    f"The {name!r} parameter of CustomBackbone must be {wanted}. Got {getattr(self, name)!r} instead."
                )

    @property
    def is_keras(self) -> bool:
        """Whether the model is one of Keras; without importing Keras."""
        keras = sys.modules.get("keras")
        return keras is not None and isinstance(self.model, keras.Model)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_own(name: str) -> bool:
    """Tell whether the name of a backbone is that of a user's function.

    Examples
    --------
    >>> is_own("nets:skin"), is_own("resnet50")
    (True, False)
    """
    return ":" in name


@cache
def load_own(name: str) -> CustomBackbone:
    """Call the function of a name, once in a process.

    Parameters
    ----------
    name : str
        ``module:function``; modules of the current folder come first.

    Returns
    -------
    CustomBackbone
        What it returns.

    Raises
    ------
    BackboneError
        If there is no such function, or it raises an error or returns anything else. The message names it.
    """
    module, _, function = name.partition(":")
    if not all(part.isidentifier() for part in module.split(".")) or not function.isidentifier():
        raise BackboneError(
            f"backbone {name!r}: must be module:function, such as nets:skin for the function skin of nets.py"
        )
    here = os.getcwd()  # noqa: PTH109 - sys.path holds texts
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        build = getattr(import_module(module), function)
    except Exception as error:  # whatever the user's module raises
        raise BackboneError(
            f"backbone {name!r}: cannot be imported from the current folder or the installed packages "
            f"({_line(error)})"
        ) from error
    try:
        made = build()
    except Exception as error:
        raise BackboneError(f"backbone {name!r}: the function failed ({_line(error)}); correct it") from error
    if not isinstance(made, CustomBackbone):
        raise BackboneError(
            f"backbone {name!r}: the function must return a featx.CustomBackbone. Got a {type(made).__name__} instead."
        )
    return made


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def features_of(name: str, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Compute features of a batch by a user's callable.

    Parameters
    ----------
    name : str
        ``module:function``.
    batch : ndarray, shape (n, side, side, 3)
        Pixels from 0 to 255.

    Returns
    -------
    ndarray of float32, shape (n, width)
        The features.

    Raises
    ------
    BackboneError
        If the callable fails, or returns anything else. Running out of memory stays that error.
    """
    own = load_own(name)
    pixels = batch.astype(np.float32)
    try:
        found = array_of(own.model(pixels if own.preprocess is None else own.preprocess(pixels)))
    except Exception as error:
        if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
            raise
        raise BackboneError(
            f"backbone {name!r}: failed on a batch of shape {batch.shape} ({_line(error)})"
        ) from error
    if found.ndim != 2 or len(found) != len(batch) or found.dtype.kind not in "fiu":
        raise BackboneError(
            f"backbone {name!r}: must return numbers of shape ({len(batch)}, width) for {len(batch)} images. Got "
            f"{found.dtype} of shape {found.shape}."
        )
    return np.ascontiguousarray(found, dtype=np.float32)


def array_of(output: Any) -> npt.NDArray[Any]:
    """Convert an array, or a tensor of PyTorch on any device, TensorFlow or JAX, to a NumPy array."""
    if hasattr(output, "detach"):
        output = output.detach().cpu()
        output = output.float() if "bfloat16" in str(output.dtype) else output
    return np.asarray(output)


def own_output(name: str, pixels: Any) -> Any:
    """Apply a user's Keras model, after its preprocessing, to a symbolic tensor.

    Parameters
    ----------
    name : str
        ``module:function``.
    pixels : KerasTensor, shape (n, side, side, 3)
        Input of a network.

    Returns
    -------
    KerasTensor, shape (n, width), (n, tokens, width) or (n, height, width, channels)
        The feature, or the feature map.

    Raises
    ------
    BackboneError
        If the model is not built, does not take the pixels, or returns anything else than one such tensor.
    """
    import keras

    own = load_own(name)
    if not own.model.built:
        raise BackboneError(
            f"backbone {name!r}: its Keras model is not built, so that it has no weights yet; begin it with keras.Input, "
            f"or call it once on a batch of shape (1, {own.image_size}, {own.image_size}, 3), and load its weights"
        )
    try:
        found = own.model(pixels if own.preprocess is None else own.preprocess(pixels), training=False)
    except Exception as error:  # whatever the user's functions raise
        raise BackboneError(
            f"backbone {name!r}: model and preprocess do not fit pixels of shape (n, {own.image_size}, {own.image_size}, "
            f"3) ({_line(error)}); the model must have this one input, and preprocess must work on tensors"
        ) from error
    if not isinstance(found, keras.KerasTensor):
        count = len(found) if isinstance(found, dict | list | tuple) else 0
        raise BackboneError(
            f"backbone {name!r}: its Keras model must return one tensor. Got "
            f"{f'{count} in a {type(found).__name__}' if count else f'a {type(found).__name__}'} instead; make a model of "
            "the output that is the feature, as in keras.Model(model.inputs, model.outputs[0])"
        )
    shape = tuple(found.shape)
    if not 2 <= len(shape) <= 4 or shape[0] != pixels.shape[0] or None in shape[1:]:
        raise BackboneError(
            f"backbone {name!r}: its Keras model must return a feature of shape (n, width), or a feature map, for n images "
            f"of {own.image_size} px. For n = {pixels.shape[0]} it returns the shape {shape}."
        )
    return found


@cache
def own_width(name: str) -> int:
    """Return the number of features: that of a Keras model's output, or what a callable returns for a grey image."""
    own = load_own(name)
    if own.is_keras:
        import keras

        # Of two images, so that a model that mixes up images and positions shows.
        pixels = keras.Input(batch_shape=(2, own.image_size, own.image_size, 3))
        return int(own_output(name, pixels).shape[-1])
    grey = np.full((1, own.image_size, own.image_size, 3), 127, np.uint8)
    return int(features_of(name, grey).shape[1])


@cache
def own_facts(name: str) -> dict[str, Any]:
    """Return what decides the features of a user's network, as far as featx can know it, in JSON types."""
    own = load_own(name)
    facts: dict[str, Any] = {
        "kind": "own",
        "backbone": name,
        "version": own.version,
        "width": own_width(name),
    }
    if not own.is_keras:
        return facts
    state = hashlib.sha256()
    for weight in own.model.weights:
        values = np.ascontiguousarray(array_of(weight.value))
        state.update(f"{values.dtype} {values.shape}".encode())
        state.update(values.tobytes())
    return {**facts, "values": state.hexdigest()}
