"""Networks up to their feature layers, pixels in and vectors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import BackboneError, ConfigError, WeightsError, listing
from featx.files import write_aside
from featx.zoo.backbones import CLASS_TOKEN, POOLED, Backbone, find_backbone
from featx.zoo.cost import MULTIPLY_ADDS
from featx.zoo.downloads import weights_folder
from featx.zoo.formats.keras_files import read_weights, weights_formats
from featx.zoo.formats.matching import fill, layer_names
from featx.zoo.formats.matconvnet import guess_backbone
from featx.zoo.initial import draw_weights
from featx.zoo.weights import Weights, file_label, resolve_weights

if TYPE_CHECKING:
    import keras

__all__ = [
    "POOLS",
    "Network",
    "build_backbone",
    "build_network",
    "check_pool",
    "checked_size",
    "convert_weights",
    "describe_backbone",
    "layer_names",
    "save_backbone",
]


# RGB means and deviations of ImageNet, 0 to 255, as `keras.applications` has them.
_CAFFE_MEAN = (103.939, 116.779, 123.68)


_TORCH_MEAN = (0.485, 0.456, 0.406)


_TORCH_DEVIATION = (0.229, 0.224, 0.225)


_GEM_POWER = 3.0


_GEM_LEAST = 1e-6


@dataclass(frozen=True)
class Network:
    """A network up to some feature layers, with its weights.

    Attributes
    ----------
    backbone : Backbone
        Its row of the table.
    weights : Weights
        Where its weights came from.
    layers : tuple of str
        Feature layers.
    pool : str
        How a layer's map becomes a vector, a key of `POOLS`.
    image_size : int
        Side of the square input, px.
    widths : tuple of int
        Length of each layer's feature.
    model : keras.Model
        From RGB pixels 0 to 255, uint8 or float32 of shape (n, image_size, image_size, 3), to the features,
        shape (n, width): of one layer a tensor, of several a list of them. The preprocessing is inside.
    """

    backbone: Backbone
    weights: Weights
    layers: tuple[str, ...]
    pool: str
    image_size: int
    widths: tuple[int, ...]
    model: keras.Model


def build_network(
    backbone: Backbone,
    weights: Weights,
    *,
    layers: Sequence[str] = (),
    pool: str = "avg",
    image_size: int | None = None,
) -> Network:
    """Build a network for extracting features.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    weights : Weights
        Its weights, as `resolve_weights` returned them.
    layers : sequence of str
        Names of layers; none for the penultimate layer of the table.
    pool : str
        How a feature map (n, height, width, channels) or a sequence of tokens (n, tokens, channels) becomes
        a vector: ``avg``, ``max``, ``gem`` (generalised mean with p = 3, Radenovic et al. 2018), ``flatten``,
        or ``cls`` (the first token). A layer that is a vector already is taken as it is.
    image_size : int, optional
        Side of the input, px; by default the one that the architecture was made for.

    Returns
    -------
    Network
        The network, not trainable.

    Raises
    ------
    BackboneError
        For an unknown layer or pooling, or an impossible size.
    WeightsError
        If the weights are of another architecture.
    """
    size = checked_size(backbone, image_size)
    check_pool(pool)
    names = tuple(layers) or (backbone.layer,)
    whole = _whole(backbone, size)
    outputs = [_float32(_feature(whole, backbone, name, pool)) for name in names]
    model = _named(whole, outputs, backbone)
    _set_weights(whole, model, weights, backbone)
    model.trainable = False
    _let_go(model)
    widths = tuple(int(output.shape[-1]) for output in model.outputs)
    return Network(backbone, weights, names, pool, size, widths, model)


def build_backbone(backbone: Backbone, weights: Weights, image_size: int | None = None) -> keras.Model:
    """Build a network for training, up to its penultimate feature.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    weights : Weights
        What it starts from.
    image_size : int, optional
        Side of the input, px; by default the one that the architecture was made for.

    Returns
    -------
    keras.Model
        From RGB pixels 0 to 255 to the feature, shape (n, width); every layer of the architecture is one of
        its layers. All of it is trainable.

    Raises
    ------
    BackboneError
        For an impossible size.
    WeightsError
        If the weights are of another architecture.
    """
    size = checked_size(backbone, image_size)
    whole = _whole(backbone, size)
    model = _named(whole, _feature(whole, backbone, backbone.layer, "avg"), backbone)
    _set_weights(whole, model, weights, backbone)
    return model


def save_backbone(model: keras.Model, path: Path | str) -> None:
    """Save the weights of a trained backbone, whole or not at all.

    Parameters
    ----------
    model : keras.Model
        What `build_backbone` returned.
    path : Path or str
        Where the file shall be; its name must end in ``.weights.h5``. Given as a weights source, it makes
        `build_network` compute the features of `model`.
    """
    with write_aside(path) as aside:
        model.save_weights(aside)


def checked_size(backbone: Backbone, image_size: int | None) -> int:
    """Check a size against a backbone's row.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    image_size : int, optional
        Side of the input, px; None for the one that the architecture was made for.

    Returns
    -------
    int
        The size, px.

    Raises
    ------
    BackboneError
        If the network cannot take it; the message says which it can.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> checked_size(find_backbone("inception_v3"), None)
    299
    """
    size = backbone.image_size if image_size is None else image_size
    if size < backbone.min_size:
        raise BackboneError(
            f"image size {size} is too small for {backbone.name}; it takes {backbone.min_size} px and more"
        )
    if size % backbone.multiple:
        raise BackboneError(
            f"image size {size} does not suit {backbone.name}, whose patches need a multiple of "
            f"{backbone.multiple} px; give {size - size % backbone.multiple}"
        )
    return size


def check_pool(pool: str) -> None:
    """Raise `BackboneError` unless `pool` is a key of `POOLS`."""
    if pool not in POOLS:
        raise BackboneError(f"the 'pool' parameter must be one of {', '.join(POOLS)}. Got {pool!r} instead.")


def _whole(backbone: Backbone, size: int) -> keras.Model:
    """Build the whole architecture on top of its preprocessing."""
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise ConfigError("featx needs image_data_format 'channels_last'; change it in ~/.keras/keras.json")
    module, function = backbone.builder.split(":")
    build = getattr(import_module(module), function)
    inputs = keras.Input((size, size, 3), name="pixels")
    prepared = _preprocessed(inputs, backbone.preprocessing)
    options: dict[str, Any] = dict(backbone.arguments)
    if module == "keras.applications":
        top = backbone.layer == "fc2"
        options |= {"include_top": top, "weights": None, "input_shape": (size, size, 3)}
        options |= {} if top else {"pooling": "avg"}
    model: keras.Model = build(input_tensor=prepared, **options)
    return model


def _preprocessed(pixels: Any, mode: str) -> Any:
    from keras import ops

    if mode == "tf":
        return pixels / 127.5 - 1.0
    if mode == "torch":
        mean, deviation = np.asarray(_TORCH_MEAN, "float32"), np.asarray(_TORCH_DEVIATION, "float32")
        return (pixels / 255.0 - mean) / deviation
    if mode == "caffe":
        return ops.flip(pixels, axis=-1) - np.asarray(_CAFFE_MEAN, "float32")
    return pixels


def _feature(whole: keras.Model, backbone: Backbone, name: str, pool: str) -> Any:
    if name == backbone.layer == CLASS_TOKEN:
        return whole.output
    if name == backbone.layer == POOLED:
        return _pooled_end(whole, pool)
    known = layer_names(whole)
    if name not in known:
        raise BackboneError(_no_layer(backbone, name, list(known)))
    output = known[name].output
    if isinstance(output, list | tuple):
        raise BackboneError(f"layer {name!r} of {backbone.name} has several outputs; name another")
    return _vector(output, pool, name)


def _pooled_end(whole: keras.Model, pool: str) -> Any:
    """Pool the last feature map; what the architecture puts behind its pooling (ConvNeXt) stays."""
    if pool == "avg":
        return whole.output
    where = max(
        index for index, layer in enumerate(whole.layers) if type(layer).__name__ == "GlobalAveragePooling2D"
    )
    feature = _vector(whole.layers[where].input, pool, POOLED)
    for layer in whole.layers[where + 1 :] if pool != "flatten" else ():
        feature = layer(feature)
    return feature


def _float32(output: Any) -> Any:
    """Widen what a network of mixed precision gives."""
    from keras import ops

    return output if output.dtype == "float32" else ops.cast(output, "float32")


def _vector(output: Any, pool: str, name: str) -> Any:
    rank = len(output.shape)
    if rank == 2:
        return output
    if rank not in (3, 4) or (pool == "cls" and rank == 4):
        kind = "feature map" if rank == 4 else f"tensor of shape {output.shape}"
        raise BackboneError(f"layer {name!r} is a {kind}, of which pool {pool!r} makes no vector")
    return POOLS[pool](output, tuple(range(1, rank - 1)))


def _gem(x: Any, axes: tuple[int, ...]) -> Any:
    from keras import ops

    powers = ops.power(ops.maximum(x, _GEM_LEAST), _GEM_POWER)
    return ops.power(ops.mean(powers, axis=axes), 1.0 / _GEM_POWER)


def _average(x: Any, axes: tuple[int, ...]) -> Any:
    from keras import ops

    return ops.mean(x, axis=axes)


def _maximum(x: Any, axes: tuple[int, ...]) -> Any:
    from keras import ops

    return ops.max(x, axis=axes)


def _flatten(x: Any, axes: tuple[int, ...]) -> Any:
    from keras import ops

    return ops.reshape(x, (-1, int(np.prod(x.shape[1:]))))


def _first_token(x: Any, axes: tuple[int, ...]) -> Any:
    return x[:, 0]


POOLS: dict[str, Callable[[Any, tuple[int, ...]], Any]] = {
    "avg": _average,
    "max": _maximum,
    "gem": _gem,
    "flatten": _flatten,
    "cls": _first_token,
}


def _no_layer(backbone: Backbone, name: str, known: list[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, 3, 0.5) or known[-3:]
    return (
        f"{backbone.name} has no layer {name!r}; near it: {listing(close)}; "
        f"`featx zoo show {backbone.name} --layers` names all {len(known)}"
    )


def _named(whole: keras.Model, outputs: Any, backbone: Backbone) -> keras.Model:
    import keras

    return keras.Model(whole.inputs[0], outputs, name=backbone.name)


def _let_go(model: keras.Model) -> None:
    """Let the layers behind the features go: those before them know whom they feed, which keeps these in memory."""
    inside = {id(operation) for operation in model.operations}
    for operation in model.operations:
        operation._outbound_nodes = [
            node for node in operation._outbound_nodes if id(node.operation) in inside
        ]


def _set_weights(whole: keras.Model, network: keras.Model, weights: Weights, backbone: Backbone) -> None:
    if weights.seed is not None:
        draw_weights(whole, network, weights.seed)
        if backbone.family == "dinov2":
            from featx.zoo.hub import copy_places

            copy_places(whole)
    if weights.path is None:
        return
    contents = read_weights(weights.path, backbone.name)
    if backbone.family == "dinov2":
        from featx.zoo.hub import with_places

        contents = with_places(contents, whole)
    fill(whole, network, contents, backbone)


def convert_weights(
    path: Path | str, *, backbone: str | None = None, output: Path | str | None = None
) -> Path:
    """Write any weights file that featx reads as a Keras 3 ``.weights.h5``.

    Parameters
    ----------
    path : Path or str
        A weights file.
    backbone : str, optional
        Its architecture; a MatConvNet file tells its own.
    output : Path or str, optional
        Where to write; by default beside `path`, with the ending ``.weights.h5``.

    Returns
    -------
    Path
        The file written: the network up to its penultimate layer, as a weights source gives the same
        features as `path`.

    Raises
    ------
    WeightsError
        If the file cannot be read, is of another architecture, or the architecture is not told; or if
        `output` has another ending or is `path` itself.
    """
    source = Path(path)
    target = Path(output) if output is not None else source.with_name(f"{file_label(source)}.weights.h5")
    if not target.name.endswith(".weights.h5"):
        raise WeightsError(f"{target}: the output's name must end in .weights.h5")
    name = backbone or (guess_backbone(source) if source.suffix == ".mat" and source.is_file() else None)
    if name is None:
        raise WeightsError(f"{source}: of which network? give --backbone")
    if target.resolve() == source.resolve():
        raise WeightsError(f"{target}: would overwrite what it is made from; give another --output")
    row = find_backbone(name)
    (weights,) = resolve_weights(source, row)
    save_backbone(build_backbone(row, weights), target)
    return target


def describe_backbone(row: Backbone, *, layers: bool = False) -> dict[str, Any]:
    """Describe a backbone in JSON types: its input, its features, and where its weights are expected.

    With `layers`, the network is built with random weights, and its layers are listed with the shapes of their outputs.
    """
    published, preset = row.published, row.preset
    file = published.file if published else preset.name if preset else None
    facts = {
        "name": row.name,
        "family": row.family,
        "reference": row.reference,
        "builder": row.builder,
        "arguments": dict(row.arguments),
        "image_size": row.image_size,
        "min_size": row.min_size,
        "preprocessing": row.preprocessing,
        "layer": row.layer,
        "width": row.width,
        "parameters": row.parameters,
        "multiply_adds": MULTIPLY_ADDS.get(row.name),
        "imagenet": row.imagenet,
        "formats": ["Keras", *weights_formats(row.name)],
        "preset": preset.name if preset else None,
        "trained_on": preset.trained_on if preset else None,
        "weights_url": published.url if published else f"kaggle:{preset.handle}" if preset else None,
        "weights_file": str(weights_folder() / file) if file else None,
    }
    if layers:
        model = build_backbone(row, resolve_weights("random", row)[0])
        facts["layers"] = [
            {"name": name, "shape": list(layer.output.shape[1:])}
            for name, layer in layer_names(model).items()
        ]
    return facts
