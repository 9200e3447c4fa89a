from __future__ import annotations

import dataclasses

import pytest

from featx.features.feature_recipe import folder_name, recipe_digest, recipe_key

METADATA = {
    "weights_source": "elsewhere.h5",
    "weights_label": "other",
    "lineage": ("a", "b"),
    "versions": {"keras": "9"},
    "warnings": ("a size of its own",),
}
DECIDING = {
    "backbone": "vgg16",
    "weights": "cd" * 32,
    "layer": "fc1",
    "pool": "max",
    "image_size": 65,
    "preparation": {"name": "atlas"},
    "decode": 2,
    "views": {"count": 2},
    "view_pool": "keep",
    "precision": "bfloat16",
    "engine": "openvino",
    "float32_layers": 1,
    "trained_on": {"fold": "1x1"},
    "format": 2,
}


def test_every_field_either_decides_or_is_metadata(recipe):
    assert {*METADATA, *DECIDING} == {field.name for field in dataclasses.fields(recipe)}


@pytest.mark.parametrize("name", DECIDING)
def test_a_deciding_field_changes_digest_and_folder(recipe, name):
    other = dataclasses.replace(recipe, **{name: DECIDING[name]})
    assert other.digest != recipe.digest
    assert folder_name(other) != folder_name(recipe)


@pytest.mark.parametrize("name", METADATA)
def test_metadata_do_not_change_the_digest(recipe, name):
    assert dataclasses.replace(recipe, **{name: METADATA[name]}).digest == recipe.digest


def test_the_record_read_back_has_the_same_digest(recipe):
    record = recipe.record()
    assert recipe_digest({**record, "digest": "other"}) == recipe.digest
    assert recipe_key(record) == recipe.key()


def test_the_folder_has_no_awkward_characters(recipe):
    assert folder_name(dataclasses.replace(recipe, weights_label="a/b c:d")).startswith("tiny-a-b-c-d-")
