"""Folders, files and manifests of new images."""

from __future__ import annotations

import pytest

from featx.deploy.new_images import list_images
from featx.errors import ManifestError


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "left/a.JPG", ".hidden/c.png", "notes.txt"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "images"


def test_a_folder_is_looked_up_below_it_too(folder):
    found = list_images([folder])
    assert found.ids == ["b", "left/a"]
    assert found.paths == [str(folder / "b.png"), str(folder / "left" / "a.JPG")]
    assert set(found.table["label"]) == {""}


def test_files_are_named_below_their_common_folder(folder):
    assert list_images([folder / "b.png"]).ids == ["b"]
    assert list_images([folder / "b.png", folder / "b.png", str(folder / "left" / "a.JPG")]).ids == [
        "b",
        "left/a",
    ]
    assert list_images([folder / "notes.txt"]).ids == ["notes.txt"]


def test_a_manifest_needs_no_labels(folder):
    (folder / "manifest.csv").write_text("image,group\nb.png,p1\n")
    assert list_images([folder]).table["group"].tolist() == ["p1"]
    assert list_images([folder / "manifest.csv"]).ids == ["b"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["none.png"], "no such file: .*none.png"),
        (["b.png", "left"], "got 2 sources of images, among them .*left"),
        (["b.png", "list.csv"], "among them .*list.csv; give one folder, one manifest, or image files only"),
        (["list.csv"], "no such file or folder"),
        ([".hidden/empty"], "no such file"),
    ],
)
def test_what_is_no_image_is_refused(folder, names, told):
    with pytest.raises(ManifestError, match=told):
        list_images([folder / name for name in names])


def test_ids_are_unique_and_printable(folder):
    (folder / "b.tif").touch()
    with pytest.raises(ManifestError, match="several images are called b, with other endings"):
        list_images([folder])
    (folder / "b.tif").rename(folder / "b\n.tif")
    with pytest.raises(ManifestError, match=r"'b\\n' are not valid UTF-8, or have control characters"):
        list_images([folder])


def test_a_feature_store_is_no_folder_of_images(tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"this is a feature store.*give it with --features"):
        list_images([tmp_path])
