"""Which images an epoch shows: shares of the classes, and the draw.

All chance is a function of a seed and of places. Which images an epoch shows depends on (seed, epoch) alone.
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
from featx.finetuning.training_images import TrainingImages, rand_augment
from featx.finetuning.training_recipe import TrainingRecipe
from featx.images import Ranges, apply_view, random_view

__all__ = [
    "PAPER_WEIGHTS",
    "ImageBatch",
    "Part",
    "draw_epoch",
    "evaluation_batches",
    "final_weights",
    "image_weights",
    "loss_weights",
    "steps_per_epoch",
    "training_batches",
]


# What the paper's resampling ends with (Menegola et al. 2017, published code), by task and class.
PAPER_WEIGHTS: dict[str, dict[str, float]] = {
    "malignant-vs-benign": {"benign": 1.0, "malignant": 3.0},
    "melanoma-vs-benign": {"benign": 1.0, "melanoma": 3.0},
    "melanoma-vs-rest": {"rest": 1.0, "melanoma": 5.0},
    "three-class": {"basal cell carcinoma": 23.0, "melanoma": 3.0, "benign": 1.0},
}


_ORDER = 0  # a stream of chance; others are in featx.finetuning.sampling and .learner


@dataclass(frozen=True)
class Part:
    """A part of a data set as the network sees it.

    Attributes
    ----------
    pixels : Pixels
        Images, of this part and of others.
    rows : ndarray of int64, shape (n,)
        Which of them make the part.
    targets : ndarray of int64, shape (n,)
        Their class, an index into the task's classes.
    ids : sequence of str
        Their image ids.
    classes : int
        How many classes the task has.
    """

    pixels: TrainingImages
    rows: NDArray[np.int64]
    targets: NDArray[np.int64]
    ids: Sequence[str]
    classes: int

    def __len__(self) -> int:
        return len(self.rows)


def final_weights(recipe: TrainingRecipe, task: str, classes: Sequence[str]) -> NDArray[np.float64]:
    """Find out how often the decaying resampling draws an image of each class in the end.

    Parameters
    ----------
    recipe : TrainingRecipe
        Its `final_weights`, if it has some, are taken.
    task : str
        Name of the task; for those of the paper the paper's weights are known.
    classes : sequence of str
        The task's classes.

    Returns
    -------
    ndarray of float64, shape (classes,)
        Relative weights; all one where neither the recipe nor the paper says otherwise.

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
                f"final_weights must hold one number for each class ({', '.join(classes)}), "
                f"got {len(recipe.final_weights)}"
            )
        return np.asarray(recipe.final_weights)
    known = PAPER_WEIGHTS.get(task, {})
    return np.array([known.get(name, 1.0) for name in classes])


def image_weights(
    counts: NDArray[np.int64], recipe: TrainingRecipe, final: NDArray[np.float64], epoch: int
) -> NDArray[np.float64]:
    """Weigh how often an image of each class is drawn in an epoch.

    With ``balance = "decay"`` the weights are ``d * balanced + (1 - d) * final`` where d is the recipe's decay
    to the power of the epoch (the scheme of the paper's published code).

    Parameters
    ----------
    counts : ndarray of int64, shape (classes,)
        Images of each class in the training part.
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.

    Returns
    -------
    ndarray of float64, shape (classes,)
        Relative weights of one image of each class; classes without images get 0.

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
    share = recipe.balance_decay**epoch
    return np.where(present, share * balanced + (1 - share) * final, 0.0)


def loss_weights(targets: NDArray[np.int64], classes: int, recipe: TrainingRecipe) -> NDArray[np.float32]:
    """Weigh the classes in the loss.

    Parameters
    ----------
    targets : ndarray of int64, shape (n,)
        Classes of the training part.

    Returns
    -------
    ndarray of float32, shape (classes,)
        ``n / (classes * count)`` with ``balance = "weight"``, else ones.

    Examples
    --------
    >>> loss_weights(np.array([0, 0, 0, 0, 1, 1]), 2, TrainingRecipe(balance="weight")).tolist()
    [0.75, 1.5]
    """
    if recipe.balance != "weight":
        return np.ones(classes, np.float32)
    counts = np.bincount(targets, minlength=classes)
    return (len(targets) / (classes * np.maximum(counts, 1))).astype(np.float32)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Count the batches of an epoch; the last one is filled up, so that all are of one size.

    Examples
    --------
    >>> steps_per_epoch(65, 32)
    3
    """
    return -(-images // batch_size)


def draw_epoch(
    part: Part, recipe: TrainingRecipe, final: NDArray[np.float64], seed: int, epoch: int
) -> NDArray[np.int64]:
    """Draw which images an epoch shows, in which order.

    Every class gets its share of the places (largest remainders); within a class, images come up in turn, in
    an order shuffled anew each time round, so that none is drawn twice before all others were drawn once.

    Parameters
    ----------
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.

    Returns
    -------
    ndarray of int64, shape (batches * batch_size,)
        Positions in the part.
    """
    total = steps_per_epoch(len(part), recipe.batch_size) * recipe.batch_size
    counts = np.bincount(part.targets, minlength=part.classes)
    shares = image_weights(counts, recipe, final, epoch) * counts
    generator = np.random.default_rng([seed, _ORDER, epoch])
    drawn: list[NDArray[np.int64]] = []
    for target, places in enumerate(_apportion(shares, total)):
        members = np.flatnonzero(part.targets == target)
        rounds = steps_per_epoch(int(places), max(len(members), 1))
        turns = [generator.permutation(members) for _ in range(rounds)]
        drawn.append(np.concatenate([members[:0], *turns])[:places])
    return generator.permutation(np.concatenate(drawn))


def _apportion(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Give out whole places by shares, the largest remainders first, ties to the earlier class."""
    exact = shares / shares.sum() * total
    places: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(places - exact, kind="stable")
    places[order[: total - int(places.sum())]] += 1
    return places


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
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.
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

    Yields
    ------
    Batch
        Batches of exactly `size` images; the last one is filled up with its last image at weight 0.
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
