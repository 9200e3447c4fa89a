"""Augmentation: images are zoomed, rotated, sheared, shifted and flipped.

A `View` has the parameters of one augmented view. Views come from a Halton sequence (test-time augmentation: always the
same views) or from a random generator (training), and are applied to prepared pixels with one bilinear interpolation.
Flips and rotations by multiples of 90 degrees alone move pixels exactly, without interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image

from featx.errors import ConfigError

__all__ = ["NONE", "PAPER", "PRESETS", "TURNS", "Ranges", "View", "apply_view", "halton_views", "random_view"]

Fill = Literal["black", "reflect"]
_PIXELS = np.ndarray[Any, np.dtype[np.uint8]]
_DIMENSIONS = 7
_REFERENCE_SIDE = 224.0


@dataclass(frozen=True)
class Ranges:
    """Augmentation ranges.

    Attributes
    ----------
    zoom : float
        Largest magnification; the smallest is its inverse. Log-uniform, horizontally and vertically independent.
    rotation : float
        Largest rotation in degrees; the smallest is 0.
    rotation_step : float
        Rotations are multiples of this, in degrees; 0 for any rotation.
    shear : float
        Largest shear angle in degrees; the smallest is its negative.
    translation : float
        Largest shift in pixels of an image 224 pixels wide, in proportion for other sizes; the smallest is its negative.
    flip : bool
        Whether half of the views are flipped left to right.
    fill : {"black", "reflect"}
        Pixels outside the image: black, or the image mirrored at its edges.

    Examples
    --------
    >>> Ranges(zoom=1.3, rotation=360, flip=True).shear
    0.0
    """

    zoom: float = 1.0
    rotation: float = 0.0
    rotation_step: float = 0.0
    shear: float = 0.0
    translation: float = 0.0
    flip: bool = False
    fill: Fill = "black"

    def __post_init__(self) -> None:
        checks = (
            ("zoom", self.zoom >= 1, "at least 1"),
            ("rotation", 0 <= self.rotation <= 360, "from 0 to 360 degrees"),
            ("rotation_step", 0 <= self.rotation_step <= 360, "from 0 to 360 degrees"),
            ("shear", 0 <= self.shear < 90, "at least 0 and below 90 degrees"),
            ("translation", 0 <= self.translation < math.inf, "at least 0"),
            ("fill", self.fill in ("black", "reflect"), "'black' or 'reflect'"),
        )
        for name, good, wanted in checks:
            if not good:
                raise ConfigError(
                    f"The {name!r} of Ranges must be {wanted}. Got {getattr(self, name)!r} instead."
                )


NONE = Ranges()
PAPER = Ranges(zoom=1.3, rotation=360.0, shear=30.0, translation=30.0, flip=True)
"""The ranges of Menegola et al. 2017, with black outside the image."""
TURNS = Ranges(rotation=360.0, rotation_step=90.0, flip=True)
"""The eight exact views: rotations by multiples of 90 degrees, with and without a flip."""
PRESETS: dict[str, Ranges] = {"none": NONE, "paper": PAPER, "turns": TURNS}


@dataclass(frozen=True)
class View:
    """Parameters of an augmented view; the defaults leave the image unchanged.

    Attributes
    ----------
    zoom_x, zoom_y : float
        Horizontal and vertical magnification.
    rotation : float
        Degrees, counterclockwise.
    shear : float
        Angle of vertical lines to the vertical, in degrees.
    shift_x, shift_y : float
        Shift to the right and down in pixels of an image 224 pixels wide.
    flip : bool
        Whether the image is flipped left to right, before all else.
    fill : {"black", "reflect"}
        Pixels outside the image.
    """

    zoom_x: float = 1.0
    zoom_y: float = 1.0
    rotation: float = 0.0
    shear: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    flip: bool = False
    fill: Fill = "black"


def halton_views(n: int, ranges: Ranges = PAPER) -> tuple[View, ...]:
    """List views that cover the ranges evenly, for test-time augmentation.

    Parameters
    ----------
    n : int
        Number of views, at least 1.
    ranges : Ranges
        Augmentation ranges.

    Returns
    -------
    tuple of View
        Points 1 to `n` of the unscrambled Halton sequence in seven dimensions, without point 0, a corner of the ranges.
        Ranges with a finite number of views, such as `TURNS`, give these in order, the unchanged image first. The first
        views of a longer list are those of a shorter one.

    Raises
    ------
    ConfigError
        If `n` is below 1, or above the number of different views in finite ranges.

    Examples
    --------
    >>> [(view.rotation, view.flip) for view in halton_views(3, TURNS)]
    [(0.0, False), (0.0, True), (90.0, False)]
    """
    if n < 1:
        raise ConfigError(f"The number of views must be at least 1. Got {n!r} instead.")
    if ranges.zoom == 1 and not (ranges.shear or ranges.translation):
        angles = _angles(ranges)
        flips = (False, True) if ranges.flip else (False,)
        finite = tuple(
            View(rotation=angle, flip=flip, fill=ranges.fill) for angle in angles for flip in flips
        )
        if 0 < len(finite) < n:
            raise ConfigError(
                f"The number of views must be at most {len(finite)} in {ranges}. Got {n} instead."
            )
        if finite:
            return finite[:n]
    from scipy.stats import qmc

    points = qmc.Halton(_DIMENSIONS, scramble=False).fast_forward(1).random(n)
    return tuple(_view(point, ranges) for point in points.tolist())


def random_view(rng: np.random.Generator, ranges: Ranges = PAPER) -> View:
    """Choose a random view, for training.

    Parameters
    ----------
    rng : numpy.random.Generator
        Random generator; each view takes seven numbers, whatever the ranges.
    ranges : Ranges
        Augmentation ranges.

    Returns
    -------
    View
        Uniform in the ranges (log-uniform in zoom).

    Examples
    --------
    >>> random_view(np.random.default_rng(0), NONE) == View()
    True
    """
    return _view(rng.random(_DIMENSIONS).tolist(), ranges)


def _view(point: Sequence[float], ranges: Ranges) -> View:
    """Map a point of the unit cube into the ranges."""
    flip, across, rotation, shear, down, right, below = point
    return View(
        zoom_x=ranges.zoom ** (2 * across - 1),
        zoom_y=ranges.zoom ** (2 * down - 1),
        rotation=_angle(rotation, ranges),
        shear=ranges.shear * (2 * shear - 1),
        shift_x=ranges.translation * (2 * right - 1),
        shift_y=ranges.translation * (2 * below - 1),
        flip=ranges.flip and flip >= 0.5,
        fill=ranges.fill,
    )


def _angle(fraction: float, ranges: Ranges) -> float:
    angles = _angles(ranges)
    if not angles:
        return ranges.rotation * fraction
    return angles[min(math.floor(fraction * len(angles)), len(angles) - 1)]


def _angles(ranges: Ranges) -> tuple[float, ...]:
    """List the rotations of stepped ranges; none if any rotation is possible."""
    if not ranges.rotation:
        return (0.0,)
    if not ranges.rotation_step:
        return ()
    steps = math.floor(ranges.rotation / ranges.rotation_step + 1e-9)
    angles = (ranges.rotation_step * step for step in range(steps + 1))
    return tuple(angle for angle in angles if angle < 360)


def apply_view(array: _PIXELS, view: View) -> _PIXELS:
    """Apply an augmented view to an image: flip, shear, zoom and rotate about the centre, then shift.

    Parameters
    ----------
    array : ndarray of uint8, shape (height, width, 3)
        Prepared pixels.
    view : View
        Parameters of the view.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Contiguous; always a new array. Exact for flips and rotations by multiples of 90 degrees (of 180 degrees if the
        image is not square) alone; else with one bilinear interpolation.

    Examples
    --------
    >>> array = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    >>> apply_view(array, View(rotation=180.0))[0, 0]
    array([ 9, 10, 11], dtype=uint8)
    """
    flipped = array[:, ::-1] if view.flip else array
    turns, rest = divmod(view.rotation, 90)
    still = (view.zoom_x, view.zoom_y, view.shear, view.shift_x, view.shift_y) == (1, 1, 0, 0, 0)
    fits = turns % 2 == 0 or array.shape[0] == array.shape[1]
    if still and rest == 0 and fits:
        return np.array(np.rot90(flipped, int(turns)), order="C")
    return _warp(flipped, view)


def _warp(array: _PIXELS, view: View) -> _PIXELS:
    height, width = array.shape[:2]
    matrix = _to_source(view, width, height)
    pad = _overhang(matrix, width, height) if view.fill == "reflect" else 0
    if pad:
        array = np.pad(array, ((pad, pad), (pad, pad), (0, 0)), mode="symmetric")
        matrix[:, 2] += pad
    image = Image.fromarray(np.ascontiguousarray(array))
    numbers = tuple(matrix.ravel().tolist())
    return np.array(
        image.transform((width, height), Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR)
    )


def _to_source(view: View, width: int, height: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the 2 x 3 matrix from pixel coordinates of the result to those of the image."""
    angle = math.radians(view.rotation)
    # Image rows count downwards; these signs of the sine give a counterclockwise rotation.
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    zoom = np.diag([view.zoom_x, view.zoom_y])
    lean = np.array([[1.0, math.tan(math.radians(view.shear))], [0.0, 1.0]])
    back = np.linalg.inv(turn @ zoom @ lean)
    centre = np.array([width / 2, height / 2])
    shift = np.array([view.shift_x * width, view.shift_y * height]) / _REFERENCE_SIDE
    return np.column_stack([back, centre - back @ (centre + shift)])


def _overhang(matrix: np.ndarray[Any, np.dtype[np.float64]], width: int, height: int) -> int:
    """Return how many pixels the result's corners are outside the image."""
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    beyond = max(float(-corners.min()), float((corners - [width, height]).max()))
    return max(math.ceil(beyond) + 1, 0)
