"""The layout of a block's HDF5 file: everything in it that decides which number is whose is checked before reading.

Format 2 is format 1 without chunks, since its name holds a checksum of the whole file. Of format 1 only the data
chunks have checksums, so that here the table of the chunks, the types and the shapes must be exactly what was once
written.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.zoo import elsewhere

__all__ = ["ForeignError", "checked_layout", "chunked_rows"]

_KEY_BYTES = 32
_CHUNK_ROWS = 64
_CHECKSUM_BYTES = 4
_FILTERS = {1: [h5py.h5z.FILTER_FLETCHER32], 2: []}


class ForeignError(Exception):
    """A sound file that is no block of this store: another format or recipe, or one that leads elsewhere."""


def checked_layout(file: Any, form: int, recipe: str) -> tuple[Any, Any]:
    """Give the datasets of a file that is a block of a format and of a recipe.

    Parameters
    ----------
    file : h5py.File
        A block.
    form : int
        Its format, by its name.
    recipe : str
        Digest of the recipe that it has to follow; not looked at in format 1, whose text HDF5 could not read
        without a risk.

    Returns
    -------
    keys, features : h5py.Dataset
        Not read yet.

    Raises
    ------
    ForeignError
        If it is sound, as far as can be seen, but of another format or recipe, or takes data from other files.
    ValueError
        If it is not laid out as such a block is.
    KeyError, OSError, RuntimeError
        What h5py raises on damaged files.
    """
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

    Parameters
    ----------
    dataset : h5py.Dataset
        The features of `checked_layout`.
    data : bytes
        The file.

    Returns
    -------
    ndarray of float32, shape (rows, views, width)
        Its rows.

    Raises
    ------
    ValueError
        If a row is not what stands in the file: HDF5 takes a chunk that it cannot find for zeros.
    OSError
        If a chunk fails its checksum.
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
