"""Protocols: how images are split into folds.

Folds are stratified by class and grouped at once: a patient's, case's or lesion's images, and byte-identical
copies, never straddle a split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from featx.data.folds import PARTS, Fold, Folds, check_folds, read_folds, write_folds
from featx.data.tasks import Labelled
from featx.errors import ProtocolError, listing

__all__ = [
    "PROTOCOLS",
    "Fold",
    "Folds",
    "check_folds",
    "check_inner",
    "class_groups",
    "deal",
    "inner_splits",
    "make_folds",
    "merged_groups",
    "read_folds",
    "validation_split",
    "write_folds",
]


_Ints = npt.NDArray[np.int64]


_Floats = npt.NDArray[np.float64]


# Weight of the parts' sizes against their classes: enough to settle ties, too little for more.
_SIZE_WEIGHT = 1e-3


# Deals to choose from where groups are too uneven for one to come out even.
_DEALS = 4


def deal(
    targets: npt.ArrayLike, groups: npt.ArrayLike, shares: Sequence[float], rng: np.random.Generator
) -> _Ints:
    """Deal groups into parts so that each part has its share of every class.

    Parameters
    ----------
    targets : array_like, shape (n,)
        Class of each row.
    groups : array_like, shape (n,)
        Group of each row.
    shares : sequence of float
        Share of each part; they sum to 1.
    rng : numpy.random.Generator
        Decides which groups of one kind go where.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
        Part of each row. Rows of a group have the same part. A class with as many groups as there are
        parts is in every part, wherever groups that hold several classes do not rule it out.

    Examples
    --------
    >>> parts = deal([0, 0, 0, 0, 1, 1], list("aabbcd"), (0.5, 0.5), np.random.default_rng(0))
    >>> int(np.sum(parts == 0)), bool(parts[0] == parts[1]), bool(parts[4] != parts[5])
    (3, True, True)
    """
    _, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    return _deal_groups(_class_counts(targets, group_of_row), np.asarray(shares), rng)[group_of_row]


def class_groups(targets: npt.ArrayLike, groups: npt.ArrayLike) -> _Ints:
    """Count the groups that hold each class.

    Parameters
    ----------
    targets : array_like, shape (n,)
        Class of each row.
    groups : array_like, shape (n,)
        Group of each row.

    Returns
    -------
    numpy.ndarray of int64, shape (classes,)
        For each class that occurs, in rising order.

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
    """Give every group its part: the best of some deals, or the first that is even to the row."""
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
    """Deal all groups, largest kinds first; return their parts and the rows that parts still need."""
    parts = np.empty(len(kind_of_group), dtype=np.int64)
    for kind in np.argsort(-sized[:, -1], kind="stable"):
        groups = rng.permutation(np.flatnonzero(kind_of_group == kind))
        fitting = need @ (sized[kind] * weights) / float(sized[kind] @ (sized[kind] * weights))
        taken = _apportion(fitting, len(groups), rng)
        parts[groups] = np.repeat(np.arange(len(need)), taken)
        need = need - np.outer(taken, sized[kind])
    return parts, need


def _apportion(fitting: _Floats, groups: int, rng: np.random.Generator) -> _Ints:
    """Share groups of one kind out, by how many of them still fit into each part.

    What is left of a group after whole numbers falls by chance: were it given to the part that needs most, the
    largest groups would all be in the largest part, and validation would never see them.
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
    """Move groups, in place, into parts that lack a class, where another part can spare one."""
    holds = counts > 0
    held = np.zeros((number, counts.shape[1]), dtype=np.int64)  # groups of each part that hold each class
    np.add.at(held, parts, holds)
    for name in np.argsort(holds.sum(axis=0), kind="stable"):
        for part in range(number):
            if held[part, name]:
                continue
            candidates = rng.permutation(np.flatnonzero(holds[:, name]))
            sizes = counts[candidates].sum(axis=1)
            for group in candidates[np.argsort(sizes, kind="stable")]:
                # Its part keeps all its classes without the group.
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
    """Split a training part again and again into a part to fit and a part to validate on.

    Rows without groups are split by scikit-learn's `StratifiedShuffleSplit`, as Menegola et al. 2017 do,
    unless a class is so rare that it could miss the validation part. Groups are dealt whole (`deal`), with
    the same share held out.

    Parameters
    ----------
    targets : array_like, shape (n,)
        Class of each row.
    groups : array_like, shape (n,), optional
        Group of each row; rows of one group stay together.
    splits : int
        How many splits.
    held_out : float
        Share of the rows to validate on, above 0 and below 1.
    seed : int
        Seed of the shuffling.

    Returns
    -------
    list of (numpy.ndarray of int64, numpy.ndarray of int64)
        Row numbers to fit and to validate on, each sorted. Every class with two groups or more is in both,
        wherever groups that hold several classes do not rule it out.

    Raises
    ------
    ProtocolError
        If no class has two groups, so that nothing can be held out, or an argument is out of range.

    Examples
    --------
    >>> fit, validate = inner_splits([0, 1] * 10, splits=3)[0]
    >>> fit.size, sorted(int(row) % 2 for row in validate)
    (18, [0, 1])
    """
    classes = np.asarray(targets)
    if not 0 < held_out < 1 or splits < 1:
        raise ProtocolError(
            f"held_out must lie between 0 and 1 and splits be at least 1, got {held_out} and {splits}"
        )
    unique, group_of_row = np.unique(
        np.arange(len(classes)) if groups is None else groups, return_inverse=True
    )
    counts = _class_counts(classes, group_of_row)
    if not np.any((counts > 0).sum(axis=0) > 1):
        raise ProtocolError(
            f"nothing can be held out of {len(classes)} images in {len(unique)} groups: no class has two groups"
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
    """Tell whether a plain stratified shuffle puts at least one row of each class into the held-out part."""
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
    """Split a training part once, for the training of a network.

    Parameters
    ----------
    targets, groups, held_out, seed
        As in `inner_splits`.

    Returns
    -------
    (numpy.ndarray of int64, numpy.ndarray of int64)
        Row numbers to fit and to validate on, each sorted.

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


_Groups = npt.NDArray[np.str_]


def make_folds(
    labelled: Labelled,
    protocol: str | Path,
    seed: int = 0,
    keys: Sequence[str] | None = None,
    *,
    absent: Literal["fail", "drop"] = "fail",
) -> Folds:
    """Split a data set into folds.

    Parameters
    ----------
    labelled : Labelled
        The data set under its task.
    protocol : str or Path
        ``"RxK"``: K parts, each tested once, R times over, in folds named ``repeat x direction``; so
        ``"5x2"`` is five times two halves, each testing the other (Dietterich 1998). ``"kfold:K"``: the same
        once, in folds named 1 to K. ``"leave-one-group-out"``: each group tested once, in folds named after
        it. ``"bootstrap:B"``: B times, as many groups as there are, drawn with replacement within each
        class, train, and those not drawn test; each group drawn trains once. ``"holdout"``: the manifest's
        split column, ``train`` and ``val`` against ``test``. ``"none"``: all images train, for a source
        task. Or a fold file (`read_folds`); images in it that the task leaves out are dropped.
        In a holdout and in a fold file, whose parts are given, training images that are byte-identical to
        a test image are dropped and noted.
    seed : int
        Seed of the shuffling.
    keys : sequence of str, optional
        SHA-256 of each image's bytes, in the order of ``labelled.ids``; images with equal keys are kept
        together like a group, where the protocol makes the parts.
    absent : {"fail", "drop"}
        What to do with images of a fold file that the manifest does not hold: leave them in, so that
        `check_folds` refuses them, or drop them and note it.

    Returns
    -------
    Folds
        The same for the same data set, protocol and seed, whatever the order of the rows.

    Raises
    ------
    ProtocolError
        If there is no such protocol, or too few groups for it.
    """
    name = str(protocol)
    if Path(name).is_file() or Path(name).suffix:
        return _without_copies(_from_file(Path(name), labelled, absent), labelled, keys)
    kind, _, argument = name.partition(":")
    if re.fullmatch(r"[0-9]+x[0-9]+", name):
        kind, argument = "RxK", name
    if kind not in _MAKERS:
        raise ProtocolError(
            f"no protocol {name!r}; give 5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout, "
            "none, or a fold file"
        )
    groups = labelled.groups if keys is None else merged_groups(labelled.groups, keys)
    folds = Folds(name, seed, _MAKERS[kind](labelled, groups, argument, seed))
    return _without_copies(folds, labelled, keys) if kind == "holdout" else folds


def _without_copies(folds: Folds, labelled: Labelled, keys: Sequence[str] | None) -> Folds:
    """Drop training images that are byte-identical to a test image: given parts cannot be dealt anew."""
    known = dict(zip(labelled.ids, keys or (), strict=False))
    kept, notes = [], list(folds.notes)
    for fold in folds.folds:
        tested = {known[name] for name in fold.test if name in known}
        test = frozenset(fold.test)
        copies = [name for name in fold.train if known.get(name) in tested and name not in test]
        left_out = frozenset(copies)
        kept.append(replace(fold, train=tuple(name for name in fold.train if name not in left_out)))
        if copies:
            notes.append(
                f"fold {fold.name}: {len(copies)} training images are byte-identical to test images and were "
                f"left out of training: {listing(copies)}"
            )
    return replace(folds, folds=tuple(kept), notes=tuple(notes))


def check_inner(
    folds: Sequence[Fold],
    labelled: Labelled,
    keys: Sequence[str] | None = None,
    *,
    grouped: bool = True,
    every_class: bool = False,
) -> None:
    """Check that each fold's training part can be split again, to choose on one part what is fitted on the other.

    Parameters
    ----------
    folds : sequence of Fold
        Folds that passed `check_folds`.
    labelled : Labelled
        The data set under its task.
    keys : sequence of str, optional
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    grouped : bool
        Whether groups stay together.
    every_class : bool
        Whether every class has to be in both parts, as for a calibration; else one of them is enough.

    Raises
    ------
    ProtocolError
        If a training part has too few groups; the message names the fold.
    """
    groups = labelled.groups if keys is None else merged_groups(labelled.groups, keys)
    rows = groups if grouped else np.array(labelled.ids)
    place = {name: row for row, name in enumerate(labelled.ids)}
    for fold in folds:
        at = [place[name] for name in fold.train]
        counts = class_groups(labelled.targets[at], rows[at])
        if (counts.min() if every_class else counts.max()) > 1:
            continue
        held = [f"{labelled.task.classes[target]} {count}" for target, count in enumerate(counts)]
        wanted, mend = ("of every class ", ", or train without --calibrate") if every_class else ("", "")
        raise ProtocolError(
            f"fold {fold.name}: nothing can be held out of its training set to choose by: of the two groups {wanted}"
            f"that are needed there are {listing(held, 12)}; use fewer folds, add images{mend}"
        )


def merged_groups(groups: Sequence[str] | npt.NDArray[np.str_], keys: Sequence[str]) -> npt.NDArray[np.str_]:
    """Merge groups that share byte-identical images.

    Parameters
    ----------
    groups : sequence of str, length n
        Group of each image.
    keys : sequence of str, length n
        SHA-256 of each image's bytes.

    Returns
    -------
    numpy.ndarray of str, shape (n,)
        Group of each image, where groups joined by copies have the same name.

    Examples
    --------
    >>> merged_groups(["a", "b", "b", "c"], ["1", "1", "2", "3"]).tolist()
    ['a', 'a', 'a', 'c']
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names, group_of_row = np.unique(np.asarray(groups), return_inverse=True)
    _, key_of_row = np.unique(np.asarray(keys), return_inverse=True)
    nodes = len(names) + key_of_row.max(initial=-1) + 1
    links = (np.ones(len(key_of_row)), (group_of_row, len(names) + key_of_row))
    _, component = connected_components(coo_array(links, shape=(nodes, nodes)), directed=False)
    # A component is called by the first name in it, so that nothing changes where there are no copies.
    _, first, number = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    merged: npt.NDArray[np.str_] = names[first[number[group_of_row]]]
    return merged


def _repeated(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    repeats, number = (int(part) for part in argument.split("x"))
    if repeats < 1 or number < 2:
        raise ProtocolError(f"RxK needs 1 repeat or more of 2 folds or more, got {argument!r}")
    _check_groups(labelled, groups, number, argument)
    folds = []
    for repeat in range(1, repeats + 1):
        rng = np.random.default_rng((seed, repeat))
        parts = deal(labelled.targets, groups, (1 / number,) * number, rng)
        # The last part tests first: in RxK with two halves, direction 1 trains on the first half.
        folds += [
            _fold(labelled, f"{repeat}x{turn + 1}", parts == number - 1 - turn) for turn in range(number)
        ]
    return tuple(folds)


def _k_fold(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    number = _number("kfold", "folds", argument, 2)
    _check_groups(labelled, groups, number, f"kfold:{number}")
    parts = deal(labelled.targets, groups, (1 / number,) * number, np.random.default_rng((seed, number)))
    return tuple(_fold(labelled, str(part + 1), parts == part) for part in range(number))


def _leave_one_out(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    _no_argument("leave-one-group-out", argument)
    _check_groups(labelled, groups, 2, "leave-one-group-out")
    names, group_of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # The rows of each group, in one sort; what a fold takes beyond its own ids is its group's size.
    rows = np.split(np.argsort(group_of_row, kind="stable"), np.cumsum(sizes)[:-1])
    return tuple(
        _one_out(labelled.ids, str(name), tests.tolist()) for name, tests in zip(names, rows, strict=True)
    )


def _one_out(ids: tuple[str, ...], name: str, tests: Sequence[int]) -> Fold:
    ends = [*tests, len(ids)]
    starts = [0, *(row + 1 for row in tests)]
    train = chain.from_iterable(ids[start:end] for start, end in zip(starts, ends, strict=True))
    return Fold(name, tuple(train), tuple(ids[row] for row in tests))


def _bootstrap(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    number = _number("bootstrap", "resamples", argument, 1)
    _check_groups(labelled, groups, 2, f"bootstrap:{number}")
    names, group_of_row = np.unique(groups, return_inverse=True)
    # Groups are drawn within the rarest class that they hold, so that every class keeps its share.
    rarity = np.bincount(labelled.targets)[labelled.targets]
    stratum = np.empty(len(names), dtype=np.int64)
    order = np.argsort(-rarity, kind="stable")
    stratum[group_of_row[order]] = labelled.targets[order]
    folds = []
    for resample in range(1, number + 1):
        rng = np.random.default_rng((seed, resample))
        folds.append(_fold(labelled, str(resample), ~_drawn(stratum, rng)[group_of_row]))
    return tuple(folds)


def _drawn(stratum: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Draw groups with replacement in each stratum; where all are drawn, draw again."""
    drawn = np.zeros(len(stratum), dtype=np.bool_)
    for name in np.unique(stratum):
        members = np.flatnonzero(stratum == name)
        found = rng.choice(members, len(members))
        while len(members) > 1 and len(np.unique(found)) == len(members):
            found = rng.choice(members, len(members))
        drawn[found] = True
    return drawn


def _holdout(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    _no_argument("holdout", argument)
    named = [PARTS.get(split.lower()) if split else "" for split in labelled.splits.tolist()]
    unknown = sorted(
        {split for split, part in zip(labelled.splits.tolist(), named, strict=True) if part is None}
    )
    if unknown:
        raise ProtocolError(
            f"holdout knows the splits train, val and test, the manifest has {listing(unknown)}"
        )
    parts = np.array(named, dtype=np.str_)
    for part in ("train", "test"):
        if not (parts == part).any():
            raise ProtocolError(f"holdout needs images in the split {part}, the manifest's column has none")
    return (Fold("holdout", _ids(labelled, parts == "train"), _ids(labelled, parts == "test")),)


def _none(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    _no_argument("none", argument)
    return (Fold("all", labelled.ids, ()),)


_MAKERS: dict[str, Callable[[Labelled, _Groups, str, int], tuple[Fold, ...]]] = {
    "RxK": _repeated,
    "kfold": _k_fold,
    "leave-one-group-out": _leave_one_out,
    "bootstrap": _bootstrap,
    "holdout": _holdout,
    "none": _none,
}


PROTOCOLS = ("5x2", "kfold:K", "leave-one-group-out", "bootstrap:B", "holdout", "none")


"""What `make_folds` takes besides any RxK and fold files."""


def _number(protocol: str, what: str, argument: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]+", argument) or int(argument) < least:
        raise ProtocolError(
            f"{protocol} needs the number of {what}, at least {least}, such as {protocol}:10; got {argument!r}"
        )
    return int(argument)


def _no_argument(protocol: str, argument: str) -> None:
    if argument:
        raise ProtocolError(f"the protocol {protocol} takes no number, got {argument!r}")


def _check_groups(labelled: Labelled, groups: _Groups, parts: int, protocol: str) -> None:
    """Every class needs two groups, or some training part would lack it."""
    for target, name in enumerate(labelled.task.classes):
        number = len(np.unique(groups[labelled.targets == target]))
        if number < 2:
            raise ProtocolError(
                f"{protocol} needs two groups of every class, {name!r} has {number}; add images of it"
            )
    number = len(np.unique(groups))
    if number < parts:
        raise ProtocolError(
            f"{protocol} needs at least {parts} groups, the data set has {number}; use fewer folds"
        )


def _fold(labelled: Labelled, name: str, tests: npt.NDArray[np.bool_]) -> Fold:
    return Fold(name, _ids(labelled, ~tests), _ids(labelled, tests))


def _ids(labelled: Labelled, chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(labelled.ids[index] for index in np.flatnonzero(chosen))


def _from_file(path: Path, labelled: Labelled, absent: str) -> Folds:
    """Read a fold file, without the images that the task leaves out."""
    folds = read_folds(path)
    known = set(labelled.manifest.ids)
    listed = {name for fold in folds.folds for name in (*fold.train, *fold.test)}
    out = (known - set(labelled.ids)) | (listed - known if absent == "drop" else set())
    kept = tuple(
        Fold(
            fold.name,
            tuple(name for name in fold.train if name not in out),
            tuple(name for name in fold.test if name not in out),
        )
        for fold in folds.folds
    )
    dropped = sorted(out & listed - known)
    note = f"{len(dropped)} of {len(listed)} listed images are not in the manifest and were dropped: {listing(dropped)}"
    return replace(folds, folds=kept, notes=(*folds.notes, note) if dropped else folds.notes)
