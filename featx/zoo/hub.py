"""Architectures of KerasHub up to one feature vector, for weights that `keras.applications` does not have.

Needs the extra ``hub``. This file imports Keras, so it is imported only when a network is built.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers

from featx.errors import BackboneError
from featx.zoo.formats.contents import Contents, StoredLayer

__all__ = ["copy_position_embeddings", "dinov2", "mit", "siglip", "vit_hub", "with_resized_positions"]


_EMBEDDING = "dinov2_embedding"


def dinov2(input_tensor: Any, **arguments: Any) -> keras.Model:
    """Build DINOv2 (Oquab et al. 2024).

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the class token after the last normalisation, shape (n, width).
    """
    # The position embeddings have this size and no second, larger table exists. Otherwise KerasHub would resize them
    # into that table on saving and back on loading, and the loaded network would differ from the saved one.
    side = input_tensor.shape[1]
    tokens = _chained("DINOV2Backbone", input_tensor, {**arguments, "position_embedding_shape": (side, side)})
    return _model(input_tensor, tokens[:, 0], "dinov2")


def vit_hub(input_tensor: Any, **arguments: Any) -> keras.Model:
    """Build a Vision Transformer (Dosovitskiy et al. 2021).

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the class token after the last normalisation, shape (n, width).
    """
    return _model(input_tensor, _chained("ViTBackbone", input_tensor, arguments)[:, 0], "vit")


def siglip(input_tensor: Any, **arguments: Any) -> keras.Model:
    """Build the image encoder of SigLIP (Zhai et al. 2023).

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the output of the attention pooling ``head``, shape (n, width).
    """
    return _model(input_tensor, _chained("SigLIPVisionEncoder", input_tensor, arguments), "siglip")


def mit(input_tensor: Any, **arguments: Any) -> keras.Model:
    """Build a Mix Transformer, the encoder of SegFormer (Xie et al. 2021).

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the average of the last map, shape (n, width).
    """
    last = _chained("MiTBackbone", input_tensor, arguments)
    return _model(input_tensor, layers.GlobalAveragePooling2D(name="global_pool")(last), "mit")


def _chained(kind: str, input_tensor: Any, arguments: dict[str, Any]) -> Any:
    """Apply the layers of a backbone of KerasHub, which are a chain, to a tensor."""
    made = getattr(_library().models, kind)(image_shape=tuple(input_tensor.shape[1:]), **arguments)
    x = input_tensor
    for layer in made.layers:
        if isinstance(layer, layers.InputLayer):
            continue
        # The attribute `output` of a layer is that of its first call, which must be this one.
        layer._inbound_nodes.clear()
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x  # the second item of DINOv2 contains intermediate outputs
    return x


def _library() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise BackboneError(
            f"this backbone needs KerasHub, which cannot be imported ({error}); pip install 'featx[hub]'"
        ) from error
    return keras_hub


def _model(input_tensor: Any, output: Any, name: str) -> keras.Model:
    return keras.Model(keras.utils.get_source_inputs(input_tensor), output, name=name)


def copy_position_embeddings(network: keras.Model) -> None:
    """Copy the position embeddings into the table for the network's own input size."""
    layer = _embedding_layer(network)
    layer.interpolated_position_embeddings.assign(layer.position_embeddings)


def _embedding_layer(network: keras.Model) -> Any:
    (layer,) = (item for item in network.layers if hasattr(item, "interpolated_position_embeddings"))
    return layer


def with_resized_positions(contents: Contents, network: keras.Model) -> Contents:
    """Resize the position embeddings of a file of DINOv2 to the input size of a network.

    Returns
    -------
    Contents
        The same content with both tables of position embeddings in the network's shape, by the bicubic resampling
        of KerasHub. Other files are returned unchanged.
    """
    layer = _embedding_layer(network)
    found = [item for item in contents.layers if item.name.rsplit("/", 1)[-1] == _EMBEDDING]
    if len(found) != 1 or not _resizable(found[0], layer):
        return contents
    *rest, _, places = found[0].arrays
    resized = _resized(places, layer)
    layers_ = [
        StoredLayer(item.name, (*rest, resized, resized)) if item is found[0] else item
        for item in contents.layers
    ]
    return Contents(contents.path, contents.layout, tuple(layers_), contents.classes)


def _resizable(stored: StoredLayer, layer: Any) -> bool:
    """Tell whether an embedding differs from the network's only in the number of its positions."""
    table = stored.arrays[-1] if stored.arrays else np.empty(0)
    wanted = tuple(layer.position_embeddings.shape)
    square = table.ndim == 3 and np.sqrt(table.shape[1] - 1) % 1 == 0
    return square and table.shape != wanted and (table.shape[0], table.shape[2]) == (wanted[0], wanted[2])


def _resized(places: np.ndarray, layer: Any) -> np.ndarray:
    """Resize a table of shape (1, 1 + patches, width), whose first position is that of the class token."""
    # KerasHub resizes the table when a layer loads it: load it into a layer that is built for both sizes.
    side = int(np.sqrt(places.shape[1] - 1)) * layer.patch_size
    config = {**layer.get_config(), "position_embedding_shape": (side, side), "use_mask_token": False}
    mediator = type(layer).from_config({**config, "num_register_tokens": 0, "name": "places"})
    mediator.build((None, *layer.image_shape, 3))
    mediator.load_own_variables({"0": np.zeros(mediator.cls_token.shape), "2": places})
    resized: np.ndarray = keras.ops.convert_to_numpy(mediator.interpolated_position_embeddings)
    return resized
