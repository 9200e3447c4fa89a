"""Networks up to their feature layers, from pixels to feature vectors."""

from __future__ import annotations

import shutil
import tempfile
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
from featx.zoo.own_backbone import own_output
from featx.zoo.weights import Weights, file_label, resolve_weights

if TYPE_CHECKING:
    import keras

__all__ = [
    "POOLS",
    "Network",
    "build_backbone",
    "build_network",
    "check_own",
    "check_pool",
    "checked_size",
    "convert_weights",
    "describe_backbone",
    "layer_names",
    "load_saved",
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
    """A network up to its feature layers, with its weights.

    Attributes
    ----------
    backbone : Backbone
        Its architecture.
    weights : Weights
        Source of its weights.
    layers : tuple of str
        Feature layers.
    pool : str
        How a feature map is pooled to a vector, a key of `POOLS`.
    image_size : int
        Input size, px.
    widths : tuple of int
        Number of features of each layer.
    model : keras.Model
        From RGB pixels 0 to 255, uint8 or float32 of shape (n, image_size, image_size, 3), to the features of shape
        (n, width): a tensor for one layer, a list of tensors for several. Includes the preprocessing.

    Examples
    --------
    >>> from featx.zoo import find_backbone, resolve_weights
    >>> tiny = find_backbone("tiny")
    >>> network = build_network(tiny, resolve_weights("random", tiny)[0], layers=["block6_relu"], pool="max")
    >>> network.layers, network.pool
    (('block6_relu',), 'max')
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
    """Build a network for feature extraction.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    weights : Weights
        Its weights, from `resolve_weights`.
    layers : sequence of str
        Names of layers; by default the penultimate layer of the architecture.
    pool : str
        How a feature map (n, height, width, channels) or a sequence of tokens (n, tokens, channels) is pooled to a
        vector: ``avg``, ``max``, ``gem`` (generalised mean with p = 3, Radenovic et al. 2018), ``flatten``, or
        ``cls`` (the first token). The output of a layer that is already a vector is not pooled.
    image_size : int, optional
        Input size, px; by default that of the architecture.

    Returns
    -------
    Network
        The network; it is not trainable.

    Raises
    ------
    BackboneError
        For an unknown layer or pooling, or an unsupported input size.
    WeightsError
        If the weights are of another architecture.

    Examples
    --------
    >>> from featx.zoo import find_backbone, resolve_weights
    >>> tiny = find_backbone("tiny")
    >>> network = build_network(tiny, resolve_weights("random", tiny)[0])
    >>> network.layers, network.pool, network.model.output_shape
    (('global pool',), 'avg', (None, 128))
    """
    size = checked_size(backbone, image_size)
    check_pool(pool)
    if backbone.is_own:
        return _own_network(backbone, weights, layers, pool, size)
    names = tuple(layers) or (backbone.layer,)
    whole = _whole(backbone, size, names)
    outputs = [_float32(_feature(whole, backbone, name, pool)) for name in names]
    model = _named(whole, outputs, backbone)
    _set_weights(whole, model, weights, backbone)
    model.trainable = False
    _let_go(model)
    widths = tuple(int(output.shape[-1]) for output in model.outputs)
    return Network(backbone, weights, names, pool, size, widths, model)


def _own_network(
    backbone: Backbone, weights: Weights, layers: Sequence[str], pool: str, size: int
) -> Network:
    """Build a user's own Keras model on top of its preprocessing."""
    import keras

    check_own(backbone, layers)
    if backbone.is_function:
        raise BackboneError(
            f"{backbone.name} is a function on batches and no Keras model, so that it has no layers; use it for extraction "
            "with the engine keras"
        )
    pixels = keras.Input((size, size, 3), name="pixels")
    feature = _float32(_vector(own_output(backbone.name, pixels), pool, backbone.layer))
    model = keras.Model(pixels, feature)
    model.trainable = False
    return Network(backbone, weights, (backbone.layer,), pool, size, (int(feature.shape[-1]),), model)


def check_own(backbone: Backbone, layers: Sequence[str]) -> None:
    """Refuse layers of a user's own network, whose output is the feature."""
    if tuple(layers) not in ((), (backbone.layer,)):
        raise BackboneError(
            f"{backbone.name} is your own function, whose output is the feature; leave out --layer, got {layers[0]!r}"
        )


def build_backbone(backbone: Backbone, weights: Weights, image_size: int | None = None) -> keras.Model:
    """Build a network for training, up to its penultimate feature.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    weights : Weights
        Its initial weights.
    image_size : int, optional
        Input size, px; by default that of the architecture.

    Returns
    -------
    keras.Model
        From RGB pixels 0 to 255 to the feature, shape (n, width). Every layer of the architecture is one of its
        layers, and all are trainable.

    Raises
    ------
    BackboneError
        For an unsupported input size.
    WeightsError
        If the weights are of another architecture.

    Examples
    --------
    >>> from featx.zoo import find_backbone, resolve_weights
    >>> tiny = find_backbone("tiny")
    >>> build_backbone(tiny, resolve_weights("random", tiny)[0]).output_shape
    (None, 128)
    """
    if backbone.is_own:
        raise BackboneError(
            f"{backbone.name} is your own function, and only networks of `featx zoo list` are fine-tuned; fine-tune it "
            "yourself, and let the function return the result"
        )
    size = checked_size(backbone, image_size)
    whole = _whole(backbone, size)
    model = _named(whole, _feature(whole, backbone, backbone.layer, "avg"), backbone)
    _set_weights(whole, model, weights, backbone)
    return model


def save_backbone(model: keras.Model, path: Path | str) -> None:
    """Save the weights of a trained backbone, or of its head, in an atomic write.

    Parameters
    ----------
    model : keras.Model
        A network from `build_backbone`.
    path : Path or str
        The file to write; its name must end in ``.weights.h5``. With this file as weights source, `build_network`
        computes the features of `model`.
    """
    # Keras lets HDF5 lock the file, which fails on some shared disks.
    with write_aside(path) as aside, tempfile.TemporaryDirectory() as folder:
        local = Path(folder, aside.name)
        model.save_weights(local)
        shutil.copyfile(local, aside)


def load_saved(model: keras.Model, path: Path | str) -> None:
    """Give a network the weights that `save_backbone` has saved of it.

    Parameters
    ----------
    model : keras.Model
        The network.
    path : Path or str
        The file.
    """
    with tempfile.TemporaryDirectory() as folder:
        model.load_weights(shutil.copyfile(path, Path(folder, Path(path).name)))


def checked_size(backbone: Backbone, image_size: int | None) -> int:
    """Check that a backbone supports an input size.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    image_size : int, optional
        Input size, px; None for the default of the architecture.

    Returns
    -------
    int
        The input size, px.

    Raises
    ------
    BackboneError
        If the backbone does not support it; the message says which sizes it supports.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> checked_size(find_backbone("inception_v3"), None)
    299
    """
    size = backbone.image_size if image_size is None else image_size
    if backbone.is_own and size != backbone.image_size:
        raise BackboneError(
            f"image size {size}: {backbone.name} is your own function and takes {backbone.image_size} px; change its "
            "image_size"
        )
    if size < backbone.min_size:
        raise BackboneError(
            f"image size {size} is too small for {backbone.name}; the minimum is {backbone.min_size} px"
        )
    if size % backbone.multiple:
        raise BackboneError(
            f"image size {size} is not a multiple of {backbone.multiple} px, as {backbone.name} requires; "
            f"give {size - size % backbone.multiple}"
        )
    return size


def check_pool(pool: str) -> None:
    """Raise `BackboneError` unless `pool` is a key of `POOLS`."""
    if pool not in POOLS:
        raise BackboneError(f"the 'pool' parameter must be one of {', '.join(POOLS)}. Got {pool!r} instead.")


def _whole(backbone: Backbone, size: int, names: tuple[str, ...] = ()) -> keras.Model:
    """Build the whole architecture on top of its preprocessing.

    If only blocks of a VGG are needed, its dense layers are left out, which have nine tenths of its weights.
    """
    import keras

    if keras.config.image_data_format() != "channels_last":
        raise ConfigError(
            "Keras is configured for image_data_format 'channels_first', but featx needs 'channels_last'; change it in ~/.keras/keras.json"
        )
    module, function = backbone.builder.split(":")
    build = getattr(import_module(module), function)
    inputs = keras.Input((size, size, 3), name="pixels")
    prepared = _preprocessed(inputs, backbone.preprocessing)
    options: dict[str, Any] = dict(backbone.arguments)
    if module == "keras.applications":
        top = backbone.layer == "fc2" and not (names and all(name.startswith("block") for name in names))
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
    if mode == "lite":
        return (pixels - 127.0) / 128.0
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
        raise BackboneError(f"layer {name!r} of {backbone.name} has several outputs; give another layer")
    return _vector(output, pool, name)


def _pooled_end(whole: keras.Model, pool: str) -> Any:
    """Pool the last feature map, and keep the layers that follow the pooling (in ConvNeXt)."""
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
    """Convert the output of a network of mixed precision to float32."""
    from keras import ops

    return output if output.dtype == "float32" else ops.cast(output, "float32")


def _vector(output: Any, pool: str, name: str) -> Any:
    rank = len(output.shape)
    if rank == 2:
        return output
    if rank not in (3, 4) or (pool == "cls" and rank == 4):
        raise BackboneError(
            f"pool {pool!r} cannot be applied to the output of layer {name!r}, of shape {output.shape}; "
            "give another --pool or --layer"
        )
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
        f"{backbone.name} has no layer {name!r}; similar names: {listing(close)}; "
        f"`featx zoo show {backbone.name} --layers` lists all {len(known)}"
    )


def _named(whole: keras.Model, outputs: Any, backbone: Backbone) -> keras.Model:
    import keras

    return keras.Model(whole.inputs[0], outputs, name=backbone.name)


def _let_go(model: keras.Model) -> None:
    """Remove references to the layers after the features, which would otherwise stay in memory."""
    inside = {id(operation) for operation in model.operations}
    for operation in model.operations:
        operation._outbound_nodes = [
            node for node in operation._outbound_nodes if id(node.operation) in inside
        ]


def _set_weights(whole: keras.Model, network: keras.Model, weights: Weights, backbone: Backbone) -> None:
    if weights.seed is not None:
        draw_weights(whole, network, weights.seed)
        if backbone.family == "dinov2":
            from featx.zoo.hub import copy_position_embeddings

            copy_position_embeddings(whole)
    if weights.path is None:
        return
    contents = read_weights(weights.path, backbone.name)
    if backbone.family == "dinov2":
        from featx.zoo.hub import with_resized_positions

        contents = with_resized_positions(contents, whole)
    fill(whole, network, contents, backbone)


def convert_weights(
    path: Path | str, *, backbone: str | None = None, output: Path | str | None = None
) -> Path:
    """Convert a weights file of any supported format to a ``.weights.h5`` file of Keras 3.

    Parameters
    ----------
    path : Path or str
        A weights file.
    backbone : str, optional
        Its architecture; of a MatConvNet file it is found from the content.
    output : Path or str, optional
        The file to write; by default beside `path`, with the extension ``.weights.h5``.

    Returns
    -------
    Path
        The written file, with the network up to its penultimate layer. As a weights source it gives the same
        features as `path`.

    Raises
    ------
    WeightsError
        If the file cannot be read, is of another architecture, or its architecture is unknown; or if `output` has
        another extension or is `path` itself.
    """
    source = Path(path)
    target = Path(output) if output is not None else source.with_name(f"{file_label(source)}.weights.h5")
    if not target.name.endswith(".weights.h5"):
        raise WeightsError(f"{target}: the name of the output must end in .weights.h5")
    name = backbone or (guess_backbone(source) if source.suffix == ".mat" and source.is_file() else None)
    if name is None:
        raise WeightsError(f"{source}: the architecture cannot be found from the file; give --backbone")
    if target.resolve() == source.resolve():
        raise WeightsError(f"{target}: the output would overwrite the input; give another --output")
    row = find_backbone(name)
    (weights,) = resolve_weights(source, row)
    save_backbone(build_backbone(row, weights), target)
    return target


def describe_backbone(row: Backbone, *, layers: bool = False) -> dict[str, Any]:
    """Describe a backbone in JSON types: its input, its features, and where its weights are expected.

    With `layers`, the network is built with random weights, and its layers are listed with the shapes of their outputs.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> describe_backbone(find_backbone("tiny"))["family"]
    'tiny'
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
