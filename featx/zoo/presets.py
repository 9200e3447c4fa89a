"""Table of the architectures of KerasHub and of the presets with their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HUB_ROWS", "HubRow", "Preset", "preset"]


@dataclass(frozen=True)
class Preset:
    """Trained weights that KerasHub publishes.

    Attributes
    ----------
    name : str
        Its name at KerasHub and of its folder in the folder of weights.
    handle : str
        Path at Kaggle: owner, model, framework, variation, version.
    trained_on : str
        The training data.
    """

    name: str
    handle: str
    trained_on: str


@dataclass(frozen=True)
class HubRow:
    """One architecture of KerasHub with its preset.

    Attributes
    ----------
    name : str
        Value of `--backbone`.
    family : str
        Key of `featx.zoo.backbones.FAMILIES`, and the function of `featx.zoo.hub` that builds it.
    image_size : int
        Default input size, px.
    multiple : int
        The input size must be a multiple of this, px.
    preprocessing : str
        As in `featx.zoo.backbones.Backbone`.
    width : int
        Number of features of the penultimate layer.
    parameters : int
        Number of weights up to the penultimate layer, at the input size `image_size`.
    layer : str
        Penultimate layer.
    preset : Preset
        Its trained weights.
    arguments : mapping
        Arguments of KerasHub's class, except the shape of the image.
    """

    name: str
    family: str
    image_size: int
    multiple: int
    preprocessing: str
    width: int
    parameters: int
    layer: str
    preset: Preset
    arguments: Mapping[str, Any] = field(hash=False)


# Name, preset, parameters, layers, width, heads, register tokens.
_DINOV2 = (
    ("dinov2_small", "dinov2_small", 21_727_872, 12, 384, 6, 0),
    ("dinov2_base", "dinov2_base", 85_923_072, 12, 768, 12, 0),
    ("dinov2_large", "dinov2_large", 303_492_096, 24, 1024, 16, 0),
    ("dinov2_reg_small", "dinov2_with_registers_small", 21_729_408, 12, 384, 6, 4),
    ("dinov2_reg_base", "dinov2_with_registers_base", 85_926_144, 12, 768, 12, 4),
)


# Name, preset, parameters, version of the preset, input size, patch size, layers, width, heads.
_VIT = (
    ("vit_b16_hub", "vit_base_patch16_224_imagenet", 85_798_656, 4, 224, 16, 12, 768, 12),
    ("vit_b32_384_hub", "vit_base_patch32_384_imagenet", 87_528_192, 3, 384, 32, 12, 768, 12),
    ("vit_l16_hub", "vit_large_patch16_224_imagenet", 303_301_632, 4, 224, 16, 24, 1024, 16),
)


# Name, preset, parameters, input size, layers, width, heads.
_SIGLIP = (
    ("siglip_base", "siglip_base_patch16_224", 92_884_420, 224, 12, 768, 12),
    ("siglip_large", "siglip_large_patch16_256", 315_956_480, 256, 24, 1024, 16),
    ("siglip2_base", "siglip2_base_patch16_224", 92_884_420, 224, 12, 768, 12),
)


# Name, preset, parameters, version of the preset, blocks of each stage, widths.
_MIT = (
    ("mit_b0", "mit_b0_ade20k_512", 3_319_392, 4, (2, 2, 2, 2), (32, 64, 160, 256)),
    ("mit_b1", "mit_b1_ade20k_512", 13_151_424, 4, (2, 2, 2, 2), (64, 128, 320, 512)),
    ("mit_b2", "mit_b2_ade20k_512", 24_196_288, 4, (3, 4, 6, 3), (64, 128, 320, 512)),
    ("mit_b3", "mit_b3_ade20k_512", 44_072_128, 3, (3, 4, 18, 3), (64, 128, 320, 512)),
    ("mit_b4", "mit_b4_ade20k_512", 60_842_688, 3, (3, 8, 27, 3), (64, 128, 320, 512)),
    ("mit_b5", "mit_b5_ade20k_640", 81_443_008, 3, (3, 6, 40, 3), (64, 128, 320, 512)),
)


def _dinov2(
    name: str, variation: str, parameters: int, layers: int, width: int, heads: int, registers: int
) -> HubRow:
    """Make a row with the usual input size of 224 px; the position embeddings of the preset are those of 518 px."""
    arguments = {
        "patch_size": 14,
        "num_layers": layers,
        "hidden_dim": width,
        "num_heads": heads,
        "intermediate_dim": 4 * width,
        "layer_scale_init_value": 1.0,
        "num_register_tokens": registers,
        "use_mask_token": True,
        "use_swiglu_ffn": False,
        "dropout_rate": 0.0,
        "drop_path_rate": 0.0,
        "antialias_in_interpolation": registers > 0,
    }
    source = Preset(variation, f"keras/dinov2/keras/{variation}/1", "LVD-142M, without labels")
    return HubRow(name, "dinov2", 224, 14, "torch", width, parameters, "class token", source, arguments)


def _vit(
    name: str,
    variation: str,
    parameters: int,
    version: int,
    side: int,
    patch: int,
    layers: int,
    width: int,
    heads: int,
) -> HubRow:
    arguments = {
        "patch_size": patch,
        "num_layers": layers,
        "num_heads": heads,
        "hidden_dim": width,
        "mlp_dim": 4 * width,
        "dropout_rate": 0.0,
        "attention_dropout": 0.0,
        "layer_norm_epsilon": 1e-6,
        "use_mha_bias": True,
        "use_mlp_bias": True,
        "use_class_token": True,
        "use_patch_bias": True,
    }
    source = Preset(variation, f"keras/vit/keras/{variation}/{version}", "ImageNet-21k, then ImageNet")
    return HubRow(name, "vit_hub", side, patch, "tf", width, parameters, "class token", source, arguments)


def _siglip(
    name: str, variation: str, parameters: int, side: int, layers: int, width: int, heads: int
) -> HubRow:
    arguments = {
        "patch_size": 16,
        "hidden_dim": width,
        "num_layers": layers,
        "num_heads": heads,
        "intermediate_dim": 4 * width,
        "intermediate_activation": "gelu_approximate",
        "layer_norm_epsilon": 1e-6,
    }
    source = Preset(variation, f"keras/siglip/keras/{variation}/1", "WebLI, images with their texts")
    return HubRow(name, "siglip", side, 16, "tf", width, parameters, "head", source, arguments)


def _mit(
    name: str, variation: str, parameters: int, version: int, blocks: tuple[int, ...], widths: tuple[int, ...]
) -> HubRow:
    arguments = {
        "layerwise_depths": blocks,
        "num_layers": 4,
        "layerwise_num_heads": (1, 2, 5, 8),
        "layerwise_sr_ratios": (8, 4, 2, 1),
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": (7, 3, 3, 3),
        "layerwise_strides": (4, 2, 2, 2),
        "hidden_dims": widths,
    }
    source = Preset(variation, f"keras/mit/keras/{variation}/{version}", "ImageNet, then ADE20K")
    return HubRow(name, "mit", 224, 32, "torch", widths[-1], parameters, "global pool", source, arguments)


HUB_ROWS = (
    *(_dinov2(*row) for row in _DINOV2),
    *(_vit(*row) for row in _VIT),
    *(_siglip(*row) for row in _SIGLIP),
    *(_mit(*row) for row in _MIT),
)


_PRESETS = {row.name: row.preset for row in HUB_ROWS}


def preset(name: str) -> Preset | None:
    """Look up the preset of a backbone.

    Examples
    --------
    >>> preset("dinov2_small").handle
    'keras/dinov2/keras/dinov2_small/1'
    """
    return _PRESETS.get(name)
