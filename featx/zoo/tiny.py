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
# The moving statistics have to settle within the few hundred steps of a training here.
_MOMENTUM = 0.9


def tiny(input_tensor: Any) -> keras.Model:
    """Build `tiny`, 93 k parameters.

    Plain 3x3 convolutions with batch normalisation, which trains the network in a few hundred steps where group
    normalisation needs thousands. Fine-tuning it on a data set that looks different should let the
    normalisation learn too (``batch_norm = "train"``).

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
    x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
