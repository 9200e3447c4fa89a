"""New images: a folder, image files or a manifest, as one table of ids and paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featx.data import IMAGE_ENDINGS, Manifest, image_name, read_manifest
from featx.errors import ManifestError, listing
from featx.features import RECIPE

__all__ = ["list_images"]

_TABLES = (".csv", ".tsv", ".tab", ".parquet", ".pq")


def list_images(
    sources: Sequence[Any], *, root: Path | str | None = None, allow_outside: bool = False
) -> Manifest:
    """List new images.

    Parameters
    ----------
    sources : sequence of Path, str or Manifest
        One folder of images (looked up below it too), one manifest, or image files. A folder with a ``manifest.csv`` is
        that manifest.
    root : Path or str, optional
        Folder that the paths of a manifest are relative to.
    allow_outside : bool
        Follow paths of a manifest that lead out of it.

    Returns
    -------
    Manifest
        Ids are those of the manifest, else the paths below the common folder without their endings.

    Raises
    ------
    ManifestError
        If a file is missing, a folder holds no image, a manifest cannot be read, or two images have the same id.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "b.png").touch()
    >>> (folder / "left").mkdir()
    >>> (folder / "left" / "a.jpg").touch()
    >>> list_images([folder]).ids
    ['b', 'left/a']
    """
    first = sources[0]
    if len(sources) == 1 and (isinstance(first, Manifest) or _is_table(Path(first))):
        return read_manifest(first, root=root, check_groups=False, allow_outside=allow_outside)
    paths = [Path(source) for source in sources if not isinstance(source, Manifest)]
    if len(paths) == 1 and paths[0].is_dir():
        return _manifest(_files_below(paths[0]), paths[0])
    odd = [str(source) for source in sources if isinstance(source, Manifest) or _is_table(Path(source))]
    odd += [str(path) for path in paths if path.is_dir()]
    if odd:
        raise ManifestError(
            f"got {len(sources)} sources of images, among them {listing(odd)}; give one folder, one manifest, or image files only"
        )
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise ManifestError(
            f"no such file: {listing(missing)}; give image files, a folder of images, or a manifest"
        )
    paths = [path.absolute() for path in dict.fromkeys(paths)]
    return _manifest(paths, Path(os.path.commonpath([path.parent for path in paths])))


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in _TABLES or (path / "manifest.csv").is_file()


def _files_below(folder: Path) -> list[Path]:
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_ENDINGS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found and (folder / RECIPE).is_file():
        raise ManifestError(
            f"{folder}: this is a feature store and no folder of images; give it with --features"
        )
    if not found:
        raise ManifestError(
            f"{folder}: no images in this folder; give a folder with files that end with {', '.join(IMAGE_ENDINGS)}"
        )
    return found


def _manifest(paths: Sequence[Path], folder: Path) -> Manifest:
    import pandas as pd

    below = [path.relative_to(folder) for path in paths]
    ids = [(path.parent / image_name(path.name)).as_posix() for path in below]
    twice = sorted(name for name, count in Counter(ids).items() if count > 1)
    if twice:
        raise ManifestError(
            f"{folder}: several images are called {listing(twice)}, with other endings; rename them, or give a manifest with "
            "a column 'id'"
        )
    odd = [repr(name) for name in ids if not name.isprintable()]
    if odd:
        raise ManifestError(
            f"{folder}: the names {listing(odd)} are not valid UTF-8, or have control characters; rename the files"
        )
    table = pd.DataFrame(
        {"id": ids, "path": [str(path.absolute()) for path in paths], "label": "", "group": ids, "split": ""}
    )
    return Manifest(table, folder, (), False)
