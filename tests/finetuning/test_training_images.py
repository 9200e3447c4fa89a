"""Images in memory or decoded when needed, and RandAugment's colour operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.digest import digest_file
from featx.errors import ImageError
from featx.finetuning.training_images import OPERATIONS, load_images, rand_augment

SIZE = 12
IMAGE = np.random.default_rng(0).integers(30, 200, (48, 36, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_changes_the_image_and_keeps_its_shape(name: str) -> None:
    changed = np.array(OPERATIONS[name](Image.fromarray(IMAGE), 0.7, 1))
    assert (changed.shape, changed.dtype) == (IMAGE.shape, IMAGE.dtype)
    assert not np.array_equal(changed, IMAGE)


@pytest.mark.parametrize(
    "name", ["posterize", "solarize", "saturation", "contrast", "brightness", "sharpness"]
)
def test_magnitude_0_changes_nothing(name: str) -> None:
    assert np.array_equal(np.array(OPERATIONS[name](Image.fromarray(IMAGE), 0.0, -1)), IMAGE)


def test_the_sign_inverts_the_change() -> None:
    brighter, darker = (OPERATIONS["brightness"](Image.fromarray(IMAGE), 0.5, sign) for sign in (1, -1))
    assert np.mean(brighter) > IMAGE.mean() > np.mean(darker)


def test_rand_augment_depends_on_its_seed_only() -> None:
    before = IMAGE.copy()
    results = [rand_augment(IMAGE, np.random.default_rng(seed), 0.5) for seed in (1, 1, 2)]
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])
    assert np.array_equal(IMAGE, before)


def write_images(folder: Path, number: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for row in range(number):
        path = folder / f"{row}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


def test_images_in_memory_equal_images_that_are_decoded_when_needed(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)
    kept = load_images(paths, "resize", SIZE, memory_gib=1)
    decoded = load_images(paths, "resize", SIZE, memory_gib=0)
    assert (kept.in_memory, decoded.in_memory) == (True, False)
    for row in range(3):
        assert np.array_equal(kept[row], decoded[row])


@pytest.mark.parametrize("memory_gib", [0, 1])
def test_an_image_that_has_changed_since_its_key_was_computed_is_refused(
    memory_gib: float, tmp_path: Path
) -> None:
    paths = write_images(tmp_path, 2)
    keys = [digest_file(Path(path)) for path in paths]
    load_images(paths, "resize", SIZE, keys=keys, memory_gib=memory_gib)
    Path(paths[1]).write_bytes(Path(paths[0]).read_bytes())
    with pytest.raises(ImageError, match=r"1\.png: the file was changed after its key was computed"):
        load_images(paths, "resize", SIZE, keys=keys, memory_gib=memory_gib)[1]


def test_all_unreadable_images_are_named(tmp_path: Path) -> None:
    paths = write_images(tmp_path, 3)
    for broken in (paths[0], paths[2]):
        Path(broken).write_bytes(b"no image")
    with pytest.raises(ImageError, match="2 of 3 images") as caught:
        load_images(paths, "resize", SIZE, memory_gib=1)
    assert paths[0] in str(caught.value)
    assert paths[2] in str(caught.value)
