"""The table of backbones."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module

import pytest

from featx.errors import BackboneError
from featx.zoo.backbones import CLASS_TOKEN, FAMILIES, POOLED, find_backbone, list_backbones


def test_every_architecture_of_keras_has_a_row():
    import keras

    functions = {name for name, item in vars(keras.applications).items() if callable(item)}
    builders = {row.builder for row in list_backbones()}
    assert {f"keras.applications:{name}" for name in functions} <= builders
    assert len(functions) >= 38


def test_names_are_unique_and_families_known():
    names = [row.name for row in list_backbones()]
    assert len(set(names)) == len(names)
    assert {row.family for row in list_backbones()} == set(FAMILIES)


def test_the_wider_the_multiplier_the_wider_the_row():
    rows = [row for row in list_backbones() if row.name == "mobilenet" or row.name.startswith("mobilenet_0")]
    assert [row.width for row in rows] == [256, 512, 768, 1024]


@pytest.mark.parametrize("spelling", ["MobileNetV2", "mobilenet-v2", "mobilenet_v2", "MOBILENETV2"])
def test_find_backbone_takes_any_spelling(spelling):
    assert find_backbone(spelling).name == "mobilenet_v2"


def test_find_backbone_names_what_looks_alike():
    with pytest.raises(
        BackboneError, match=r"unknown backbone 'efficientnet_b9'; did you mean efficientnet_b"
    ):
        find_backbone("efficientnet_b9")
    with pytest.raises(BackboneError, match=r"unknown backbone '!'; `featx zoo list`"):
        find_backbone("!")


def test_the_penultimate_layer_of_vgg_is_its_second_dense_layer():
    assert {row.name for row in list_backbones() if row.layer == "fc2"} == {
        "vgg_m",
        "vgg16",
        "vgg16_torch",
        "vgg19",
    }
    assert {row.width for row in list_backbones() if row.layer == "fc2"} == {4096}
    assert {row.layer for row in list_backbones()} == {"fc2", POOLED, CLASS_TOKEN, "head"}


def test_own_networks_have_no_published_weights():
    # Keras' files are for Keras' arithmetic: rows for PyTorch's weights take those alone.
    for row in list_backbones():
        own = row.builder.startswith("featx") or row.name.endswith("_torch")
        assert row.imagenet is not own


def test_table_is_read_without_a_framework():
    code = (
        "import sys, featx.zoo.backbones, featx.zoo.weights, featx.zoo.network;"
        "print([name for name in ('keras', 'tensorflow', 'torch', 'jax') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


class _Asked(Exception):
    """Raised in place of a download, with what Keras asked for."""


# The smallest of each family; building all of them only to hear their file names would take minutes.
@pytest.mark.parametrize(
    "name",
    [
        "mobilenet_0.25",
        "mobilenet_v2_0.35",
        "mobilenet_v3_small_minimalistic",
        "efficientnet_b0",
        pytest.param("nasnet_mobile", marks=pytest.mark.slow),
        pytest.param("resnet50_v2", marks=pytest.mark.slow),
        "xception",
    ],
)
def test_file_is_what_keras_downloads(name, monkeypatch):
    from keras.src.utils import file_utils

    def get_file(fname, origin, cache_subdir, file_hash=""):
        raise _Asked(origin, fname, file_hash)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    backbone = find_backbone(name)
    module, function = backbone.builder.split(":")
    build = getattr(import_module(module), function)
    side = backbone.image_size
    with pytest.raises(_Asked) as caught:
        build(include_top=False, weights="imagenet", input_shape=(side, side, 3), **backbone.arguments)
    row = backbone.published
    assert caught.value.args == (row.url, row.file, row.checksum)


@pytest.mark.parametrize(
    "backbone", [row for row in list_backbones() if row.imagenet], ids=lambda row: row.name
)
def test_checksum_and_folder_are_in_keras_own_source(backbone):
    module, function = backbone.builder.split(":")
    home = inspect.getmodule(getattr(import_module(module), function))
    if backbone.family == "resnet_v2":
        home = import_module(home.__name__.removesuffix("_v2"))
    source = inspect.getsource(home)
    row = backbone.published
    assert row.checksum in source
    assert row.url.startswith("https://storage.googleapis.com/")
    assert row.url.rsplit("/", 2)[1] in source
