"""Brushes for the drawn data sets: smooth noise, blobs, strokes, and saving."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

__all__ = ["Dot", "Stroke", "blur", "dots", "noise", "plane", "smoothstep", "strokes", "warp"]


Plane = npt.NDArray[np.float32]


# Dots and strokes are drawn this many times larger and averaged, for smooth edges.
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Dot:
    """A filled disc: centre and radius as shares of the image's side, and its weight from 0 to 1."""

    x: float
    y: float
    radius: float
    weight: float = 1.0


@dataclass(frozen=True)
class Stroke:
    """A polyline: points and width as shares of the image's side, and its weight from 0 to 1."""

    points: tuple[tuple[float, float], ...]
    width: float
    weight: float = 1.0


def plane(side: int) -> tuple[Plane, Plane]:
    """Make the coordinates of pixel centres, from -1 to 1.

    Returns
    -------
    (numpy.ndarray of float32, numpy.ndarray of float32)
        x to the right and y downwards, each of shape (side, side).

    Examples
    --------
    >>> plane(2)[0].tolist()
    [[-0.5, 0.5], [-0.5, 0.5]]
    """
    line = ((np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1).astype(np.float32)
    x, y = np.meshgrid(line, line)
    return x, y


def noise(rng: np.random.Generator, side: int, cells: int) -> Plane:
    """Make smooth noise of mean 0 and standard deviation 1.

    Returns
    -------
    numpy.ndarray of float32, shape (side, side)
        The noise.

    Examples
    --------
    >>> cloud = noise(np.random.default_rng(0), 32, 4)
    >>> cloud.shape, abs(round(float(cloud.mean()), 3)), round(float(cloud.std()), 3)
    ((32, 32), 0.0, 1.0)
    """
    coarse = rng.standard_normal((cells + 2, cells + 2)).astype(np.float32)
    fine = np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))
    scaled: Plane = (fine - fine.mean()) / np.float32(max(float(fine.std()), 1e-6))
    return scaled


def smoothstep(values: Plane, low: float, high: float) -> Plane:
    """Rise smoothly from 0 at `low` to 1 at `high`.

    Parameters
    ----------
    values : numpy.ndarray
        Any shape.

    Returns
    -------
    numpy.ndarray of float32
        The same shape.

    Examples
    --------
    >>> smoothstep(np.array([0.0, 0.5, 1.0]), 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    share = np.clip((values - low) / (high - low), 0.0, 1.0).astype(np.float32)
    risen: Plane = share * share * (3 - 2 * share)
    return risen


def blur(values: Plane, pixels: float) -> Plane:
    """Blur with a Gaussian.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (side, side)
        What to blur.

    Returns
    -------
    numpy.ndarray of float32, shape (side, side)
        The blurred values.

    Examples
    --------
    >>> blur(np.eye(3, dtype=np.float32), 0.0).tolist() == np.eye(3).tolist()
    True
    """
    if pixels <= 0:
        return values
    blurred: Plane = ndimage.gaussian_filter(values, pixels, mode="nearest", truncate=2.5)
    return blurred


def dots(side: int, marks: Iterable[Dot]) -> Plane:
    """Draw discs.

    Returns
    -------
    numpy.ndarray of float32, shape (side, side)
        Weight of the disc at each pixel, 0 outside.

    Examples
    --------
    >>> bool(dots(8, [Dot(0.5, 0.5, 0.1)]).max() > 0.5)
    True
    """
    large = side * _OVERSAMPLING
    canvas = Image.new("L", (large, large))
    brush = ImageDraw.Draw(canvas)
    for mark in marks:
        box = [(mark.x - mark.radius) * large, (mark.y - mark.radius) * large]
        box += [(mark.x + mark.radius) * large, (mark.y + mark.radius) * large]
        brush.ellipse(box, fill=round(255 * mark.weight))
    return _reduced(canvas)


def strokes(side: int, marks: Iterable[Stroke]) -> Plane:
    """Draw polylines.

    Returns
    -------
    numpy.ndarray of float32, shape (side, side)
        Weight of the line at each pixel, 0 outside.

    Examples
    --------
    >>> bool(strokes(8, [Stroke(((0.0, 0.5), (1.0, 0.5)), 0.2)])[4].min() > 0.5)
    True
    """
    large = side * _OVERSAMPLING
    canvas = Image.new("L", (large, large))
    brush = ImageDraw.Draw(canvas)
    for mark in marks:
        points = [(x * large, y * large) for x, y in mark.points]
        brush.line(
            points, fill=round(255 * mark.weight), width=max(1, round(mark.width * large)), joint="curve"
        )
    return _reduced(canvas)


def _reduced(canvas: Image.Image) -> Plane:
    small = canvas.reduce(_OVERSAMPLING)
    return (np.asarray(small, dtype=np.float32) / np.float32(255)).astype(np.float32)


def warp(values: Plane, angle: float, zoom: float, shift: Sequence[float]) -> Plane:
    """Turn, enlarge and move a plane about its centre.

    Parameters
    ----------
    values : numpy.ndarray of float32, shape (side, side)
        What to move; outside of it is 0.

    Returns
    -------
    numpy.ndarray of float32, shape (side, side)
        The moved plane.

    Examples
    --------
    >>> warp(np.eye(3, dtype=np.float32), 0.0, 1.0, (0.0, 0.0)).round(3).tolist() == np.eye(3).tolist()
    True
    """
    side = values.shape[0]
    cosine, sine = np.cos(angle) / zoom, np.sin(angle) / zoom
    middle = side / 2
    x, y = middle + shift[0] * side, middle + shift[1] * side
    matrix = (cosine, -sine, middle - cosine * x + sine * y, sine, cosine, middle - sine * x - cosine * y)
    moved = Image.fromarray(values).transform(
        (side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(moved, dtype=np.float32)
