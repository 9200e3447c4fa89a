"""RandAugment's colour operations."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from featx.finetuning.training_images import OPERATIONS, rand_augment

IMAGE = np.random.default_rng(0).integers(30, 200, (48, 36, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_changes_the_image_and_keeps_its_form(name: str) -> None:
    changed = np.array(OPERATIONS[name](Image.fromarray(IMAGE), 0.7, 1))
    assert (changed.shape, changed.dtype) == (IMAGE.shape, IMAGE.dtype)
    assert not np.array_equal(changed, IMAGE)


@pytest.mark.parametrize(
    "name", ["posterize", "solarize", "saturation", "contrast", "brightness", "sharpness"]
)
def test_no_strength_is_no_change(name: str) -> None:
    assert np.array_equal(np.array(OPERATIONS[name](Image.fromarray(IMAGE), 0.0, -1)), IMAGE)


def test_the_sign_turns_the_change_round() -> None:
    brighter, darker = (OPERATIONS["brightness"](Image.fromarray(IMAGE), 0.5, sign) for sign in (1, -1))
    assert np.mean(brighter) > IMAGE.mean() > np.mean(darker)


def test_it_is_a_function_of_its_seed() -> None:
    before = IMAGE.copy()
    results = [rand_augment(IMAGE, np.random.default_rng(seed), 0.5) for seed in (1, 1, 2)]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert np.array_equal(IMAGE, before)
