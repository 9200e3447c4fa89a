"""Check of a data set: unreadable images, duplicates, doubtful labels, leaks between splits."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.data_warnings import group_columns, group_remarks, rare_labels, spelled_like
from featx.data.manifest import Manifest, straddling
from featx.data.tasks import Task, doubtful_labels, read_task
from featx.digest import canonical
from featx.errors import ImageError, listing
from featx.files import open_regular
from featx.images import content_keys, decode_image
from featx.machine import usable_cores
from featx.progress import Progress, Silent

__all__ = [
    "HASH_BYTES",
    "NEAR",
    "CheckFinding",
    "ManifestCheck",
    "NearPair",
    "check_manifest",
    "image_hashes",
    "near_matches",
    "near_pairs",
]

NEAR = 32
"""Bits of 256 in which the perceptual hashes of near duplicates may differ.

Among 1,500 images of ISIC 2017 the three closest pairs, which show one lesion each, differ in 0, 0 and 10 bits and all
others in 44 or more.
"""

_HASH_SIDE = 16
HASH_BYTES = _HASH_SIDE**2 // 8
"""Bytes of a perceptual hash."""

_DECODED_SIDE = 64
_BLOCK = 256
_MOST_NAMES = 6
_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class CheckFinding:
    """One finding of a check.

    Attributes
    ----------
    kind : str
        Stable name, such as ``"unreadable"``.
    severity : {"error", "warning"}
        An error makes results wrong or loses images; a warning may be intended.
    text : str
        A sentence.
    items : tuple of str
        Image ids, or the ids of duplicates joined by `` = ``.
    """

    kind: str
    severity: Literal["error", "warning"]
    text: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class NearPair:
    """Two images that look alike.

    Attributes
    ----------
    first, second : str
        Image ids.
    distance : int
        Bits of 256 in which their perceptual hashes differ.
    """

    first: str
    second: str
    distance: int


@dataclass(frozen=True)
class ManifestCheck:
    """Counts and findings of a check.

    Attributes
    ----------
    source : str
        The manifest.
    images, readable, groups : int
        Number of images, of images that can be decoded, and of groups.
    classes : mapping of str to int
        Images of each label.
    splits : mapping of str to mapping of str to int
        Images of each label in each split; empty without splits.
    sizes : mapping of str to int
        Images of each ``WIDTHxHEIGHT``, most frequent first.
    near : tuple of NearPair
        Near duplicates that are not byte-identical, closest first.
    findings : tuple of CheckFinding
        Errors first, then warnings.
    """

    source: str
    images: int
    readable: int
    groups: int
    classes: Mapping[str, int]
    splits: Mapping[str, Mapping[str, int]]
    sizes: Mapping[str, int]
    near: tuple[NearPair, ...]
    findings: tuple[CheckFinding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Turn the check into JSON types.

        Returns
        -------
        dict
            The attributes; ``sizes`` becomes a list, which keeps its order.
        """
        value: dict[str, Any] = canonical(self)
        value["sizes"] = [{"size": size, "images": count} for size, count in self.sizes.items()]
        return value


@dataclass(frozen=True)
class _Seen:
    """Size and perceptual hash of an image, or the reason why it cannot be read."""

    size: str = ""
    hash: bytes = b""
    failure: str = ""


def check_manifest(
    manifest: Manifest,
    *,
    task: str | Path | Task | None = None,
    near: int | None = NEAR,
    cache: Path | str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ManifestCheck:
    """Check every image and label of a manifest.

    Parameters
    ----------
    manifest : Manifest
        Images to check; files may be missing (`read_manifest` with ``check_files=False, check_groups=False``).
    task : str, Path or Task, optional
        Task, as `read_task` takes it: labels that it counts as others are checked too.
    near : int or None
        Bits of 256 in which the perceptual hashes of near duplicates may differ; None does not look for them.
    cache : Path or str, optional
        Folder that remembers the SHA-256 of unchanged files.
    workers : int, optional
        Number of threads; the number of cores if not given.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    ManifestCheck
        Counts and findings.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import draw_dermoscopy, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     check = check_manifest(read_manifest(draw_dermoscopy(folder, images=4, size=32)), near=None)
    >>> check.readable, check.sizes
    (4, {'32x32': 4})
    """
    applied = None if task is None else read_task(task)
    keys = content_keys(manifest.paths, cache=cache, workers=workers, progress=progress).keys
    seen = _decode_all(manifest.paths, near is not None, workers, progress or Silent())
    table = manifest.table
    readable = [not one.failure for one in seen]
    copies = _copies(manifest, keys)
    pairs = () if near is None else _named_pairs(manifest, seen, keys, near)
    splits = {
        str(split): dict(Counter(rows["label"]))
        for split, rows in table[table["split"] != ""].groupby("split")
    }
    findings = [
        *_unreadable(manifest, seen),
        *_copy_findings(manifest, copies),
        *_near_findings(manifest, pairs),
        *(CheckFinding("groups-across-splits", "error", text, ()) for text in straddling(table)),
        *_class_findings(manifest),
        *(
            CheckFinding("no-groups", "warning", text, tuple(group_columns(manifest)))
            for text in group_remarks(manifest)
        ),
        *_label_findings(Counter(table["label"]), applied),
    ]
    return ManifestCheck(
        str(manifest.source),
        len(manifest),
        sum(readable),
        table["group"].nunique(),
        dict(sorted(Counter(table["label"]).items())),
        splits,
        dict(Counter(one.size for one in seen if one.size).most_common()),
        pairs,
        tuple(sorted(findings, key=lambda finding: finding.severity)),
    )


def _decode_all(paths: Sequence[str], hashed: bool, workers: int | None, progress: Progress) -> list[_Seen]:
    seen = []
    progress.start("decode images", len(paths))
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for one in pool.map(lambda path: _decode(path, hashed), paths):
            seen.append(one)
            progress.advance()
    progress.finish()
    return seen


def _decode(path: str, hashed: bool) -> _Seen:
    try:
        image = decode_image(Path(path), side=_DECODED_SIDE)
        with open_regular(path) as file, Image.open(file) as header:
            size = f"{header.width}x{header.height}"
    except (ImageError, OSError) as error:
        return _Seen(failure=str(error))
    return _Seen(size, _hash(image) if hashed else b"")


def _hash(image: Image.Image) -> bytes:
    import imagehash

    return np.packbits(imagehash.phash(image, hash_size=_HASH_SIDE).hash.ravel()).tobytes()


def near_pairs(hashes: _Hashes, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield the row numbers and distance of all pairs of rows that differ in at most `most` bits: shape (n, words).

    Examples
    --------
    >>> list(near_pairs(np.array([[0], [255], [1]], dtype=np.uint64), 1))
    [(0, 2, 1)]
    """
    for start in range(0, len(hashes), _BLOCK):
        for row, column, distance in near_matches(hashes[start : start + _BLOCK], hashes[start:], most):
            if row < column:
                yield start + row, start + column, distance


def near_matches(some: _Hashes, others: _Hashes, most: int) -> Iterator[tuple[int, int, int]]:
    """Yield the row numbers and distance of all rows of two sets of hashes that differ in at most `most` bits.

    Examples
    --------
    >>> some, others = np.array([[0], [255]], dtype=np.uint64), np.array([[254]], dtype=np.uint64)
    >>> list(near_matches(some, others, 1))
    [(1, 0, 1)]
    """
    for start in range(0, len(some), _BLOCK):
        block = some[start : start + _BLOCK]
        distances = np.zeros((len(block), len(others)), dtype=np.uint16)
        for word in range(block.shape[1]):
            distances += np.bitwise_count(block[:, word, None] ^ others[None, :, word])
        for row, column in zip(*np.nonzero(distances <= most), strict=True):
            yield int(start + row), int(column), int(distances[row, column])


def image_hashes(
    paths: Sequence[str], workers: int | None = None, progress: Progress | None = None
) -> list[bytes]:
    """Compute the perceptual hash of each image, of `HASH_BYTES` bytes; empty for an image that cannot be read."""
    return [one.hash for one in _decode_all(paths, True, workers, progress or Silent())]


def _named_pairs(
    manifest: Manifest, seen: Sequence[_Seen], keys: Mapping[str, str], near: int
) -> tuple[NearPair, ...]:
    """Find near duplicates among files of different content."""
    first: dict[str, int] = {}
    for index, path in enumerate(manifest.paths):
        if seen[index].hash:
            first.setdefault(keys.get(path, path), index)
    at = list(first.values())
    if not at:
        return ()
    hashes = np.frombuffer(b"".join(seen[index].hash for index in at), dtype=np.uint64).reshape(len(at), -1)
    ids = manifest.ids
    found = [NearPair(ids[at[a]], ids[at[b]], distance) for a, b, distance in near_pairs(hashes, near)]
    return tuple(sorted(found, key=lambda pair: (pair.distance, pair.first, pair.second)))


def _copies(manifest: Manifest, keys: Mapping[str, str]) -> list[list[int]]:
    """Group row numbers of byte-identical images."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for index, path in enumerate(manifest.paths):
        if path in keys:
            rows[keys[path]].append(index)
    return [found for found in rows.values() if len(found) > 1]


def _unreadable(manifest: Manifest, seen: Sequence[_Seen]) -> list[CheckFinding]:
    bad = [(name, one.failure) for name, one in zip(manifest.ids, seen, strict=True) if one.failure]
    if not bad:
        return []
    text = f"{len(bad)} images cannot be read: {listing([reason for _, reason in bad], 3)}"
    return [CheckFinding("unreadable", "error", text, tuple(name for name, _ in bad))]


def _copy_findings(manifest: Manifest, copies: Iterable[list[int]]) -> list[CheckFinding]:
    kinds: dict[str, tuple[str, Literal["error", "warning"], str]] = {
        "copies-with-other-labels": ("label", "error", "byte-identical images have different labels"),
        "copies-across-splits": ("split", "error", "byte-identical images are in different splits"),
        "copies-across-groups": ("group", "warning", "byte-identical images are in different groups"),
    }
    ids, found = manifest.ids, []
    sets = {" = ".join(ids[row] for row in rows): manifest.table.iloc[rows] for rows in copies}
    if sets:
        text = f"{len(sets)} sets of byte-identical images: {listing(list(sets), _MOST_NAMES)}"
        found.append(CheckFinding("copies", "warning", text, tuple(sets)))
    for kind, (column, severity, words) in kinds.items():
        odd = tuple(name for name, rows in sets.items() if rows[column].nunique() > 1)
        if odd and (column != "group" or manifest.has_groups):
            found.append(CheckFinding(kind, severity, f"{words}: {listing(odd, _MOST_NAMES)}", odd))
    return found


def _near_findings(manifest: Manifest, pairs: Sequence[NearPair]) -> list[CheckFinding]:
    """Find near duplicates, and those that a split by group may separate."""
    rows = manifest.table.set_index("id")
    kinds: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
        "near-duplicates": ("pairs of near duplicates", lambda a, b: True),
        "near-duplicates-with-other-labels": (
            "pairs of near duplicates with different labels",
            lambda a, b: bool(a["label"] != b["label"]),
        ),
        "near-duplicates-across-splits": (
            "pairs of near duplicates in different splits",
            lambda a, b: bool(a["split"] != b["split"]),
        ),
        "near-duplicates-across-groups": (
            "pairs of near duplicates in different groups",
            lambda a, b: manifest.has_groups and bool(a["group"] != b["group"]),
        ),
    }
    found = []
    for kind, (words, holds) in kinds.items():
        here = [pair for pair in pairs if holds(rows.loc[pair.first], rows.loc[pair.second])]
        if here:
            names = tuple(f"{pair.first} = {pair.second}" for pair in here)
            found.append(
                CheckFinding(kind, "warning", f"{len(here)} {words}: {listing(names, _MOST_NAMES)}", names)
            )
    return found


def _class_findings(manifest: Manifest) -> list[CheckFinding]:
    groups = manifest.table.groupby("label")["group"].nunique()
    few = tuple(str(label) for label in groups.index[groups < 2] if label)
    if not few:
        return []
    return [
        CheckFinding(
            "one-group",
            "warning",
            f"labels with one group only, which no fold can split: {listing(few)}",
            few,
        )
    ]


def _label_findings(counts: Mapping[str, int], task: Task | None) -> list[CheckFinding]:
    """Find labels that may be misspelled: spelled like a more frequent one, or of one or two images."""
    found = []
    alike = {
        label: name
        for label, count in sorted(counts.items())
        if label and (name := spelled_like(label, (other for other in counts if counts[other] > count)))
    }
    if alike:
        shown = [f"{label!r} ({counts[label]}, {name!r} {counts[name]})" for label, name in alike.items()]
        text = f"labels spelled like a more frequent one: {listing(shown, _MOST_NAMES)}"
        found.append(CheckFinding("labels-alike", "warning", text, tuple(alike)))
    if rare := rare_labels(counts):
        text = f"labels of one or two images: {listing(rare, _MOST_NAMES)}"
        found.append(CheckFinding("rare-labels", "warning", text, rare))
    if task is not None:
        found += [
            CheckFinding("doubtful-labels", "warning", text, ()) for text in doubtful_labels(task, counts)
        ]
    return found
