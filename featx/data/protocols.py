"""Protocols: rules that split images into folds.

Folds are stratified by class. Images of one group (patient, case or lesion), and byte-identical images, are never in both
the training and the test set of a fold.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from featx.data.folds import PARTS, Fold, Folds, check_folds, read_folds, write_folds
from featx.data.manifest import Manifest, read_manifest
from featx.data.shipped_splits import CANONICAL, read_canonical
from featx.data.splitting import class_groups, deal
from featx.data.tasks import Labelled, Task, apply_task
from featx.errors import ManifestError, ProtocolError, listing
from featx.images import content_keys
from featx.progress import Progress
from featx.runs import FINAL

__all__ = [
    "PROTOCOLS",
    "FoldFile",
    "check_inner",
    "describe_folds",
    "make_fold_file",
    "make_folds",
    "merged_groups",
    "split_folds",
]

PROTOCOLS = ("5x2", "kfold:K", "leave-one-group-out", "bootstrap:B", "holdout", "none", "canonical:NAME")
"""What `split_folds` takes besides any RxK and fold files."""

_Groups = npt.NDArray[np.str_]


def split_folds(
    labelled: Labelled,
    protocol: str | Path = "5x2",
    seed: int = 0,
    keys: Sequence[str] | None = None,
    *,
    absent: Literal["fail", "drop"] = "fail",
) -> Folds:
    """Split images into folds of a training and a test set.

    Parameters
    ----------
    labelled : Labelled
        The images under their task.
    protocol : str or Path
        One of:

        - ``"RxK"``: K parts, each of them the test set once, repeated R times, in folds named ``repeat x direction``;
          ``"5x2"`` is five times two halves (Dietterich 1998).
        - ``"kfold:K"``: the same once, in folds named 1 to K.
        - ``"leave-one-group-out"``: each group is the test set once, in folds named after it.
        - ``"bootstrap:B"``: B times, groups drawn with replacement within each class are the training set (each once,
          however often it is drawn), and the others the test set.
        - ``"holdout"``: the manifest's split column, ``train`` and ``val`` against ``test``.
        - ``"none"``: all images are the training set, for a source task.
        - ``"canonical:NAME"``: a split of a published data set by image id that is shipped with featx (`canonical_splits`).
        - a fold file (`read_folds`); images in it that the task leaves out are dropped.

        In a holdout, a canonical split and a fold file, training images that are byte-identical to a test image are dropped and noted.
    seed : int
        Random seed.
    keys : sequence of str, optional
        SHA-256 of each image file, in the order of the ids sorted. Images of equal keys are kept together like a group.
        If not given, copies of a file are not looked for.
    absent : {"fail", "drop"}
        What to do with images of a fold file that the manifest lacks: keep them, so that `check_folds` refuses them, or
        drop and note them.

    Returns
    -------
    Folds
        Equal for equal images, protocol and seed, whatever the order of the rows.

    Raises
    ------
    ProtocolError
        If there is no such protocol, or the images have too few groups for it.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import apply_task, draw_dermoscopy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_dermoscopy(folder, images=40, size=16))
    ...     folds = split_folds(apply_task(manifest, "melanoma:rest"), "kfold:4")
    >>> folds.names, len(folds.folds[0].train) + len(folds.folds[0].test)
    (('1', '2', '3', '4'), 40)
    """
    name = str(protocol)
    if Path(name).is_file() or Path(name).suffix:
        return _without_copies(_fitted(read_folds(name), labelled, absent), labelled, keys)
    kind, _, argument = name.partition(":")
    if kind == CANONICAL:
        shipped = Folds(name, 0, tuple(Fold(one, *ids) for one, ids in read_canonical(argument).items()))
        return _without_copies(_fitted(shipped, labelled, absent), labelled, keys)
    if re.fullmatch(r"[0-9]+x[0-9]+", name):
        kind, argument = "RxK", name
    if kind not in _MAKERS:
        raise ProtocolError(
            f"no protocol {name!r}; give 5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout, "
            "none, canonical:NAME, or a fold file"
        )
    groups = labelled.groups if keys is None else merged_groups(labelled.groups, keys)
    folds = Folds(name, seed, _MAKERS[kind](labelled, groups, argument, seed))
    return _without_copies(folds, labelled, keys) if kind == "holdout" else folds


def make_folds(
    manifest: Manifest | Path | str,
    *,
    task: Task | Path | str = "labels",
    protocol: Path | str = "5x2",
    seed: int = 0,
    root: Path | str | None = None,
    allow_outside: bool = False,
    cache: Path | str = "cache",
) -> Folds:
    """Split a data set into the folds that `train_svm` and `finetune` make with the same arguments.

    Groups, and images that are byte-identical, stay together.

    Parameters
    ----------
    manifest : Manifest, Path or str
        Images and labels.
    task : Task, Path or str
        Named task, TOML file, or POSITIVE:NEGATIVE.
    protocol : Path or str
        5x2 or any RxK, kfold:K, leave-one-group-out, bootstrap:B, holdout, none, canonical:NAME, or a fold file.
    seed : int
        Random seed.
    root : Path or str, optional
        Folder that the manifest's image paths are relative to.
    allow_outside : bool
        Follow image paths that lead out of their folder.
    cache : Path or str
        Folder of caches, for the digests of the images.

    Returns
    -------
    Folds
        ``folds`` holds each fold's ``name``, ``train`` and ``test`` (image ids).

    Raises
    ------
    ManifestError, TaskError
        If the manifest or the task cannot be used, or image files cannot be read.
    ProtocolError
        If there is no such protocol, or too few groups for it.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> from featx.data import draw_dermoscopy
    >>> folder = Path(mkdtemp())
    >>> manifest = draw_dermoscopy(folder / "lesions", images=24, size=16)
    >>> folds = make_folds(manifest, task="melanoma:rest", protocol="kfold:2", cache=folder / "cache")
    >>> folds.names, len(set(folds.folds[0].train) & set(folds.folds[0].test))
    (('1', '2'), 0)
    """
    labelled = apply_task(read_manifest(manifest, root=root, allow_outside=allow_outside), task)
    keys = _keys(labelled, cache, None)
    folds = split_folds(labelled, protocol, seed, keys)
    check_folds(folds, labelled, keys)
    return folds


@dataclass(frozen=True)
class FoldFile:
    """Result of `make_fold_file`.

    Attributes
    ----------
    folds : Folds
        Folds written.
    images : int
        Number of images under the task.
    warnings : tuple of str
        Possible mistakes in the manifest: no groups, doubtful labels.
    notes : tuple of str
        Result of `check_folds`.
    """

    folds: Folds
    images: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def make_fold_file(
    manifest: Manifest | Path | str,
    output: Path | str,
    *,
    task: Task | Path | str = "labels",
    protocol: str | Path = "5x2",
    seed: int = 0,
    root: Path | str | None = None,
    allow_outside: bool = False,
    strict_labels: bool = False,
    absent: Literal["fail", "drop"] = "fail",
    names_only: bool = False,
    cache: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FoldFile:
    """Split the images of a manifest into folds, check these, and write them to a file.

    Parameters
    ----------
    manifest, root, allow_outside
        As in `read_manifest`.
    output : Path or str
        JSON file to write.
    task, strict_labels
        As in `apply_task`.
    protocol, seed, absent
        As in `split_folds`.
    names_only : bool
        Do not read the image files; byte-identical images are then not kept together.
    cache : Path or str, optional
        Folder that remembers the SHA-256 of unchanged image files.
    overwrite : bool
        Replace a file that has other folds.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    FoldFile
        The folds, with warnings and notes.

    Raises
    ------
    ManifestError, TaskError, ProtocolError
        If manifest, task or protocol cannot be used, or image files cannot be read.
    LeakError
        If an image, its group or an identical file is in both training and test set.
    InputError
        If the file exists with other folds and is not to be replaced.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import draw_dermoscopy
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = draw_dermoscopy(folder, images=40, size=16)
    ...     made = make_fold_file(manifest, f"{folder}/folds.json", task="melanoma:rest", protocol="kfold:2")
    >>> made.images, made.folds.names, made.warnings
    (40, ('1', '2'), ())
    """
    table = read_manifest(manifest, root=root, check_files=not names_only, allow_outside=allow_outside)
    labelled = apply_task(table, task, strict_labels=strict_labels)
    keys = None if names_only else _keys(labelled, cache, progress)
    folds = split_folds(labelled, protocol, seed, keys, absent=absent)
    notes = check_folds(folds, labelled, keys)
    write_folds(output, folds, replace=overwrite)
    return FoldFile(folds, len(labelled), labelled.remarks, notes)


def _keys(labelled: Labelled, cache: Path | str | None, progress: Progress | None) -> list[str]:
    found = content_keys(labelled.paths, cache=cache, progress=progress)
    if found.failures:
        raise ManifestError(
            f"{labelled.manifest.source}: {len(found.failures)} images cannot be read: "
            f"{listing(sorted(found.failures))}; correct their paths, or split by names only (--names-only)"
        )
    return [found.keys[path] for path in labelled.paths]


def describe_folds(
    path: Path | str, manifest: Manifest | Path | str | None = None, *, task: Task | Path | str = "labels"
) -> dict[str, Any]:
    """Count the images of each fold of a file and, with a manifest, of each class.

    Parameters
    ----------
    path : Path or str
        Fold file, as `read_folds` takes it.
    manifest : Manifest, Path or str, optional
        Labelled images; their files need not exist.
    task : Task, Path or str
        Task, as `read_task` takes it.

    Returns
    -------
    dict
        JSON types: ``protocol``, ``seed``, ``digest``, ``notes`` and ``folds``, a list of ``name``, ``train`` and
        ``test`` (number of images), ``train_classes`` and ``test_classes`` (number of images of each class).

    Raises
    ------
    ProtocolError, LeakError
        If the file cannot be read, or its folds do not fit the manifest.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_folds(f"{folder}/f.json", Folds("mine", 0, (Fold("1", ("a", "b"), ("c",)),)))
    ...     describe_folds(f"{folder}/f.json")["folds"]
    [{'name': '1', 'train': 2, 'test': 1, 'train_classes': {}, 'test_classes': {}}]
    """
    classes: dict[str, str] = {}
    names: tuple[str, ...] = ()
    if manifest is None:
        folds = read_folds(path)
        notes = folds.notes
    else:
        table = read_manifest(manifest, check_files=False, allow_outside=True)
        labelled = apply_task(table, task)
        folds = split_folds(labelled, Path(path))
        notes = check_folds(folds, labelled)
        classes = dict(zip(labelled.ids, labelled.classes.tolist(), strict=True))
        names = labelled.task.classes
    rows = []
    for fold in folds.folds:
        row: dict[str, Any] = {"name": fold.name, "train": len(fold.train), "test": len(fold.test)}
        for part, ids in (("train_classes", fold.train), ("test_classes", fold.test)):
            counts = Counter(classes[name] for name in ids if name in classes)
            row[part] = {name: counts[name] for name in names}
        rows.append(row)
    return {
        "protocol": folds.protocol,
        "seed": folds.seed,
        "digest": folds.digest,
        "folds": rows,
        "notes": list(notes),
    }


def _without_copies(folds: Folds, labelled: Labelled, keys: Sequence[str] | None) -> Folds:
    """Drop training images that are byte-identical to a test image, since given splits are not changed otherwise."""
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
    """Check that each training set can be split into inner training and validation sets.

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
        Whether every class must be in both, as calibration needs it; else one class is enough.

    Raises
    ------
    ProtocolError
        If a training set has too few groups; the message names the fold.
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
        wanted, advice = ("of every class ", ", or train without --calibrate") if every_class else ("", "")
        raise ProtocolError(
            f"fold {fold.name}: no validation set can be taken from its training set, which needs two groups {wanted}"
            f"and has {listing(held, 12)}; use fewer folds, add images{advice}"
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
        Group of each image; groups that share an identical file have the same name.

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
    # A component has the first of its groups' names, so that names do not change without copies.
    _, first, number = np.unique(component[: len(names)], return_index=True, return_inverse=True)
    merged: npt.NDArray[np.str_] = names[first[number[group_of_row]]]
    return merged


def _repeated(labelled: Labelled, groups: _Groups, argument: str, seed: int) -> tuple[Fold, ...]:
    repeats, number = (int(part) for part in argument.split("x"))
    if repeats < 1 or number < 2:
        raise ProtocolError(
            f"RxK needs at least 1 repeat and at least 2 folds, such as 5x2; got {argument!r}"
        )
    _check_groups(labelled, groups, number, argument)
    folds = []
    for repeat in range(1, repeats + 1):
        rng = np.random.default_rng((seed, repeat))
        parts = deal(labelled.targets, groups, (1 / number,) * number, rng)
        # The last part is the first test set: with two halves, direction 1 trains on the first half.
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
    # One sort gives the rows of all groups, so that the time does not grow with groups times images.
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
    # Groups are drawn within the rarest class that they have, so that class frequencies are kept.
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
    """Draw groups with replacement in each stratum, again if all groups were drawn."""
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
            f"holdout needs the splits train, val and test, the manifest has {listing(unknown)}; rename them"
        )
    parts = np.array(named, dtype=np.str_)
    for part in ("train", "test"):
        if not (parts == part).any():
            raise ProtocolError(
                f"holdout needs images in the split {part}, the manifest has none; fill in the column 'split'"
            )
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
    # Of `featx finalize`.
    FINAL: _none,
}


def _number(protocol: str, what: str, argument: str, least: int) -> int:
    if not re.fullmatch(r"[0-9]+", argument) or int(argument) < least:
        raise ProtocolError(
            f"{protocol} needs the number of {what}, at least {least}, such as {protocol}:10; got {argument!r}"
        )
    return int(argument)


def _no_argument(protocol: str, argument: str) -> None:
    if argument:
        raise ProtocolError(f"the protocol {protocol} has no number, got {argument!r}; remove it")


def _check_groups(labelled: Labelled, groups: _Groups, parts: int, protocol: str) -> None:
    """Check that every class has two groups, without which some training set lacks it."""
    for target, name in enumerate(labelled.task.classes):
        number = len(np.unique(groups[labelled.targets == target]))
        if number < 2:
            raise ProtocolError(
                f"{protocol} needs two groups of every class, {name!r} has {number}; add images of this class"
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


def _fitted(folds: Folds, labelled: Labelled, absent: str) -> Folds:
    """Drop the images of given folds that the task leaves out."""
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
