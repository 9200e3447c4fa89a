"""Batches: images drawn, altered and mixed, ahead of the network and in threads.

All chance is a function of a seed and of places: the view of an image depends on (seed, epoch, place in the
epoch), how a batch is mixed on (seed, epoch, batch). The batches are therefore the same for any number of
workers, and after a restart in the middle.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featx.images import Ranges, apply_view, random_view

from .colour import rand_augment
from .recipe import TrainingRecipe
from .sampling import Part, draw_epoch, loss_weights, steps_per_epoch

__all__ = ["ImageBatch", "evaluation_batches", "training_batches"]

_VIEW, _MIX = 1, 2  # streams of chance
_AHEAD = 2  # batches prepared ahead for each worker


@dataclass(frozen=True)
class ImageBatch:
    """One batch.

    Attributes
    ----------
    images : ndarray of float32, shape (b, size, size, 3)
        RGB from 0 to 255.
    labels : ndarray of float32, shape (b, classes)
        Shares of the classes; one-hot unless mixed.
    weights : ndarray of float32, shape (b,)
        Weights in the loss.
    ids : tuple of str
        Image ids.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    ids: tuple[str, ...]


def training_batches(
    part: Part, recipe: TrainingRecipe, final: NDArray[np.float64], seed: int, epoch: int, *, workers: int = 2
) -> Iterator[ImageBatch]:
    """Make the batches of an epoch, ahead of the network, in threads.

    Parameters
    ----------
    part : Part
        The training part.
    recipe : TrainingRecipe
        Says what is drawn and how it is altered.
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.
    seed, epoch : int
        Decide all chance.
    workers : int
        Threads that decode and alter; the batches do not depend on it.

    Yields
    ------
    Batch
        Batches of exactly `recipe.batch_size` images.

    Raises
    ------
    ImageError
        If an image that is not in memory cannot be read.
    """
    places = draw_epoch(part, recipe, final, seed, epoch)
    weights = loss_weights(part.targets, part.classes, recipe)
    size = recipe.batch_size

    def make(step: int) -> ImageBatch:
        first = step * size
        chosen = places[first : first + size]
        keys = ([seed, _VIEW, epoch, first + at] for at in range(size))
        views = [_altered(part, int(place), recipe, key) for place, key in zip(chosen, keys, strict=True)]
        labels = np.eye(part.classes, dtype=np.float32)[part.targets[chosen]]
        images = np.stack(views).astype(np.float32)
        images, labels = _mixed(images, labels, recipe, [seed, _MIX, epoch, step])
        return ImageBatch(images, labels, labels @ weights, tuple(part.ids[place] for place in chosen))

    yield from _ahead(make, len(places) // size, workers)


def evaluation_batches(part: Part, size: int, *, workers: int = 2) -> Iterator[ImageBatch]:
    """Make batches of a part in its order, unaltered, for prediction.

    Parameters
    ----------
    part : Part
        What to predict.
    size : int
        Images in a batch.
    workers : int
        Threads that decode.

    Yields
    ------
    Batch
        Batches of exactly `size` images; the last one is filled up with its last image at weight 0.

    Raises
    ------
    ImageError
        If an image that is not in memory cannot be read.
    """
    places = np.arange(steps_per_epoch(len(part), size) * size)
    shown = np.minimum(places, len(part) - 1)
    weights = (places < len(part)).astype(np.float32)

    def make(step: int) -> ImageBatch:
        chosen = shown[step * size : (step + 1) * size]
        images = np.stack([part.pixels[int(part.rows[place])] for place in chosen]).astype(np.float32)
        labels = np.eye(part.classes, dtype=np.float32)[part.targets[chosen]]
        ids = tuple(part.ids[place] for place in chosen)
        return ImageBatch(images, labels, weights[step * size : (step + 1) * size], ids)

    yield from _ahead(make, len(places) // size, workers)


def _altered(part: Part, place: int, recipe: TrainingRecipe, key: list[int]) -> NDArray[np.uint8]:
    generator = np.random.default_rng(key)
    image = apply_view(part.pixels[int(part.rows[place])], random_view(generator, _ranges(recipe)))
    return rand_augment(image, generator, recipe.rand_augment) if recipe.rand_augment else image


def _ranges(recipe: TrainingRecipe) -> Ranges:
    fill: Literal["black", "reflect"] = "black" if recipe.fill == "black" else "reflect"
    return Ranges(
        zoom=recipe.zoom,
        rotation=recipe.rotation,
        shear=recipe.shear,
        translation=recipe.translation,
        flip=recipe.flip,
        fill=fill,
    )


def _mixed(
    images: NDArray[np.float32], labels: NDArray[np.float32], recipe: TrainingRecipe, key: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mix a batch with itself, shuffled: MixUp (Zhang et al. 2018) or CutMix (Yun et al. 2019).

    Keras' layers of these names keep their chance in a state that counts calls; here it has to be a function of
    the batch's place.
    """
    ways = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not ways:
        return images, labels
    generator = np.random.default_rng(key)
    way = ways[int(generator.integers(len(ways)))]
    share = float(generator.beta(getattr(recipe, way), getattr(recipe, way)))
    partners = generator.permutation(len(images))
    if way == "mixup":
        mixed = np.float32(share) * images + np.float32(1 - share) * images[partners]
    else:
        top, bottom, left, right = _box(generator, images.shape[1], share)
        mixed = images.copy()
        mixed[:, top:bottom, left:right] = images[partners, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / images.shape[1] ** 2
    return mixed, np.float32(share) * labels + np.float32(1 - share) * labels[partners]


def _box(generator: np.random.Generator, side: int, share: float) -> tuple[int, int, int, int]:
    """Draw a box that covers `1 - share` of the image, cut off at its edges."""
    half = side * math.sqrt(1 - share) / 2
    row, column = generator.uniform(0, side, 2)
    edges = (row - half, row + half, column - half, column + half)
    top, bottom, left, right = (int(min(max(round(edge), 0), side)) for edge in edges)
    return top, bottom, left, right


def _ahead(make: Callable[[int], ImageBatch], steps: int, workers: int) -> Iterator[ImageBatch]:
    """Call `make` for each step in threads, a few steps ahead, and give the results in order."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="featx-batches")
    waiting: deque[Future[ImageBatch]] = deque()
    try:
        for step in range(steps):
            waiting.append(pool.submit(make, step))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
