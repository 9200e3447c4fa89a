"""The table of backbones: a row for each architecture, read without importing a framework.

The rows of `keras.applications` are those of Keras 3.15; a test builds every one and compares its width,
parameters and preprocessing with this table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.errors import BackboneError
from featx.zoo.hub_table import HUB_ROWS, HubRow, Preset, preset
from featx.zoo.published import Published, published_weights

__all__ = ["CLASS_TOKEN", "FAMILIES", "POOLED", "Backbone", "find_backbone", "list_backbones"]

# Name of the penultimate layer where that is the global average of the last feature map.
POOLED = "global pool"
# The same where it is the class token of a transformer.
CLASS_TOKEN = "class token"

# Family: where the architecture comes from.
FAMILIES = {
    "convnext": "Liu et al. 2022, A ConvNet for the 2020s, arXiv 2201.03545",
    "densenet": "Huang et al. 2017, Densely connected convolutional networks, arXiv 1608.06993",
    "dinov2": "Oquab et al. 2024, DINOv2: learning robust visual features, arXiv 2304.07193",
    "efficientnet": "Tan & Le 2019, EfficientNet: rethinking model scaling, arXiv 1905.11946",
    "efficientnet_v2": "Tan & Le 2021, EfficientNetV2: smaller models and faster training, arXiv 2104.00298",
    "inception": "Szegedy et al. 2016, Rethinking the Inception architecture, arXiv 1512.00567",
    "inception_resnet": "Szegedy et al. 2017, Inception-v4, Inception-ResNet, arXiv 1602.07261",
    "mit": "Xie et al. 2021, SegFormer, arXiv 2105.15203",
    "mobilenet": "Howard et al. 2017, MobileNets, arXiv 1704.04861",
    "mobilenet_v2": "Sandler et al. 2018, MobileNetV2: inverted residuals, arXiv 1801.04381",
    "mobilenet_v3": "Howard et al. 2019, Searching for MobileNetV3, arXiv 1905.02244",
    "nasnet": "Zoph et al. 2018, Learning transferable architectures, arXiv 1707.07012",
    "resnet": "He et al. 2016, Deep residual learning, arXiv 1512.03385",
    "resnet_v2": "He et al. 2016, Identity mappings in deep residual networks, arXiv 1603.05027",
    "siglip": "Zhai et al. 2023, Sigmoid loss for language image pre-training, arXiv 2303.15343",
    "tiny": "featx's own, for demonstrations and tests",
    "vgg": "Simonyan & Zisserman 2015, Very deep convolutional networks, arXiv 1409.1556",
    "vgg_m": "Chatfield et al. 2014, Return of the devil in the details, arXiv 1405.3531",
    "vit": "Dosovitskiy et al. 2021, An image is worth 16x16 words, arXiv 2010.11929",
    "vit_hub": "Dosovitskiy et al. 2021, An image is worth 16x16 words, arXiv 2010.11929",
    "xception": "Chollet 2017, Xception: depthwise separable convolutions, arXiv 1610.02357",
}


@dataclass(frozen=True)
class Backbone:
    """One architecture up to its penultimate layer.

    Attributes
    ----------
    name : str
        What `--backbone` takes.
    family : str
        Key of `FAMILIES`.
    builder : str
        ``module:function`` that builds it.
    image_size : int
        Side of the square input that it was made for, px.
    min_size : int
        Smallest side that it can take, px.
    preprocessing : str
        What is done to RGB pixels from 0 to 255 before the network: ``tf`` (to -1..1), ``torch`` (to 0..1,
        then ImageNet's mean and standard deviation), ``caffe`` (BGR, ImageNet's mean subtracted), ``none``
        (the network itself begins with it), ``mean`` (the mean image is a weight of the network).
    width : int
        Length of the penultimate feature.
    parameters : int
        Weights up to there, at `image_size`.
    layer : str
        Penultimate layer: ``fc2``, ``global pool`` for the average of the last feature map,
        ``class token``, or ``head`` for the pooling attention of SigLIP.
    arguments : mapping
        Further arguments of the builder, such as a width multiplier.
    multiple : int
        The side has to be a multiple of this, px.
    """

    name: str
    family: str
    builder: str
    image_size: int
    min_size: int
    preprocessing: str
    width: int
    parameters: int
    layer: str = POOLED
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    multiple: int = 1

    @property
    def reference(self) -> str:
        """The paper."""
        return FAMILIES[self.family]

    @property
    def published(self) -> Published | None:
        """The published ImageNet weights that `keras.applications` names for it, if any."""
        return published_weights(self.name)

    @property
    def imagenet(self) -> bool:
        """Whether ``--weights imagenet`` is possible."""
        return self.published is not None

    @property
    def preset(self) -> Preset | None:
        """KerasHub's trained weights, which ``--weights preset`` means, if it is a network of KerasHub."""
        return preset(self.name)


def _app(
    name: str,
    family: str,
    function: str,
    image_size: int,
    min_size: int,
    preprocessing: str,
    width: int,
    parameters: int,
    layer: str = POOLED,
    **arguments: Any,
) -> Backbone:
    builder = f"keras.applications:{function}"
    return Backbone(
        name, family, builder, image_size, min_size, preprocessing, width, parameters, layer, arguments
    )


def _torch(
    name: str,
    family: str,
    function: str,
    preprocessing: str,
    width: int,
    parameters: int,
) -> Backbone:
    """Make a row for a network in the arithmetic of PyTorch's libraries, for weights from there."""
    builder = f"featx.zoo.torch_nets:{function}"
    return Backbone(name, family, builder, 224, 32, preprocessing, width, parameters)


def _vit(
    name: str, preprocessing: str, width: int, parameters: int, blocks: int, heads: int, patch: int
) -> Backbone:
    """Make a row for a Vision Transformer of timm or, where it is named so, of torchvision."""
    builder, arguments = "featx.zoo.torch_nets:vit", {"blocks": blocks, "heads": heads, "patch": patch}
    arguments["width"] = width
    return Backbone(
        name, "vit", builder, 224, patch, preprocessing, width, parameters, CLASS_TOKEN, arguments, patch
    )


def _hub(row: HubRow) -> Backbone:
    """Make a row for a network of KerasHub."""
    builder = f"featx.zoo.hub:{row.family}"
    return Backbone(
        row.name,
        row.family,
        builder,
        row.image_size,
        row.multiple,
        row.preprocessing,
        row.width,
        row.parameters,
        row.layer,
        row.arguments,
        row.multiple,
    )


# Columns: name, family, function, image size, least size, preprocessing, width, parameters.
_ROWS = (
    Backbone("tiny", "tiny", "featx.zoo.tiny:tiny", 64, 16, "tf", 128, 92_976),
    Backbone("vgg_m", "vgg_m", "featx.zoo.vgg_m:vgg_m", 224, 51, "mean", 4096, 98_962_048, "fc2"),
    _app("vgg16", "vgg", "VGG16", 224, 32, "caffe", 4096, 134_260_544, "fc2"),
    _app("vgg16_torch", "vgg", "VGG16", 224, 32, "torch", 4096, 134_260_544, "fc2"),
    _app("vgg19", "vgg", "VGG19", 224, 32, "caffe", 4096, 139_570_240, "fc2"),
    _app("resnet50", "resnet", "ResNet50", 224, 32, "caffe", 2048, 23_587_712),
    _torch("resnet50_torch", "resnet", "resnet50", "torch", 2048, 23_561_152),
    _app("resnet101", "resnet", "ResNet101", 224, 32, "caffe", 2048, 42_658_176),
    _app("resnet152", "resnet", "ResNet152", 224, 32, "caffe", 2048, 58_370_944),
    _app("resnet50_v2", "resnet_v2", "ResNet50V2", 224, 32, "tf", 2048, 23_564_800),
    _app("resnet101_v2", "resnet_v2", "ResNet101V2", 224, 32, "tf", 2048, 42_626_560),
    _app("resnet152_v2", "resnet_v2", "ResNet152V2", 224, 32, "tf", 2048, 58_331_648),
    _app("inception_v3", "inception", "InceptionV3", 299, 75, "tf", 2048, 21_802_784),
    _app("inception_resnet_v2", "inception_resnet", "InceptionResNetV2", 299, 75, "tf", 1536, 54_336_736),
    _app("xception", "xception", "Xception", 299, 71, "tf", 2048, 20_861_480),
    _app("densenet121", "densenet", "DenseNet121", 224, 32, "torch", 1024, 7_037_504),
    _app("densenet169", "densenet", "DenseNet169", 224, 32, "torch", 1664, 12_642_880),
    _app("densenet201", "densenet", "DenseNet201", 224, 32, "torch", 1920, 18_321_984),
    _app("nasnet_mobile", "nasnet", "NASNetMobile", 224, 32, "tf", 1056, 4_269_716),
    _app("nasnet_large", "nasnet", "NASNetLarge", 331, 32, "tf", 4032, 84_916_818),
    _app("mobilenet_0.25", "mobilenet", "MobileNet", 224, 32, "tf", 256, 218_544, alpha=0.25),
    _app("mobilenet_0.50", "mobilenet", "MobileNet", 224, 32, "tf", 512, 829_536, alpha=0.5),
    _app("mobilenet_0.75", "mobilenet", "MobileNet", 224, 32, "tf", 768, 1_832_976, alpha=0.75),
    _app("mobilenet", "mobilenet", "MobileNet", 224, 32, "tf", 1024, 3_228_864),
    _app("mobilenet_v2_0.35", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1280, 410_208, alpha=0.35),
    _app("mobilenet_v2_0.50", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1280, 706_224, alpha=0.5),
    _app("mobilenet_v2_0.75", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1280, 1_382_064, alpha=0.75),
    _app("mobilenet_v2", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1280, 2_257_984),
    _torch("mobilenet_v2_torch", "mobilenet_v2", "mobilenet_v2", "torch", 1280, 2_257_984),
    _app("mobilenet_v2_1.3", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1664, 3_766_048, alpha=1.3),
    _app("mobilenet_v2_1.4", "mobilenet_v2", "MobileNetV2", 224, 32, "tf", 1792, 4_363_712, alpha=1.4),
    _app(
        "mobilenet_v3_small_minimalistic",
        "mobilenet_v3",
        "MobileNetV3Small",
        224,
        32,
        "none",
        576,
        441_000,
        minimalistic=True,
    ),
    _app(
        "mobilenet_v3_small_0.75",
        "mobilenet_v3",
        "MobileNetV3Small",
        224,
        32,
        "none",
        432,
        583_160,
        alpha=0.75,
    ),
    _app("mobilenet_v3_small", "mobilenet_v3", "MobileNetV3Small", 224, 32, "none", 576, 939_120),
    _app(
        "mobilenet_v3_large_minimalistic",
        "mobilenet_v3",
        "MobileNetV3Large",
        224,
        32,
        "none",
        960,
        1_437_608,
        minimalistic=True,
    ),
    _app(
        "mobilenet_v3_large_0.75",
        "mobilenet_v3",
        "MobileNetV3Large",
        224,
        32,
        "none",
        720,
        1_808_736,
        alpha=0.75,
    ),
    _app("mobilenet_v3_large", "mobilenet_v3", "MobileNetV3Large", 224, 32, "none", 960, 2_996_352),
    _app("efficientnet_b0", "efficientnet", "EfficientNetB0", 224, 32, "none", 1280, 4_049_571),
    _torch("efficientnet_b0_torch", "efficientnet", "efficientnet_b0", "torch", 1280, 4_049_564),
    _app("efficientnet_b1", "efficientnet", "EfficientNetB1", 240, 32, "none", 1280, 6_575_239),
    _app("efficientnet_b2", "efficientnet", "EfficientNetB2", 260, 32, "none", 1408, 7_768_569),
    _app("efficientnet_b3", "efficientnet", "EfficientNetB3", 300, 32, "none", 1536, 10_783_535),
    _app("efficientnet_b4", "efficientnet", "EfficientNetB4", 380, 32, "none", 1792, 17_673_823),
    _app("efficientnet_b5", "efficientnet", "EfficientNetB5", 456, 32, "none", 2048, 28_513_527),
    _app("efficientnet_b6", "efficientnet", "EfficientNetB6", 528, 32, "none", 2304, 40_960_143),
    _app("efficientnet_b7", "efficientnet", "EfficientNetB7", 600, 32, "none", 2560, 64_097_687),
    _app("efficientnet_v2_b0", "efficientnet_v2", "EfficientNetV2B0", 224, 32, "none", 1280, 5_919_312),
    _app("efficientnet_v2_b1", "efficientnet_v2", "EfficientNetV2B1", 240, 32, "none", 1280, 6_931_124),
    _app("efficientnet_v2_b2", "efficientnet_v2", "EfficientNetV2B2", 260, 32, "none", 1408, 8_769_374),
    _app("efficientnet_v2_b3", "efficientnet_v2", "EfficientNetV2B3", 300, 32, "none", 1536, 12_930_622),
    _app("efficientnet_v2_s", "efficientnet_v2", "EfficientNetV2S", 384, 32, "none", 1280, 20_331_360),
    _app("efficientnet_v2_m", "efficientnet_v2", "EfficientNetV2M", 480, 32, "none", 1280, 53_150_388),
    _app("efficientnet_v2_l", "efficientnet_v2", "EfficientNetV2L", 480, 32, "none", 1280, 117_746_848),
    _app("convnext_tiny", "convnext", "ConvNeXtTiny", 224, 32, "none", 768, 27_820_128),
    _app("convnext_small", "convnext", "ConvNeXtSmall", 224, 32, "none", 768, 49_454_688),
    _app("convnext_base", "convnext", "ConvNeXtBase", 224, 32, "none", 1024, 87_566_464),
    _app("convnext_large", "convnext", "ConvNeXtLarge", 224, 32, "none", 1536, 196_230_336),
    _app("convnext_xlarge", "convnext", "ConvNeXtXLarge", 224, 32, "none", 2048, 348_147_968),
    _vit("vit_ti16", "tf", 192, 5_524_416, 12, 3, 16),
    _vit("vit_s16", "tf", 384, 21_665_664, 12, 6, 16),
    _vit("vit_s32", "tf", 384, 22_493_952, 12, 6, 32),
    _vit("vit_b16", "tf", 768, 85_798_656, 12, 12, 16),
    _vit("vit_b16_torchvision", "torch", 768, 85_798_656, 12, 12, 16),
    _vit("vit_b32", "tf", 768, 87_455_232, 12, 12, 32),
    _vit("vit_b32_torchvision", "torch", 768, 87_455_232, 12, 12, 32),
    _vit("vit_l16", "tf", 1024, 303_301_632, 24, 16, 16),
    _vit("vit_l16_torchvision", "torch", 1024, 303_301_632, 24, 16, 16),
    *(_hub(row) for row in HUB_ROWS),
)


def list_backbones() -> tuple[Backbone, ...]:
    """List all backbones.

    Returns
    -------
    tuple of Backbone
        By family, each from its smallest member to its largest.

    Examples
    --------
    >>> [row.name for row in list_backbones()][:3]
    ['tiny', 'vgg_m', 'vgg16']
    """
    return _ROWS


def find_backbone(name: str) -> Backbone:
    """Look up a backbone.

    Parameters
    ----------
    name : str
        Its name; case, ``-`` and ``_`` do not matter, so that Keras' own spelling works.

    Returns
    -------
    Backbone
        Its row.

    Raises
    ------
    BackboneError
        If there is none; the message names those that look alike.

    Examples
    --------
    >>> find_backbone("EfficientNetV2B0").width
    1280
    """
    rows = {_plain(row.name): row for row in _ROWS}
    if _plain(name) in rows:
        return rows[_plain(name)]
    close = [rows[match].name for match in difflib.get_close_matches(_plain(name), list(rows), 4, 0.6)]
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise BackboneError(f"unknown backbone {name!r}; {meant}`featx zoo list` shows all {len(rows)}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
