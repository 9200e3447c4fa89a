"""Architectures that `keras.applications` does not have, or builds otherwise than the libraries of PyTorch.

In PyTorch, ResNet-50 has its strides in the 3x3 convolutions ("v1.5"), all networks pad evenly on both sides, and batch
normalisation has another epsilon. Weights that were trained in PyTorch give the same features only in the same
architecture. Layers have the names of timm's modules, so that they match the names in a state dict. EfficientNet-Lite,
VGG-M (Chatfield et al. 2014) and `tiny` are built here too.

This file imports Keras, so it is imported only when a network is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

__all__ = [
    "ClassToken",
    "LocalResponseNormalization",
    "MeanImage",
    "PositionEmbedding",
    "efficientnet_b0",
    "efficientnet_lite",
    "mobilenet_v2",
    "resnet50",
    "tiny",
    "vgg_m",
    "vit",
]


_EPSILON = 1e-5


_Activation = str | Callable[[Any], Any]


# Blocks, channels, stride of each stage of ResNet-50.
_RESNET50 = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))


# Blocks, kernel, stride, expansion, channels of each stage.
_MOBILENET_V2 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (3, 3, 2, 6, 32),
    (4, 3, 2, 6, 64),
    (3, 3, 1, 6, 96),
    (3, 3, 2, 6, 160),
    (1, 3, 1, 6, 320),
)


_EFFICIENTNET_B0 = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


_VIT_EPSILON = 1e-6


@dataclass(frozen=True)
class _Style:
    """What networks of inverted residuals differ in beside their stages.

    `even` is PyTorch's padding, the same on both sides; else strided layers pad as TensorFlow does.
    """

    activation: str
    squeeze: bool = False
    even: bool = True
    epsilon: float = _EPSILON


def resnet50(input_tensor: Any) -> keras.Model:
    """Build ResNet-50 with the strides in its 3x3 convolutions.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the global average, shape (n, 2048).
    """
    x = _normal(_conv(input_tensor, 64, 7, 2, "conv1"), "bn1", "relu")
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    for stage, (blocks, channels, stride) in enumerate(_RESNET50, 1):
        for block in range(blocks):
            x = _bottleneck(x, channels, stride if block == 0 else 1, f"layer{stage}.{block}")
    return _model(input_tensor, layers.GlobalAveragePooling2D(name="global_pool")(x), "resnet50")


def _bottleneck(x: Any, channels: int, stride: int, name: str) -> Any:
    short = x
    if x.shape[-1] != 4 * channels:
        short = _conv(x, 4 * channels, 1, stride, f"{name}.downsample.0")
        short = _normal(short, f"{name}.downsample.1")
    x = _normal(_conv(x, channels, 1, 1, f"{name}.conv1"), f"{name}.bn1", "relu")
    x = _normal(_conv(x, channels, 3, stride, f"{name}.conv2"), f"{name}.bn2", "relu")
    x = _normal(_conv(x, 4 * channels, 1, 1, f"{name}.conv3"), f"{name}.bn3")
    return layers.Activation("relu", name=f"{name}.act3")(layers.Add(name=f"{name}.add")([x, short]))


def mobilenet_v2(input_tensor: Any) -> keras.Model:
    """Build MobileNetV2, width 1.0.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the global average, shape (n, 1280).
    """
    return _inverted(input_tensor, _MOBILENET_V2, _Style("relu6"), "mobilenet_v2")


def efficientnet_b0(input_tensor: Any) -> keras.Model:
    """Build EfficientNet-B0.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the global average, shape (n, 1280).
    """
    return _inverted(input_tensor, _EFFICIENTNET_B0, _Style("silu", squeeze=True), "efficientnet_b0")


def efficientnet_lite(input_tensor: Any, width: float, depth: float) -> keras.Model:
    """Build EfficientNet-Lite: no squeeze-and-excitation, ReLU6, a stem and a head of the same size in all variants.

    The published weights were trained in TensorFlow, so it pads and normalises as TensorFlow does.

    Parameters
    ----------
    width, depth : float
        Factors of the channels and of the blocks of a stage. The first and the last stage have one block each.

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the global average, shape (n, 1280).
    """
    last = len(_EFFICIENTNET_B0) - 1
    stages = tuple(
        (
            blocks if stage in (0, last) else math.ceil(blocks * depth),
            *shape,
            _multiple_of_eight(channels * width),
        )
        for stage, (blocks, *shape, channels) in enumerate(_EFFICIENTNET_B0)
    )
    return _inverted(input_tensor, stages, _Style("relu6", even=False, epsilon=1e-3), "efficientnet_lite")


def _multiple_of_eight(channels: float) -> int:
    """Round to a multiple of 8 that is not more than 10 % smaller."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


def _inverted(
    input_tensor: Any, stages: tuple[tuple[int, ...], ...], style: _Style, name: str
) -> keras.Model:
    x = _styled(_conv(input_tensor, 32, 3, 2, "conv_stem", style.even), "bn1", style)
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(stages):
        for block in range(blocks):
            step = stride if block == 0 else 1
            x = _inverted_block(x, kernel, step, expansion, channels, style, f"blocks.{stage}.{block}")
    x = _styled(_conv(x, 1280, 1, 1, "conv_head"), "bn2", style)
    return _model(input_tensor, layers.GlobalAveragePooling2D(name="global_pool")(x), name)


def _inverted_block(
    x: Any,
    kernel: int,
    stride: int,
    expansion: int,
    channels: int,
    style: _Style,
    name: str,
) -> Any:
    entry, width = x, x.shape[-1]
    norms = iter((f"{name}.bn1", f"{name}.bn2", f"{name}.bn3"))
    if expansion > 1:
        x = _styled(_conv(x, width * expansion, 1, 1, f"{name}.conv_pw"), next(norms), style)
    x = _styled(_depthwise(x, kernel, stride, f"{name}.conv_dw", style.even), next(norms), style)
    if style.squeeze:
        x = _squeeze(x, width // 4, f"{name}.se")
    last = "conv_pwl" if expansion > 1 else "conv_pw"
    x = _normal(_conv(x, channels, 1, 1, f"{name}.{last}"), next(norms), epsilon=style.epsilon)
    return layers.Add(name=f"{name}.add")([x, entry]) if stride == 1 and width == channels else x


def _squeeze(x: Any, width: int, name: str) -> Any:
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    gate = layers.Conv2D(width, 1, activation="silu", name=f"{name}.conv_reduce")(gate)
    gate = layers.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"{name}.conv_expand")(gate)
    return layers.Multiply(name=f"{name}.gate")([x, gate])


def _conv(x: Any, filters: int, kernel: int, stride: int, name: str, even: bool = True) -> Any:
    x, padding = _padded(x, kernel, stride, name, even)
    return layers.Conv2D(filters, kernel, stride, padding, use_bias=False, name=name)(x)


def _depthwise(x: Any, kernel: int, stride: int, name: str, even: bool = True) -> Any:
    x, padding = _padded(x, kernel, stride, name, even)
    return layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, name=name)(x)


def _padded(x: Any, kernel: int, stride: int, name: str, even: bool) -> tuple[Any, str]:
    """Pad evenly before strided layers, where the padding ``same`` of Keras would not be even."""
    if stride == 1 or not even:
        return x, "same"
    return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x) if kernel > 1 else x, "valid"


def _styled(x: Any, name: str, style: _Style) -> Any:
    return _normal(x, name, style.activation, style.epsilon)


def _normal(x: Any, name: str, activation: _Activation | None = None, epsilon: float = _EPSILON) -> Any:
    x = layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)
    return layers.Activation(activation, name=f"{name}.act")(x) if activation else x


def _model(input_tensor: Any, output: Any, name: str) -> keras.Model:
    return keras.Model(keras.utils.get_source_inputs(input_tensor), output, name=name)


@keras.saving.register_keras_serializable("featx")
class ClassToken(layers.Layer):  # type: ignore[misc]
    """Prepend a learned class token to a sequence."""

    def build(self, input_shape: Any) -> None:
        """Add the weight of the token."""
        self.token = self.add_weight(name="token", shape=(1, 1, input_shape[-1]), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        """Prepend the token to tokens of shape (n, tokens, width)."""
        # Added to zeros rather than repeated, since the number of images is unknown until the network runs.
        first = ops.zeros_like(inputs[:, :1]) + self.token
        return ops.concatenate([first, inputs], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape with one token more."""
        return (input_shape[0], input_shape[1] + 1, input_shape[2])


@keras.saving.register_keras_serializable("featx")
class PositionEmbedding(layers.Layer):  # type: ignore[misc]
    """Add a learned vector to each position of a sequence."""

    def build(self, input_shape: Any) -> None:
        """Add the weights of the vectors."""
        normal = keras.initializers.TruncatedNormal(stddev=0.02)
        self.places = self.add_weight(name="places", shape=(1, *input_shape[1:]), initializer=normal)

    def call(self, inputs: Any) -> Any:
        """Add them to tokens of shape (n, tokens, width)."""
        return inputs + self.places

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the input."""
        return input_shape


def vit(input_tensor: Any, width: int, blocks: int, heads: int, patch: int) -> keras.Model:
    """Build a Vision Transformer (Dosovitskiy et al. 2021).

    Returns
    -------
    keras.Model
        From the input behind `input_tensor` to the class token after the last normalisation, shape (n, width).
    """
    x = layers.Conv2D(width, patch, patch, name="patch_embed.proj")(input_tensor)
    x = layers.Reshape((x.shape[1] * x.shape[2], width), name="patch_embed.flatten")(x)
    x = PositionEmbedding(name="pos_embed")(ClassToken(name="cls_token")(x))
    for block in range(blocks):
        x = _transformer_block(x, heads, f"blocks.{block}")
    x = layers.LayerNormalization(epsilon=_VIT_EPSILON, name="norm")(x)
    return _model(input_tensor, x[:, 0], "vit")


def _transformer_block(x: Any, heads: int, name: str) -> Any:
    width = x.shape[-1]
    normal = layers.LayerNormalization(epsilon=_VIT_EPSILON, name=f"{name}.norm1")(x)
    x = layers.Add(name=f"{name}.add1")([x, _attention(normal, heads, name)])
    y = layers.LayerNormalization(epsilon=_VIT_EPSILON, name=f"{name}.norm2")(x)
    y = layers.Dense(4 * width, activation="gelu", name=f"{name}.mlp.fc1")(y)
    y = layers.Dense(width, name=f"{name}.mlp.fc2")(y)
    return layers.Add(name=f"{name}.add2")([x, y])


def _attention(x: Any, heads: int, name: str) -> Any:
    tokens, width = x.shape[1], x.shape[-1]
    size = width // heads
    x = layers.Dense(3 * width, name=f"{name}.attn.qkv")(x)
    x = ops.transpose(ops.reshape(x, (-1, tokens, 3, heads, size)), (2, 0, 3, 1, 4))
    query, key, value = x[0] * size**-0.5, x[1], x[2]
    weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))), axis=-1)
    x = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
    x = ops.reshape(x, (-1, tokens, width))
    return layers.Dense(width, name=f"{name}.attn.proj")(x)


# Mean of ImageNet's training images, R, G, B from 0 to 255.
_IMAGENET_MEAN = (123.68, 116.779, 103.939)


@keras.saving.register_keras_serializable("featx")
class LocalResponseNormalization(layers.Layer):  # type: ignore[misc]
    """Divide each activation by a power of the squares around it (Krizhevsky et al. 2012, section 3.3).

    ``y[c] = x[c] / (k + alpha * sum(x[c'] ** 2)) ** beta``, summed over the `size` channels c' around c. As in
    MatConvNet, and unlike in Caffe and PyTorch, `alpha` is not divided by `size`.
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

    The mean is a weight of shape (height, width, 3) that is not trained. It is initialised with the mean colour of
    ImageNet; a published weights file contains its own.
    """

    def build(self, input_shape: Any) -> None:
        """Add the weight of the mean image."""
        self.mean = self.add_weight(
            name="mean",
            shape=input_shape[1:],
            # Multiplied rather than broadcast, since a broadcast tensor of torch shares its memory.
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

    The second pooling is 3x3 with stride 2, as in the paper. Its 26x26 input needs one row and one column of padding
    at the bottom and right, as in the published network, for an output of 13x13, from which the last pooling makes
    6x6. Pooling 2x2 with stride 2, as in some copies, gives the same shape but other values.

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


# Filters, kernel and stride of each block. Most of the computation is at a quarter of the input size or less.
_BLOCKS = ((16, 3, 2), (32, 3, 2), (48, 3, 1), (64, 3, 2), (64, 3, 1), (128, 1, 1))


# The moving statistics must converge within the few hundred steps of a training run.
_MOMENTUM = 0.9


def tiny(input_tensor: Any) -> keras.Model:
    """Build `tiny`, 93 k parameters.

    3x3 convolutions with batch normalisation, with which the network trains in a few hundred steps; with group
    normalisation it needs thousands. Fine-tuning on images that look different should update the statistics of
    batch normalisation too (``batch_norm = "train"``).

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
