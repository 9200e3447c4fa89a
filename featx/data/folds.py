"""Folds: training and test sets, in memory and in files.

A fold file is JSON, ``{protocol, seed, folds: [{name, train: [ids], test: [ids]}]}``; CSV with the columns
``fold``, ``id`` and ``part`` (``train`` or ``test``); or YAML lists of file names, as published by Menegola et al. 2017.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from featx.cells import unguarded
from featx.data.manifest import image_name
from featx.data.tasks import Labelled
from featx.digest import canonical, digest
from featx.documents import parse_json, parse_yaml, read_text
from featx.errors import LeakError, ProtocolError, listing
from featx.files import write_aside, write_json

__all__ = [
    "FOLDS_LIMIT",
    "PARTS",
    "Fold",
    "Folds",
    "ListPair",
    "check_folds",
    "ending_notes",
    "known_test_images",
    "leaves_one_out",
    "natural",
    "read_fold_lists",
    "read_folds",
    "refuse_other_folds",
    "without_ending",
    "write_folds",
]


FOLDS_LIMIT = 2**26


"""Most bytes of a fold file: ten folds of a hundred thousand images have 20 MB."""


@dataclass(frozen=True)
class ListPair:
    """The two lists of one fold of a YAML file, such as ``Fold_1``, with their entries unchanged."""

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @staticmethod
    def ids(entries: Sequence[str]) -> tuple[str, ...]:
        """Convert entries to image ids, sorted."""
        return tuple(sorted(image_name(entry) for entry in entries))


def read_fold_lists(path: Path) -> tuple[ListPair, ...]:
    """Read YAML lists, their entries unchanged."""
    # Every entry is text: a file may be called 1e5 or no.
    value = parse_yaml(read_text(path, FOLDS_LIMIT), plain=True)
    if not isinstance(value, dict) or not value:
        raise ValueError("expected Fold_1, Fold_2, … with two lists of images each")
    return tuple(_pair(str(name), lists) for name, lists in value.items())


def _pair(name: str, lists: object) -> ListPair:
    if not isinstance(lists, list) or len(lists) != 2 or not all(isinstance(part, list) for part in lists):
        raise ValueError(f"{name} must have two lists of images")
    first, second = (tuple(str(entry).strip() for entry in part) for part in lists)
    return ListPair(name, first, second)


def without_ending(pairs: Sequence[ListPair]) -> dict[str, list[str]]:
    """Map each list to its entries without a file ending; empty if no entry of the file has an ending.

    Examples
    --------
    >>> without_ending([ListPair("Fold_1", ("a.tiff", "b"), ("c.tiff",))])
    {'Fold_1, first list': ['b']}
    """
    places = {
        f"{pair.name}, {which} list": entries
        for pair in pairs
        for which, entries in (("first", pair.first), ("second", pair.second))
    }
    bare = {
        place: [text for text in entries if image_name(text) == text] for place, entries in places.items()
    }
    if all(len(bare[place]) == len(entries) for place, entries in places.items()):
        return {}
    return {place: entries for place, entries in bare.items() if entries}


def ending_notes(pairs: Sequence[ListPair]) -> tuple[str, ...]:
    """Name the entries without a file ending, which are read as images too.

    Examples
    --------
    >>> ending_notes([ListPair("Fold_1", ("a.tiff", "b"), ("c.tiff",))])
    ('1 list entries lack the file ending (b); they are read as images',)
    """
    bare = [entry for entries in without_ending(pairs).values() for entry in entries]
    if not bare:
        return ()
    return (
        f"{len(bare)} list entries lack the file ending ({listing(sorted(set(bare)))}); they are read as images",
    )


PARTS = {
    **dict.fromkeys(("train", "training", "val", "valid", "validation", "dev"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
}


"""Names of splits in lower case, and the set of a fold that they belong to: validation images are training images."""

# Training and test set may be exchanged if this fraction of both is in the other published split, or if the test set is
# so many times as large. Halves of uneven groups differ less.
_MOST = 0.9


_TIMES_LARGER = 1.5


@dataclass(frozen=True)
class Fold:
    """A training set and a test set.

    Attributes
    ----------
    name : str
        Such as ``"2x1"``: repeat 2, direction 1.
    train, test : tuple of str
        Image ids, sorted.

    Examples
    --------
    >>> fold = Fold("1x1", train=("a", "b"), test=("c",))
    >>> fold.name, len(fold.train), fold.test
    ('1x1', 2, ('c',))
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Folds:
    """All folds of a protocol.

    Attributes
    ----------
    protocol : str
        Protocol that made them, such as ``"5x2"``.
    seed : int
        Random seed that made them.
    folds : tuple of Fold
        In the order of running.
    notes : tuple of str
        Changes made on reading, such as images left out.

    Examples
    --------
    >>> folds = Folds("mine", 0, (Fold("1", ("a", "b"), ("c",)), Fold("2", ("c",), ("a", "b"))))
    >>> folds.names, folds.digest == Folds("renamed", 1, folds.folds).digest
    (('1', '2'), True)
    """

    protocol: str
    seed: int
    folds: tuple[Fold, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the folds' names and ids; protocol, seed and notes do not count."""
        return digest(self.folds)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(fold.name for fold in self.folds)

    def select(self, names: Iterable[str]) -> Folds:
        """Keep the folds of some names, in their own order; all folds if there are no names.

        Raises
        ------
        ProtocolError
            If there is no fold of a name.
        """
        wanted = frozenset(names)
        unknown = sorted(wanted - set(self.names))
        if unknown:
            raise ProtocolError(
                f"no fold {listing(unknown)} in the protocol {self.protocol}; give some of {listing(self.names, 20)}"
            )
        kept = tuple(fold for fold in self.folds if fold.name in wanted)
        return replace(self, folds=kept) if wanted else self


def write_folds(path: Path | str, folds: Folds, *, replace: bool = True) -> None:
    """Write a fold file.

    Parameters
    ----------
    path : Path or str
        JSON file to write.
    folds : Folds
        Its content.
    replace : bool
        Whether to replace an existing file of other content.

    Raises
    ------
    InputError
        If a file of other content exists and is not to be replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_folds(f"{folder}/folds.json", Folds("mine", 0, (Fold("1", ("a", "b"), ("c",)),)))
    ...     read_folds(f"{folder}/folds.json").folds[0].train
    ('a', 'b')
    """
    value = canonical(folds)
    if not folds.notes:
        del value["notes"]
    with write_aside(path, replace=replace) as aside:
        write_json(aside, value)


def read_folds(path: Path | str) -> Folds:
    r"""Read a fold file.

    Parameters
    ----------
    path : Path or str
        JSON, as `write_folds` writes it; CSV with the columns ``fold``, ``id`` and ``part``, which is
        ``train``, ``val`` (counts as training) or ``test``; or YAML lists, the first of each pair for training and the
        second for testing.

    Returns
    -------
    Folds
        With sorted ids.

    Raises
    ------
    ProtocolError
        If the file cannot be read, or its folds are not valid.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "mine.csv").write_text("fold,id,part\n1,b,train\n1,a,val\n1,c,test\n")
    ...     read_folds(f"{folder}/mine.csv").folds
    (Fold(name='1', train=('a', 'b'), test=('c',)),)
    """
    source = Path(path)
    try:
        folds = _READERS.get(source.suffix.lower(), _read_json)(source)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, pd.errors.ParserError) as error:
        reason = (
            f"{error} is missing"
            if isinstance(error, KeyError)
            else getattr(error, "strerror", None) or error
        )
        raise ProtocolError(f"{source}: cannot be read as a fold file: {reason}") from error
    _check_form(folds, source)
    return folds


def _read_json(source: Path) -> Folds:
    value: dict[str, Any] = parse_json(read_text(source, FOLDS_LIMIT))
    if not isinstance(value, dict):
        raise ValueError(f"expected an object with protocol, seed and folds, got {type(value).__name__}")
    folds = tuple(Fold(str(row["name"]), _ids(row["train"]), _ids(row["test"])) for row in value["folds"])
    return Folds(str(value["protocol"]), int(value["seed"]), folds, tuple(value.get("notes", ())))


def _ids(values: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"train and test must be lists of image ids, got {values!r}")
    return tuple(sorted(str(value) for value in values))


def _read_csv(source: Path) -> Folds:
    table = pd.read_csv(StringIO(read_text(source, FOLDS_LIMIT)), dtype=str, keep_default_na=False)
    lacking = [name for name in ("fold", "id", "part") if name not in table]
    if lacking:
        raise ValueError(f"no column {listing(lacking)}; expected the columns fold, id and part")
    table = table[["fold", "id", "part"]].apply(lambda column: column.str.strip().map(unguarded))
    parts = table["part"].str.lower().map(PARTS)
    if parts.isna().any():
        odd = sorted(set(table["part"][parts.isna()]))
        raise ValueError(f"the column part must be train, val or test, got {listing(odd)}")
    folds = []
    for name, here in table.assign(part=parts).groupby("fold", sort=False):
        train, test = (here["id"][here["part"] == part].tolist() for part in ("train", "test"))
        folds.append(Fold(str(name), _ids(train), _ids(test)))
    return Folds(source.stem, 0, tuple(folds))


def _read_lists(source: Path) -> Folds:
    """Read YAML lists: if each pair is followed by its swap, these are the two directions of one repeat."""
    pairs = read_fold_lists(source)
    folds = tuple(Fold(pair.name, pair.ids(pair.first), pair.ids(pair.second)) for pair in pairs)
    notes = list(ending_notes(pairs))
    swapped = [(a.train, a.test) == (b.test, b.train) for a, b in zip(folds[::2], folds[1::2], strict=False)]
    if len(folds) == 1:
        return Folds("holdout", 0, (replace(folds[0], name="holdout"),), tuple(notes))
    if len(folds) % 2 or not all(swapped):
        return Folds(source.stem, 0, folds, tuple(notes))
    named = [replace(fold, name=f"{index // 2 + 1}x{index % 2 + 1}") for index, fold in enumerate(folds)]
    notes.append(
        f"{pairs[0].name} to {pairs[-1].name} are {len(folds) // 2} partitions, each in both directions; "
        f"they are run as 1x1 to {named[-1].name}"
    )
    return Folds(f"{len(folds) // 2}x2", 0, tuple(named), tuple(notes))


_READERS: dict[str, Callable[[Path], Folds]] = {".csv": _read_csv, ".yml": _read_lists, ".yaml": _read_lists}


def _check_form(folds: Folds, source: Path) -> None:
    if not folds.folds:
        raise ProtocolError(f"{source}: has no folds; give a file with at least one")
    doubled = [name for name, count in Counter(folds.names).items() if count > 1]
    if doubled:
        raise ProtocolError(f"{source}: the fold name {listing(doubled)} is repeated; rename one fold")
    for fold in folds.folds:
        for part, ids in (("train", fold.train), ("test", fold.test)):
            twice = [name for name, count in Counter(ids).items() if count > 1]
            if twice:
                raise ProtocolError(
                    f"{source}: fold {fold.name} repeats {listing(twice)} in {part}; remove the repeats"
                )
        if not fold.train:
            raise ProtocolError(
                f"{source}: fold {fold.name} has no training images; remove it, or add images"
            )


def check_folds(folds: Folds, labelled: Labelled, keys: Sequence[str] | None = None) -> tuple[str, ...]:
    """Check that folds fit a data set, and that no test image is known from training.

    Parameters
    ----------
    folds : Folds
        Folds to check.
    labelled : Labelled
        The data set under its task.
    keys : sequence of str, optional
        SHA-256 of each image file, in the order of ``labelled.ids``.

    Returns
    -------
    tuple of str
        Notes: changes made on reading, test sets that lack a class, training and test sets that may be exchanged, equal
        folds, images in no fold, identical files of different classes. If each fold leaves one group out, the number of
        test sets that lack a class, and how reports deal with them.

    Raises
    ------
    LeakError
        If an image, its group or an identical file is in both the training and the test set of a fold.
    ProtocolError
        If a fold has images that are not in the data set, or its training set lacks a class.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import apply_task, draw_dermoscopy, read_manifest, split_folds
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     labelled = apply_task(read_manifest(draw_dermoscopy(folder, images=40, size=16)), "melanoma:rest")
    ...     folds = split_folds(labelled, "kfold:2")
    ...     check_folds(folds, labelled)
    ()
    """
    known = {name: index for index, name in enumerate(labelled.ids)}
    lacking: defaultdict[str, list[str]] = defaultdict(list)
    for fold in folds.folds:
        unknown = sorted({*fold.train, *fold.test} - set(known))
        if unknown:
            raise ProtocolError(
                f"fold {fold.name} has {len(unknown)} images that are not in the manifest, or that the task leaves out: {listing(unknown)}; correct the folds, or drop these images (--absent drop)"
            )
        _check_leaks(fold, known, labelled, keys)
        for name in _absent_classes(fold, known, labelled):
            lacking[name].append(fold.name)
    return (
        *folds.notes,
        *_lacking(folds, labelled, lacking),
        *(line for fold in folds.folds for line in _exchanged(fold, known, labelled)),
        *_repeats(folds),
        *_unused(folds, labelled),
        *_conflicts(labelled, keys or ()),
    )


def leaves_one_out(protocol: str, tested: Sequence[Collection[str]]) -> bool:
    """Tell whether each fold leaves one group out.

    Parameters
    ----------
    protocol : str
        Name of the protocol.
    tested : sequence of collection of str
        Distinct groups in the test set of each fold.

    Returns
    -------
    bool
        True for the protocol of this name, and if each test set has one group, and no group is in two test sets.

    Examples
    --------
    >>> leaves_one_out("mine", [{"a"}, {"b"}]), leaves_one_out("kfold:2", [{"a", "b"}, {"c"}])
    (True, False)
    """
    return protocol == "leave-one-group-out" or (
        len(set().union(*tested)) == len(tested) > 1 and all(len(groups) == 1 for groups in tested)
    )


def _lacking(folds: Folds, labelled: Labelled, lacking: Mapping[str, list[str]]) -> list[str]:
    """Name the test sets that lack a class; if folds leave one group out, say that these folds have no AUC."""
    if not lacking:
        return []
    groups = dict(zip(labelled.ids, labelled.groups.tolist(), strict=True))
    tested = [{groups[name] for name in fold.test} for fold in folds.folds]
    if not leaves_one_out(folds.protocol, tested):
        return [f"no test image of {name} in fold {listing(found)}" for name, found in lacking.items()]
    without = {name for found in lacking.values() for name in found}
    return [
        f"{len(without)} of {len(folds.folds)} folds have a test set that lacks a class, so they have no AUC of their own; "
        "reports compute one AUC from the decision function values of all folds"
    ]


def _check_leaks(fold: Fold, known: dict[str, int], labelled: Labelled, keys: Sequence[str] | None) -> None:
    both = sorted(set(fold.train) & set(fold.test))
    if both:
        raise LeakError(
            f"fold {fold.name}: {listing(both)} are in both training and test set; remove them from one"
        )
    for what, values in (("group", labelled.groups), ("SHA-256", keys)):
        if values is None:
            continue
        trained = {str(values[known[name]]): name for name in fold.train}
        shared = [
            (name, str(values[known[name]])) for name in fold.test if str(values[known[name]]) in trained
        ]
        if shared:
            name, value = shared[0]
            raise LeakError(
                f"fold {fold.name}: training image {trained[value]} and test image {name} have the same {what} {value} "
                f"({len(shared)} such test images); split by group, as `featx protocol make` does"
            )


def _absent_classes(fold: Fold, known: dict[str, int], labelled: Labelled) -> list[str]:
    """Name the classes that a fold's test set lacks; its training set must have all."""
    trained = {int(labelled.targets[known[name]]) for name in fold.train}
    tested = {int(labelled.targets[known[name]]) for name in fold.test}
    names = labelled.task.classes
    lacking = [name for index, name in enumerate(names) if index not in trained]
    if lacking:
        raise ProtocolError(
            f"fold {fold.name} has no training images of {listing(lacking)}; use fewer folds, or add images"
        )
    absent = [name for index, name in enumerate(names) if index not in tested]
    return absent if fold.test else []


def _exchanged(fold: Fold, known: dict[str, int], labelled: Labelled) -> list[str]:
    """Warn if a fold trains on the published test set, or has far more test than training images."""
    trained, tested = (
        Counter(PARTS.get(str(labelled.splits[known[name]]).lower()) for name in part)
        for part in (fold.train, fold.test)
    )
    of_test, of_train = trained["test"], tested["train"]
    if fold.test and of_test >= _MOST * len(fold.train) and of_train >= _MOST * len(fold.test):
        return [
            f"fold {fold.name}: {of_test} of {len(fold.train)} training images are in the manifest's split test, and "
            f"{of_train} of {len(fold.test)} test images in its split train; are training and test set exchanged?"
        ]
    if len(fold.test) >= _TIMES_LARGER * len(fold.train):
        return [
            f"fold {fold.name}: the test set is larger than the training set ({len(fold.test)} and {len(fold.train)} "
            "images); are they exchanged?"
        ]
    return []


def _repeats(folds: Folds) -> list[str]:
    same: defaultdict[tuple[tuple[str, ...], tuple[str, ...]], list[str]] = defaultdict(list)
    for fold in folds.folds:
        same[fold.train, fold.test].append(fold.name)
    return [f"folds {', '.join(names)} are equal" for names in same.values() if len(names) > 1]


def _conflicts(labelled: Labelled, keys: Sequence[str]) -> list[str]:
    classes: defaultdict[str, set[int]] = defaultdict(set)
    for key, target in zip(keys, labelled.targets.tolist(), strict=False):
        classes[key].add(target)
    odd = [name for name, key in zip(labelled.ids, keys, strict=False) if len(classes[key]) > 1]
    return [f"{len(odd)} images are byte-identical to one of another class: {listing(odd)}"] if odd else []


def _unused(folds: Folds, labelled: Labelled) -> list[str]:
    used = {name for fold in folds.folds for name in (*fold.train, *fold.test)}
    unused = [name for name in labelled.ids if name not in used]
    return [f"{len(unused)} images are in no fold: {listing(unused)}"] if unused else []


def known_test_images(
    fold: Fold, labelled: Labelled, keys: Sequence[str], trained: Collection[str] | None
) -> tuple[str, ...]:
    """Find the test images that a network was trained on, or whose group it was trained on.

    Parameters
    ----------
    fold : Fold
        The fold.
    labelled : Labelled
        The data set under its task.
    keys : sequence of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    trained : collection of str, optional
        SHA-256 of each image that the network was trained on; empty or None if unknown.

    Returns
    -------
    tuple of str
        Image ids, in the fold's order.
    """
    if not trained:
        return ()
    groups = [str(group) for group in labelled.groups]
    seen = {group for group, key in zip(groups, keys, strict=True) if key in trained}
    rows = dict(zip(labelled.ids, zip(groups, keys, strict=True), strict=True))
    return tuple(name for name in fold.test if rows[name][0] in seen or rows[name][1] in trained)


def refuse_other_folds(path: Path, folds: Folds) -> None:
    """Raise `ProtocolError` if the fold file beside earlier runs, which need not exist, has other folds."""
    if not path.exists():
        return
    standing = read_folds(path)
    if standing.digest != folds.digest:
        raise ProtocolError(
            f"{path}: this folder has runs with other folds (seed {standing.seed}, {len(standing.folds)} folds), from "
            "another manifest or seed; give another --output or --arm, or --overwrite to replace them"
        )


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key that puts fold 2 before fold 10.

    Examples
    --------
    >>> sorted(["10", "2", "1x2", "1x1"], key=natural)
    ['1x1', '1x2', '2', '10']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts)
