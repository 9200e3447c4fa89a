"""Upkeep of feature stores: describe, compact, export and prune them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np
import numpy.typing as npt

from featx.data import read_manifest
from featx.errors import ConfigError, ImageError, MissingFeaturesError, StoreError
from featx.files import remove_leftovers, write_aside
from featx.images import content_keys

from .blocks import Features, is_current, read_features, read_keys
from .engines import EXPORTS
from .key_index import KeyIndex, PackedKeys, hex_keys
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
    """A row of `featx cache ls`.

    Attributes
    ----------
    path : Path
        Folder.
    backbone, weights, layer : str
        Network, label of its weights, and layer of the features.
    images, views, width : int
        Images with features, rows of each, numbers in a row.
    blocks, bytes : int
        Number of block files, and their size on the disk.
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
        Counts and sizes.

    Raises
    ------
    StoreError
        If there is no store, or a block is damaged; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> store = FeatureStore.create(Path(tempfile.mkdtemp()) / "store", {"backbone": "tiny"})
    >>> _ = store.write_block(["ab" * 32], np.float32([[[0.5, 2.0]]]))
    >>> facts(store.path).images, facts(store.path).width
    (1, 2)
    """
    store = FeatureStore(path)
    blocks = store.blocks()
    recipe = store.recipe
    return StoreFacts(
        path=store.path,
        backbone=str(recipe.get("backbone", "")),
        weights=str(recipe.get("weights_label", "")),
        layer=str(recipe.get("layer", "")),
        images=store.images,
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

    Every block is read twice, once to verify it and once for its rows. New blocks are written before the old ones are
    removed, so that readers and other writers lose nothing, and a compaction that is killed leaves rows twice at most.

    Parameters
    ----------
    path : Path or str
        Folder of a store.

    Returns
    -------
    before, after : int
        Number of blocks.

    Raises
    ------
    StoreError
        If a block is damaged; the message names it, and nothing is changed.

    Examples
    --------
    >>> import tempfile
    >>> store = FeatureStore.create(Path(tempfile.mkdtemp()) / "store", {"backbone": "tiny"})
    >>> for key in ("ab" * 32, "cd" * 32):
    ...     _ = store.write_block([key], np.float32([[[0.5, 2.0]]]))
    >>> compact(store.path)
    (2, 1)
    """
    store = FeatureStore(path)
    old = store.blocks()
    problems = store.verify()
    if problems:
        raise StoreError(problems[0])
    images = store.images
    if not images:
        return len(old), len(old)
    rows = max(1, _COMPACT_BYTES // (4 * store.views * store.width))
    if len(old) <= -(-images // rows) and all(map(is_current, old)):
        return len(old), len(old)
    parts = _parts(_rows_once(store, old), rows)
    new = {store.write_block(hex_keys(keys), features).name for keys, features in parts}
    for block in old:
        if block.name not in new:
            block.unlink(missing_ok=True)
    return len(old), len(new)


def _rows_once(store: FeatureStore, blocks: Iterable[Path]) -> Iterator[tuple[PackedKeys, Features]]:
    """Read each block once; of an image in several blocks, the first row is used."""
    index = store.index()
    seen = np.zeros(len(index), np.bool_)
    for block in blocks:
        try:
            keys, _ = read_keys(block, store.digest)
            features = read_features(block, store.digest)
        except FileNotFoundError:
            continue  # compacted meanwhile by another process: its rows are in a block that is not ours
        fresh = _fresh(index, seen, keys)
        yield keys[fresh], features[fresh]


def _fresh(index: KeyIndex, seen: npt.NDArray[np.bool_], keys: PackedKeys) -> npt.NDArray[np.bool_]:
    """Tell which keys are not marked as seen, and mark them."""
    if index.images == len(index):  # no image is in two blocks
        return np.ones(len(keys), np.bool_)
    rows = index.find_packed(keys)
    fresh = (rows < 0) | ~seen[rows]
    seen[rows[rows >= 0]] = True
    return fresh


def _parts(blocks: Iterable[tuple[PackedKeys, Features]], rows: int) -> Iterator[tuple[PackedKeys, Features]]:
    """Join and cut rows into parts of one length; the last part may be shorter."""
    waiting: list[tuple[PackedKeys, Features]] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block[0])
        if count < rows:
            continue
        keys, features = _joined(waiting)
        whole = count // rows * rows
        for start in range(0, whole, rows):
            yield keys[start : start + rows], features[start : start + rows]
        waiting, count = [(keys[whole:], features[whole:])], count - whole
    if count:
        yield _joined(waiting)


def _joined(parts: list[tuple[PackedKeys, Features]]) -> tuple[PackedKeys, Features]:
    return np.concatenate([keys for keys, _ in parts]), np.concatenate([features for _, features in parts])


@dataclass(frozen=True)
class Pruned:
    """What pruning removed, or would remove.

    Attributes
    ----------
    leftovers : tuple of Path
        Temporary folders of killed processes.
    damaged : tuple of Path
        Blocks that fail their checksum.
    rows : int
        Number of images whose rows were removed because they are not to be kept.
    left : tuple of str
        A line for each block that cannot be used and is not damaged, such as one of a newer format or of another
        recipe. These blocks stay, and they are looked for together with damaged ones.
    """

    leftovers: tuple[Path, ...]
    damaged: tuple[Path, ...]
    rows: int
    left: tuple[str, ...] = ()


def prune(
    path: Path | str, *, damaged: bool = False, keep: Iterable[str] | None = None, dry_run: bool = False
) -> Pruned:
    """Remove temporary folders of killed processes and, if asked for, damaged blocks and rows of other images.

    Parameters
    ----------
    path : Path or str
        Folder of a store. Other processes may read and write meanwhile; the files that they are writing stay.
    damaged : bool
        Also remove blocks that fail their checksum; `featx.extract` then recomputes their rows.
    keep : iterable of str, optional
        SHA-256 of the images whose rows stay; all other rows are removed.
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

    Examples
    --------
    >>> import tempfile
    >>> store = FeatureStore.create(Path(tempfile.mkdtemp()) / "store", {"backbone": "tiny"})
    >>> _ = store.write_block(["ab" * 32, "cd" * 32], np.float32([[[0.5, 2.0]], [[1.5, 3.0]]]))
    >>> prune(store.path, keep=["cd" * 32]).rows
    1
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
    unwanted = store.index().others(list(keep))
    return Pruned(leftovers, broken, len(unwanted) if dry_run else store.discard(unwanted), left)


def prune_exports(cache: Path | str, *, dry_run: bool = False) -> tuple[int, int]:
    """Remove the networks exported to OpenVINO.

    Parameters
    ----------
    cache : Path or str
        Folder of caches; no extraction may run with it at the same time.
    dry_run : bool
        Remove nothing.

    Returns
    -------
    count, bytes : int
        What was, or would be, removed.

    Examples
    --------
    >>> prune_exports("nowhere")
    (0, 0)
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
        File to write, in one atomic step.
    format : {"h5", "npz", "parquet"}
        ``h5`` and ``npz`` hold ``ids`` and ``features`` of shape (n, views, width); ``parquet`` a row for each
        image and view, with columns ``id``, ``view`` and ``features`` (a list).
    keys : sequence of str
        SHA-256 of the images' bytes, in the order of the rows to write.
    names : sequence of str
        Name of each image in the file.

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

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> store = FeatureStore.create(folder / "store", {"backbone": "tiny"})
    >>> _ = store.write_block(["ab" * 32], np.float32([[[0.5, 2.0]]]))
    >>> with np.load(export(store.path, folder / "x.npz", "npz", ["ab" * 32], ["lesion 1"])) as file:
    ...     print(file["ids"], file["features"].shape)
    ['lesion 1'] (1, 1, 2)
    """
    if format not in EXPORT_FORMATS:
        raise ConfigError(
            f"The 'format' parameter must be one of {', '.join(EXPORT_FORMATS)}. Got {format!r} instead."
        )
    store = FeatureStore(path)
    if not keys:
        raise MissingFeaturesError(
            f"{store.path}: got no images to export; give a manifest with at least one"
        )
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

    with (
        path.open("wb+") as opened,
        h5py.File(opened, "w") as file,
    ):  # opened by Python: HDF5 does not lock it
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
            "The format parquet needs pyarrow; run `pip install 'featx[parquet]'`, or export as npz"
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
