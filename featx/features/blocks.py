"""Blocks: the immutable HDF5 files that a feature store consists of.

A block holds ``keys`` (rows, 32) uint8, the SHA-256 of each image's bytes, and ``features`` (rows, views, width)
float32, both contiguous and uncompressed (compression was measured at 9 to 38 times the writing and 13 to 27 times
the reading time for half the size). Its name holds two checksums, ``block-KEYS-FILE.h5``: the first 16 digits of the
SHA-256 of the keys, and XXH3 (128 bits) of the whole file. Keys and features are read from verified bytes only, and
HDF5's own metadata have checksums too, so that damage is never read as rows.

A block is written atomically and never changed: writers need no lock, and readers never see half a block. Two writers
of the same rows write the same file.

This is format 2. Blocks of format 1, ``block-KEYS.h5``, are read too. Of these only the data chunks have checksums, so
that the table of the chunks, the types and the shapes must be exactly what was once written.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from featx.digest import digest_bytes
from featx.errors import DamagedBlockError, StoreError
from featx.files import retry_stale, write_bytes
from featx.zoo import elsewhere

__all__ = [
    "BlockLayout",
    "BlockProblem",
    "Features",
    "check_block",
    "is_current",
    "read_features",
    "read_keys",
    "write_block",
]

Features = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint8]

_KEY_BYTES = 32
_FORMAT = 2
_NAME = re.compile(r"block-(?P<keys>[0-9a-f]{16})(?:-(?P<file>[0-9a-f]{32}))?\.h5")
# Rows begin where any processor reads them fast.
_ALIGNMENT = 64
# Layouts of a kilobyte each that are kept for the blocks of a store.
_LAYOUTS = 4096
# Of format 1.
_CHUNK_ROWS = 64
_CHECKSUM_BYTES = 4
_FILTERS = {1: [h5py.h5z.FILTER_FLETCHER32], 2: []}


class _ForeignError(Exception):
    """An intact file that is not a block of this store: of another format or recipe, or with links to other files."""


@dataclass(frozen=True)
class BlockProblem:
    """A block that cannot be used.

    Attributes
    ----------
    path : Path
        The block.
    text : str
        One line that names it.
    damaged : bool
        Whether it fails its checksum. Blocks of a newer format or of another recipe do not.
    """

    path: Path
    text: str
    damaged: bool


@dataclass(frozen=True)
class BlockLayout:
    """Where the keys and features of a block begin, in bytes, and all bytes before the features but those of the keys.

    These bytes are HDF5's metadata: two files of one size that share them have their data at the same places.
    """

    rows: int
    keys_at: int
    features_at: int
    shape: tuple[int, int]
    frame: bytes


def write_block(folder: Path, recipe: str, keys: Sequence[str], features: Features) -> Path:
    """Write a block in one atomic step.

    Parameters
    ----------
    folder : Path
        Folder of the blocks.
    recipe : str
        Digest of the recipe that the features follow.
    keys : sequence of str
        SHA-256 of each image's bytes, 64 hexadecimal digits, each once.
    features : ndarray of float32, shape (rows, views, width)
        Finite features, in the order of the keys.

    Returns
    -------
    Path
        The block.

    Raises
    ------
    StoreError
        If keys repeat, keys and features do not fit each other, or a feature is not finite.
    DiskError
        If the file cannot be written, for instance on a full disk.
    """
    _check_rows(keys, features)
    packed = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(-1, _KEY_BYTES)
    image = _image(recipe, packed, features)
    path = folder / f"block-{_keys_digest(packed)}-{xxhash.xxh3_128_hexdigest(image)}.h5"
    write_bytes(path, image)
    return path


def _image(recipe: str, packed: npt.NDArray[np.uint8], features: Features) -> bytes:
    """Make the file in memory, so that its checksum is known before it is written and HDF5 never fills a disk."""
    image = io.BytesIO()
    access, creation = h5py.h5p.create(h5py.h5p.FILE_ACCESS), h5py.h5p.create(h5py.h5p.FILE_CREATE)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    # A fixed version of the layout: all its metadata have checksums, and every later HDF5 writes the same bytes.
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_alignment(1, _ALIGNMENT)
    # Equal rows give equal bytes at any time.
    creation.set_obj_track_times(False)
    with h5py.File(h5py.h5f.create(b"block", h5py.h5f.ACC_TRUNC, creation, access)) as file:
        file.attrs["format"] = np.int64(_FORMAT)
        file.attrs["recipe"] = np.bytes_(recipe)
        file.create_dataset("keys", data=packed)
        file.create_dataset("features", data=features.astype("<f4", copy=False))
    return image.getvalue()


def _keys_digest(packed: npt.NDArray[np.uint8]) -> str:
    return digest_bytes(packed.tobytes())[:16]


def _check_rows(keys: Sequence[str], features: Features) -> None:
    if not len(keys) or len(set(keys)) != len(keys):
        raise StoreError(
            f"a block needs each key once. Got {len(keys)} keys, {len(set(keys))} of them different."
        )
    if features.ndim != 3 or len(features) != len(keys) or features.dtype != np.float32 or not features.size:
        raise StoreError(
            f"a block of {len(keys)} keys needs float32 features of shape ({len(keys)}, views, width). "
            f"Got {features.dtype} of shape {features.shape}."
        )
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(axis=(1, 2))).argmax())
        raise StoreError(
            f"a block needs finite features; the row of key {keys[bad][:12]} has NaN or infinity"
        )


def is_current(path: Path) -> bool:
    """Tell by its name whether a block has the format that is written today."""
    found = _NAME.fullmatch(path.name)
    return found is not None and found["file"] is not None


@retry_stale
def read_keys(
    path: Path, recipe: str, layouts: dict[int, BlockLayout] | None = None
) -> tuple[Keys, tuple[int, int]]:
    """Read the keys of a block, uint8 of shape (rows, 32), and the shape (views, width) of a row.

    The keys are compared with their checksum, and HDF5 compares those of its metadata. The features are not read.

    Parameters
    ----------
    path : Path
        The block.
    recipe : str
        Digest of the store's recipe.
    layouts : dict of int to BlockLayout, optional
        Layouts of blocks of the same store that were read before, by the size of the file, to which that of this block
        is added. HDF5 takes ten times as long as reading the keys, and need not read the same layout again.

    Raises
    ------
    FileNotFoundError
        If the block does not exist any more.
    DamagedBlockError
        If the block is damaged.
    StoreError
        If the block is of another recipe or format, or cannot be read.
    """
    known = _read_as_before(path, layouts) if layouts else None
    if known is not None:
        return known
    with _opened(path, recipe, whole=False) as (dataset, features, _):
        packed: Keys = dataset[...]
        if not path.name.startswith(f"block-{_keys_digest(packed)}"):
            raise ValueError("its keys do not match the checksum in its name")
        views, width = (int(length) for length in features.shape[1:])
        if layouts is not None and len(layouts) < _LAYOUTS and is_current(path):
            keys_at, features_at = dataset.id.get_offset(), features.id.get_offset()
            size = features_at + _bytes(features, features.shape)
            layouts[size] = _layout(path, len(packed), keys_at, features_at, (views, width))
    return packed, (views, width)


def _layout(path: Path, rows: int, keys_at: int, features_at: int, shape: tuple[int, int]) -> BlockLayout:
    with path.open("rb") as file:
        data = file.read(features_at)
    return BlockLayout(rows, keys_at, features_at, shape, _frame(data, keys_at, rows))


def _frame(data: bytes, keys_at: int, rows: int) -> bytes:
    return data[:keys_at] + data[keys_at + rows * _KEY_BYTES :]


def _read_as_before(path: Path, layouts: dict[int, BlockLayout]) -> tuple[Keys, tuple[int, int]] | None:
    """Read the keys of a block whose other bytes before the features are those of a known layout; None for others."""
    name = _NAME.fullmatch(path.name)
    try:
        with path.open("rb", buffering=0) as file:
            layout = layouts.get(os.fstat(file.fileno()).st_size)
            data = file.read(layout.features_at) if layout else b""
    except OSError:
        return None
    if not (name and name["file"] and layout) or _frame(data, layout.keys_at, layout.rows) != layout.frame:
        return None
    packed = np.frombuffer(data, np.uint8, layout.rows * _KEY_BYTES, layout.keys_at).reshape(-1, _KEY_BYTES)
    return (packed, layout.shape) if _keys_digest(packed) == name["keys"] else None


@retry_stale
def read_features(path: Path, recipe: str) -> Features:
    """Read all features of a block: float32, shape (rows, views, width), read-only, in the order of `read_keys`.

    Raises
    ------
    FileNotFoundError
        If the block does not exist any more.
    DamagedBlockError
        If the block is damaged: the whole file is compared with its checksum before HDF5 reads it.
    StoreError
        If the block is of another recipe or format, or cannot be read.
    """
    with _opened(path, recipe, whole=True) as (_, dataset, data):
        place = dataset.id.get_offset()
        if place is None:  # in chunks: format 1
            return _chunked_rows(dataset, data)
        return np.frombuffer(data, "<f4", dataset.size, place).reshape(dataset.shape)


@contextmanager
def _opened(path: Path, recipe: str, *, whole: bool) -> Iterator[tuple[Any, Any, bytes]]:
    """Yield a block's keys, features and bytes if its layout and, with ``whole``, its checksum are right."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise StoreError(
            f"{path}: not the name of a block that this featx reads; update featx, or move it out of the store"
        )
    form = _FORMAT if name["file"] else 1
    try:
        data = path.read_bytes() if whole or form == 1 else b""
        if whole and form == 2:
            _check_sum(data, name["file"])
        # HDF5 locks what it opens by name, which fails on some shared disks: `locking=False` does not count where
        # HDF5_USE_FILE_LOCKING is set. A file that Python has opened is not locked.
        with io.BytesIO(data) if data else path.open("rb") as source, h5py.File(source, "r") as file:
            keys, features = _checked_layout(file, form, recipe)
            if form == 1 and recipe.encode() not in data:
                raise _ForeignError(
                    f"a block of another recipe (the store's is {recipe[:8]}); move it back to its own store"
                )
            yield keys, features, data
    except _ForeignError as error:
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno is None:  # HDF5 reports damage by errors without a number
            raise _damaged(path, error) from error
        if isinstance(error, FileNotFoundError):
            raise
        raise StoreError(
            f"{path}: cannot be read ({error.strerror}); check the disk, then try again"
        ) from error
    except (KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise _damaged(path, error) from error


def _check_sum(data: bytes, expected: str) -> None:
    found = xxhash.xxh3_128_hexdigest(data)
    if found != expected:
        raise ValueError(f"its checksum is {found}, its name says {expected}")


def _damaged(path: Path, reason: object) -> DamagedBlockError:
    detail = " ".join(str(reason).split())
    return DamagedBlockError(
        f"{path}: damaged block ({detail}); remove it with `featx cache prune --damaged {path.parent}` "
        "and extract again; only its rows are recomputed"
    )


def check_block(path: Path, recipe: str) -> BlockProblem | None:
    """Read a whole block and return what is wrong with it; None if nothing is, or if it does not exist any more."""
    try:
        packed, _ = read_keys(path, recipe)
        features = read_features(path, recipe)
    except FileNotFoundError:
        return None
    except StoreError as error:
        return BlockProblem(path, str(error), isinstance(error, DamagedBlockError))
    try:
        _check_rows(packed.tobytes().hex(" ", _KEY_BYTES).split(" "), features)
    except StoreError as error:
        return BlockProblem(path, str(_damaged(path, error)), True)
    return None


def _checked_layout(file: Any, form: int, recipe: str) -> tuple[Any, Any]:
    """Return the datasets of keys and features, not read yet, of a file that has the layout of its format.

    Everything in the file that decides which number belongs to which image is checked before it is read. The recipe is
    not compared in format 1, whose text of variable length HDF5 may read for ever if it is damaged.

    Raises
    ------
    _ForeignError
        If the file is intact, as far as can be seen, but not a block of this store.
    ValueError, KeyError, OSError, RuntimeError
        If it is damaged.
    """
    found = _attribute(file, "format")
    if found != form:
        raise _ForeignError(f"block format {found}, this featx reads 1 and 2; update featx, or extract again")
    if form > 1 and (follows := _attribute(file, "recipe")) != recipe:
        raise _ForeignError(
            f"a block of another recipe ({str(follows)[:8]}, the store's is {recipe[:8]}); "
            "move it back to its own store"
        )
    if reason := elsewhere(file):
        raise _ForeignError(f"{reason}, but a block must hold all its data; remove it")
    keys, features = file["keys"], file["features"]
    if not (isinstance(keys, h5py.Dataset) and isinstance(features, h5py.Dataset)):
        raise ValueError("its keys or features are not a dataset")
    if not keys.shape or len(features.shape or ()) != 3:
        raise ValueError(f"it has keys of shape {keys.shape} and features of shape {features.shape}")
    if _bytes(keys, keys.shape) + _bytes(features, features.shape) > file.id.get_filesize():
        raise ValueError("it states more keys or features than the file has room for")
    _check_dataset(keys, form, h5py.h5t.STD_U8LE, (len(keys), _KEY_BYTES))
    _check_dataset(features, form, h5py.h5t.IEEE_F32LE, (len(keys), *features.shape[1:]))
    return keys, features


def _chunked_rows(dataset: Any, data: bytes) -> Features:
    """Read all features of a block of format 1, and compare each chunk with the bytes of the file.

    HDF5 reads a chunk that it does not find as zeros.
    """
    rows: Features = np.asarray(dataset)
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        start = chunk.chunk_offset[0]
        part = rows[start : start + _CHUNK_ROWS].tobytes()
        if data[chunk.byte_offset : chunk.byte_offset + len(part)] != part:
            raise ValueError(f"the chunk at row {start} of {dataset.name} is not found")
        if not any(part) and not _adjoins(chunk, chunks, len(data)):
            raise ValueError(f"the chunk at row {start} of {dataset.name} is unused space of the file")
    return rows


def _adjoins(chunk: Any, chunks: list[Any], end: int) -> bool:
    """Tell whether a chunk adjoins another one or the end of the file; unused space has a right checksum too, 0."""
    edges = {end, *(one.byte_offset for one in chunks)}
    ends = {one.byte_offset + one.size for one in chunks}
    return chunk.byte_offset + chunk.size in edges or chunk.byte_offset in ends


def _attribute(file: Any, name: str) -> int | str:
    """Read a number or a text of fixed length; HDF5 may read a damaged text of variable length for ever."""
    if not h5py.h5a.exists(file.id, name.encode()):
        raise ValueError(f"it has no {name!r}")
    attribute = h5py.h5a.open(file.id, name.encode())
    kind = attribute.get_type()
    plain = kind.get_class() == h5py.h5t.INTEGER or (
        kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    )
    if not plain or attribute.get_space().get_simple_extent_npoints() != 1:
        raise ValueError(f"its {name!r} is neither one number nor one text of fixed length")
    value = np.empty((), attribute.dtype)
    attribute.read(value)
    return value.item().decode("ascii") if value.dtype.kind == "S" else int(value)


def _check_dataset(dataset: Any, form: int, kind: Any, shape: tuple[int, ...]) -> None:
    identity = dataset.id
    plist = identity.get_create_plist()
    filters = [plist.get_filter(place)[0] for place in range(plist.get_nfilters())]
    if identity.get_type() != kind or dataset.shape != shape or filters != _FILTERS[form]:
        raise ValueError(
            f"{dataset.name} has shape {dataset.shape} and type {dataset.dtype}; expected shape {shape}"
        )
    if form == 1:
        _check_chunks(dataset)
    elif identity.get_offset() is None or identity.get_storage_size() != _bytes(dataset, dataset.shape):
        raise ValueError(f"{dataset.name} is not contiguous")


def _bytes(dataset: Any, shape: tuple[int, ...]) -> int:
    size: int = dataset.dtype.itemsize
    for length in shape:
        size *= length
    return size


def _check_chunks(dataset: Any) -> None:
    """Check that every chunk exists once, complete, and at its own place in the file."""
    rows, *rest = dataset.shape
    shape = (min(_CHUNK_ROWS, rows), *rest)
    if dataset.chunks != shape or not rows:
        raise ValueError(f"{dataset.name} has chunks of shape {dataset.chunks}; expected {shape}")
    wanted = [(start, *(0,) * len(rest)) for start in range(0, rows, shape[0])]
    chunks: list[Any] = []

    def take(chunk: Any) -> bool | None:
        chunks.append(chunk)
        return True if len(chunks) > len(wanted) else None  # True ends the iteration, also one in a circle

    dataset.id.chunk_iter(take)
    sizes = {(chunk.size, chunk.filter_mask) for chunk in chunks}
    places = {chunk.byte_offset for chunk in chunks}
    if (
        [chunk.chunk_offset for chunk in chunks] != wanted
        or sizes != {(_bytes(dataset, shape) + _CHECKSUM_BYTES, 0)}
        or len(places) != len(chunks)
    ):
        raise ValueError(f"the table of the chunks of {dataset.name} is not what was written")
