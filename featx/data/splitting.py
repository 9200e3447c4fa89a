"""Splitting by group and class: into folds, and into inner training and validation sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featx.errors import ProtocolError

__all__ = ["class_groups", "deal", "inner_splits", "validation_split"]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]
# Weight of the parts' sizes against their classes: enough to settle ties, too little for more.
_SIZE_WEIGHT = 1e-3
# Number of deals of which the best is taken, if groups are too uneven for an even deal.
_DEALS = 4


def deal(
    targets: npt.ArrayLike, groups: npt.ArrayLike, shares: Sequence[float], rng: np.random.Generator
) -> _Ints:
    """Split groups into parts so that each part has its fraction of every class.

    Parameters
    ----------
    targets : array_like, shape (n,)
        Class of each row.
    groups : array_like, shape (n,)
        Group of each row.
    shares : sequence of float
        Fraction of each part; they sum to 1.
    rng : numpy.random.Generator
        Random numbers; they decide which groups of equal class counts go where.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        Part of each row. Rows of a group are in the same part. A class with at least as many groups as there are parts
        is in every part, unless groups of several classes make this impossible.

    Examples
    --------
    >>> parts = deal([0, 0, 0, 0, 1, 1], list("aabbcd"), (0.5, 0.5), np.random.default_rng(0))
    >>> int(np.sum(parts == 0)), bool(parts[0] == parts[1]), bool(parts[4] != parts[5])
    (3, True, True)
    """
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    return _deal_groups(_class_counts(targets, group_of_row), np.asarray(shares), rng)[group_of_row]


def class_groups(targets: npt.ArrayLike, groups: npt.ArrayLike) -> _Ints:
    """Count the groups of each class that occurs, in ascending order of the classes: shape (classes,).

    Examples
    --------
    >>> class_groups([0, 0, 1, 1], ["a", "b", "b", "b"]).tolist()
    [2, 1]
    """
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    found: _Ints = (_class_counts(targets, group_of_row) > 0).sum(axis=0)
    return found


def _class_counts(targets: npt.ArrayLike, group_of_row: _Ints) -> _Ints:
    """Count the rows of each class in each group: shape (groups, classes)."""
    classes, class_of_row = np.unique(np.asarray(targets), return_inverse=True)
    counts = np.zeros((group_of_row.max(initial=-1) + 1, len(classes)), dtype=np.int64)
    np.add.at(counts, (group_of_row, class_of_row), 1)
    return counts


def _deal_groups(counts: _Ints, shares: _Floats, rng: np.random.Generator) -> _Ints:
    """Return the part of each group: the best of some deals, or the first in which parts differ by less than a row."""
    kinds, kind_of_group = np.unique(counts, axis=0, return_inverse=True)
    sized = np.column_stack([kinds, kinds.sum(axis=1)]).astype(np.float64)
    total = np.bincount(kind_of_group) @ sized
    weights = np.append(np.ones(counts.shape[1]), _SIZE_WEIGHT) / total
    least, best = np.inf, np.zeros(len(counts), dtype=np.int64)
    for _ in range(_DEALS):
        parts, need = _deal_once(kind_of_group, sized, weights, np.outer(shares, total), rng)
        cost = float(np.sum(weights * need**2))
        if cost < least:
            least, best = cost, parts
        if np.all(np.abs(need[:, :-1]) < 1):
            break
    _complete(counts, best, len(shares), rng)
    return best


def _deal_once(
    kind_of_group: _Ints, sized: _Floats, weights: _Floats, need: _Floats, rng: np.random.Generator
) -> tuple[_Ints, _Floats]:
    """Deal all groups, largest first; return their parts and the rows that parts still need."""
    parts = np.empty(len(kind_of_group), dtype=np.int64)
    for kind in np.argsort(-sized[:, -1], kind="stable"):
        groups = rng.permutation(np.flatnonzero(kind_of_group == kind))
        fitting = need @ (sized[kind] * weights) / float(sized[kind] @ (sized[kind] * weights))
        taken = _apportion(fitting, len(groups), rng)
        parts[groups] = np.repeat(np.arange(len(need)), taken)
        need = need - np.outer(taken, sized[kind])
    return parts, need


def _apportion(fitting: _Floats, groups: int, rng: np.random.Generator) -> _Ints:
    """Distribute groups of equal class counts in proportion to the number that still fits into each part.

    Fractions of a group are rounded at random. Rounding towards the part that needs most would put all of the largest
    groups into the largest part, and none into validation sets.
    """
    open_to = np.maximum(fitting, 0.0) if np.any(fitting > 0) else np.ones(len(fitting))
    exact = groups * open_to / open_to.sum()
    taken: _Ints = np.floor(exact + 1e-9).astype(np.int64)
    for _ in range(groups - int(taken.sum())):
        room = fitting - taken
        chances = np.where(room >= 1 - 1e-9, np.maximum(exact - taken, 0.0), 0.0)
        if chances.sum() > 0:
            taken[rng.choice(len(taken), p=chances / chances.sum())] += 1
        else:
            taken[np.lexsort((rng.random(len(room)), -np.round(room, 9)))[0]] += 1
    return taken


def _complete(counts: _Ints, parts: _Ints, number: int, rng: np.random.Generator) -> None:
    """Move groups, in place, into parts that lack a class, if their own part keeps all its classes."""
    holds = counts > 0
    held = np.zeros((number, counts.shape[1]), dtype=np.int64)  # groups of each class in each part
    np.add.at(held, parts, holds)
    for name in np.argsort(holds.sum(axis=0), kind="stable"):
        for part in range(number):
            if held[part, name]:
                continue
            candidates = rng.permutation(np.flatnonzero(holds[:, name]))
            sizes = counts[candidates].sum(axis=1)
            for group in candidates[np.argsort(sizes, kind="stable")]:
                # The group's part keeps all its classes without it.
                if np.all(held[parts[group], holds[group]] > 1):
                    held[parts[group]] -= holds[group]
                    held[part] += holds[group]
                    parts[group] = part
                    break


def inner_splits(
    targets: npt.ArrayLike,
    groups: npt.ArrayLike | None = None,
    *,
    splits: int = 10,
    held_out: float = 0.1,
    seed: int = 0,
) -> list[tuple[_Ints, _Ints]]:
    """Split a training set repeatedly into an inner training and a validation set.

    Rows without groups are split by scikit-learn's `StratifiedShuffleSplit`, as Menegola et al. 2017 do, unless a class
    is so rare that it could be missing from a validation set. Groups are kept whole (`deal`), with the same fraction
    held out.

    Parameters
    ----------
    targets : array_like, shape (n,)
        Class of each row.
    groups : array_like, shape (n,), optional
        Group of each row; rows of one group stay together.
    splits : int
        Number of splits.
    held_out : float
        Fraction of the rows in the validation set, above 0 and below 1.
    seed : int
        Random seed.

    Returns
    -------
    list of (numpy.ndarray of int64, numpy.ndarray of int64)
        Row numbers of the inner training and the validation set, each sorted. Every class with at least two groups is in
        both, unless groups of several classes make this impossible.

    Raises
    ------
    ProtocolError
        If no class has two groups, or an argument is out of range.

    Examples
    --------
    >>> fit, validate = inner_splits([0, 1] * 10, splits=3)[0]
    >>> fit.size, sorted(int(row) % 2 for row in validate)
    (18, [0, 1])
    """
    classes = np.asarray(targets)
    if not 0 < held_out < 1 or splits < 1:
        raise ProtocolError(
            f"held_out must be between 0 and 1, and splits at least 1, got {held_out} and {splits}"
        )
    unique, group_of_row = np.unique(
        np.arange(len(classes)) if groups is None else groups, return_inverse=True
    )
    counts = _class_counts(classes, group_of_row)
    if not np.any((counts > 0).sum(axis=0) > 1):
        raise ProtocolError(
            f"no validation set can be taken from {len(classes)} images in {len(unique)} groups: no class has two groups; "
            "add images"
        )
    if len(unique) == len(classes) and _shuffle_split_serves(counts.sum(axis=0), held_out):
        return _shuffle_splits(classes, splits, held_out, seed)
    found = []
    for number in range(splits):
        rng = np.random.default_rng((seed, number))
        validates = _deal_groups(counts, np.array([1 - held_out, held_out]), rng)[group_of_row] == 1
        found.append((np.flatnonzero(~validates), np.flatnonzero(validates)))
    return found


def _shuffle_split_serves(sizes: _Ints, held_out: float) -> bool:
    """Tell whether a stratified shuffle puts at least one row of each class into the validation set."""
    total = int(sizes.sum())
    return bool(int(sizes.min()) * int(np.ceil(held_out * total)) >= total)


def _shuffle_splits(
    classes: npt.NDArray[np.generic], splits: int, held_out: float, seed: int
) -> list[tuple[_Ints, _Ints]]:
    from sklearn.model_selection import StratifiedShuffleSplit

    splitter = StratifiedShuffleSplit(n_splits=splits, test_size=held_out, random_state=seed)
    return [
        (np.sort(fit), np.sort(validate)) for fit, validate in splitter.split(np.zeros(len(classes)), classes)
    ]


def validation_split(
    targets: npt.ArrayLike, groups: npt.ArrayLike | None = None, *, held_out: float = 0.1, seed: int = 0
) -> tuple[_Ints, _Ints]:
    """Split a training set once into an inner training and a validation set, to train a network.

    Parameters
    ----------
    targets, groups, held_out, seed
        As in `inner_splits`.

    Returns
    -------
    (numpy.ndarray of int64, numpy.ndarray of int64)
        Row numbers of the inner training and the validation set, each sorted.

    Raises
    ------
    ProtocolError
        As in `inner_splits`.

    Examples
    --------
    >>> fit, validate = validation_split([0] * 8 + [1] * 8, list("aabbccdd") * 2, held_out=0.25)
    >>> fit.size, validate.size
    (12, 4)
    """
    return inner_splits(targets, groups, splits=1, held_out=held_out, seed=seed)[0]
