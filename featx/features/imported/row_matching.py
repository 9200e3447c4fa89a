"""Which image of a manifest each row of a file belongs to, by the image's id, file name or path."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from featx.data import Manifest, image_name
from featx.errors import InputError, listing

from .feature_files import FeatureTable

__all__ = ["RowMatch", "match_rows"]


@dataclass(frozen=True)
class RowMatch:
    """Rows of a file and images of a manifest that belong together.

    Attributes
    ----------
    rows, images : tuple of int
        Indices of rows and of images, pair by pair, in the order of the manifest.
    missing : tuple of str
        Ids of images without a row.
    unmatched : tuple of int
        Rows whose name no image has.
    """

    rows: tuple[int, ...]
    images: tuple[int, ...]
    missing: tuple[str, ...]
    unmatched: tuple[int, ...]


def match_rows(table: FeatureTable, manifest: Manifest, *, in_order: bool = False) -> RowMatch:
    """Match the rows of a file with the images of a manifest.

    A name is an image's id, or its file's name or path, with or without ending. Of several images with one file name
    the one whose path shares most folders with the name, from the end, is taken.

    Parameters
    ----------
    table : FeatureTable
        Rows, with names unless they are taken in order.
    manifest : Manifest
        The images.
    in_order : bool
        Take the rows in the order of the manifest.

    Returns
    -------
    RowMatch
        Each image once at most.

    Raises
    ------
    InputError
        If a name fits several images, several names fit one image, or there are no names and the order is not to be
        taken; or if it is and the numbers of rows and images differ.
    """
    if in_order:
        return _in_order(table, manifest)
    if table.names is None:
        raise InputError(
            f"{table.source}: names no images, so that its order alone would decide which row is of which image; give "
            "names (an array ids, or a CSV of names beside an .npy file), or --in-manifest-order if its rows are in the "
            "order of the manifest"
        )
    index = _ImageIndex(manifest)
    taken: dict[int, int] = {}
    unmatched = []
    for row, name in enumerate(table.names):
        image = index.find(name, f"{table.source}: {table.row(row)}")
        if image is None:
            unmatched.append(row)
        elif image in taken:
            raise InputError(
                f"{table.source}: {table.row(taken[image])} and {table.row(row)} both fit the image "
                f"{manifest.ids[image]!r} of {manifest.source}; name the rows by the ids of the manifest"
            )
        else:
            taken[image] = row
    images = tuple(sorted(taken))
    missing = tuple(name for image, name in enumerate(manifest.ids) if image not in taken)
    return RowMatch(tuple(taken[image] for image in images), images, missing, tuple(unmatched))


def _in_order(table: FeatureTable, manifest: Manifest) -> RowMatch:
    if table.names is not None:
        raise InputError(
            f"{table.source}: names its images, so that its rows are matched by name; leave out --in-manifest-order"
        )
    if len(table.features) != len(manifest):
        raise InputError(
            f"{table.source}: has {len(table.features)} rows, and {manifest.source} has {len(manifest)} images; rows in "
            "the order of the manifest must be as many"
        )
    every = tuple(range(len(manifest)))
    return RowMatch(every, every, (), ())


class _ImageIndex:
    """The images of a manifest by their ids and by the names of their files."""

    def __init__(self, manifest: Manifest) -> None:
        self._ids = {name: image for image, name in enumerate(manifest.ids)}
        self._manifest = manifest
        self._paths = [PurePosixPath(path).parts for path in manifest.paths]
        self._files: dict[str, set[int]] = defaultdict(set)
        for image, parts in enumerate(self._paths):
            for form in (parts[-1], image_name(parts[-1]), PurePosixPath(parts[-1]).stem):
                self._files[form].add(image)

    def find(self, name: str, row: str) -> int | None:
        """Return the image that a name fits, or None; `row` is what messages call its row."""
        parts = PurePosixPath(name.replace("\\", "/")).parts or ("",)
        exact = self._ids.get(name)
        found = self._files.get(parts[-1]) or self._files.get(image_name(parts[-1])) or set()
        near = self._nearest(parts, found)
        if exact is not None:
            near = [exact] if exact in near or not near else [exact, *near]
        if len(near) > 1:
            fits = [f"{self._manifest.ids[image]!r} ({'/'.join(self._paths[image][-2:])})" for image in near]
            raise InputError(
                f"{row} fits several images of {self._manifest.source}: {listing(fits, 3)}; name the rows by ids or paths "
                "that only one image has"
            )
        return near[0] if near else None

    def _nearest(self, parts: Sequence[str], images: set[int]) -> list[int]:
        """Keep the images whose path shares most with a name: folders from the end, then the ending."""
        if len(images) < 2:
            return list(images)
        shared = {image: self._shared(parts, self._paths[image]) for image in images}
        return sorted(image for image, many in shared.items() if many == max(shared.values()))

    @staticmethod
    def _shared(parts: Sequence[str], path: Sequence[str]) -> tuple[int, bool]:
        folders = zip(reversed(parts[:-1]), reversed(path[:-1]), strict=False)
        count = 0
        for here, there in folders:
            if here != there:
                break
            count += 1
        return count, parts[-1] == path[-1]
