"""Which images an epoch shows: shares of the classes, and the draw.

All chance is a function of a seed and of places. Which images an epoch shows depends on (seed, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import ConfigError

from .pixels import TrainingImages
from .recipe import TrainingRecipe

__all__ = [
    "PAPER_WEIGHTS",
    "Part",
    "draw_epoch",
    "final_weights",
    "image_weights",
    "loss_weights",
    "steps_per_epoch",
]

# What the paper's resampling ends with (Menegola et al. 2017, published code), by task and class.
PAPER_WEIGHTS: dict[str, dict[str, float]] = {
    "malignant-vs-benign": {"benign": 1.0, "malignant": 3.0},
    "melanoma-vs-benign": {"benign": 1.0, "melanoma": 3.0},
    "melanoma-vs-rest": {"rest": 1.0, "melanoma": 5.0},
    "three-class": {"basal cell carcinoma": 23.0, "melanoma": 3.0, "benign": 1.0},
}

_ORDER = 0  # a stream of chance; others are in featx.finetuning.batches and .learner


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
    recipe : TrainingRecipe
        Says how classes are balanced.
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.
    epoch : int
        From 0.

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
    classes : int
        How many the task has.
    recipe : TrainingRecipe
        Says how classes are balanced.

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

    Parameters
    ----------
    images, batch_size : int
        Images in the part, images in a batch.

    Returns
    -------
    int
        Batches.

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
    part : Part
        The training part.
    recipe : TrainingRecipe
        Says how classes are balanced and how large a batch is.
    final : ndarray of float64, shape (classes,)
        What `final_weights` returned.
    seed, epoch : int
        Decide the draw.

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
