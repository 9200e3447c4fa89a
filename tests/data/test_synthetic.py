from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from featx.data.manifest import read_manifest
from featx.data.synthetic import draw_dermoscopy, draw_retina
from featx.data.synthetic_kinds import (
    CLASSES,
    DIFFICULTIES,
    GRADES,
    TRAITS,
    draw_photograph,
    draw_retina_photograph,
    invent_lesion,
)
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


def distance(difficulty: str) -> float:
    """Mean distance between the classes' mean traits, in standard deviations."""
    traits = {
        name: np.array(
            [list(invent_lesion(name, difficulty, (5, case)).traits.values()) for case in range(60)]
        )
        for name in CLASSES
    }
    means = np.array([values.mean(axis=0) for values in traits.values()])
    spread = np.mean([values.std(axis=0) for values in traits.values()])
    apart = np.linalg.norm(means[:, None] - means[None], axis=-1)
    return float(apart.sum() / (len(CLASSES) * (len(CLASSES) - 1)) / spread)


def test_difficulty_draws_the_classes_together() -> None:
    low, medium, high = (distance(name) for name in ("low", "medium", "high"))
    assert low > 1.15 * medium > 1.15**2 * high > 0


def test_every_sign_marks_the_class_that_the_textbooks_say() -> None:
    strongest = {
        name: np.mean(
            [list(invent_lesion(name, "low", (6, case)).traits.values()) for case in range(60)], axis=0
        )
        for name in CLASSES
    }
    table = pd.DataFrame(strongest, index=list(TRAITS))
    for sign, diagnosis in {
        "network": "nevus", "asymmetry": "melanoma", "veil": "melanoma", "variegation": "melanoma",
        "cysts": "seborrheic keratosis", "openings": "seborrheic keratosis",
        "vessels": "basal cell carcinoma", "nests": "basal cell carcinoma",
    }.items():  # fmt: skip
        assert table.loc[sign].idxmax() == diagnosis


def test_surroundings_do_not_tell_the_class() -> None:
    """Same seeds, another class: skin, light, hair and frame are the same to the pixel outside the lesion."""
    for case in range(5):
        seeds = (7, case), (8, case)
        pictures = [
            draw_photograph(invent_lesion(name, "high", seeds[0]), seeds[1], 64).astype(int)
            for name in CLASSES
        ]
        corner = np.s_[:8, :8]
        for picture in pictures[1:]:
            np.testing.assert_array_equal(picture[corner], pictures[0][corner])


def test_grades_add_signs() -> None:
    """The same eye in rising grades departs ever further from the healthy one."""
    changes = np.zeros(len(GRADES))
    for eye in range(10):
        pictures = [draw_retina_photograph(grade, True, (9, eye), 64).astype(float) for grade in GRADES]
        changes += [np.abs(picture - pictures[0]).mean() for picture in pictures]
    assert changes[0] == 0
    assert (np.diff(changes) > 0).all()


def test_eyes_are_mirrored() -> None:
    sides = []
    for right in (True, False):
        bright = np.mean(
            [draw_retina_photograph("grade0", right, (4, eye), 64) for eye in range(8)], axis=(0, 3)
        )
        sides.append(bright[:, 40:56].mean() > bright[:, 8:24].mean())
    assert sides == [True, False]
