"""Upkeep of feature stores: list, compact, export, prune."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np

from featx.errors import ConfigError, MissingFeaturesError, StoreError
from featx.features.blocks import Features, check_block
from featx.features.openvino_engine import EXPORTS
from featx.features.store import FeatureStore
from featx.files import remove_leftovers, write_aside

__all__ = ["EXPORT_FORMATS", "Pruned", "StoreFacts", "compact", "export", "facts", "prune", "prune_exports"]

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
        bytes=sum(block.stat().st_size for block in blocks),
    )


def compact(path: Path | str) -> tuple[int, int]:
    """Join small blocks into blocks of about 64 MB, each image once.

    New blocks stand before the old ones go, so that readers and a second writer lose nothing, and a compaction
    that is killed leaves rows twice at the most.

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
    keys = sorted(store.keys())
    if not keys:
        return len(old), len(old)
    rows = max(1, _COMPACT_BYTES // (4 * store.views * store.width))
    if len(old) <= -(-len(keys) // rows):
        return len(old), len(old)
    new = set()
    for start in range(0, len(keys), rows):
        part = keys[start : start + rows]
        new.add(store.write_block(part, store.read(part)).name)
    for block in old:
        if block.name not in new:
            block.unlink(missing_ok=True)
    return len(old), len(new)


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would remove.

    Attributes
    ----------
    leftovers : tuple of Path
        What killed writers left.
    damaged : tuple of Path
        Damaged blocks.
    rows : int
        Rows of images that are not to be kept.
    """

    leftovers: tuple[Path, ...]
    damaged: tuple[Path, ...]
    rows: int


def prune(
    path: Path | str, *, damaged: bool = False, keep: Iterable[str] | None = None, dry_run: bool = False
) -> Pruned:
    """Remove what killed writers left, and what else is asked for.

    Parameters
    ----------
    path : Path or str
        Folder of a store. Others may read and write meanwhile; what living writers have begun stays.
    damaged : bool
        Remove damaged blocks too; `featx.extract` then computes their rows again.
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
    broken = tuple(block for block in store.blocks() if damaged and check_block(block, store.digest))
    if not dry_run:
        for block in broken:
            block.unlink(missing_ok=True)
    if keep is None:
        return Pruned(leftovers, broken, 0)
    unwanted = store.keys() - frozenset(keep)
    return Pruned(leftovers, broken, len(unwanted) if dry_run else store.discard(unwanted))


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
