"""Preparation: crop an image and resize it to the input size of a network.

A preparation chooses a box, which is resized in one step by Pillow's bilinear filter with antialiasing. Name and version
of the preparation are part of the recipe. `atlas` and `retina` are the preparations of Menegola et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from featx.errors import ConfigError
from featx.images.decode import decode_image

__all__ = ["PREPARATIONS", "Preparation", "load_image", "preparation_key", "prepare_image"]

Box = tuple[float, float, float, float]

_FUZZ = 0.2
_CENTRAL = 0.95
_WIDE = 1.2
_SURROUND_FRACTION = 32
_LIT = 10
_LEAST_DISC = 0.8


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
    left, top, right, bottom = _without_black_border(np.asarray(image))
    across, down = (right - left) * (1 - _CENTRAL) / 2, (bottom - top) * (1 - _CENTRAL) / 2
    return (left + across, top + down, right - across, bottom - down)


def _without_black_border(pixels: np.ndarray[Any, Any]) -> Box:
    """Find the box that ImageMagick's ``-bordercolor black -border 1 -fuzz 20% -trim`` keeps.

    Rows and columns of the border are black: the distance of their colours from black is at most 20 % of the distance
    from black to white. Without the added black frame ImageMagick would trim the colour of the corner, which is skin if
    an image has no border.
    """
    height, width, _ = pixels.shape
    bright = (pixels.astype(np.int32) ** 2).sum(axis=2) > 3 * (255 * _FUZZ) ** 2
    across, down = np.flatnonzero(bright.any(axis=0)), np.flatnonzero(bright.any(axis=1))
    if across.size == 0:
        return (0.0, 0.0, float(width), float(height))
    return (float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1))


def _lit_disc(image: Image.Image) -> Box:
    """Find the bounding box of the retina, as the winning solutions of 2015 and Menegola et al. 2017 do.

    The foreground is brighter than the brightest pixel of the outer columns by more than 10, after a 5 x 5 blur. If the
    box is narrower or lower than 0.8 of the height, the central square is taken.
    """
    width, height = image.size
    if width <= _WIDE * height:
        return _central_square(image)
    pixels = np.asarray(image.filter(ImageFilter.BLUR)).astype(np.int16)
    columns = max(width // _SURROUND_FRACTION, 1)
    surround = np.maximum(pixels[:, :columns].max(axis=(0, 1)), pixels[:, -columns:].max(axis=(0, 1)))
    lit = (pixels > surround + _LIT).any(axis=2)
    across, down = np.flatnonzero(lit.any(axis=0)), np.flatnonzero(lit.any(axis=1))
    if across.size == 0 or min(across[-1] - across[0], down[-1] - down[0]) + 1 < _LEAST_DISC * height:
        return _central_square(image)
    return (float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1))


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
