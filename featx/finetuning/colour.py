"""RandAugment's operations on colours and sharpness, image by image.

Cubuk et al. 2020 (arXiv 1909.13719) draw from a list of operations, each of the same strength. The geometric ones
are left out here, since views have them already. Keras' layer of that name picks the same operations for a whole
batch and keeps its chance in a state that counts calls; here it has to be a function of the image's place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

__all__ = ["OPERATIONS", "rand_augment"]

_OPERATIONS_PER_IMAGE = 2
_LARGEST_CHANGE = 0.9  # of brightness, contrast, saturation and sharpness, at strength 1
_BITS_LOST = 4  # by posterising, at strength 1

# Takes the image, the strength from 0 to 1, and a sign.
OPERATIONS: dict[str, Callable[[Image.Image, float, int], Image.Image]] = {
    "autocontrast": lambda image, strength, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, strength, sign: ImageOps.equalize(image),
    "posterize": lambda image, strength, sign: ImageOps.posterize(image, 8 - round(_BITS_LOST * strength)),
    "solarize": lambda image, strength, sign: ImageOps.solarize(image, 256 - round(256 * strength)),
    "saturation": lambda image, strength, sign: ImageEnhance.Color(image).enhance(_factor(strength, sign)),
    "contrast": lambda image, strength, sign: ImageEnhance.Contrast(image).enhance(_factor(strength, sign)),
    "brightness": lambda image, strength, sign: ImageEnhance.Brightness(image).enhance(
        _factor(strength, sign)
    ),
    "sharpness": lambda image, strength, sign: ImageEnhance.Sharpness(image).enhance(_factor(strength, sign)),
}


def _factor(strength: float, sign: int) -> float:
    return 1 + sign * _LARGEST_CHANGE * strength


def rand_augment(
    array: NDArray[np.uint8], generator: np.random.Generator, strength: float
) -> NDArray[np.uint8]:
    """Apply two operations drawn at random, one after the other.

    Parameters
    ----------
    array : ndarray of uint8, shape (height, width, 3)
        RGB pixels.
    generator : numpy.random.Generator
        Source of chance.
    strength : float
        From 0 to 1.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        A new array.

    Examples
    --------
    >>> grey = np.full((2, 2, 3), 100, np.uint8)
    >>> rand_augment(grey, np.random.default_rng(3), 0.5).shape
    (2, 2, 3)
    """
    names = list(OPERATIONS)
    image = Image.fromarray(array)
    for _ in range(_OPERATIONS_PER_IMAGE):
        number, sign = int(generator.integers(len(names))), int(generator.choice((-1, 1)))
        image = OPERATIONS[names[number]](image, strength, sign)
    return np.array(image)
