"""Cost of a network up to a layer: its number of parameters, and the multiply-adds for one image."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from featx.zoo.backbones import Backbone

__all__ = ["MULTIPLY_ADDS", "Cost", "count_costs", "estimated_multiply_adds"]

MULTIPLY_ADDS = {
    "tiny": 9_814_016,
    "vgg_m": 1_672_076_320,
    "vgg16": 15_466_168_320,
    "vgg16_conv": 15_346_630_656,
    "vgg16_torch": 15_466_168_320,
    "vgg19": 19_627_966_464,
    "resnet50": 3_855_925_248,
    "resnet50_torch": 4_087_136_256,
    "resnet101": 7_568_146_432,
    "resnet152": 11_280_367_616,
    "resnet50_v2": 3_480_207_360,
    "resnet101_v2": 7_192_428_544,
    "resnet152_v2": 10_904_649_728,
    "inception_v3": 5_711_168_096,
    "inception_resnet_v2": 13_154_258_016,
    "xception": 8_355_355_496,
    "densenet121": 2_833_137_664,
    "densenet169": 3_358_179_328,
    "densenet201": 4_289_445_888,
    "nasnet_mobile": 562_582_816,
    "nasnet_large": 23_779_382_658,
    "mobilenet_0.25": 40_774_272,
    "mobilenet_0.50": 148_985_088,
    "mobilenet_0.75": 324_632_448,
    "mobilenet": 567_716_352,
    "mobilenet_v2_0.35": 58_005_808,
    "mobilenet_v2_0.50": 95_851_840,
    "mobilenet_v2_0.75": 207_789_792,
    "mobilenet_v2": 299_494_272,
    "mobilenet_v2_torch": 299_494_272,
    "mobilenet_v2_1.3": 507_710_560,
    "mobilenet_v2_1.4": 580_403_824,
    "mobilenet_v3_small_minimalistic": 50_674_624,
    "mobilenet_v3_small_0.75": 41_932_976,
    "mobilenet_v3_small": 54_896_576,
    "mobilenet_v3_large_minimalistic": 206_627_904,
    "mobilenet_v3_large_0.75": 152_359_024,
    "mobilenet_v3_large": 214_080_960,
    "efficientnet_b0": 384_534_752,
    "efficientnet_b0_torch": 384_534_752,
    "efficientnet_b1": 685_522_832,
    "efficientnet_b2": 992_153_872,
    "efficientnet_b3": 1_825_605_392,
    "efficientnet_b4": 4_391_979_024,
    "efficientnet_b5": 10_264_336_752,
    "efficientnet_b6": 19_065_289_536,
    "efficientnet_b7": 37_743_324_192,
    "efficientnet_lite0": 383_907_552,
    "efficientnet_lite1": 598_905_232,
    "efficientnet_lite2": 858_456_272,
    "efficientnet_lite3": 1_382_041_872,
    "efficientnet_lite4": 2_551_754_336,
    "efficientnet_v2_b0": 716_806_176,
    "efficientnet_v2_b1": 1_195_539_360,
    "efficientnet_v2_b2": 1_696_134_832,
    "efficientnet_v2_b3": 3_009_922_816,
    "efficientnet_v2_s": 8_364_337_152,
    "efficientnet_v2_m": 24_581_180_384,
    "efficientnet_v2_l": 56_078_419_008,
    "convnext_tiny": 4_454_763_264,
    "convnext_small": 8_682_944_256,
    "convnext_base": 15_353_705_472,
    "convnext_large": 34_359_897_600,
    "convnext_xlarge": 60_918_982_656,
    "vit_b16": 17_563_060_224,
}
"""Multiply-adds of backbones up to their penultimate layer at their default input size, as `count_costs` counts them."""

# The weights of these layers are added to activations, not multiplied with them.
_ADDED = frozenset({"ClassToken", "MeanImage", "PositionEmbedding"})


@dataclass(frozen=True)
class Cost:
    """The cost of a network up to one of its layers.

    Attributes
    ----------
    parameters : int or None
        Number of weights, including the moving statistics of batch normalisation. None for a user's function that does
        not state it.
    multiply_adds : int or None
        Multiply-add operations of convolutions, dense layers and matrix products for one image of the network's
        input size. Normalisation, activation and pooling are not counted, as in published figures. None if the
        count is not implemented for a layer.

    Examples
    --------
    >>> Cost(parameters=2_257_984, multiply_adds=None).parameters
    2257984
    """

    parameters: int | None
    multiply_adds: int | None


def estimated_multiply_adds(backbone: Backbone, image_size: int) -> float:
    """Estimate the multiply-adds of one image up to the penultimate layer, without building the network.

    Parameters
    ----------
    backbone : Backbone
        The architecture.
    image_size : int
        Input size in pixels.

    Returns
    -------
    float
        The number counted at the backbone's default input size, scaled by the area of the image. For transformers
        without a counted number, the number of parameters times the number of patches.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> estimated_multiply_adds(find_backbone("tiny"), 128) / MULTIPLY_ADDS["tiny"]
    4.0
    """
    patches = (backbone.image_size / backbone.multiple) ** 2
    own = MULTIPLY_ADDS.get(backbone.name, backbone.parameters * patches)
    return own * (image_size / backbone.image_size) ** 2


def count_costs(model: keras.Model) -> tuple[Cost, ...]:
    """Count the cost of each output of a network by itself.

    Parameters
    ----------
    model : keras.Model
        A functional model whose layers are each called once, such as `featx.zoo.network.Network.model`.

    Returns
    -------
    tuple of Cost
        One for each output: the cost of the layers that it depends on.

    Examples
    --------
    >>> from featx.zoo import build_network, find_backbone, resolve_weights
    >>> tiny = find_backbone("tiny")
    >>> count_costs(build_network(tiny, resolve_weights("random", tiny)[0]).model)
    (Cost(parameters=92976, multiply_adds=9814016),)
    """
    import keras

    return tuple(_count(keras.Model(model.inputs, output)) for output in model.outputs)


def _count(model: keras.Model) -> Cost:
    return Cost(model.count_params(), _total(model.operations))


def _total(operations: Iterable[Any]) -> int | None:
    counts = [_multiply_adds(operation) for operation in operations]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _multiply_adds(operation: Any) -> int | None:
    kind = type(operation).__name__
    if kind in {"Functional", "Sequential"}:
        return _total(operation.layers)
    if kind in _COUNTS:
        return _COUNTS[kind](operation)
    multiplied = any(len(weight.shape) > 1 for weight in getattr(operation, "weights", ()))
    return None if multiplied and kind not in _ADDED else 0


def _convolution(layer: Any) -> int:
    """Each position of the output uses the whole kernel once."""
    return int(prod(layer.output.shape[1:-1]) * prod(layer.kernel.shape))


def _separable(layer: Any) -> int:
    places = prod(layer.output.shape[1:-1])
    return int(places * (prod(layer.depthwise_kernel.shape) + prod(layer.pointwise_kernel.shape)))


def _einsum(layer: Any) -> int:
    """Each value of the output is a sum over the axes of the kernel that are not in the output."""
    kernel, output = layer.equation.split(",")[1].split("->")
    summed = (size for axis, size in zip(kernel, layer.kernel.shape, strict=True) if axis not in output)
    return int(prod(layer.output.shape[1:]) * prod(summed))


def _attention(layer: Any) -> int:
    """Projections of queries, keys, values and output, and two matrix products for each head."""
    tensors = layer.input if isinstance(layer.input, list | tuple) else [layer.input]
    queries, others = prod(tensors[0].shape[1:-1]), prod(tensors[min(1, len(tensors) - 1)].shape[1:-1])
    kernels = {
        name: prod(getattr(layer, f"{name}_dense").kernel.shape)
        for name in ("query", "key", "value", "output")
    }
    projected = queries * (kernels["query"] + kernels["output"]) + others * (
        kernels["key"] + kernels["value"]
    )
    return int(projected + layer.num_heads * queries * others * (layer.key_dim + layer.value_dim))


def _product(operation: Any) -> int:
    return int(prod(operation.output.shape[1:]) * operation.input[0].shape[-1])


_COUNTS: dict[str, Callable[[Any], int]] = {
    "Conv2D": _convolution,
    "Dense": _convolution,
    "DepthwiseConv2D": _convolution,
    "EinsumDense": _einsum,
    "Matmul": _product,
    "MultiHeadAttention": _attention,
    "SeparableConv2D": _separable,
}
