"""Prepared images for training: decoded once and kept in memory where they fit, else decoded as needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from featx.digest import digest_bytes
from featx.errors import ImageError, listing
from featx.files import read_regular
from featx.images import FILE_LIMIT, load_image
from featx.progress import Progress

__all__ = ["MEMORY_GIB", "OPERATIONS", "TrainingImages", "load_pixels", "rand_augment"]


# 35,000 images of 224x224 take 4.9 GiB, 28,000 take 4: what a machine with 8 GiB can spare beside a network.
MEMORY_GIB = 4.0


class TrainingImages:
    """Prepared images of one size, by position.

    Parameters
    ----------
    kept : ndarray of uint8, shape (n, size, size, 3), optional
        The images if they are in memory; else each is decoded when asked for.
    keys : sequence of str, optional
        SHA-256 that each file's bytes must have when they are decoded; not compared if left out.
    """

    def __init__(
        self,
        paths: Sequence[str],
        preparation: str,
        size: int,
        kept: NDArray[np.uint8] | None = None,
        keys: Sequence[str] | None = None,
    ) -> None:
        self._paths, self._preparation, self.size, self._kept = tuple(paths), preparation, size, kept
        self._keys = keys

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def in_memory(self) -> bool:
        """Whether the images are kept in memory."""
        return self._kept is not None

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Return one image, uint8 of shape (size, size, 3); raise `ImageError` if it cannot be read."""
        if self._kept is not None:
            image: NDArray[np.uint8] = self._kept[index]
            return image
        key = None if self._keys is None else self._keys[index]
        return _prepared(self._paths[index], key, self._preparation, self.size)


def _prepared(path: str, key: str | None, preparation: str, size: int) -> NDArray[np.uint8]:
    """Decode and prepare a file, whose bytes must be those that its key stands for."""
    try:
        data = read_regular(path, FILE_LIMIT)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if key is not None and digest_bytes(data) != key:
        raise ImageError(f"{path}: changed after this training began; run the same command again")
    return load_image(data, preparation, size, name=path)


def load_pixels(
    paths: Sequence[str],
    preparation: str,
    size: int,
    *,
    keys: Sequence[str] | None = None,
    memory_gib: float = MEMORY_GIB,
    workers: int = 2,
    progress: Progress | None = None,
) -> TrainingImages:
    """Prepare images for training."""
    if len(paths) * size * size * 3 > memory_gib * 2**30:
        return TrainingImages(paths, preparation, size, keys=keys)
    kept = np.empty((len(paths), size, size, 3), np.uint8)

    def prepare(index: int) -> str | None:
        try:
            kept[index] = _prepared(paths[index], None if keys is None else keys[index], preparation, size)
        except ImageError as error:
            return str(error)
        finally:
            if progress:
                progress.advance()
        return None

    if progress:
        progress.start("decoding", len(paths))
    with ThreadPoolExecutor(workers) as pool:
        failures = [reason for reason in pool.map(prepare, range(len(paths))) if reason]
    if progress:
        progress.finish()
    if failures:
        raise ImageError(
            f"{len(failures)} of {len(paths)} images cannot be read ({listing(failures, 3)}); "
            "repair them or take them out of the manifest"
        )
    return TrainingImages(paths, preparation, size, kept)


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
