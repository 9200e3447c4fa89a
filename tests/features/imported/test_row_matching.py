"""Rows of a file and images of a manifest."""

from __future__ import annotations

import numpy as np
import pytest

from featx.data import read_manifest
from featx.errors import InputError
from featx.features.imported.feature_files import FeatureTable
from featx.features.imported.row_matching import match_rows


def table(*names):
    return FeatureTable("x.npz", names or None, np.zeros((max(len(names), 1), 1, 2), np.float32), "float32")


@pytest.fixture
def manifest(tmp_path):
    """Two images of one file name, one whose id is not its file's name, and a slide."""

    def make(text="image,id\ntrain/a.png,1\ntest/a.png,2\ntest/b.jpg,three\ntest/s1.x.svs,s1\n"):
        (tmp_path / "m.csv").write_text(text)
        return read_manifest(tmp_path / "m.csv", check_files=False)

    return make


@pytest.mark.parametrize(
    "names",
    [
        ("1", "2", "three", "s1"),
        ("train/a.png", "test/a", "b", "s1.x"),
        ("/data/isic/train/a.png", "test\\a.png", "b.jpg", "s1.x.svs"),
        ("old/train/a.jpg", "2", "elsewhere/b.png", "slides/s1.x"),
    ],
)
def test_names_are_ids_file_names_or_paths(manifest, names):
    found = match_rows(table(*reversed(names)), manifest())
    assert found.images == (0, 1, 2, 3)
    assert found.rows == (3, 2, 1, 0)


def test_rows_and_images_that_are_left_over(manifest):
    found = match_rows(table("three", "four", "1"), manifest())
    assert (found.images, found.rows) == ((0, 2), (2, 0))
    assert found.missing == ("2", "s1")
    assert found.unmatched == (1,)


def test_a_name_of_several_images(manifest):
    with pytest.raises(
        InputError, match=r"row 1 \('a.png'\) fits several images.*'1' \(train/a.png\), '2' \(test/a.png\)"
    ):
        match_rows(table("three", "a.png"), manifest())


def test_an_id_that_is_another_image_s_file_name(manifest):
    swapped = manifest("image,id\n0.png,1\n1.png,0\n")
    with pytest.raises(InputError, match="fits several images"):
        match_rows(table("0", "1"), swapped)


def test_two_rows_of_one_image(manifest):
    with pytest.raises(InputError, match=r"row 0 \('b'\) and row 1 \('three'\) both fit the image 'three'"):
        match_rows(table("b", "three"), manifest())


def test_rows_without_names_need_the_order_of_the_manifest(manifest):
    images = manifest("image\na.png\n")
    with pytest.raises(InputError, match="--in-manifest-order"):
        match_rows(table(), images)
    assert match_rows(table(), images, in_order=True).rows == (0,)
    with pytest.raises(InputError, match=r"has 1 rows, and .* has 4 images"):
        match_rows(table(), manifest(), in_order=True)
    with pytest.raises(InputError, match="matched by name; leave out --in-manifest-order"):
        match_rows(table("a"), images, in_order=True)
