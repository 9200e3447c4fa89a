"""The table of backbones: one row for each architecture, available without importing Keras.

The rows of `keras.applications` are those of Keras 3.15. A test builds each of them and compares its width, parameters
and preprocessing with this table.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.errors import BackboneError
from featx.zoo.own_backbone import is_own, load_own, own_width
from featx.zoo.presets import HUB_ROWS, HubRow, Preset, preset

__all__ = [
    "CLASS_TOKEN",
    "FAMILIES",
    "POOLED",
    "Backbone",
    "Published",
    "find_backbone",
    "list_backbones",
    "published_weights",
]


_SERVER = "https://storage.googleapis.com/"


# backbone, path on the server, local file name where it differs, MD5 or SHA-256 where Keras knows one
_TABLE = """
vgg16 tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5 - 64373286793e3c8b2b4e3219cbf3544b
vgg16_conv tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 - 6d6bbae143d832006294945121d1f1fc
vgg19 tensorflow/keras-applications/vgg19/vgg19_weights_tf_dim_ordering_tf_kernels.h5 - cbe5617147190e668d6c5d5026f83318
resnet50 tensorflow/keras-applications/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5 - 4d473c1dd8becc155b73f8504c6f6626
resnet101 tensorflow/keras-applications/resnet/resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5 - 88cf7a10940856eca736dc7b7e228a21
resnet152 tensorflow/keras-applications/resnet/resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5 - ee4c566cf9a93f14d82f913c2dc6dd0c
resnet50_v2 tensorflow/keras-applications/resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels_notop.h5 - fac2f116257151a9d068a22e544a4917
resnet101_v2 tensorflow/keras-applications/resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels_notop.h5 - c0ed64b8031c3730f411d2eb4eea35b5
resnet152_v2 tensorflow/keras-applications/resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels_notop.h5 - ed17cf2e0169df9d443503ef94b23b33
inception_v3 tensorflow/keras-applications/inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5 - bcbd6486424b2319ff4ef7d526e38f63
inception_resnet_v2 tensorflow/keras-applications/inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5 - d19885ff4a710c122648d3b5c3b684e4
xception tensorflow/keras-applications/xception/xception_weights_tf_dim_ordering_tf_kernels_notop.h5 - b0042744bf5b25fce3cb969f33bebb97
densenet121 tensorflow/keras-applications/densenet/densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5 - 30ee3e1110167f948a6b9946edeeb738
densenet169 tensorflow/keras-applications/densenet/densenet169_weights_tf_dim_ordering_tf_kernels_notop.h5 - b8c4d4c20dd625c148057b9ff1c1176b
densenet201 tensorflow/keras-applications/densenet/densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5 - c13680b51ded0fb44dff2d8f86ac8bb1
nasnet_mobile tensorflow/keras-applications/nasnet/NASNet-mobile-no-top.h5 nasnet_mobile_no_top.h5 1ed92395b5b598bdda52abe5c0dbfd63
nasnet_large tensorflow/keras-applications/nasnet/NASNet-large-no-top.h5 nasnet_large_no_top.h5 d81d89dc07e6e56530c4e77faddd61b5
mobilenet_0.25 tensorflow/keras-applications/mobilenet/mobilenet_2_5_224_tf_no_top.h5 - -
mobilenet_0.50 tensorflow/keras-applications/mobilenet/mobilenet_5_0_224_tf_no_top.h5 - -
mobilenet_0.75 tensorflow/keras-applications/mobilenet/mobilenet_7_5_224_tf_no_top.h5 - -
mobilenet tensorflow/keras-applications/mobilenet/mobilenet_1_0_224_tf_no_top.h5 - -
mobilenet_v2_0.35 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5 - -
mobilenet_v2_0.50 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_224_no_top.h5 - -
mobilenet_v2_0.75 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.75_224_no_top.h5 - -
mobilenet_v2 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5 - -
mobilenet_v2_1.3 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.3_224_no_top.h5 - -
mobilenet_v2_1.4 tensorflow/keras-applications/mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_224_no_top.h5 - -
mobilenet_v3_small_minimalistic tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_small_minimalistic_224_1.0_float_no_top_v2.h5 - cde8136e733e811080d9fcd8a252f7e4
mobilenet_v3_small_0.75 tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_small_224_0.75_float_no_top_v2.h5 - ebdb5cc8e0b497cd13a7c275d475c819
mobilenet_v3_small tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_small_224_1.0_float_no_top_v2.h5 - d3e8ec802a04aa4fc771ee12a9a9b836
mobilenet_v3_large_minimalistic tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_minimalistic_224_1.0_float_no_top_v2.h5 - ec5221f64a2f6d1ef965a614bdae7973
mobilenet_v3_large_0.75 tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_224_0.75_float_no_top_v2.h5 - 40af19a13ebea4e2ee0c676887f69a2e
mobilenet_v3_large tensorflow/keras-applications/mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5 - 07fb09a5933dd0c8eaafa16978110389
efficientnet_b0 keras-applications/efficientnetb0_notop.h5 - 50bc09e76180e00e4465e1a485ddc09d
efficientnet_b1 keras-applications/efficientnetb1_notop.h5 - 74c4e6b3e1f6a1eea24c589628592432
efficientnet_b2 keras-applications/efficientnetb2_notop.h5 - 111f8e2ac8aa800a7a99e3239f7bfb39
efficientnet_b3 keras-applications/efficientnetb3_notop.h5 - af6d107764bb5b1abb91932881670226
efficientnet_b4 keras-applications/efficientnetb4_notop.h5 - ebc24e6d6c33eaebbd558eafbeedf1ba
efficientnet_b5 keras-applications/efficientnetb5_notop.h5 - 38879255a25d3c92d5e44e04ae6cec6f
efficientnet_b6 keras-applications/efficientnetb6_notop.h5 - 9ecce42647a20130c1f39a5d4cb75743
efficientnet_b7 keras-applications/efficientnetb7_notop.h5 - cbcfe4450ddf6f3ad90b1b398090fe4a
efficientnet_v2_b0 tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b0_notop.h5 - 893217f2bb855e2983157299931e43ff
efficientnet_v2_b1 tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b1_notop.h5 - 0e80663031ca32d657f9caa404b6ec37
efficientnet_v2_b2 tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b2_notop.h5 - 1dfe2e7a5d45b6632553a8961ea609eb
efficientnet_v2_b3 tensorflow/keras-applications/efficientnet_v2/efficientnetv2-b3_notop.h5 - f6abf7b5849ac99a89b50dd3fd532856
efficientnet_v2_s tensorflow/keras-applications/efficientnet_v2/efficientnetv2-s_notop.h5 - af0682fb74e8c54910f2d4393339c070
efficientnet_v2_m tensorflow/keras-applications/efficientnet_v2/efficientnetv2-m_notop.h5 - 1b8dc055df72dde80d614482840fe342
efficientnet_v2_l tensorflow/keras-applications/efficientnet_v2/efficientnetv2-l_notop.h5 - b0b66b5c863aef5b46e8608fe1711615
convnext_tiny tensorflow/keras-applications/convnext/convnext_tiny_notop.h5 - d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1
convnext_small tensorflow/keras-applications/convnext/convnext_small_notop.h5 - 6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab
convnext_base tensorflow/keras-applications/convnext/convnext_base_notop.h5 - 40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45
convnext_large tensorflow/keras-applications/convnext/convnext_large_notop.h5 - 96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd
convnext_xlarge tensorflow/keras-applications/convnext/convnext_xlarge_notop.h5 - de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05
"""


@dataclass(frozen=True)
class Published:
    """A published weights file.

    Attributes
    ----------
    url : str
        Address of the download.
    file : str
        File name in the folder of weights.
    checksum : str
        MD5 (32 digits) or SHA-256 (64 digits); empty if Keras states none.
    """

    url: str
    file: str
    checksum: str


def _rows() -> dict[str, Published]:
    rows = {}
    for line in _TABLE.split("\n"):
        if line:
            name, path, file, checksum = (part if part != "-" else "" for part in line.split())
            rows[name] = Published(_SERVER + path, file or path.rsplit("/", 1)[1], checksum)
    return rows


_PUBLISHED = _rows()


def published_weights(name: str) -> Published | None:
    """Look up the published ImageNet weights of a backbone.

    Parameters
    ----------
    name : str
        Name of a backbone.

    Returns
    -------
    Published or None
        The file, or None if no weights are published.

    Examples
    --------
    >>> published_weights("resnet50").file
    'resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5'
    """
    return _PUBLISHED.get(name)


# Name of the penultimate layer if it is the global average of the last feature map.
POOLED = "global pool"


# Name of the penultimate layer if it is the class token of a transformer.
CLASS_TOKEN = "class token"


# Family: source of the architecture.
FAMILIES = {
    "convnext": "Liu et al. 2022, A ConvNet for the 2020s, arXiv 2201.03545",
    "densenet": "Huang et al. 2017, Densely connected convolutional networks, arXiv 1608.06993",
    "dinov2": "Oquab et al. 2024, DINOv2: learning robust visual features, arXiv 2304.07193",
    "efficientnet": "Tan & Le 2019, EfficientNet: rethinking model scaling, arXiv 1905.11946",
    "efficientnet_lite": "Liu 2020, Higher accuracy on vision models with EfficientNet-Lite, TensorFlow Blog",
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
        Value of `--backbone`.
    family : str
        Key of `FAMILIES`.
    builder : str
        ``module:function`` that builds the network.
    image_size : int
        Default input size, px.
    min_size : int
        Minimum input size, px.
    preprocessing : str
        How RGB pixels from 0 to 255 are scaled before the network: ``tf`` (to -1..1), ``torch`` (to 0..1, then
        standardised with ImageNet's mean and standard deviation), ``caffe`` (BGR, ImageNet's mean subtracted),
        ``lite`` (127 subtracted, divided by 128),
        ``none`` (the network contains its own scaling), ``mean`` (the mean image is a weight of the network).
    width : int
        Number of features of the penultimate layer.
    parameters : int
        Number of weights up to the penultimate layer, at the input size `image_size`.
    layer : str
        Penultimate layer: ``fc2``, ``global pool`` for the average of the last feature map, ``class token``, or
        ``head`` for the attention pooling of SigLIP.
    arguments : mapping
        Further arguments of the builder, such as a width multiplier.
    multiple : int
        The input size must be a multiple of this, px.

    Examples
    --------
    >>> network = find_backbone("mobilenet_v2")
    >>> network.width, network.image_size
    (1280, 224)
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
    def is_own(self) -> bool:
        """Whether it is a user's own network."""
        return is_own(self.name)

    @property
    def is_function(self) -> bool:
        """Whether it is a user's callable and no Keras model."""
        return self.is_own and not load_own(self.name).is_keras

    @property
    def reference(self) -> str:
        """The paper; of a user's own network, where it comes from."""
        return "the user's own function" if self.is_own else FAMILIES[self.family]

    @property
    def published(self) -> Published | None:
        """The ImageNet weights that `keras.applications` publishes for it, if any."""
        return published_weights(self.name)

    @property
    def imagenet(self) -> bool:
        """Whether ``--weights imagenet`` is available."""
        return self.published is not None

    @property
    def preset(self) -> Preset | None:
        """The preset of KerasHub that ``--weights preset`` loads, if it is an architecture of KerasHub."""
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
    """Make a row for an architecture with PyTorch's padding and epsilon, for weights of PyTorch."""
    builder = f"featx.zoo.architectures:{function}"
    return Backbone(name, family, builder, 224, 32, preprocessing, width, parameters)


def _lite(number: int, image_size: int, parameters: int, width: float, depth: float) -> Backbone:
    """Make a row for an EfficientNet-Lite, for the weights of TensorFlow in timm's names."""
    builder, arguments = "featx.zoo.architectures:efficientnet_lite", {"width": width, "depth": depth}
    name, family = f"efficientnet_lite{number}", "efficientnet_lite"
    return Backbone(name, family, builder, image_size, 32, "lite", 1280, parameters, arguments=arguments)


def _vit(
    name: str, preprocessing: str, width: int, parameters: int, blocks: int, heads: int, patch: int
) -> Backbone:
    """Make a row for a Vision Transformer of timm or, if the name says so, of torchvision."""
    builder, arguments = "featx.zoo.architectures:vit", {"blocks": blocks, "heads": heads, "patch": patch}
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
    Backbone("tiny", "tiny", "featx.zoo.architectures:tiny", 64, 16, "tf", 128, 92_976),
    Backbone("vgg_m", "vgg_m", "featx.zoo.architectures:vgg_m", 224, 51, "mean", 4096, 98_962_048, "fc2"),
    _app("vgg16", "vgg", "VGG16", 224, 32, "caffe", 4096, 134_260_544, "fc2"),
    _app("vgg16_conv", "vgg", "VGG16", 224, 32, "caffe", 512, 14_714_688),
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
    _lite(0, 224, 3_413_024, 1.0, 1.0),
    _lite(1, 240, 4_189_344, 1.0, 1.1),
    _lite(2, 260, 4_869_168, 1.1, 1.2),
    _lite(3, 280, 6_992_768, 1.2, 1.4),
    _lite(4, 300, 11_837_936, 1.4, 1.8),
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
        Its name. Case, ``-`` and ``_`` are ignored, so that the spelling of Keras works. Or ``module:function`` of a
        user's own network, which is imported and called.

    Returns
    -------
    Backbone
        Its row.

    Raises
    ------
    BackboneError
        If no backbone has this name; the message suggests similar names.

    Examples
    --------
    >>> find_backbone("EfficientNetV2B0").width
    1280
    """
    if is_own(name):
        return _own(name)
    rows = {_plain(row.name): row for row in _ROWS}
    if _plain(name) in rows:
        return rows[_plain(name)]
    close = [rows[match].name for match in difflib.get_close_matches(_plain(name), list(rows), 4, 0.6)]
    meant = f"did you mean {' or '.join(close)}? " if close else ""
    raise BackboneError(f"unknown backbone {name!r}; {meant}`featx zoo list` lists all {len(rows)}")


def _own(name: str) -> Backbone:
    own = load_own(name)
    width, size = own_width(name), own.image_size
    parameters = int(own.model.count_params()) if own.is_keras else own.parameters or 0
    return Backbone(name, "own", name, size, size, "none", width, parameters, "output", multiple=size)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", name.lower())
