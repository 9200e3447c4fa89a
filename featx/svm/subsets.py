"""Learning curves: subsets of a fold's training set, drawn by group and stratified by class, small ones inside large ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Fold, check_inner, merged_groups
from featx.digest import digest
from featx.errors import ConfigError, ProtocolError, listing
from featx.features import FeatureStore
from featx.svm.inputs import Images
from featx.svm.settings import SubsetOptions, TrainSvmSettings

__all__ = ["TrainingSubset", "asked_subsets", "check_subsets", "draw_subset", "refuse_trained_weights"]


@dataclass(frozen=True)
class TrainingSubset:
    """The size of a part of each training set, and which of its random draws it is.

    Attributes
    ----------
    kind : str
        ``"fraction"`` of the groups of each class, or ``"shots"``: a number of groups of each class. An image without a
        group is its own.
    size : float or int
        The fraction, or the number.
    seed : int
        Number of the draw, from 0.
    """

    kind: str
    size: float
    seed: int

    @property
    def record(self) -> dict[str, Any]:
        """The subset in JSON types, for `run.json`."""
        return {self.kind: self.size, "seed": self.seed}

    @property
    def name(self) -> str:
        """Name of the subset in paths and messages.

        Examples
        --------
        >>> TrainingSubset("fraction", 0.25, 1).name
        'fraction-0.25-seed-1'
        """
        return f"{self.kind}-{self.size:g}-seed-{self.seed}"


def asked_subsets(options: SubsetOptions) -> tuple[TrainingSubset, ...]:
    """List the subsets that options ask for, by size and draw; the whole training set is none of them.

    Examples
    --------
    >>> [one.name for one in asked_subsets(SubsetOptions(train_fraction=(1, 0.5), shots=(5,)))]
    ['shots-5-seed-0', 'fraction-0.5-seed-0']
    """
    sizes: list[tuple[str, float]] = [("shots", int(size)) for size in sorted(options.shots)]
    sizes += [("fraction", size) for size in sorted(options.train_fraction) if size < 1]
    return tuple(TrainingSubset(*size, seed) for size in sizes for seed in range(options.train_seeds))


def draw_subset(fold: Fold, images: Images, subset: TrainingSubset, seed: int) -> Fold:
    """Draw a part of a fold's training set; its test set stays as it is.

    The groups of each class are put into a random order that depends on the seeds and the fold, but not on the size, and
    the first of them are taken: smaller subsets are therefore parts of larger ones. A group with images of several
    classes counts for the rarest of them; byte-identical images are one group.

    Parameters
    ----------
    fold : Fold
        A fold; its images are in `images`.
    images : Images
        Images with classes and groups.
    subset : TrainingSubset
        Size and number of the draw.
    seed : int
        Random seed of the run.

    Returns
    -------
    Fold
        The fold with the subset as its training set.

    Raises
    ------
    ProtocolError
        If a class has fewer groups than are asked for, or the subset lacks a class.
    """
    rows, groups, targets = _training(fold, images)
    names, group_of_row = np.unique(groups, return_inverse=True)
    counts = np.bincount(targets)
    classes = np.zeros(len(names), dtype=np.int64)
    for target in np.argsort(-counts, kind="stable"):  # the rarest class of a group is written last
        classes[group_of_row[targets == target]] = target
    rng = np.random.default_rng((seed, subset.seed, int(digest(fold.name)[:8], 16)))
    order = rng.permutation(len(names))
    labels = images.labelled.task.classes
    taken = np.zeros(len(names), dtype=np.bool_)
    for target, label in enumerate(labels):
        members = order[classes[order] == target]
        taken[members[: _number(subset, len(members), f"fold {fold.name}", label)]] = True
    kept = taken[group_of_row]
    lost = sorted({labels[target] for target in targets} - {labels[target] for target in targets[kept]})
    if lost:
        raise ProtocolError(
            f"fold {fold.name}: a subset of the training set ({subset.name}) has no image of {listing(lost)}; ask for "
            "larger subsets"
        )
    ids = images.labelled.ids
    return Fold(fold.name, tuple(ids[row] for row in rows[kept]), fold.test)


def _training(
    fold: Fold, images: Images
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_], npt.NDArray[Any]]:
    """Return the rows of a training set in the order of the manifest, and their groups and classes."""
    place = {name: row for row, name in enumerate(images.labelled.ids)}
    rows = np.array(sorted(place[name] for name in fold.train), dtype=np.int64)
    groups = merged_groups(images.labelled.groups[rows], [images.keys[row] for row in rows])
    return rows, groups, images.labelled.targets[rows]


def _number(subset: TrainingSubset, groups: int, where: str, label: str) -> int:
    """Return how many groups of a class are taken: a fraction is rounded, and at least one group."""
    if subset.kind == "fraction":
        return max(1, int(subset.size * groups + 0.5))
    if subset.size > groups:
        raise ProtocolError(
            f"{where}: its training set has {groups} groups of {label}, and --shots asks for {subset.size:g} of each class; "
            "ask for fewer"
        )
    return int(subset.size)


def check_subsets(folds: Sequence[Fold], images: Images, options: TrainSvmSettings) -> None:
    """Check that folds with subsets have the inner splits that calibration and fusion need.

    The search for C needs none: an SVM of one group of each class is trained with the C nearest to 1.

    Raises
    ------
    ProtocolError
        If a class has one group.
    """
    if options.calibrate != "none" or options.fuse in ("mean-score", "stack"):
        check_inner(folds, images.labelled, images.keys, every_class=True)


def refuse_trained_weights(stores: Sequence[FeatureStore], fold: Fold, images: Images) -> None:
    """Raise an error if the network behind the features was trained on the training set.

    The SVM of a subset would then be the end of a model that has seen more images than the learning curve says.

    Raises
    ------
    ConfigError
        If it was.
    """
    trained = frozenset[str]().union(*(store.train_keys() or () for store in stores))
    keys = dict(zip(images.labelled.ids, images.keys, strict=True))
    seen = [name for name in fold.train if keys[name] in trained]
    if seen:
        raise ConfigError(
            f"fold {fold.name}: the network behind the features was trained on {len(seen)} of {len(fold.train)} images of "
            f"the training set ({listing(seen, 3)}), so that an SVM on a part of it says nothing of smaller training sets; "
            "leave --train-fraction and --shots out, or give features of weights that were not fine-tuned on it"
        )
