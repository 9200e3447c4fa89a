"""VGG-M: the medium network of Chatfield et al. 2014, "Return of the Devil in the Details" (CNN-M).

Imported when the network is built, since it imports keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

__all__ = ["LocalResponseNormalization", "MeanImage", "vgg_m"]

# Mean of ImageNet's training images, R, G, B from 0 to 255.
_IMAGENET_MEAN = (123.68, 116.779, 103.939)


@keras.saving.register_keras_serializable("featx")
class LocalResponseNormalization(layers.Layer):  # type: ignore[misc]
    """Divide each activation by a power of the squares around it (Krizhevsky et al. 2012, section 3.3).

    ``y[c] = x[c] / (k + alpha * sum(x[c'] ** 2)) ** beta``, c' over the `size` channels around c. As in
    MatConvNet, and other than in Caffe and PyTorch, `alpha` is not divided by `size`.

    Parameters
    ----------
    size : int
        Channels summed over, odd.
    k, alpha, beta : float
        Constants of the formula.
    **kwargs
        Of `keras.layers.Layer`.
    """

    def __init__(
        self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.size, self.k, self.alpha, self.beta = size, k, alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalise activations of shape (n, height, width, channels)."""
        half, channels = self.size // 2, inputs.shape[-1]
        squares = ops.pad(ops.square(inputs), [[0, 0], [0, 0], [0, 0], [half, half]])
        total = sum(squares[..., start : start + channels] for start in range(self.size))
        return inputs * ops.power(self.k + self.alpha * total, -self.beta)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constants."""
        return {
            **super().get_config(),
            "size": self.size,
            "k": self.k,
            "alpha": self.alpha,
            "beta": self.beta,
        }


@keras.saving.register_keras_serializable("featx")
class MeanImage(layers.Layer):  # type: ignore[misc]
    """Subtract the mean image of the data that the network was trained on.

    The mean is a weight that training leaves alone, of shape (height, width, 3): a published file brings its
    own; before that it is the mean colour of ImageNet.

    Parameters
    ----------
    **kwargs
        Of `keras.layers.Layer`.
    """

    def build(self, input_shape: Any) -> None:
        """Make the mean image."""
        self.mean = self.add_weight(
            name="mean",
            shape=input_shape[1:],
            # Multiplied rather than broadcast, which under torch would be one number in many places.
            initializer=lambda shape, dtype=None: ops.ones(shape, dtype) * ops.array(_IMAGENET_MEAN, dtype),
            trainable=False,
        )

    def call(self, inputs: Any) -> Any:
        """Subtract it from images of shape (n, height, width, 3)."""
        return inputs - self.mean

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape


def vgg_m(
    input_tensor: Any, filters: Sequence[int] = (96, 256, 512, 512, 512), units: int = 4096
) -> keras.Model:
    """Build VGG-M up to its second fully connected layer.

    The second pooling is the paper's 3x3 with stride 2; on its 26x26 input it needs one row and one column
    of padding below and to the right, as the published network has, to give the 13x13 from which the last
    pooling makes 6x6. (Pooling 2x2 with stride 2, as some copies do, gives the same shape and other
    values.)

    Parameters
    ----------
    input_tensor : keras tensor
        RGB pixels from 0 to 255, shape (n, side, side, 3).
    filters : sequence of int, length 5
        Filters of each convolution; by default those of the paper.
    units : int
        Width of both fully connected layers.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to ``fc2`` after its ReLU, shape (n, units).
    """
    x = MeanImage(name="mean_image")(input_tensor)
    x = layers.Conv2D(filters[0], 7, strides=2, activation="relu", name="conv1")(x)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    x = layers.ZeroPadding2D(1, name="pad2")(x)
    x = layers.Conv2D(filters[1], 5, strides=2, activation="relu", name="conv2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool2")(x)
    for number in (3, 4, 5):
        x = layers.Conv2D(filters[number - 1], 3, padding="same", activation="relu", name=f"conv{number}")(x)
    x = layers.MaxPooling2D(3, 2, name="pool5")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="fc1")(x)
    x = layers.Dropout(0.5, name="dropout1")(x)
    x = layers.Dense(units, activation="relu", name="fc2")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="vgg_m")
