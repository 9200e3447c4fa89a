"""A study's data sets: read, and drawn where they are drawn ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data import Manifest, read_manifest
from featx.digest import digest
from featx.images import content_keys
from featx.progress import Progress
from featx.study.schema import DataSet, SyntheticImages

__all__ = ["ReadData", "read_data"]


@dataclass(frozen=True)
class ReadData:
    """A data set, read.

    Attributes
    ----------
    manifest : Manifest
        Images and labels.
    keys : mapping of str to str
        Path of each readable image to its content key.
    place : mapping
        Arguments by which the verbs find it: ``manifest``, ``root``, ``cache``, ``allow_outside``.
    preparation : str
        Key of `featx.images.prepare.PREPARATIONS`.
    """

    manifest: Manifest
    keys: Mapping[str, str]
    place: Mapping[str, Any]
    preparation: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of labels and pixels alike; paths and order do not matter."""
        paths = zip(self.manifest.ids, self.manifest.paths, strict=True)
        return digest([self.manifest.digest, sorted([name, self.keys.get(path, "")] for name, path in paths)])


def read_data(
    item: DataSet, cache: Path, progress: Progress | None = None, allow_outside: bool = False
) -> ReadData:
    """Read a data set, and draw it before if it is a drawn one.

    Parameters
    ----------
    item : DataSet
        A source or target of a study.
    cache : Path
        Folder of caches.
    progress : Progress, optional
        Receiver of progress: of drawing, and of hashing images seen for the first time.
    allow_outside : bool
        Whether image paths may lead out of the manifest's folder, or its root.

    Returns
    -------
    ReadData
        Manifest and content keys. Images that cannot be read have no key; the jobs will tell why.

    Raises
    ------
    ManifestError
        If the manifest cannot be used.
    """
    path = Path(item.manifest) if item.manifest else _drawn(item.drawn, cache, progress)
    manifest = read_manifest(path, root=item.root, allow_outside=allow_outside)
    keys = content_keys(manifest.paths, cache=cache, progress=progress).keys
    place = {"manifest": str(path), "root": item.root, "cache": str(cache), "allow_outside": allow_outside}
    return ReadData(manifest, keys, place, item.preparation)


def _drawn(drawing: SyntheticImages | None, cache: Path, progress: Progress | None) -> Path:
    """Draw a data set, unless it stands there."""
    from featx.data import draw_dermoscopy, draw_retina

    assert drawing is not None, "the schema asks for a manifest or a drawing"
    # The last folder's name is what reports call the data set.
    folder = cache / "drawn" / f"{drawing.images}-{drawing.size}-seed{drawing.seed}" / drawing.kind
    if (folder / "manifest.csv").is_file():
        return folder / "manifest.csv"
    draw = draw_dermoscopy if drawing.kind == "dermoscopy" else draw_retina
    return draw(folder, images=drawing.images, size=drawing.size, seed=drawing.seed, progress=progress)
