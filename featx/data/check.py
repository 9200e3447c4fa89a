"""What is in a data set, and what is wrong with it: unreadable images, copies, odd labels, leaks between parts."""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from featx.data.data_warnings import group_columns, group_remarks, rare_labels, spelled_like
from featx.data.manifest import Manifest, straddling
from featx.data.tasks import Task, doubtful_labels
from featx.digest import canonical
from featx.errors import ImageError, listing
from featx.files import open_regular
from featx.machine import usable_cores
from featx.progress import Progress, Silent

__all__ = [
    "NEAR",
    "SIDE",
    "CheckFinding",
    "ManifestCheck",
    "NearPair",
    "Picture",
    "SheetRow",
    "SheetSection",
    "as_json",
    "check_manifest",
    "contact_sheet",
    "near_pairs",
]


NEAR = 32


"""Bits of 256 in which the perceptual hashes of near duplicates may differ.

Among 1,500 images of ISIC 2017 the three closest pairs, which are pictures of one lesion, differ in 0, 0 and 10 bits
and all others in 44 or more.
"""


_HASH_SIDE = 16


_LOOK_SIDE = 64


_BLOCK = 256


_MOST_NAMES = 6


_Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class CheckFinding:
    """One thing that is wrong, or worth a look.

    Attributes
    ----------
    kind : str
        Stable name, such as ``"unreadable"``.
    grave : bool
        Whether results would be wrong or images lost; else it is a hint.
    text : str
        A sentence.
    items : tuple of str
        Image ids, or ids of a pair joined by `` = ``.
    """

    kind: str
    grave: bool
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
    """What a check saw.

    Attributes
    ----------
    source : str
        The manifest.
    images, readable, groups : int
        How many images, how many of them can be decoded, and how many groups.
    classes : mapping of str to int
        Images of each label.
    splits : mapping of str to mapping of str to int
        Images of each label in each split; empty without splits.
    sizes : mapping of str to int
        Images of each ``WIDTHxHEIGHT``, most frequent first.
    near : tuple of NearPair
        Near duplicates that are no byte-identical copies, closest first.
    findings : tuple of Finding
        What was found, grave ones first.
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


@dataclass(frozen=True)
class _Seen:
    """Size and perceptual hash of an image, or why there is none."""

    size: str = ""
    hash: bytes = b""
    failure: str = ""


def check_manifest(
    manifest: Manifest,
    keys: Mapping[str, str],
    decode: Callable[[str, int], Image.Image],
    *,
    task: Task | None = None,
    near: int | None = NEAR,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ManifestCheck:
    """Look at every image of a manifest.

    Parameters
    ----------
    manifest : Manifest
        What to check; its files need not all be there.
    keys : mapping of str to str
        Path to SHA-256 of the file's bytes, for the files that can be read
        (`featx.images.content.content_keys`).
    decode : callable
        Path and side to an RGB image, at least twice that side or whole; raises `ImageError`
        (`featx.images.decode.decode`).
    task : Task, optional
        Also name the labels that it takes for others although they may be meant for one of its classes.
    near : int or None
        Bits of 256 in which near duplicates may differ; None does not look for them.
    workers : int, optional
        Threads; as many as there are cores if not given.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    ManifestCheck
        Counts and findings.
    """
    seen = _look(manifest.paths, decode, near is not None, workers, progress or Silent())
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
        *(CheckFinding("groups-across-splits", True, text, ()) for text in straddling(table)),
        *_class_findings(manifest),
        *(
            CheckFinding("no-groups", False, text, tuple(group_columns(manifest)))
            for text in group_remarks(manifest)
        ),
        *_label_findings(Counter(table["label"]), task),
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
        tuple(sorted(findings, key=lambda finding: not finding.grave)),
    )


def _look(
    paths: Sequence[str],
    decode: Callable[[str, int], Image.Image],
    hashed: bool,
    workers: int | None,
    progress: Progress,
) -> list[_Seen]:
    seen = []
    progress.start("look at images", len(paths))
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for one in pool.map(lambda path: _look_at(path, decode, hashed), paths):
            seen.append(one)
            progress.advance()
    progress.finish()
    return seen


def _look_at(path: str, decode: Callable[[str, int], Image.Image], hashed: bool) -> _Seen:
    try:
        image = decode(path, _LOOK_SIDE)
        with open_regular(path) as file, Image.open(file) as header:
            size = f"{header.width}x{header.height}"
    except (ImageError, OSError) as error:
        return _Seen(failure=str(error))
    return _Seen(size, _hash(image) if hashed else b"")


def _hash(image: Image.Image) -> bytes:
    import imagehash

    return np.packbits(imagehash.phash(image, hash_size=_HASH_SIDE).hash.ravel()).tobytes()


def near_pairs(hashes: _Hashes, most: int) -> Iterator[tuple[int, int, int]]:
    """Find all pairs of hashes that differ in few bits.

    Parameters
    ----------
    hashes : numpy.ndarray of uint64, shape (n, words)
        A row for each image.

    Examples
    --------
    >>> list(near_pairs(np.array([[0], [255], [1]], dtype=np.uint64), 1))
    [(0, 2, 1)]
    """
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        distances = np.zeros((len(block), len(hashes) - start), dtype=np.uint16)
        for word in range(hashes.shape[1]):
            distances += np.bitwise_count(block[:, word, None] ^ hashes[None, start:, word])
        for row, column in zip(*np.nonzero(distances <= most), strict=True):
            if row < column:
                yield int(start + row), int(start + column), int(distances[row, column])


def _named_pairs(
    manifest: Manifest, seen: Sequence[_Seen], keys: Mapping[str, str], near: int
) -> tuple[NearPair, ...]:
    """Find near duplicates among different files, each file once."""
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
    return [CheckFinding("unreadable", True, text, tuple(name for name, _ in bad))]


def _copy_findings(manifest: Manifest, copies: Iterable[list[int]]) -> list[CheckFinding]:
    kinds = {
        "copies-with-other-labels": ("label", True, "byte-identical images have different labels"),
        "copies-across-splits": ("split", True, "byte-identical images are in different splits"),
        "copies-across-groups": ("group", False, "byte-identical images are in different groups"),
    }
    ids, found = manifest.ids, []
    sets = {" = ".join(ids[row] for row in rows): manifest.table.iloc[rows] for rows in copies}
    if sets:
        text = f"{len(sets)} sets of byte-identical images: {listing(list(sets), _MOST_NAMES)}"
        found.append(CheckFinding("copies", False, text, tuple(sets)))
    for kind, (column, grave, words) in kinds.items():
        odd = tuple(name for name, rows in sets.items() if rows[column].nunique() > 1)
        if odd and (column != "group" or manifest.has_groups):
            found.append(CheckFinding(kind, grave, f"{words}: {listing(odd, _MOST_NAMES)}", odd))
    return found


def _near_findings(manifest: Manifest, pairs: Sequence[NearPair]) -> list[CheckFinding]:
    """Find near duplicates, and those that a split by group would tear apart."""
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
                CheckFinding(kind, False, f"{len(here)} {words}: {listing(names, _MOST_NAMES)}", names)
            )
    return found


def _class_findings(manifest: Manifest) -> list[CheckFinding]:
    groups = manifest.table.groupby("label")["group"].nunique()
    few = tuple(str(label) for label in groups.index[groups < 2] if label)
    if not few:
        return []
    return [
        CheckFinding(
            "one-group", False, f"labels with one group only, which no fold can split: {listing(few)}", few
        )
    ]


def _label_findings(counts: Mapping[str, int], task: Task | None) -> list[CheckFinding]:
    """Name labels that may be slips: spelled like a more frequent one, or of one or two images."""
    found = []
    alike = {
        label: name
        for label, count in sorted(counts.items())
        if label and (name := spelled_like(label, (other for other in counts if counts[other] > count)))
    }
    if alike:
        shown = [f"{label!r} ({counts[label]}, {name!r} {counts[name]})" for label, name in alike.items()]
        text = f"labels spelled like a more frequent one: {listing(shown, _MOST_NAMES)}"
        found.append(CheckFinding("labels-alike", False, text, tuple(alike)))
    if rare := rare_labels(counts):
        text = f"labels of one or two images: {listing(rare, _MOST_NAMES)}"
        found.append(CheckFinding("rare-labels", False, text, rare))
    if task is not None:
        found += [CheckFinding("doubtful-labels", False, text, ()) for text in doubtful_labels(task, counts)]
    return found


def as_json(check: ManifestCheck) -> dict[str, Any]:
    """Turn a check into JSON types.

    Parameters
    ----------
    check : ManifestCheck
        What to turn.

    Returns
    -------
    dict
        Its fields.
    """
    value: dict[str, Any] = canonical(check)
    # Sizes keep their order, most frequent first.
    value["sizes"] = [{"size": size, "images": count} for size, count in check.sizes.items()]
    return value


SIDE = 160


"""Longer side of a picture on a sheet, in pixels."""


@dataclass(frozen=True)
class Picture:
    """A picture with its caption.

    Attributes
    ----------
    caption : str
        What stands below it, and is read to who cannot see it.
    image : PIL.Image.Image
        RGB, shown as large as it is.
    """

    caption: str
    image: Image.Image

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        buffer = BytesIO()
        self.image.save(buffer, "JPEG", quality=85)
        return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@dataclass(frozen=True)
class SheetRow:
    """Pictures that stand side by side.

    Attributes
    ----------
    caption : str
        What stands above them; may be empty.
    pictures : tuple of Picture
        From left to right.
    """

    caption: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class SheetSection:
    """Rows under a heading.

    Attributes
    ----------
    title, note : str
        Heading, and a sentence below it that may be empty.
    rows : tuple of Row
        From top to bottom.
    """

    title: str
    note: str
    rows: tuple[SheetRow, ...]


def contact_sheet(title: str, lines: Sequence[str], sections: Sequence[SheetSection]) -> str:
    """Make a page of pictures.

    Parameters
    ----------
    title : str
        Heading.
    lines : sequence of str
        Paragraphs below it.
    sections : sequence of Section
        What it shows.

    Returns
    -------
    str
        HTML that needs no other file and no network.

    Examples
    --------
    >>> picture = Picture("a <b>", Image.new("RGB", (4, 4)))
    >>> page = contact_sheet("t", [], [SheetSection("s", "", (SheetRow("", (picture,)),))])
    >>> "a &lt;b&gt;" in page, "data:image/jpeg" in page
    (True, True)
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("featx.data"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template("sheet.html.j2")
    return template.render(title=title, lines=lines, sections=sections, side=SIDE)
