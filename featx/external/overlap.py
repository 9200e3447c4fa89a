"""Overlap of an external test set with the training data: images, duplicates and patients that are in both.

An external image overlaps if one of these holds, and it is counted under each kind that does:

``bytes``
    Its file is byte-identical to that of a training image.
``weights``
    The network behind the features was trained on a byte-identical file.
``near``
    Its perceptual hash is that of a near duplicate of a training image (`featx.data.check`).
``id``
    A training image has the same id.
``group``
    Its group (patient, case or lesion) has the name of a group of the training data, where both manifests have a column
    ``group``; or another image of its group overlaps.

Equal ids and equal names of groups do not count if the two data sets name their images and groups independently
(`own_names`). The column is called ``group`` in every manifest, so that nothing in the data tells two patients ``p1`` of two
hospitals from one patient; a leak costs more than a question, and therefore equal names count unless the user says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from featx.data import HASH_BYTES, NEAR, Labelled, image_hashes, near_matches
from featx.digest import digest
from featx.errors import DiskError, LeakError, listing
from featx.files import write_bytes
from featx.images import DECODE_VERSION
from featx.progress import Progress

__all__ = ["OVERLAP_KINDS", "Overlap", "TrainedOn", "find_overlap", "refuse_overlap"]

OVERLAP_KINDS = {
    "bytes": "byte-identical to a training image",
    "weights": "byte-identical to an image that the network was trained on",
    "near": "near duplicate of a training image",
    "id": "same id as a training image",
    "group": "same group as a training image",
}
"""Kinds of overlap, and what messages and tables call them."""

_HASHES = "perceptual-hashes"
_MOST_SHOWN = 3


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The images that a model may have been trained on.

    Attributes
    ----------
    labelled : Labelled
        The training manifest under its task.
    keys : tuple of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    ids : frozenset of str
        Ids of the images in the training set of any fold.
    weights : frozenset of str
        SHA-256 of the images that the networks behind the features were trained on, where this is known.
    """

    labelled: Labelled
    keys: tuple[str, ...]
    ids: frozenset[str]
    weights: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Overlap:
    """External images that overlap with the training data.

    Attributes
    ----------
    found : dict of str to dict of str to str
        Id of the external image to the kinds of its overlap, each with what it overlaps with.
    """

    found: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, int]:
        """Number of external images of each kind that occurs; an image counts under each of its kinds."""
        counts = {kind: sum(kind in kinds for kinds in self.found.values()) for kind in OVERLAP_KINDS}
        return {kind: count for kind, count in counts.items() if count}

    def add(self, kind: str, pairs: Iterable[tuple[str, str]]) -> None:
        """Note pairs of an external image and what it overlaps with."""
        for name, other in pairs:
            self.found.setdefault(name, {}).setdefault(kind, other)


def find_overlap(
    external: Labelled,
    keys: Sequence[str],
    training: TrainedOn,
    *,
    own_names: bool = False,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Overlap:
    """Find the images of an external test set that overlap with the training data.

    Parameters
    ----------
    external : Labelled
        The external test set.
    keys : sequence of str
        SHA-256 of each of its images' bytes, in the order of ``external.ids``.
    training : TrainedOn
        The training data.
    own_names : bool
        Whether the external manifest's ids and groups are its own, so that equal names are no overlap.
    cache : Path or str, optional
        Folder that remembers perceptual hashes.
    workers : int, optional
        Number of threads; the number of cores if not given.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    Overlap
        Images and kinds; empty if there is no overlap.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import apply_task, draw_dermoscopy, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     labelled = apply_task(read_manifest(draw_dermoscopy(folder, images=4, size=32)), "labels")
    ...     trained = TrainedOn(labelled, tuple("abcd"), frozenset(labelled.ids[:1]))
    ...     found = find_overlap(labelled, "abcd", trained)
    >>> found.kinds
    {'bytes': 1, 'id': 1, 'group': 1}
    """
    made = Overlap()
    trained = training.labelled
    rows = [place for place, name in enumerate(trained.ids) if name in training.ids]
    by_key = {training.keys[row]: trained.ids[row] for row in rows}
    pairs = list(zip(external.ids, keys, strict=True))
    made.add("bytes", ((name, by_key[key]) for name, key in pairs if key in by_key))
    made.add("weights", ((name, key) for name, key in pairs if key in training.weights))
    ids, paths = [trained.ids[row] for row in rows], [trained.paths[row] for row in rows]
    some = _hashes(external.paths, keys, cache, workers, progress)
    others = _hashes(paths, [training.keys[row] for row in rows], cache, workers, progress)
    identical = {name for name, kinds in made.found.items() if "bytes" in kinds}
    made.add("near", _near(external.ids, some, ids, others, identical))
    if not own_names:
        made.add("id", ((name, name) for name in external.ids if name in training.ids))
    _add_groups(
        made, external, {str(trained.groups[row]) for row in rows} if _named(trained, own_names) else ()
    )
    return made


def _named(labelled: Labelled, own_names: bool) -> bool:
    return labelled.manifest.has_groups and not own_names


def _add_groups(made: Overlap, external: Labelled, groups: Collection[str]) -> None:
    """Add the images of groups that the training data have, and of groups with another image that overlaps."""
    if not external.manifest.has_groups:
        return
    owners = dict(zip(external.ids, map(str, external.groups), strict=True))
    made.add("group", [(name, group) for name, group in owners.items() if group in groups])
    shared = {owners[name]: name for name in made.found}
    made.add(
        "group",
        [(name, group) for name, group in owners.items() if group in shared and name not in made.found],
    )


_Hashes = npt.NDArray[np.uint64]


def _near(
    names: Sequence[str], some: _Hashes, ids: Sequence[str], others: _Hashes, known: Collection[str]
) -> Iterable[tuple[str, str]]:
    """Pair external images with their nearest training image; byte-identical ones are known."""
    best: dict[str, tuple[int, str]] = {}
    for row, column, distance in near_matches(some, others, NEAR):
        # A hash of zeros is that of an image that cannot be read.
        if names[row] not in known and some[row].any() and others[column].any():
            best[names[row]] = min(best.get(names[row], (NEAR + 1, "")), (distance, ids[column]))
    return ((name, other) for name, (_, other) in best.items())


def _hashes(
    paths: Sequence[str],
    keys: Sequence[str],
    cache: Path | str | None,
    workers: int | None,
    progress: Progress | None,
) -> _Hashes:
    """Compute perceptual hashes, shape (n, words), or read those of the same images in the same order."""
    file = None if cache is None else Path(cache) / _HASHES / digest([DECODE_VERSION, list(keys)])
    data = b""
    if file is not None and file.is_file():
        data = file.read_bytes()
    if len(data) != HASH_BYTES * len(paths):
        data = b"".join(one or bytes(HASH_BYTES) for one in image_hashes(paths, workers, progress))
        if file is not None:
            with suppress(OSError, DiskError):  # a cache that cannot be written only costs time
                write_bytes(file, data)
    return np.frombuffer(data, dtype=np.uint64).reshape(len(paths), -1)


def refuse_overlap(overlap: Overlap, external: Labelled, name: str) -> None:
    """Raise an error that counts and names the images that overlap, if there are any.

    Raises
    ------
    LeakError
        If an image overlaps with the training data.
    """
    if not overlap.found:
        return
    places = dict(zip(external.manifest.ids, external.manifest.paths, strict=True))
    told = [
        f"{count} {OVERLAP_KINDS[kind]} ({_examples(overlap, kind, places)})"
        for kind, count in overlap.kinds.items()
    ]
    remedy = "leave them out (--overlap drop; in a study file overlap = 'drop' of the target), or test on other images"
    if {"id", "group"} & set(overlap.kinds):
        remedy += "; if ids and groups of this manifest are named independently of the training manifest's, give --own-names (own_names = true)"
    raise LeakError(
        f"{external.manifest.source}: {len(overlap.found)} of {len(external)} images of the external test set {name!r} "
        f"overlap with the training data: {'; '.join(told)}; {remedy}"
    )


def _examples(overlap: Overlap, kind: str, places: dict[str, str]) -> str:
    between = {"bytes": " = ", "near": " = ", "group": ", group "}.get(kind, "")
    shown = [
        f"{name} in {places[name]}{between}{kinds[kind] if between else ''}"
        for name, kinds in overlap.found.items()
        if kind in kinds
    ]
    return listing(shown, _MOST_SHOWN)
