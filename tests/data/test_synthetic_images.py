"""The pixels of synthetic images: equal for ever, and of what the textbooks say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from featx.data.synthetic_images import (
    CLASSES,
    DIFFICULTIES,
    GRADES,
    TRAITS,
    draw_photograph,
    draw_retina_photograph,
    invent_lesion,
)

SAMPLE = Path(__file__).parents[1] / "samples" / "synthetic-images.npz"


def test_images_are_those_of_0_1_0() -> None:
    """An image of each class and difficulty; other processors may round a value the other way."""
    images = {
        f"{kind}, {difficulty}": draw_photograph(invent_lesion(kind, difficulty, (1, 0)), (2, 0), 24)
        for kind in CLASSES
        for difficulty in DIFFICULTIES
    }
    for place, grade in enumerate(GRADES):
        images[grade] = draw_retina_photograph(grade, bool(place % 2), (3, place), 24)
    with np.load(SAMPLE) as kept:
        assert set(kept) == set(images)
        for name, image in images.items():
            assert np.abs(image.astype(int) - kept[name]).max() <= 1, name


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
