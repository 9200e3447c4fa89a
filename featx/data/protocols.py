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
from featx.data.splitting import class_groups, deal
from featx.data.tasks import Labelled
from featx.errors import ProtocolError, listing

__all__ = [
    "PROTOCOLS",
    "Fold",
    "Folds",
    "check_folds",
    "check_inner",
    "make_folds",
    "merged_groups",
    "read_folds",
    "write_folds",
]


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
