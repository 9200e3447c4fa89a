from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from featx.data.manifest import read_manifest
from featx.data.synthetic import draw_dermoscopy, draw_retina
from featx.data.synthetic_images import CLASSES, DIFFICULTIES, GRADES
from featx.errors import ConfigError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("draw", [draw_dermoscopy, draw_retina])
def test_equal_seeds_give_equal_bytes_and_other_seeds_do_not(draw: object, tmp_path: Path) -> None:
    assert callable(draw)
    for name, images, seed in (("a", 7, 3), ("b", 7, 3), ("longer", 9, 3), ("other", 7, 4)):
        draw(tmp_path / name, images=images, size=32, seed=seed)
    first, again, longer, other = (contents(tmp_path / name) for name in ("a", "b", "longer", "other"))
    assert first == again
    del first["manifest.csv"]
    assert len(first) == 7
    assert all(longer[name] == data for name, data in first.items())
    assert all(other[name] != data for name, data in first.items())
    rows = (tmp_path / "longer/manifest.csv").read_text()
    assert rows.startswith((tmp_path / "a/manifest.csv").read_text())


def test_dermoscopy_manifest(tmp_path: Path) -> None:
    manifest = read_manifest(draw_dermoscopy(tmp_path, images=100, size=16))
    table = manifest.table
    assert manifest.strata == ("difficulty",)
    assert set(table["label"]) == set(CLASSES)
    assert set(table["difficulty"]) == set(DIFFICULTIES)
    sizes = table["group"].value_counts()
    assert sorted(sizes.unique()) == [1, 2]
    assert (sizes == 2).sum() == 20
    assert (table.groupby("group")[["label", "difficulty"]].nunique() == 1).all(axis=None)
    assert table["label"].value_counts()["nevus"] == pytest.approx(45, abs=8)


def test_retina_manifest(tmp_path: Path) -> None:
    table = read_manifest(draw_retina(tmp_path, images=100, size=16)).table
    assert set(table["label"]) == set(GRADES)
    assert table["label"].value_counts().min() >= 10
    assert (table["group"].value_counts() == 2).all()
    assert table["id"].str.fullmatch(r"eye\d{5}_(left|right)").all()


def test_images_are_rgb_of_the_asked_size(tmp_path: Path) -> None:
    for draw in (draw_dermoscopy, draw_retina):
        draw(tmp_path, images=1, size=48)
    for path in (tmp_path / "images").iterdir():
        with Image.open(path) as image:
            assert (image.mode, image.size, image.format) == ("RGB", (48, 48), "JPEG")


@pytest.mark.parametrize("wrong", [{"images": 0}, {"size": 8}, {"seed": -1}])
def test_bad_numbers(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="images >= 1, size >= 16 and seed >= 0"):
        draw_dermoscopy(tmp_path, **wrong)
    assert not (tmp_path / "manifest.csv").exists()
