"""Images for training: decoded once and kept in memory if they fit, else decoded when needed; RandAugment."""

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

__all__ = ["OPERATIONS", "TrainingImages", "load_images", "rand_augment"]

_OPERATIONS_PER_IMAGE = 2
_LARGEST_CHANGE = 0.9  # of brightness, contrast, saturation and sharpness, at magnitude 1
_BITS_LOST = 4  # by posterising, at magnitude 1


class TrainingImages:
    """Prepared images of one size, by position.

    Parameters
    ----------
    kept : ndarray of uint8, shape (n, size, size, 3), optional
        The images if they are in memory; else each is decoded when it is indexed.
    keys : sequence of str, optional
        SHA-256 that each file must still have when it is decoded; not checked if left out.
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
    """Decode and resize a file, and refuse it if it has changed since its key was computed."""
    try:
        data = read_regular(path, FILE_LIMIT)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or error}") from error
    if key is not None and digest_bytes(data) != key:
        raise ImageError(
            f"{path}: the file was changed after its key was computed; run the training again, with new keys if `keys` were "
            "given"
        )
    return load_image(data, preparation, size, name=path)


def load_images(
    paths: Sequence[str],
    preparation: str,
    size: int,
    *,
    keys: Sequence[str] | None = None,
    memory_gib: float,
    workers: int = 2,
    progress: Progress | None = None,
) -> TrainingImages:
    """Decode images for training, unless they need more memory than given."""
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
            "repair them or remove them from the manifest"
        )
    return TrainingImages(paths, preparation, size, kept)


# Each takes the image, the magnitude from 0 to 1, and a sign.
OPERATIONS: dict[str, Callable[[Image.Image, float, int], Image.Image]] = {
    "autocontrast": lambda image, magnitude, sign: ImageOps.autocontrast(image),
    "equalize": lambda image, magnitude, sign: ImageOps.equalize(image),
    "posterize": lambda image, magnitude, sign: ImageOps.posterize(image, 8 - round(_BITS_LOST * magnitude)),
    "solarize": lambda image, magnitude, sign: ImageOps.solarize(image, 256 - round(256 * magnitude)),
    "saturation": lambda image, magnitude, sign: ImageEnhance.Color(image).enhance(_factor(magnitude, sign)),
    "contrast": lambda image, magnitude, sign: ImageEnhance.Contrast(image).enhance(_factor(magnitude, sign)),
    "brightness": lambda image, magnitude, sign: ImageEnhance.Brightness(image).enhance(
        _factor(magnitude, sign)
    ),
    "sharpness": lambda image, magnitude, sign: ImageEnhance.Sharpness(image).enhance(
        _factor(magnitude, sign)
    ),
}


def _factor(magnitude: float, sign: int) -> float:
    return 1 + sign * _LARGEST_CHANGE * magnitude


def rand_augment(
    array: NDArray[np.uint8], generator: np.random.Generator, magnitude: float
) -> NDArray[np.uint8]:
    """Apply two random colour operations of RandAugment (Cubuk et al. 2020) to RGB pixels of shape (h, w, 3).

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
        image = OPERATIONS[names[number]](image, magnitude, sign)
    return np.array(image)
