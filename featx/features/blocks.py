"""Blocks: the immutable HDF5 files that a feature store is made of.

A block holds ``keys`` (rows, 32) uint8, the SHA-256 of each image's bytes, and ``features`` (rows, views, width)
float32, both in one piece and uncompressed (compression was measured at 9 to 38 times the writing and 13 to 27 times
the reading time for half the size). Its name holds two checksums, ``block-KEYS-FILE.h5``: the first 16 digits of the
SHA-256 of the keys, and XXH3 (128 bits) of the whole file. Features are only taken from bytes whose checksum has been
compared, keys likewise, and HDF5's own metadata have checksums too, so that no damage is read as rows.

A block is written atomically (beside its place, flushed and renamed), and never changed: many writers need no lock and readers never see half
of anything. Two writers of the same rows write the same file.

This is format 2. Blocks of format 1, ``block-KEYS.h5``, are read too; `featx.features.blocks` says what protects them.
"""

from __future__ import annotations

import errno
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
from featx.files import write_bytes
from featx.zoo import elsewhere

__all__ = [
    "BlockProblem",
    "Features",
    "ForeignError",
    "check_block",
    "checked_layout",
    "chunked_rows",
    "is_current",
    "read_features",
    "read_index",
    "write_block",
]


_CHUNK_ROWS = 64


_CHECKSUM_BYTES = 4


_FILTERS = {1: [h5py.h5z.FILTER_FLETCHER32], 2: []}


class ForeignError(Exception):
    """A sound file that is no block of this store: another format or recipe, or one that leads elsewhere."""


def checked_layout(file: Any, form: int, recipe: str) -> tuple[Any, Any]:
    """Give the datasets of a file that is a block of a format and of a recipe."""
    found = _attribute(file, "format")
    if found != form:
        raise ForeignError(f"block format {found}, this featx reads 1 and 2; update featx, or extract again")
    if form > 1 and (follows := _attribute(file, "recipe")) != recipe:
        raise ForeignError(
            f"a block of another recipe ({str(follows)[:8]}, the store's is {recipe[:8]}); "
            "move it back to its own store"
        )
    if reason := elsewhere(file):
        raise ForeignError(f"{reason}, and a block holds all its data; remove it")
    keys, features = file["keys"], file["features"]
    if not (isinstance(keys, h5py.Dataset) and isinstance(features, h5py.Dataset)):
        raise ValueError("its keys or features are no dataset")
    if not keys.shape or len(features.shape or ()) != 3:
        raise ValueError(f"keys of shape {keys.shape}, features of shape {features.shape}")
    if _bytes(keys, keys.shape) + _bytes(features, features.shape) > file.id.get_filesize():
        raise ValueError("more keys or features than the file has room for")
    _check_dataset(keys, form, h5py.h5t.STD_U8LE, (len(keys), _KEY_BYTES))
    _check_dataset(features, form, h5py.h5t.IEEE_F32LE, (len(keys), *features.shape[1:]))
    return keys, features


def chunked_rows(dataset: Any, data: bytes) -> npt.NDArray[np.float32]:
    """Read the features of a block of format 1 as a whole.

    Returns
    -------
    ndarray of float32, shape (rows, views, width)
        Its rows.
    """
    rows: npt.NDArray[np.float32] = np.asarray(dataset)
    chunks: list[Any] = []
    dataset.id.chunk_iter(chunks.append)
    for chunk in chunks:
        start = chunk.chunk_offset[0]
        part = rows[start : start + _CHUNK_ROWS].tobytes()
        if data[chunk.byte_offset : chunk.byte_offset + len(part)] != part:
            raise ValueError(f"the chunk at row {start} of {dataset.name} is not found")
        if not any(part) and not _adjoins(chunk, chunks, len(data)):
            raise ValueError(f"the chunk at row {start} of {dataset.name} is empty space of the file")
    return rows


def _adjoins(chunk: Any, chunks: list[Any], end: int) -> bool:
    """Whether a chunk lies beside another one or at the file's end; empty space has the right checksum too, 0."""
    edges = {end, *(one.byte_offset for one in chunks)}
    ends = {one.byte_offset + one.size for one in chunks}
    return chunk.byte_offset + chunk.size in edges or chunk.byte_offset in ends


def _attribute(file: Any, name: str) -> int | str:
    """Read a number or a text of fixed length; damage in one of variable length can keep HDF5 busy for ever."""
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
        raise ValueError(f"{dataset.name} of shape {dataset.shape}, {dataset.dtype}, where {shape} is due")
    if form == 1:
        _check_chunks(dataset)
    elif identity.get_offset() is None or identity.get_storage_size() != _bytes(dataset, dataset.shape):
        raise ValueError(f"{dataset.name} is not in one piece")


def _bytes(dataset: Any, shape: tuple[int, ...]) -> int:
    size: int = dataset.dtype.itemsize
    for length in shape:
        size *= length
    return size


def _check_chunks(dataset: Any) -> None:
    """Check that every chunk is there once, whole, and at a place of its own."""
    rows, *rest = dataset.shape
    shape = (min(_CHUNK_ROWS, rows), *rest)
    if dataset.chunks != shape or not rows:
        raise ValueError(f"{dataset.name} has chunks of shape {dataset.chunks}, where {shape} is due")
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


Features = npt.NDArray[np.float32]


_KEY_BYTES = 32


_FORMAT = 2


_NAME = re.compile(r"block-(?P<keys>[0-9a-f]{16})(?:-(?P<file>[0-9a-f]{32}))?\.h5")


# Rows begin where any processor reads them fast.
_ALIGNMENT = 64


@dataclass(frozen=True)
class BlockProblem:
    """What is wrong with a block.

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


def write_block(folder: Path, recipe: str, keys: Sequence[str], features: Features) -> Path:
    """Write a block as a whole.

    Parameters
    ----------
    features : ndarray of float32, shape (rows, views, width)
        Finite features, in the order of the keys.
    """
    _check_rows(keys, features)
    packed = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(-1, _KEY_BYTES)
    image = _image(recipe, packed, features)
    path = folder / f"block-{_keys_digest(packed)}-{xxhash.xxh3_128_hexdigest(image)}.h5"
    write_bytes(path, image)
    return path


def _image(recipe: str, packed: npt.NDArray[np.uint8], features: Features) -> bytes:
    """Make the file in memory: its checksum is known before it is written, and HDF5 never meets a full disk."""
    image = io.BytesIO()
    access, creation = h5py.h5p.create(h5py.h5p.FILE_ACCESS), h5py.h5p.create(h5py.h5p.FILE_CREATE)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, image)
    # A fixed version of the layout: all its metadata have checksums, and every later HDF5 writes the same bytes.
    access.set_libver_bounds(h5py.h5f.LIBVER_V18, h5py.h5f.LIBVER_V18)
    access.set_alignment(1, _ALIGNMENT)
    # Equal rows give equal bytes, whenever they are written.
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
            f"a block needs each key once; got {len(keys)} keys, {len(set(keys))} of them different"
        )
    if features.ndim != 3 or len(features) != len(keys) or features.dtype != np.float32 or not features.size:
        raise StoreError(
            f"a block of {len(keys)} keys needs float32 features of shape ({len(keys)}, views, width); "
            f"got {features.dtype} of shape {features.shape}"
        )
    if not np.isfinite(features).all():
        bad = int((~np.isfinite(features).all(axis=(1, 2))).argmax())
        raise StoreError(
            f"a block takes finite features only; the row of key {keys[bad][:12]} has NaN or infinity"
        )


def is_current(path: Path) -> bool:
    """Tell by its name whether a block has the format that is written today."""
    found = _NAME.fullmatch(path.name)
    return found is not None and found["file"] is not None


def read_index(path: Path, recipe: str) -> tuple[list[str], tuple[int, int]]:
    """Read the keys of a block, and the shape of a row.

    The keys are compared with their checksum and HDF5 compares those of its metadata; the features are not read.

    Returns
    -------
    keys : list of str
        SHA-256 of each row's image, 64 hexadecimal digits.
    shape : tuple of int
        Views and width.
    """
    with _opened(path, recipe, whole=False) as (dataset, features, _):
        packed: npt.NDArray[np.uint8] = dataset[...]
        if not path.name.startswith(f"block-{_keys_digest(packed)}"):
            raise ValueError("its keys are not those of its name")
        views, width = features.shape[1:]
    keys = packed.tobytes().hex(" ", _KEY_BYTES).split(" ")
    return keys, (int(views), int(width))


def read_features(path: Path, recipe: str) -> Features:
    """Read the features of a block as a whole.

    Returns
    -------
    ndarray of float32, shape (rows, views, width)
        In the order of the keys in `read_index`; not to be written to.
    """
    with _opened(path, recipe, whole=True) as (_, dataset, data):
        place = dataset.id.get_offset()
        if place is None:  # in chunks: format 1
            return chunked_rows(dataset, data)
        return np.frombuffer(data, "<f4", dataset.size, place).reshape(dataset.shape)


@contextmanager
def _opened(path: Path, recipe: str, *, whole: bool) -> Iterator[tuple[Any, Any, bytes]]:
    """Give a block's keys, features and bytes, if its layout is sound, and with ``whole`` its checksum too."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise StoreError(
            f"{path}: no block of this featx, by its name; update featx, or move it out of the store"
        )
    form = 2 if name["file"] else 1
    try:
        data = path.read_bytes() if whole or form == 1 else b""
        if whole and form == 2:
            _check_sum(data, name["file"])
        # HDF5's own lock file calls fail on some network disks; immutable files need none.
        source = {"name": io.BytesIO(data)} if data else {"name": path, "locking": False}
        with h5py.File(mode="r", **source) as file:
            keys, features = checked_layout(file, form, recipe)
            if form == 1 and recipe.encode() not in data:
                raise ForeignError(
                    f"a block of another recipe than {recipe[:8]}; move it back to its own store"
                )
            yield keys, features, data
    except ForeignError as error:
        raise StoreError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno is None:  # HDF5 speaks of damage by errors without a number
            if not path.exists():  # removed while HDF5 opened it
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
            raise _damaged(path, error) from error
        if isinstance(error, FileNotFoundError):
            raise
        raise StoreError(
            f"{path}: cannot be read ({error.strerror}); see to the disk, then try again"
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
        "and extract again, which computes only its rows"
    )


def check_block(path: Path, recipe: str) -> BlockProblem | None:
    """Read a whole block and say what is wrong with it."""
    try:
        keys, _ = read_index(path, recipe)
        features = read_features(path, recipe)
    except FileNotFoundError:
        return None
    except StoreError as error:
        return BlockProblem(path, str(error), isinstance(error, DamagedBlockError))
    try:
        _check_rows(keys, features)
    except StoreError as error:
        return BlockProblem(path, str(_damaged(path, error)), True)
    return None
