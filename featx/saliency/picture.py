"""Saliency maps as pictures: colours over the image, the stronger the more a place counts."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["overlay"]

# Viridis (Smith & van der Walt 2015) at five places: even steps of lightness, readable without colour vision.
_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)
_STRONGEST = 0.75


def overlay(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating[Any]]) -> bytes:
    """Lay a saliency map over its image.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The image.
    heat : ndarray of float, shape (rows, columns)
        From 0 to 1; stretched to the image by bilinear interpolation.

    Returns
    -------
    bytes
        A PNG of the image's size. Where the heat is 0 it shows the image alone.

    Examples
    --------
    >>> overlay(np.zeros((8, 8, 3), np.uint8), np.eye(2))[1:4]
    b'PNG'
    """
    from PIL import Image

    height, width, _ = pixels.shape
    small = Image.fromarray(heat.astype(np.float32))
    wide = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    share = _STRONGEST * wide[..., None]
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(wide, steps, channel) for channel in _COLOURS.T], axis=-1)
    mixed = (1 - share) * pixels + share * colours
    buffer = BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()
