"""Audit of published folds, before anything is trained on them.

It finds what changes results silently: repeated partitions, images that scripts drop, labelled images in no fold, and
images of one lesion in both the training and the test set.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.data.folds import Fold, ListPair, read_fold_lists, read_folds, without_ending
from featx.data.importers.source import read_text_table
from featx.data.manifest import Manifest, image_name, read_manifest
from featx.errors import ProtocolError, listing

__all__ = ["FoldAudit", "FoldFinding", "audit_fold_files", "audit_folds", "first_picture"]

# What photographers add to the name of a second image of a lesion: bis, ter, a letter, or a number in brackets.
_SECOND_PICTURE = re.compile(r"(?<=\d)(bis|ter|[a-z])$|[-_ ]?\(\d+\)$")
_MOST_NAMES = 8


@dataclass(frozen=True)
class FoldFinding:
    """One finding about a fold file.

    Attributes
    ----------
    kind : str
        Stable name, such as ``"unlisted"``.
    text : str
        A sentence.
    items : tuple of str
        Ids of the images, or names of the folds.
    """

    kind: str
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class FoldAudit:
    """Counts and findings of an audit.

    Attributes
    ----------
    source : Path
        The fold file.
    folds, partitions, images : int
        Number of folds, of distinct partitions, and of distinct images.
    train, test : (int, int)
        Sizes of the smallest and the largest training set, and test set.
    findings : tuple of FoldFinding
        Empty if nothing was found.
    """

    source: Path
    folds: int
    partitions: int
    images: int
    train: tuple[int, int]
    test: tuple[int, int]
    findings: tuple[FoldFinding, ...]


def audit_fold_files(
    path: Path | str,
    *,
    labels: Path | str | None = None,
    groups: Path | str | None = None,
    group_column: str = "group",
    root: Path | str | None = None,
) -> list[FoldAudit]:
    """Audit a fold file, or all YAML lists of a folder.

    Parameters
    ----------
    path : Path or str
        A fold file, or a folder of YAML lists.
    labels : Path or str, optional
        Table of the labelled images. If not given, the CSV file of the same name beside each fold file, if any.
    groups : Path or str, optional
        Table with the columns ``image`` and `group_column`.
    group_column : str
        Column of `groups` with the patient, case or lesion.
    root : Path or str, optional
        Folder that image paths are relative to, to find labels without an image file.

    Returns
    -------
    list of FoldAudit
        One for each fold file, in the order of their names.

    Raises
    ------
    ProtocolError
        If a file cannot be read, or a folder has no fold lists.
    ManifestError
        If a table cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "protocol.yml").write_text("Fold_1: [[a, b], [b, c]]")
    ...     (audit,) = audit_fold_files(folder)
    >>> audit.images, audit.findings[0].text
    (3, 'fold holdout: 1 images are in both training and test set: b')
    """
    known = _read_groups(Path(groups), group_column) if groups is not None else None
    audits = []
    for file in _fold_files(Path(path)):
        beside = file.with_suffix(".csv")
        table = labels or (beside if beside.is_file() and beside != file else None)
        manifest = (
            read_manifest(table, root=root, check_files=False, allow_outside=True)
            if table is not None
            else None
        )
        audits.append(audit_folds(file, manifest, known))
    return audits


def _fold_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in {".yml", ".yaml"})
    if not found:
        raise ProtocolError(f"{path}: no fold lists (*.yml) in this folder; give a fold file")
    return found


def _read_groups(path: Path, column: str) -> dict[str, str]:
    table = read_text_table(path, columns=("image", column))
    named = table[table[column] != ""]
    return dict(zip(named["image"].map(image_name), named[column], strict=True))


def audit_folds(
    path: Path | str, labels: Manifest | None = None, groups: Mapping[str, str] | None = None
) -> FoldAudit:
    """Audit one fold file against the labelled images and the group of each image id, where these are known."""
    source = Path(path)
    folds = read_folds(source).folds
    pairs = read_fold_lists(source) if source.suffix.lower() in {".yml", ".yaml"} else ()
    images = {name for fold in folds for name in (*fold.train, *fold.test)}
    partitions = {frozenset((fold.train, fold.test)) for fold in folds}
    known = dict(groups or {})
    if labels is not None and labels.has_groups:
        known = {**dict(zip(labels.ids, labels.table["group"], strict=True)), **known}
    findings = [
        *_repeats(folds, pairs, len(partitions)),
        *_bare_entries(pairs),
        *_unlisted(images, folds),
        *(_against_labels(images, labels) if labels is not None else ()),
        *_overlaps(folds),
        *_straddling(folds, known),
        *_second_pictures(folds, known),
    ]
    return FoldAudit(
        source,
        len(folds),
        len(partitions),
        len(images),
        _range(len(fold.train) for fold in folds),
        _range(len(fold.test) for fold in folds),
        tuple(findings),
    )


def _range(sizes: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(sizes)
    return ordered[0], ordered[-1]


def _repeats(folds: Sequence[Fold], pairs: Sequence[ListPair], partitions: int) -> list[FoldFinding]:
    """Find equal folds, and the repeats that a script makes which runs the first half in both directions."""
    found = []
    counts = Counter((fold.train, fold.test) for fold in folds)
    same = [fold.name for fold in folds if counts[fold.train, fold.test] > 1]
    if same:
        found.append(
            FoldFinding(
                "same-split", f"some of the folds {listing(same, _MOST_NAMES)} are equal", tuple(same)
            )
        )
    half = [fold for fold in folds[: len(folds) // 2] for _ in range(2)]
    turned = [(f.train, f.test) if turn % 2 == 0 else (f.test, f.train) for turn, f in enumerate(half)]
    distinct = len(set(turned))
    if pairs and partitions * 2 == len(folds) and distinct < len(turned):
        text = (
            f"{len(folds)} folds are {partitions} distinct partitions, each listed in both directions; a script that "
            f"runs {pairs[0].name} to {pairs[len(folds) // 2 - 1].name} in both directions, as the published one does, "
            f"trains only {distinct} distinct train/test pairs in {len(turned)} runs and never uses "
            f"{partitions - distinct // 2} of the partitions; featx runs the {len(folds)} folds as listed"
        )
        found.append(FoldFinding("both-directions-listed", text, tuple(pair.name for pair in pairs)))
    return found


def _bare_entries(pairs: Sequence[ListPair]) -> list[FoldFinding]:
    bare = without_ending(pairs)
    if not bare:
        return []
    names = tuple(sorted({entry for entries in bare.values() for entry in entries}))
    lists = [f"{place}: {', '.join(entries)}" for place, entries in bare.items()]
    text = (
        f"{len(lists)} lists have entries without a file ending ({listing(lists, 4)}); a script that matches exact "
        "file names drops them silently, featx reads them as images"
    )
    return [FoldFinding("no-ending", text, names)]


def _unlisted(images: set[str], folds: Sequence[Fold]) -> list[FoldFinding]:
    """Find images that are in some folds but not in others."""
    found = []
    for fold in folds:
        out = tuple(sorted(images - {*fold.train, *fold.test}))
        if out:
            text = f"fold {fold.name} leaves out {len(out)} images that other folds use: {listing(out, _MOST_NAMES)}"
            found.append(FoldFinding("left-out", text, out))
    return found


def _against_labels(images: set[str], labels: Manifest) -> list[FoldFinding]:
    labelled = set(labels.ids)
    unlisted, unlabelled = tuple(sorted(labelled - images)), tuple(sorted(images - labelled))
    found = []
    if unlisted:
        text = f"{len(unlisted)} labelled images are in no fold: {listing(unlisted, _MOST_NAMES)}"
        found.append(FoldFinding("in-no-fold", text, unlisted))
    if unlabelled:
        text = f"{len(unlabelled)} listed images have no label: {listing(unlabelled, _MOST_NAMES)}"
        found.append(FoldFinding("no-label", text, unlabelled))
    gone = tuple(
        name for name, path in zip(labels.ids, labels.paths, strict=True) if not Path(path).is_file()
    )
    if 0 < len(gone) < len(labels):
        text = f"{len(gone)} of {len(labels)} labels have no image file: {listing(gone, _MOST_NAMES)}"
        found.append(FoldFinding("no-image", text, gone))
    return found


def _overlaps(folds: Sequence[Fold]) -> list[FoldFinding]:
    found = []
    for fold in folds:
        both = tuple(sorted(set(fold.train) & set(fold.test)))
        if both:
            text = f"fold {fold.name}: {len(both)} images are in both training and test set: {listing(both, _MOST_NAMES)}"
            found.append(FoldFinding("overlap", text, both))
    return found


def _straddling(folds: Sequence[Fold], groups: Mapping[str, str]) -> list[FoldFinding]:
    """Find groups with images in both the training and the test set of a fold."""
    found: dict[str, list[str]] = {}
    for fold in folds:
        trained = {groups[name] for name in fold.train if name in groups}
        tested = {groups[name] for name in fold.test if name in groups}
        for group in sorted(trained & tested):
            found.setdefault(group, []).append(fold.name)
    if not found:
        return []
    shown = [f"{group} (folds {listing(names, 3)})" for group, names in found.items()]
    return [
        FoldFinding(
            "group-straddles",
            f"{len(found)} groups are in both training and test set: {listing(shown)}",
            tuple(found),
        )
    ]


def first_picture(name: str) -> str:
    """Return the id of a lesion's first image, of an id that says to be of a further one; else the id itself.

    Examples
    --------
    >>> first_picture("Nml009bis"), first_picture("case12 (2)"), first_picture("ISIC_0000012")
    ('Nml009', 'case12', 'ISIC_0000012')
    """
    return _SECOND_PICTURE.sub("", name)


def _second_pictures(folds: Sequence[Fold], groups: Mapping[str, str]) -> list[FoldFinding]:
    """Find images whose name says second image of a lesion, and whose first image is in the other set of a fold."""
    images = {name for fold in folds for name in (*fold.train, *fold.test)}
    pairs = {name: first_picture(name) for name in sorted(images)}
    parts = [(fold.name, frozenset(fold.train), frozenset(fold.test)) for fold in folds]
    apart: dict[str, list[str]] = {}
    for name, first in pairs.items():
        if first == name or first not in images:
            continue
        for fold, train, test in parts:
            if (
                (name in train) != (first in train)
                and (name in train or name in test)
                and (first in train or first in test)
            ):
                apart.setdefault(f"{first} / {name}", []).append(fold)
    if not apart:
        return []
    shown = [
        f"{pair} ({_cases(pair, groups)}in {len(names)} of {len(folds)} folds)"
        for pair, names in apart.items()
    ]
    text = (
        f"{len(apart)} pairs of images, by their names of one lesion, are split between training and test set: "
        f"{listing(shown)}; check that they show different lesions, or give them one group"
    )
    return [FoldFinding("second-picture", text, tuple(apart))]


def _cases(pair: str, groups: Mapping[str, str]) -> str:
    """Name the groups of a pair, where they are known."""
    first, second = (groups.get(name) for name in pair.split(" / "))
    if first is None or second is None:
        return ""
    return "the same group, " if first == second else f"groups {first} and {second}, "
