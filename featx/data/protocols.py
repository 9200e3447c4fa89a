"""Protocols: how images are split into folds.

Folds are stratified by class and grouped at once: a patient's, case's or lesion's images, and byte-identical
copies, never straddle a split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.data.folds import Fold, Folds, check_folds, read_folds, write_folds
from featx.data.splitting import deal, inner_splits, validation_split
from featx.data.tasks import Labelled
from featx.errors import ProtocolError, listing

__all__ = [
    "Fold",
    "Folds",
    "check_folds",
    "inner_splits",
    "make_folds",
    "merged_groups",
    "read_folds",
    "validation_split",
    "write_folds",
]

_SPLITS = {"train": "train", "training": "train", "val": "train", "valid": "train", "validation": "train"}
_SPLITS |= {"dev": "train", "test": "test", "testing": "test", "": ""}


def make_folds(
    labelled: Labelled, protocol: str | Path, seed: int = 0, keys: Sequence[str] | None = None
) -> Folds:
    """Split a data set into folds.

    Parameters
    ----------
    labelled : Labelled
        The data set under its task.
    protocol : str or Path
        ``"5x2"``: five times two halves, each testing the other (Dietterich 1998), named ``repeat x
        direction``. ``"kfold:K"``: K parts, each tested once, named 1 to K. ``"holdout"``: the manifest's
        split column, ``train`` and ``val`` against ``test``. ``"none"``: all images train, for a source
        task. Or a fold file (`read_folds`); images in it that the task leaves out are dropped.
    seed : int
        Seed of the shuffling.
    keys : sequence of str, optional
        SHA-256 of each image's bytes, in the order of ``labelled.ids``; images with equal keys are kept
        together like a group.

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
    kind, _, argument = name.partition(":")
    if kind in _MAKERS and not Path(name).is_file():
        groups = labelled.groups if keys is None else merged_groups(labelled.groups, keys)
        return Folds(name, seed, _MAKERS[kind](labelled, groups, argument, seed))
    if Path(name).suffix or Path(name).exists():
        return _from_file(Path(name), labelled)
    raise ProtocolError(f"no protocol {name!r}; give 5x2, kfold:K, holdout, none or a fold file")


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


def _five_by_two(
    labelled: Labelled, groups: npt.NDArray[np.str_], argument: str, seed: int
) -> tuple[Fold, ...]:
    _no_argument("5x2", argument)
    _check_groups(labelled, groups, 2, "5x2")
    folds = []
    for repeat in range(1, 6):
        parts = deal(labelled.targets, groups, (0.5, 0.5), np.random.default_rng((seed, repeat)))
        first, second = _ids(labelled, parts == 0), _ids(labelled, parts == 1)
        folds += [Fold(f"{repeat}x1", first, second), Fold(f"{repeat}x2", second, first)]
    return tuple(folds)


def _k_fold(labelled: Labelled, groups: npt.NDArray[np.str_], argument: str, seed: int) -> tuple[Fold, ...]:
    if not re.fullmatch(r"[0-9]+", argument) or int(argument) < 2:
        raise ProtocolError(
            f"kfold needs the number of folds, at least 2, such as kfold:10; got {argument!r}"
        )
    number = int(argument)
    _check_groups(labelled, groups, number, f"kfold:{number}")
    parts = deal(labelled.targets, groups, (1 / number,) * number, np.random.default_rng((seed, number)))
    return tuple(
        Fold(str(part + 1), _ids(labelled, parts != part), _ids(labelled, parts == part))
        for part in range(number)
    )


def _holdout(labelled: Labelled, groups: npt.NDArray[np.str_], argument: str, seed: int) -> tuple[Fold, ...]:
    _no_argument("holdout", argument)
    named = [_SPLITS.get(split.lower()) for split in labelled.splits.tolist()]
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


def _none(labelled: Labelled, groups: npt.NDArray[np.str_], argument: str, seed: int) -> tuple[Fold, ...]:
    _no_argument("none", argument)
    return (Fold("all", labelled.ids, ()),)


_MAKERS: dict[str, Callable[[Labelled, npt.NDArray[np.str_], str, int], tuple[Fold, ...]]] = {
    "5x2": _five_by_two,
    "kfold": _k_fold,
    "holdout": _holdout,
    "none": _none,
}


def _no_argument(protocol: str, argument: str) -> None:
    if argument:
        raise ProtocolError(f"the protocol {protocol} takes no number, got {argument!r}")


def _check_groups(labelled: Labelled, groups: npt.NDArray[np.str_], parts: int, protocol: str) -> None:
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


def _ids(labelled: Labelled, chosen: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(labelled.ids[index] for index in np.flatnonzero(chosen))


def _from_file(path: Path, labelled: Labelled) -> Folds:
    """Read a fold file, without the images that the task leaves out."""
    folds = read_folds(path)
    out = set(labelled.manifest.ids) - set(labelled.ids)
    kept = tuple(
        Fold(
            fold.name,
            tuple(name for name in fold.train if name not in out),
            tuple(name for name in fold.test if name not in out),
        )
        for fold in folds.folds
    )
    return Folds(folds.protocol, folds.seed, kept)
