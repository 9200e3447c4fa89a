"""Upkeep of feature stores: list, compact, export, prune."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np

from featx.data import read_manifest
from featx.errors import ConfigError, ImageError, MissingFeaturesError, StoreError
from featx.files import remove_leftovers, write_aside
from featx.images import content_keys

from .blocks import Features, is_current, read_features, read_index
from .openvino_engine import EXPORTS
from .store import FeatureStore

__all__ = [
    "EXPORT_FORMATS",
    "Pruned",
    "StoreFacts",
    "compact",
    "export",
    "facts",
    "manifest_keys",
    "prune",
    "prune_exports",
]

_COMPACT_BYTES = 64 << 20


@dataclass(frozen=True)
class StoreFacts:
    """A line of `featx cache ls`.

    Attributes
    ----------
    path : Path
        Folder.
    backbone, weights, layer : str
        Whose features it holds; weights by their label.
    images, views, width : int
        Images with features, rows kept for each, numbers in a row.
    blocks, bytes : int
        Files, and what they take on the disk.
    """

    path: Path
    backbone: str
    weights: str
    layer: str
    images: int
    views: int
    width: int
    blocks: int
    bytes: int


def facts(path: Path | str) -> StoreFacts:
    """Describe a store.

    Parameters
    ----------
    path : Path or str
        Its folder.

    Returns
    -------
    StoreFacts
        What it holds.

    Raises
    ------
    StoreError
        If there is no store, or a block is damaged; the message names it.
    """
    store = FeatureStore(path)
    blocks = store.blocks()
    recipe = store.recipe
    return StoreFacts(
        path=store.path,
        backbone=str(recipe.get("backbone", "")),
        weights=str(recipe.get("weights_label", "")),
        layer=str(recipe.get("layer", "")),
        images=len(store.keys()),
        views=store.views,
        width=store.width,
        blocks=len(blocks),
        bytes=sum(map(_size, blocks)),
    )


def _size(block: Path) -> int:
    try:
        return block.stat().st_size
    except FileNotFoundError:  # compacted meanwhile
        return 0


def compact(path: Path | str) -> tuple[int, int]:
    """Join small blocks into blocks of about 64 MB, each image once, and write those of format 1 in format 2.

    Every block is read twice, once to verify it and once for its rows, however many there are. New blocks stand
    before the old ones go, so that readers and a second writer lose nothing, and a compaction that is killed leaves
    rows twice at the most.

    Parameters
    ----------
    path : Path or str
        Folder of a store.

    Returns
    -------
    before, after : int
        Blocks.

    Raises
    ------
    StoreError
        If a block is damaged; the message names it, and nothing is changed.
    """
    store = FeatureStore(path)
    old = store.blocks()
    problems = store.verify()
    if problems:
        raise StoreError(problems[0])
    images = len(store.keys())
    if not images:
        return len(old), len(old)
    rows = max(1, _COMPACT_BYTES // (4 * store.views * store.width))
    if len(old) <= -(-images // rows) and all(map(is_current, old)):
        return len(old), len(old)
    new = {store.write_block(*part).name for part in _parts(_rows_once(store, old), rows)}
    for block in old:
        if block.name not in new:
            block.unlink(missing_ok=True)
    return len(old), len(new)


def _rows_once(store: FeatureStore, blocks: Iterable[Path]) -> Iterator[tuple[list[str], Features]]:
    """Read each block once; of an image that several hold, the first row counts."""
    seen: set[str] = set()
    for block in blocks:
        try:
            keys, _ = read_index(block, store.digest)
            features = read_features(block, store.digest)
        except FileNotFoundError:
            continue  # compacted meanwhile by another: its rows stand in a block that is none of ours
        fresh = [row for row, key in enumerate(keys) if key not in seen]
        seen.update(keys)
        yield [keys[row] for row in fresh], features[fresh]


def _parts(blocks: Iterable[tuple[list[str], Features]], rows: int) -> Iterator[tuple[list[str], Features]]:
    """Join and cut rows into parts of one length; the last one may be shorter."""
    keys: list[str] = []
    waiting: list[Features] = []
    for some, features in blocks:
        keys += some
        waiting.append(features)
        if len(keys) < rows:
            continue
        joined = np.concatenate(waiting)
        whole = len(keys) // rows * rows
        for start in range(0, whole, rows):
            yield keys[start : start + rows], joined[start : start + rows]
        keys, waiting = keys[whole:], [joined[whole:]]
    if keys:
        yield keys, np.concatenate(waiting)


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would remove.

    Attributes
    ----------
    leftovers : tuple of Path
        What killed writers left.
    damaged : tuple of Path
        Damaged blocks: those that fail their checksum.
    rows : int
        Rows of images that are not to be kept.
    left : tuple of str
        A line for each block that cannot be used and is not damaged, such as one of a newer format or of another
        recipe; these stay. Looked for where damaged blocks are.
    """

    leftovers: tuple[Path, ...]
    damaged: tuple[Path, ...]
    rows: int
    left: tuple[str, ...] = ()


def prune(
    path: Path | str, *, damaged: bool = False, keep: Iterable[str] | None = None, dry_run: bool = False
) -> Pruned:
    """Remove what killed writers left, and what else is asked for.

    Parameters
    ----------
    path : Path or str
        Folder of a store. Others may read and write meanwhile; what living writers have begun stays.
    damaged : bool
        Remove damaged blocks too, those that fail their checksum; `featx.extract` then computes their rows again.
    keep : iterable of str, optional
        SHA-256 of the images whose rows stay; all others go.
    dry_run : bool
        Remove nothing.

    Returns
    -------
    Pruned
        What was, or would be, removed.

    Raises
    ------
    StoreError
        If rows have to be removed from a damaged block.
    """
    store = FeatureStore(path)
    leftovers = remove_leftovers(store.path, dry_run=dry_run)
    problems = store.problems() if damaged else []
    broken = tuple(problem.path for problem in problems if problem.damaged)
    left = tuple(problem.text for problem in problems if not problem.damaged)
    if not dry_run:
        for block in broken:
            block.unlink(missing_ok=True)
    if keep is None:
        return Pruned(leftovers, broken, 0, left)
    unwanted = store.keys() - frozenset(keep)
    return Pruned(leftovers, broken, len(unwanted) if dry_run else store.discard(unwanted), left)


def prune_exports(cache: Path | str, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove the networks exported to OpenVINO.

    Parameters
    ----------
    cache : Path or str
        Folder of caches, from which nobody extracts at the moment.
    dry_run : bool
        Remove nothing.

    Returns
    -------
    count, bytes : int
        What was, or would be, removed.
    """
    folders = [path for path in (Path(cache) / EXPORTS).glob("*") if path.is_dir()]
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    for folder in folders if not dry_run else ():
        rmtree(folder, ignore_errors=True)
    return len(folders), size


def export(
    path: Path | str, target: Path | str, format: str, keys: Sequence[str], names: Sequence[str]
) -> Path:
    """Write features as one file for other programs.

    Parameters
    ----------
    path : Path or str
        Folder of a store.
    target : Path or str
        File to write, aside and renamed.
    format : {"h5", "npz", "parquet"}
        ``h5`` and ``npz`` hold ``ids`` and ``features`` of shape (n, views, width); ``parquet`` a row for each
        image and view, with columns ``id``, ``view`` and ``features`` (a list).
    keys : sequence of str
        SHA-256 of the images' bytes, in the order wanted.
    names : sequence of str
        What to call each.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        For another format, or for Parquet without pyarrow.
    MissingFeaturesError, StoreError
        As `FeatureStore.read`.
    """
    if format not in EXPORT_FORMATS:
        raise ConfigError(
            f"The 'format' parameter must be one of {', '.join(EXPORT_FORMATS)}. Got {format!r} instead."
        )
    store = FeatureStore(path)
    if not keys:
        raise MissingFeaturesError(f"{store.path}: no images to export")
    features = store.read(keys)
    with write_aside(target) as aside:
        EXPORT_FORMATS[format](aside, list(names), features)
    return Path(target)


def manifest_keys(
    manifest: Path | str,
    *,
    root: Path | str | None = None,
    cache: Path | str = "cache",
    allow_outside: bool = False,
) -> tuple[list[str], list[str]]:
    """Return the ids of a manifest's images, and the keys of their rows in feature stores.

    Raises
    ------
    ImageError
        If an image cannot be read.
    """
    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    found = content_keys(table.paths, cache=Path(cache))
    if found.failures:
        raise ImageError(str(next(iter(found.failures.values()))))
    return table.ids, [found.keys[path] for path in table.paths]


def _write_h5(path: Path, names: list[str], features: Features) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("ids", data=names, dtype=h5py.string_dtype())
        file.create_dataset("features", data=features)


def _write_npz(path: Path, names: list[str], features: Features) -> None:
    with path.open("wb") as file:
        np.savez(file, ids=np.array(names), features=features)


def _write_parquet(path: Path, names: list[str], features: Features) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            "Parquet needs pyarrow; `pip install 'featx[parquet]'`, or export as npz"
        ) from error

    count, views, width = features.shape
    table = pa.table(
        {
            "id": np.repeat(np.array(names), views),
            "view": np.tile(np.arange(views, dtype=np.int32), count),
            "features": pa.FixedSizeListArray.from_arrays(features.ravel(), width),
        }
    )
    parquet.write_table(table, path)


EXPORT_FORMATS = {"h5": _write_h5, "npz": _write_npz, "parquet": _write_parquet}
