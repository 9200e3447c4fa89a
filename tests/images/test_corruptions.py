"""Corruptions of images: deterministic, graded, and what they say they are."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from featx.errors import ConfigError
from featx.images import CORRUPTIONS, SEVERITIES, corrupt_image, corruption_key


@pytest.fixture(scope="module")
def lesion() -> np.ndarray:
    """A dark disc on skin, smooth enough for JPEG, 96 x 128."""
    rows, columns = np.mgrid[:96, :128]
    inside = 1 / (1 + np.exp((np.hypot(rows - 48, columns - 64) - 24) / 3))
    skin, mole = np.array([205, 160, 140]), np.array([90, 55, 45])
    waves = 8 * np.sin(rows / 5)[..., None]
    return np.clip(skin + inside[..., None] * (mole - skin) + waves, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_equal_arguments_give_equal_pixels_and_others_do_not(name: str, lesion: np.ndarray) -> None:
    made = [corrupt_image(lesion, name, 3, "ab") for _ in range(2)]
    assert made[0].dtype == np.uint8
    assert made[0].shape == lesion.shape
    assert (made[0] == made[1]).all()
    assert (made[0] != lesion).any()


@pytest.mark.parametrize("name", ["noise", "hair", "ruler", "ink"])
def test_the_seed_of_the_image_decides_what_is_random(name: str, lesion: np.ndarray) -> None:
    assert (corrupt_image(lesion, name, 3, "ab") != corrupt_image(lesion, name, 3, "cd")).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_severity_changes_more_than_the_one_before(name: str, lesion: np.ndarray) -> None:
    # Averaged over some seeds, because drawings overlap by chance.
    changes = [
        np.mean([
            np.abs(corrupt_image(lesion, name, severity, str(seed)).astype(float) - lesion).mean()
            for seed in range(12)
        ])
        for severity in SEVERITIES
    ]  # fmt: skip
    assert all(np.diff(changes) > 0), changes
    assert all(len(values) == len(SEVERITIES) for values in CORRUPTIONS[name].parameters.values())


def test_blur_is_scipys_with_a_sigma_relative_to_the_shorter_side(lesion: np.ndarray) -> None:
    sigma = 2 / 224 * 96
    wanted = gaussian_filter(lesion / 255, (sigma, sigma, 0), mode="nearest")
    assert np.abs(corrupt_image(lesion, "blur", 2, "") - 255 * wanted).max() <= 0.5 + 1e-6


def test_noise_has_its_standard_deviation_whatever_the_size() -> None:
    grey = np.full((448, 448, 3), 128, np.uint8)
    for size in (224, 448):
        noisy = corrupt_image(grey[:size, :size], "noise", 1, "x")
        reduced = np.asarray(Image.fromarray(noisy).resize((224, 224), Image.Resampling.BOX), float)
        assert reduced.std() / 255 == pytest.approx(0.08, rel=0.03)


def test_brightness_keeps_the_hue_and_colour_shifts_red_against_blue() -> None:
    skin = np.full((8, 8, 3), (100, 80, 60), np.uint8)
    bright = corrupt_image(skin, "brightness", 1, "")[0, 0].astype(float)
    assert bright[0] == pytest.approx(125.5, abs=0.5)
    assert bright / bright[0] == pytest.approx([1, 0.8, 0.6], abs=0.01)
    assert corrupt_image(np.zeros((2, 2, 3), np.uint8), "brightness", 1, "")[0, 0].tolist() == [26, 26, 26]
    shifts = {tuple(corrupt_image(skin, "colour", 2, str(seed))[0, 0].tolist()) for seed in range(9)}
    assert shifts == {(110, 80, 54), (90, 80, 66)}


def test_contrast_keeps_the_mean_and_scales_the_rest(lesion: np.ndarray) -> None:
    made = corrupt_image(lesion, "contrast", 2, "").astype(float)
    assert made.mean(axis=(0, 1)) == pytest.approx(lesion.mean(axis=(0, 1)), abs=0.3)
    assert made.std(axis=(0, 1)) == pytest.approx(0.3 * lesion.std(axis=(0, 1)), abs=0.5)


def test_dark_corners_leave_the_middle_and_blacken_the_rest(lesion: np.ndarray) -> None:
    made = corrupt_image(lesion, "dark-corners", 3, "")
    assert (made[40:56, 56:72] == lesion[40:56, 56:72]).all()
    assert (made[:3, :3] == 0).all()
    vignette = corrupt_image(lesion, "vignette", 5, "")
    assert vignette[0, 0] / lesion[0, 0] == pytest.approx([0.2] * 3, abs=0.03)


@pytest.mark.parametrize("name", ["hair", "ruler", "ink"])
def test_drawings_leave_most_of_the_image_as_it_is(name: str, lesion: np.ndarray) -> None:
    same = (corrupt_image(lesion, name, 1, "ab") == lesion).all(axis=2).mean()
    assert 0.75 < same < 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_small_and_narrow_images_have_corruptions_too(name: str) -> None:
    for shape in ((1, 1, 3), (7, 40, 3), (40, 7, 3)):
        assert corrupt_image(np.full(shape, 99, np.uint8), name, 5, "a").shape == shape


def test_pixels_of_a_version_stay() -> None:
    """If this fails, the version of a corruption has to increase."""
    image = np.random.default_rng(0).integers(0, 256, (32, 40, 3), np.uint8)
    parts = [corrupt_image(image, name, 4, "seed") for name in sorted(CORRUPTIONS) if name != "jpeg"]
    assert hashlib.sha256(np.stack(parts).tobytes()).hexdigest()[:16] == "991337de3f9788b0"
    assert {row.version for row in CORRUPTIONS.values()} == {1}


def test_unknown_names_and_severities_are_refused(lesion: np.ndarray) -> None:
    with pytest.raises(ConfigError, match="must be one of blur, noise"):
        corrupt_image(lesion, "rain", 1, "")
    with pytest.raises(ConfigError, match=r"from 1 to 5\. Got 6"):
        corruption_key("blur", 6)
