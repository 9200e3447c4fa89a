"""The table of published files against the installed Keras."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from featx.zoo.backbones import find_backbone, list_backbones


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
        "nasnet_mobile",
        "resnet50_v2",
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
