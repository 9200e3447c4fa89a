"""Sampling and batches: which images an epoch shows, their augmentation, and mixing.

Every random number is a function of the seed and of a position: which images an epoch shows depends on (seed, epoch),
the augmentation of an image on (seed, epoch, position). So batches do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featx.errors import ConfigError
from featx.images import Ranges, apply_view, random_view

from .training_images import TrainingImages, rand_augment
from .training_recipe import TrainingRecipe

__all__ = [
    "PAPER_WEIGHTS",
    "ImageBatch",
    "ImageSubset",
    "draw_epoch",
    "evaluation_batches",
    "final_weights",
    "image_weights",
    "loss_weights",
    "training_batches",
]


# Sampling weights at the end of the paper's annealed sampling (Menegola et al. 2017, published code).
PAPER_WEIGHTS: dict[str, dict[str, float]] = {
    "malignant-vs-benign": {"benign": 1.0, "malignant": 3.0},
    "melanoma-vs-benign": {"benign": 1.0, "melanoma": 3.0},
    "melanoma-vs-rest": {"rest": 1.0, "melanoma": 5.0},
    "three-class": {"basal cell carcinoma": 23.0, "melanoma": 3.0, "benign": 1.0},
}
_ORDER, _VIEW, _MIX = 0, 1, 2  # random streams; further ones are in featx.finetuning.learner
_AHEAD = 2  # batches that are loaded ahead by each thread


@dataclass(frozen=True)
class ImageSubset:
    """A training, validation or test set as the network sees it.

    Attributes
    ----------
    pixels : TrainingImages
        Images of this set and of others.
    rows : ndarray of int64, shape (n,)
        Positions of this set's images in `pixels`.
    targets : ndarray of int64, shape (n,)
        Their class, an index into the task's classes.
    ids : sequence of str
        Their image ids.
    classes : int
        Number of classes of the task.
    """

    pixels: TrainingImages
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    ids: Sequence[str]
    classes: int

    def __len__(self) -> int:
        return len(self.rows)


def final_weights(recipe: TrainingRecipe, task: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Return the sampling weight of an image of each class at the end of annealed sampling (``balance="decay"``).

    Parameters
    ----------
    recipe : TrainingRecipe
        Its `final_weights` are returned if it has some.
    task : str
        Name of the task; the paper's own tasks have the paper's weights.
    classes : sequence of str
        The task's classes.

    Returns
    -------
    ndarray of float64, shape (classes,)
        Relative weights; ones if neither the recipe nor the paper has any.

    Raises
    ------
    ConfigError
        If the recipe has another number of weights than the task has classes.

    Examples
    --------
    >>> final_weights(TrainingRecipe(), "melanoma-vs-benign", ["benign", "melanoma"]).tolist()
    [1.0, 3.0]
    """
    if recipe.final_weights:
        if len(recipe.final_weights) != len(classes):
            raise ConfigError(
                f"The 'final_weights' parameter must be one number for each class ({', '.join(classes)}). "
                f"Got {len(recipe.final_weights)} numbers instead."
            )
        return np.asarray(recipe.final_weights)
    known = PAPER_WEIGHTS.get(task, {})
    return np.array([known.get(name, 1.0) for name in classes])


def image_weights(
    counts: NDArray[np.int64], recipe: TrainingRecipe, final: NDArray[np.float64], epoch: int
) -> NDArray[np.float64]:
    """Return the sampling weight of one image of each class in an epoch, from the numbers of images.

    With ``balance = "decay"`` the weights are ``d * balanced + (1 - d) * final`` where d is the recipe's decay
    to the power of the epoch (the scheme of the paper's published code). Classes without images get 0.

    Examples
    --------
    >>> counts = np.array([30, 10])
    >>> image_weights(counts, TrainingRecipe(), np.ones(2), 0).round(3).tolist()
    [1.333, 4.0]
    >>> image_weights(counts, TrainingRecipe(balance="none"), np.ones(2), 0).tolist()
    [1.0, 1.0]
    """
    present = counts > 0
    if recipe.balance not in {"resample", "decay"}:
        return present.astype(np.float64)
    balanced = np.where(present, counts.sum() / np.maximum(counts, 1), 0.0)
    if recipe.balance == "resample":
        return balanced
    decay = recipe.balance_decay**epoch
    return np.where(present, decay * balanced + (1 - decay) * final, 0.0)


def loss_weights(targets: NDArray[np.int64], classes: int, recipe: TrainingRecipe) -> NDArray[np.float32]:
    """Return the weight of each class in the loss: ``n / (classes * count)`` with ``balance = "weight"``, else 1.

    Examples
    --------
    >>> loss_weights(np.array([0, 0, 0, 0, 1, 1]), 2, TrainingRecipe(balance="weight")).tolist()
    [0.75, 1.5]
    """
    if recipe.balance != "weight":
        return np.ones(classes, np.float32)
    counts = np.bincount(targets, minlength=classes)
    return (len(targets) / (classes * np.maximum(counts, 1))).astype(np.float32)


def draw_epoch(
    subset: ImageSubset, recipe: TrainingRecipe, final: NDArray[np.float64], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draw the images of an epoch in order, as positions in the set; the last batch is full.

    Places are divided among the classes in proportion to their weights (largest remainders). Within a class, images
    are drawn without replacement from shuffled rounds, so that none is drawn twice before all others were drawn once.
    """
    total = recipe.steps_per_epoch(len(subset)) * recipe.batch_size
    counts = np.bincount(subset.targets, minlength=subset.classes)
    weights = image_weights(counts, recipe, final, epoch) * counts
    generator = np.random.default_rng([seed, _ORDER, epoch])
    drawn: list[NDArray[np.int64]] = []
    for target, places in enumerate(_apportion(weights, total)):
        members = np.flatnonzero(subset.targets == target)
        rounds = -(-int(places) // max(len(members), 1))
        turns = [generator.permutation(members) for _ in range(rounds)]
        drawn.append(np.concatenate([members[:0], *turns])[:places])
    return generator.permutation(np.concatenate(drawn))


def _apportion(weights: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Divide places in proportion to weights by largest remainders; ties go to the earlier class."""
    exact = weights / weights.sum() * total
    places: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(places - exact, kind="stable")
    places[order[: total - int(places.sum())]] += 1
    return places


@dataclass(frozen=True)
class ImageBatch:
    """One batch.

    Attributes
    ----------
    images : ndarray of float32, shape (b, size, size, 3)
        RGB from 0 to 255.
    labels : ndarray of float32, shape (b, classes)
        Fractions of the classes; one-hot unless images are mixed.
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
    subset: ImageSubset,
    recipe: TrainingRecipe,
    final: NDArray[np.float64],
    seed: int,
    epoch: int,
    *,
    workers: int = 2,
) -> Iterator[ImageBatch]:
    """Load the augmented batches of an epoch in threads, ahead of the network; `final` is that of `final_weights`."""
    places = draw_epoch(subset, recipe, final, seed, epoch)
    weights = loss_weights(subset.targets, subset.classes, recipe)
    size = recipe.batch_size

    def make(step: int) -> ImageBatch:
        first = step * size
        chosen = places[first : first + size]
        keys = ([seed, _VIEW, epoch, first + at] for at in range(size))
        views = [_augmented(subset, int(place), recipe, key) for place, key in zip(chosen, keys, strict=True)]
        labels = np.eye(subset.classes, dtype=np.float32)[subset.targets[chosen]]
        images = np.stack(views).astype(np.float32)
        images, labels = _mixed(images, labels, recipe, [seed, _MIX, epoch, step])
        return ImageBatch(images, labels, labels @ weights, tuple(subset.ids[place] for place in chosen))

    yield from _prefetch(make, len(places) // size, workers)


def evaluation_batches(subset: ImageSubset, size: int, *, workers: int = 2) -> Iterator[ImageBatch]:
    """Load batches of a set in its order, without augmentation; the last is padded with its last image at weight 0."""
    places = np.arange(-(-len(subset) // size) * size)
    shown = np.minimum(places, len(subset) - 1)
    weights = (places < len(subset)).astype(np.float32)

    def make(step: int) -> ImageBatch:
        chosen = shown[step * size : (step + 1) * size]
        images = np.stack([subset.pixels[int(subset.rows[place])] for place in chosen]).astype(np.float32)
        labels = np.eye(subset.classes, dtype=np.float32)[subset.targets[chosen]]
        ids = tuple(subset.ids[place] for place in chosen)
        return ImageBatch(images, labels, weights[step * size : (step + 1) * size], ids)

    yield from _prefetch(make, len(places) // size, workers)


def _augmented(subset: ImageSubset, place: int, recipe: TrainingRecipe, key: list[int]) -> NDArray[np.uint8]:
    generator = np.random.default_rng(key)
    image = apply_view(subset.pixels[int(subset.rows[place])], random_view(generator, _ranges(recipe)))
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

    Keras' layers of these names are not used: their random state counts calls, and here the random numbers have to be
    a function of the batch's position.
    """
    ways = [name for name in ("mixup", "cutmix") if getattr(recipe, name)]
    if not ways:
        return images, labels
    generator = np.random.default_rng(key)
    way = ways[int(generator.integers(len(ways)))]
    kept = float(generator.beta(getattr(recipe, way), getattr(recipe, way)))
    partners = generator.permutation(len(images))
    if way == "mixup":
        mixed = np.float32(kept) * images + np.float32(1 - kept) * images[partners]
    else:
        top, bottom, left, right = _box(generator, images.shape[1], kept)
        mixed = images.copy()
        mixed[:, top:bottom, left:right] = images[partners, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / images.shape[1] ** 2
    return mixed, np.float32(kept) * labels + np.float32(1 - kept) * labels[partners]


def _box(generator: np.random.Generator, side: int, kept: float) -> tuple[int, int, int, int]:
    """Draw a box that covers a fraction `1 - kept` of the image, clipped at its edges."""
    half = side * math.sqrt(1 - kept) / 2
    row, column = generator.uniform(0, side, 2)
    edges = (row - half, row + half, column - half, column + half)
    top, bottom, left, right = (int(min(max(round(edge), 0), side)) for edge in edges)
    return top, bottom, left, right


def _prefetch(make: Callable[[int], ImageBatch], steps: int, workers: int) -> Iterator[ImageBatch]:
    """Call `make` for each step in threads, a few steps ahead, and yield the results in order."""
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
