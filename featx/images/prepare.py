"""Preparation: crop an image and resize it to the input size of a network.

A preparation chooses a box, which is resized in one step by Pillow's bilinear filter with antialiasing. Name and version
of the preparation are part of the recipe. `atlas` and `retina` are the preparations of Menegola et al. 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featx.errors import ConfigError
from featx.images.decode import decode_image

__all__ = ["PREPARATIONS", "Preparation", "load_image", "preparation_key", "prepare_image"]

Box = tuple[float, float, float, float]
Pixels = tuple[int, int, int, int]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_FUZZ = 0.2
_CENTRAL = 0.95
_WIDE = 1.2
_SURROUND_FRACTION = 32
_LIT = 10
_LEAST_DISC = 0.8
# Rows and columns that the blur reaches to each side, and those that are looked at together, px.
_REACH = 2
_STRIP = 16


@dataclass(frozen=True)
class Preparation:
    """A named rule for cropping.

    Attributes
    ----------
    name : str
        As in ``--preparation``.
    version : int
        Incremented whenever the pixels change.
    box : callable
        Function of an RGB image that returns left, top, right, bottom of the box to keep, in pixels.
    text : str
        Description in one line.
    """

    name: str
    version: int
    box: Callable[[Image.Image], Box]
    text: str


def _whole(image: Image.Image) -> Box:
    return (0.0, 0.0, float(image.width), float(image.height))


def _central_square(image: Image.Image) -> Box:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return (left, top, left + side, top + side)


def _trimmed_centre(image: Image.Image) -> Box:
    left, top, right, bottom = _without_black_border(image)
    across, down = (right - left) * (1 - _CENTRAL) / 2, (bottom - top) * (1 - _CENTRAL) / 2
    return (left + across, top + down, right - across, bottom - down)


def _without_black_border(image: Image.Image) -> Box:
    """Find the box that ImageMagick's ``-bordercolor black -border 1 -fuzz 20% -trim`` keeps.

    Rows and columns of the border are black: the distance of their colours from black is at most 20 % of the distance
    from black to white. Without the added black frame ImageMagick would trim the colour of the corner, which is skin if
    an image has no border.
    """
    pixels, darkest = np.asarray(image), int(255 * _FUZZ)

    def bright(left: int, top: int, right: int, bottom: int) -> Mask:
        # A channel of twice the limit suffices, so that the squares fit into 16 bits.
        part = np.minimum(pixels[top:bottom, left:right], 2 * darkest).astype(np.uint16)
        part *= part
        return np.asarray(part[..., 0] + part[..., 1] + part[..., 2] > 3 * darkest**2)

    # A bright pixel has a channel above the brightest grey that is black.
    box = _box_of(bright, _brighter_than(pixels, darkest), 1)
    return tuple(map(float, box or (0, 0, *image.size)))  # type: ignore[return-value]


def _lit_disc(image: Image.Image) -> Box:
    """Find the bounding box of the retina, as the winning solutions of 2015 and Menegola et al. 2017 do.

    The foreground is brighter than the brightest pixel of the outer columns by more than 10, after a 5 x 5 blur. If the
    box is narrower or lower than 0.8 of the height, the central square is taken.
    """
    width, height = image.size
    if width <= _WIDE * height:
        return _central_square(image)
    pixels = np.asarray(image)
    columns = max(width // _SURROUND_FRACTION, 1)
    sides = [_blurred(pixels, 0, 0, columns, height), _blurred(pixels, width - columns, 0, width, height)]
    limit = np.max([side.max(axis=(0, 1)) for side in sides], axis=0) + _LIT

    def lit(left: int, top: int, right: int, bottom: int) -> Mask:
        return np.asarray(_blurred(pixels, left, top, right, bottom) > limit)

    # A blurred pixel is lit only if a pixel at most two rows and columns away is as bright.
    outer = _widened(_brighter_than(pixels, limit), image.size)
    box = _box_of(lit, outer, math.ceil(_LEAST_DISC * height))
    return tuple(map(float, box)) if box else _central_square(image)  # type: ignore[return-value]


def _brighter_than(pixels: np.ndarray[Any, Any], limits: Any) -> Pixels | None:
    """Find a box that has every pixel with a channel above its limit; None if there is none."""
    across = np.flatnonzero((pixels.max(axis=0) > limits).any(axis=1))
    down = np.flatnonzero(pixels.reshape(len(pixels), -1).max(axis=1) > np.min(limits))
    if across.size == 0:
        return None
    return int(across[0]), int(down[0]), int(across[-1]) + 1, int(down[-1]) + 1


def _widened(box: Pixels | None, size: tuple[int, int]) -> Pixels | None:
    if box is None:
        return None
    left, top, right, bottom = box
    return (
        max(left - _REACH, 0),
        max(top - _REACH, 0),
        min(right + _REACH, size[0]),
        min(bottom + _REACH, size[1]),
    )


def _box_of(mask: Callable[[int, int, int, int], Mask], outer: Pixels | None, least: int) -> Pixels | None:
    """Find the bounding box of a mask that is true within `outer` only; None if a side is shorter than `least` px.

    The mask, of pixels or of their channels, is computed in strips, from each side of the box until a strip has a true
    pixel. For most images this is a small fraction of the pixels.
    """
    left, top, right, bottom = outer or (0, 0, 0, 0)
    if min(right - left, bottom - top) < least:
        return None

    def columns(near: int, far: int) -> Mask:
        return np.asarray(mask(near, top, far, bottom).any(axis=0).reshape(far - near, -1).any(axis=1))

    def rows(near: int, far: int) -> Mask:
        return np.asarray(mask(left, near, right, far).reshape(far - near, -1).any(axis=1))

    first = _seek(left, right - least + 1, columns)
    last = None if first is None else _seek(right, first + least - 1, columns)
    if first is None or last is None:
        return None
    left, right = first, last
    upper = _seek(top, bottom - least + 1, rows)
    lower = None if upper is None else _seek(bottom, upper + least - 1, rows)
    return None if upper is None or lower is None else (left, upper, right, lower)


def _seek(start: int, stop: int, hits: Callable[[int, int], Mask]) -> int | None:
    """Return the first hit on the way from one end to the other; None if there is none."""
    step = _STRIP if start < stop else -_STRIP
    for here in range(start, stop, step):
        near, far = (here, min(here + step, stop)) if step > 0 else (max(here + step, stop), here)
        found = np.flatnonzero(hits(near, far))
        if found.size:
            return near + int(found[0] if step > 0 else found[-1] + 1)
    return None


def _blurred(
    pixels: np.ndarray[Any, Any], left: int, top: int, right: int, bottom: int
) -> np.ndarray[Any, Any]:
    """Blur a part of an image as Pillow's `ImageFilter.BLUR` blurs it within the whole image.

    A pixel becomes the mean of the 16 pixels of the ring two rows and columns away. The two outer rows and columns of
    the image stay as they are.
    """
    across, down = max(left - _REACH, 0), max(top - _REACH, 0)
    part = pixels[down : bottom + _REACH, across : right + _REACH].astype(np.uint16)
    if min(part.shape[:2]) > 2 * _REACH:
        rows = part[:-4] + part[4:]
        sides = part[1:-3] + part[2:-2] + part[3:-1]
        ring = sides[:, :-4] + sides[:, 4:]
        for place in range(5):
            ring += rows[:, place : rows.shape[1] - 4 + place]
        part[2:-2, 2:-2] = (ring + 8) >> 4
    return part[top - down : bottom - down, left - across : right - across]


PREPARATIONS: dict[str, Preparation] = {
    row.name: row
    for row in (
        Preparation("resize", 1, _whole, "the whole image; the aspect ratio may change"),
        Preparation("center-square", 1, _central_square, "the largest square around the centre"),
        Preparation(
            "atlas",
            1,
            _trimmed_centre,
            "black border trimmed (fuzz 20 %), then the central 95 % of each side",
        ),
        Preparation("retina", 1, _lit_disc, "the bright disc of a wide photograph, else the central square"),
    )
}


def _find(name: str) -> Preparation:
    if name not in PREPARATIONS:
        known = ", ".join(PREPARATIONS)
        raise ConfigError(f"The preparation must be one of {known}. Got {name!r} instead.")
    return PREPARATIONS[name]


def preparation_key(name: str) -> dict[str, Any]:
    """Return the entry of a preparation in a recipe.

    Parameters
    ----------
    name : str
        A key of `PREPARATIONS`.

    Returns
    -------
    dict
        ``name``, ``version`` and ``filter``; equal keys give equal pixels.

    Raises
    ------
    ConfigError
        If there is no such preparation.

    Examples
    --------
    >>> preparation_key("resize")
    {'name': 'resize', 'version': 1, 'filter': 'bilinear, antialiased'}
    """
    found = _find(name)
    return {"name": found.name, "version": found.version, "filter": "bilinear, antialiased"}


def prepare_image(image: Image.Image, preparation: str, size: int | tuple[int, int]) -> np.ndarray[Any, Any]:
    """Crop and resize an image.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB, as `featx.images.decode.decode_image` returns it.
    preparation : str
        A key of `PREPARATIONS`.
    size : int or (int, int)
        Height and width of the result in pixels; one number for both.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Contiguous RGB pixels.

    Raises
    ------
    ConfigError
        If there is no such preparation or the size is not positive.

    Examples
    --------
    >>> prepare_image(Image.new("RGB", (40, 30), (200, 100, 0)), "center-square", 8).shape
    (8, 8, 3)
    """
    found = _find(preparation)
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise ConfigError(
            f"The size of a prepared image must be at least 1 x 1 pixels. Got {size!r} instead."
        )
    resized = image.resize((width, height), Image.Resampling.BILINEAR, box=found.box(image))
    return np.array(resized)


def load_image(
    data: bytes | Path | str, preparation: str, size: int | tuple[int, int], *, name: str | None = None
) -> np.ndarray[Any, Any]:
    """Decode and prepare an image.

    Parameters
    ----------
    data : bytes, Path or str
        The file's content, or its path.
    preparation : str
        A key of `PREPARATIONS`.
    size : int or (int, int)
        Height and width of the result in pixels; one number for both.
    name : str, optional
        Name of the image in messages; the path if not given.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Contiguous RGB pixels.

    Raises
    ------
    ImageError
        If the image cannot be decoded.
    ConfigError
        If there is no such preparation or the size is not positive.

    Examples
    --------
    >>> import io
    >>> file = io.BytesIO()
    >>> Image.new("RGB", (40, 30), (200, 100, 0)).save(file, "PNG")
    >>> load_image(file.getvalue(), "resize", 8)[0, 0].tolist()
    [200, 100, 0]
    """
    side = size if isinstance(size, int) else max(size)
    return prepare_image(decode_image(data, side=side, name=name), preparation, size)
