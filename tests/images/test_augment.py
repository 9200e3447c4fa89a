"""Views: exact where they can be, right where they are not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import ConfigError
from featx.images.augment import (
    NONE,
    PAPER,
    PRESETS,
    TURNS,
    Ranges,
    View,
    apply_view,
    halton_views,
    random_view,
)


def noise(height: int = 24, width: int = 24, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def blob(row: int, column: int, side: int = 65) -> np.ndarray:
    down, across = np.mgrid[0:side, 0:side]
    bright = 255 * np.exp(-((down - row) ** 2 + (across - column) ** 2) / 18.0)
    return np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)


def centre(array: np.ndarray) -> tuple[float, float]:
    weights = array[..., 0].astype(float)
    down, across = np.mgrid[0 : array.shape[0], 0 : array.shape[1]]
    return (down * weights).sum() / weights.sum(), (across * weights).sum() / weights.sum()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_and_flips_are_exact(turns: int, flip: bool) -> None:
    array = noise()
    wanted = np.rot90(array[:, ::-1] if flip else array, turns)
    result = apply_view(array, View(rotation=90.0 * turns, flip=flip))
    assert np.array_equal(result, wanted)
    assert result.flags.c_contiguous


def test_the_unchanged_view_is_a_copy() -> None:
    array = noise()
    result = apply_view(array, View())
    result[:] = 0
    assert array.any()


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_interpolated_turns_agree_with_exact_ones(turns: int) -> None:
    array = noise()
    almost = apply_view(array, View(rotation=90.0 * turns + 1e-7)).astype(int)
    exact = apply_view(array, View(rotation=90.0 * turns))
    assert np.abs(almost - exact)[2:-2, 2:-2].max() <= 1


def test_a_quarter_turn_of_an_oblong_image_keeps_its_shape() -> None:
    array = noise(20, 30)
    result = apply_view(array, View(rotation=90.0))
    assert result.shape == array.shape
    assert not result[:, 0].any()
    assert np.array_equal(apply_view(array, View(rotation=180.0)), array[::-1, ::-1])


@pytest.mark.parametrize(
    ("view", "place"),
    [
        (View(rotation=45.0), (32 - 10 * math.sin(math.pi / 4), 32 + 10 * math.cos(math.pi / 4))),
        (View(zoom_x=1.3), (32, 45)),
        (View(zoom_x=1 / 1.3), (32, 32 + 10 / 1.3)),
        (View(shift_x=22.4, shift_y=-11.2), (32 - 65 / 20, 42 + 65 / 10)),
        (View(flip=True), (32, 22)),
        (View(shear=30.0), (32, 42)),
    ],
)
def test_where_a_spot_right_of_the_centre_goes(view: View, place: tuple[float, float]) -> None:
    assert centre(apply_view(blob(32, 42), view)) == pytest.approx(place, abs=0.15)


def test_shear_leans_upright_lines() -> None:
    down, across = centre(apply_view(blob(42, 32), View(shear=30.0)))
    assert (down, across) == pytest.approx((42, 32 + 10 * math.tan(math.pi / 6)), abs=0.15)


def test_black_lies_beyond_the_image() -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    shifted = apply_view(white, View(shift_x=112.0))
    assert not shifted[:, :16].any()
    assert (shifted[:, 16:] == 255).all()


@given(st.integers(0, 2**32 - 1))
def test_mirrored_surround_leaves_no_hole(seed: int) -> None:
    ranges = dataclasses.replace(PAPER, fill="reflect")
    white = np.full((20, 28, 3), 255, np.uint8)
    assert (apply_view(white, random_view(np.random.default_rng(seed), ranges)) >= 254).all()


def test_mirrored_surround_repeats_the_edge() -> None:
    array = noise(16, 16)
    shifted = apply_view(array, View(shift_x=14.0, fill="reflect"))
    assert np.array_equal(shifted[:, 0], array[:, 0])
    assert np.array_equal(shifted[:, 1:], array[:, :-1])


@given(st.integers(0, 2**32 - 1))
def test_random_views_stay_in_the_ranges(seed: int) -> None:
    view = random_view(np.random.default_rng(seed), PAPER)
    assert 1 / 1.3 <= view.zoom_x <= 1.3
    assert 1 / 1.3 <= view.zoom_y <= 1.3
    assert 0 <= view.rotation < 360
    assert abs(view.shear) <= 30
    assert abs(view.shift_x) <= 30
    assert abs(view.shift_y) <= 30
    assert apply_view(noise(), view).shape == (24, 24, 3)


def test_random_views_fill_the_ranges() -> None:
    rng = np.random.default_rng(0)
    views = [random_view(rng, PAPER) for _ in range(2000)]
    assert np.mean([math.log(view.zoom_x) for view in views]) == pytest.approx(0, abs=0.02)
    assert np.mean([view.rotation for view in views]) == pytest.approx(180, abs=8)
    assert np.mean([view.flip for view in views]) == pytest.approx(0.5, abs=0.04)
    assert np.corrcoef([view.zoom_x for view in views], [view.zoom_y for view in views])[
        0, 1
    ] == pytest.approx(0, abs=0.06)


def test_equal_generators_draw_equal_views() -> None:
    draws = [
        [random_view(rng) for _ in range(5)] for rng in (np.random.default_rng(3), np.random.default_rng(3))
    ]
    assert draws[0] == draws[1]


def test_halton_views_are_fixed_and_nested() -> None:
    views = halton_views(50)
    assert len(set(views)) == 50
    assert halton_views(7) == views[:7]
    # Point 1 of the sequence is (1/2, 1/3, 1/5, 1/7, 1/11, 1/13, 1/17).
    first = views[0]
    assert first.flip
    assert first.zoom_x == pytest.approx(1.3 ** (-1 / 3))
    assert first.rotation == pytest.approx(72)
    assert first.shear == pytest.approx(30 * (2 / 7 - 1))
    assert first.zoom_y == pytest.approx(1.3 ** (2 / 11 - 1))
    assert first.shift_x == pytest.approx(30 * (2 / 13 - 1))
    assert first.shift_y == pytest.approx(30 * (2 / 17 - 1))


def test_finite_ranges_give_each_view_once() -> None:
    array = noise()
    views = halton_views(8, TURNS)
    assert views[0] == View()
    assert len({apply_view(array, view).tobytes() for view in views}) == 8
    assert halton_views(1, NONE) == (View(),)
    with pytest.raises(ConfigError, match="at most 8 "):
        halton_views(9, TURNS)


def test_stepped_angles() -> None:
    rng = np.random.default_rng(0)
    angles = {random_view(rng, Ranges(rotation=90, rotation_step=30)).rotation for _ in range(100)}
    assert angles == {0.0, 30.0, 60.0, 90.0}
    assert {random_view(rng, TURNS).rotation for _ in range(100)} == {0.0, 90.0, 180.0, 270.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("zoom", 0.9),
        ("rotation", 361),
        ("rotation_step", -1),
        ("shear", 90),
        ("translation", -1),
        ("fill", "white"),
    ],
)
def test_bad_ranges_name_the_field(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"The '{name}' of Ranges must be"):
        Ranges(**{name: value})  # type: ignore[arg-type]


def test_no_views_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        halton_views(0)


def test_presets_are_ranges() -> None:
    assert PRESETS["paper"] is PAPER
    assert PRESETS["none"] == Ranges()
