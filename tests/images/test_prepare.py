"""Preparations against drawings whose right answer is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from featx.errors import ConfigError, ImageError
from featx.images.prepare import PREPARATIONS, load_image, preparation_key, prepare_image


def box(pixels: np.ndarray, name: str) -> tuple[float, ...]:
    return PREPARATIONS[name].box(Image.fromarray(pixels))


def scan(border: tuple[int, int, int, int], colour: tuple[int, int, int] = (0, 0, 0)) -> np.ndarray:
    """A skin-coloured picture of 100 x 160 with a border (left, top, right, bottom)."""
    left, top, right, bottom = border
    pixels = np.full((100, 160, 3), colour, np.uint8)
    pixels[top : 100 - bottom, left : 160 - right] = (200, 150, 130)
    return pixels


@given(st.tuples(*[st.integers(1, 30)] * 4))
def test_atlas_cuts_the_border_and_keeps_the_central_95_percent(border: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = border
    width, height = 160 - left - right, 100 - top - bottom
    wanted = (
        left + 0.025 * width,
        top + 0.025 * height,
        160 - right - 0.025 * width,
        100 - bottom - 0.025 * height,
    )
    assert box(scan(border), "atlas") == pytest.approx(wanted)


def test_atlas_border_may_be_noisy_up_to_the_fuzz() -> None:
    pixels = scan((10, 10, 10, 10))
    noisy = pixels.copy()
    noisy[3, 3] = 50
    assert box(noisy, "atlas") == box(pixels, "atlas")
    noisy[3, 3] = 53
    assert box(noisy, "atlas") != box(pixels, "atlas")


@given(st.integers(0, 3), st.integers(1, 40))
def test_atlas_border_on_one_side_only(side: int, width: int) -> None:
    border = tuple(width if number == side else 0 for number in range(4))
    left, top, right, bottom = box(scan(border), "atlas")  # type: ignore[arg-type]
    assert (right - left, bottom - top) == pytest.approx(
        (0.95 * (160 - border[0] - border[2]), 0.95 * (100 - border[1] - border[3]))
    )


def test_atlas_keeps_smooth_skin_around_a_lesion() -> None:
    pixels = scan((0, 0, 0, 0))
    pixels[40:60, 70:90] = (60, 30, 20)
    assert box(pixels, "atlas") == pytest.approx((4, 2.5, 156, 97.5))


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_atlas_keeps_a_uniform_image(colour: int) -> None:
    assert box(np.full((40, 80, 3), colour, np.uint8), "atlas") == pytest.approx((2, 1, 78, 39))


def disc(height: int, width: int, radius: int, centre: tuple[int, int]) -> np.ndarray:
    down, across = np.mgrid[0:height, 0:width]
    lit = (down - centre[0]) ** 2 + (across - centre[1]) ** 2 <= radius**2
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[lit] = (180, 90, 40)
    return pixels


def test_retina_finds_the_disc() -> None:
    left, top, right, bottom = box(disc(200, 320, 90, (100, 150)), "retina")
    assert (left, top, right, bottom) == pytest.approx((60, 10, 241, 191), abs=2)


@pytest.mark.parametrize(
    "pixels",
    [
        disc(200, 230, 90, (100, 115)),  # not wider than 1.2 times the height
        disc(200, 320, 60, (100, 150)),  # too small to be the retina
        np.zeros((200, 320, 3), np.uint8),  # nothing lit
        np.full((200, 320, 3), 200, np.uint8),  # no dark surround
    ],
)
def test_retina_else_takes_the_central_square(pixels: np.ndarray) -> None:
    assert box(pixels, "retina") == box(pixels, "center-square")


def bounds(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    down, across = np.nonzero(mask)
    return (across.min(), down.min(), across.max() + 1, down.max() + 1) if len(down) else None


def noisy_disc(seed: int, height: int, width: int) -> np.ndarray:
    """A disc of any colour and size, with noise of any strength, from none to noise alone."""
    rng = np.random.default_rng(seed)
    radius, centre = int(rng.uniform(0, 0.7) * height), (height // 2, int(rng.uniform(0.3, 0.7) * width))
    pixels = (disc(height, width, radius, centre) > 0) * rng.integers(5, 256, 3)
    noise = rng.normal(0, rng.choice([0, 3, 20, 80]), pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


@settings(max_examples=200)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 90))
def test_boxes_are_those_of_the_mask_of_the_whole_image(seed: int, height: int, width: int) -> None:
    pixels = noisy_disc(seed, height, width)
    bright = (pixels.astype(int) ** 2).sum(axis=2) > 3 * 51**2
    left, top, right, bottom = bounds(bright) or (0, 0, width, height)
    across, down = 0.025 * (right - left), 0.025 * (bottom - top)
    assert box(pixels, "atlas") == pytest.approx(
        (left + across, top + down, right - across, bottom - down), abs=1e-9
    )

    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.BLUR)).astype(int)
    outer = max(width // 32, 1)
    surround = np.maximum(blurred[:, :outer].max(axis=(0, 1)), blurred[:, -outer:].max(axis=(0, 1)))
    found = bounds((blurred > surround + 10).any(axis=2))
    wide = width > 1.2 * height and found is not None
    wide = wide and min(found[2] - found[0], found[3] - found[1]) >= 0.8 * height  # type: ignore[index]
    assert box(pixels, "retina") == (found if wide else box(pixels, "center-square"))


def test_center_square() -> None:
    assert box(np.zeros((100, 161, 3), np.uint8), "center-square") == (30.5, 0, 130.5, 100)
    assert box(np.zeros((90, 30, 3), np.uint8), "center-square") == (0, 30, 30, 60)


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(sorted(PREPARATIONS)),
    st.integers(1, 24),
    st.integers(1, 24),
)
def test_every_preparation_of_every_shape(
    height: int, width: int, name: str, rows: int, columns: int
) -> None:
    pixels = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    left, top, right, bottom = box(pixels, name)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    prepared = prepare_image(Image.fromarray(pixels), name, (rows, columns))
    assert prepared.shape == (rows, columns, 3)
    assert prepared.dtype == np.uint8
    assert prepared.flags.c_contiguous
    assert prepared.flags.writeable


def test_reduction_averages_what_it_drops() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    reduced = prepare_image(Image.fromarray(stripes), "resize", 8).astype(int)
    assert np.abs(reduced - 127.5).max() <= 12


def test_same_size_keeps_the_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.array_equal(prepare_image(Image.fromarray(pixels), "resize", (9, 7)), pixels)


def test_load_decodes_and_prepares() -> None:
    file = io.BytesIO()
    Image.new("RGB", (400, 300), (100, 150, 200)).save(file, "JPEG", quality=95)
    assert np.abs(load_image(file.getvalue(), "center-square", 20).astype(int) - [100, 150, 200]).max() <= 3
    with pytest.raises(ImageError, match=r"^mole 7: "):
        load_image(file.getvalue()[:300], "resize", 20, name="mole 7")


def test_bad_names_and_sizes() -> None:
    image = Image.new("RGB", (4, 4))
    with pytest.raises(
        ConfigError, match=r"must be one of resize, center-square, atlas, retina. Got 'crop' instead\."
    ):
        prepare_image(image, "crop", 4)
    with pytest.raises(ConfigError, match="must be one of"):
        preparation_key("crop")
    with pytest.raises(ConfigError, match=r"at least 1 x 1 pixels. Got 0 instead\."):
        prepare_image(image, "resize", 0)


def test_keys_tell_preparations_apart() -> None:
    assert len({str(preparation_key(name)) for name in PREPARATIONS}) == len(PREPARATIONS)
