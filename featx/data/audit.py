"""What published fold lists really hold, before anything is trained on them.

The findings are those that change results without a word: partitions that repeat, images that drop out, images
that were never listed, and pictures of one lesion in both halves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.data.folds import Fold, ListPair, read_fold_lists, read_folds, without_ending
from featx.data.manifest import Manifest
from featx.errors import listing

__all__ = ["FoldAudit", "FoldFinding", "audit_folds"]

# What photographers add to the name of a second picture: bis, ter, a letter, a number behind a mark.
_SECOND_PICTURE = re.compile(r"(?<=\d)(bis|ter|[a-z])$|[-_ ]?\(\d+\)$")
_MOST_NAMES = 8


@dataclass(frozen=True)
class FoldFinding:
    """One thing to know about a fold file.

    Attributes
    ----------
    kind : str
        Stable name, such as ``"unlisted"``.
    text : str
        A sentence.
    items : tuple of str
        The images or folds that it is about.
    """

    kind: str
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class FoldAudit:
    """What an audit saw and found.

    Attributes
    ----------
    source : Path
        The fold file.
    folds, partitions, images : int
        How many folds, distinct partitions among them, and distinct images it holds.
    train, test : tuple of int
        Fewest and most images of a training and of a test part: (fewest, most).
    findings : tuple of FoldFinding
        What was found; empty if all is well.
    """

    source: Path
    folds: int
    partitions: int
    images: int
    train: tuple[int, int]
    test: tuple[int, int]
    findings: tuple[FoldFinding, ...]


def audit_folds(
    path: Path | str, labels: Manifest | None = None, groups: Mapping[str, str] | None = None
) -> FoldAudit:
    """Audit a fold file.

    Parameters
    ----------
    path : Path or str
        A fold file of any form that `featx.data.folds.read_folds` reads.
    labels : Manifest, optional
        The labelled images that the folds are about, to find images in no fold and folds without a label; its
        groups are looked at too where it has some.
    groups : mapping of str to str, optional
        Image id to patient, case or lesion, from elsewhere.

    Returns
    -------
    FoldAudit
        Counts and findings.

    Raises
    ------
    ProtocolError
        If the file cannot be read.
    """
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
    """Find folds that are the same, and what running the first half in both directions would repeat."""
    found = []
    counts = Counter((fold.train, fold.test) for fold in folds)
    same = [fold.name for fold in folds if counts[fold.train, fold.test] > 1]
    if same:
        found.append(
            FoldFinding("same-split", f"folds {listing(same, _MOST_NAMES)} are not all distinct", tuple(same))
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
        f"{len(lists)} lists hold entries without the file ending ({listing(lists, 4)}); a script that matches exact "
        "file names drops them silently, featx reads them as images"
    )
    return [FoldFinding("no-ending", text, names)]


def _unlisted(images: set[str], folds: Sequence[Fold]) -> list[FoldFinding]:
    """Find images that some folds use and others leave out."""
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
            text = (
                f"fold {fold.name} trains and tests on {len(both)} same images: {listing(both, _MOST_NAMES)}"
            )
            found.append(FoldFinding("overlap", text, both))
    return found


def _straddling(folds: Sequence[Fold], groups: Mapping[str, str]) -> list[FoldFinding]:
    """Find groups with images in both parts of a fold."""
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
            "group-straddles", f"{len(found)} groups are in both parts: {listing(shown)}", tuple(found)
        )
    ]


def _second_pictures(folds: Sequence[Fold], groups: Mapping[str, str]) -> list[FoldFinding]:
    """Find images named like second pictures of another that sit in the other part of a fold."""
    images = {name for fold in folds for name in (*fold.train, *fold.test)}
    pairs = {name: _SECOND_PICTURE.sub("", name) for name in sorted(images)}
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
        f"{len(apart)} pairs named like two pictures of one lesion sit in different halves: {listing(shown)}; make "
        "sure that they are not one lesion, or group them"
    )
    return [FoldFinding("second-picture", text, tuple(apart))]


def _cases(pair: str, groups: Mapping[str, str]) -> str:
    """Say what the groups, where known, say of a pair."""
    first, second = (groups.get(name) for name in pair.split(" / "))
    if first is None or second is None:
        return ""
    return "the same group, " if first == second else f"groups {first} and {second}, "
