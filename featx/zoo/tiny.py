"""`tiny`: a small convolutional network for demonstrations, tests and quick looks.

Imported when the network is built, since it imports keras.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

__all__ = ["tiny"]

# Filters, kernel and stride of each block: most of the work at a quarter of the side or less.
_BLOCKS = ((16, 3, 2), (32, 3, 2), (48, 3, 1), (64, 3, 2), (64, 3, 1), (128, 1, 1))
_GROUPS = 8


def tiny(input_tensor: Any) -> keras.Model:
    """Build `tiny`, 92 k parameters.

    Plain 3x3 convolutions with group normalisation: fine-tuning runs batch normalisation in inference
    mode, in which a network that starts from random weights would have no normalisation at all; group
    normalisation (Wu & He 2018) is the same in training and inference and for any batch size.

    Parameters
    ----------
    input_tensor : keras tensor
        Pixels from -1 to 1, shape (n, side, side, 3), side at least 16.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the global average, shape (n, 128).
    """
    x = input_tensor
    for number, (filters, kernel, strides) in enumerate(_BLOCKS, 1):
        x = _block(x, f"block{number}", filters, kernel, strides)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")


def _block(x: Any, name: str, filters: int, kernel: int, strides: int) -> Any:
    x = layers.Conv2D(
        filters, kernel, strides, "same", use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    x = layers.GroupNormalization(_GROUPS, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
