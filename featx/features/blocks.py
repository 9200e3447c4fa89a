"""Blocks: the immutable HDF5 files that a feature store is made of.

A block holds ``keys`` (rows, 32) uint8, the SHA-256 of each image's bytes, and ``features`` (rows, views, width)
float32, both with Fletcher-32 checksums, chunked by 64 rows and uncompressed (compression was measured at 9 to
38 times the writing and 13 to 27 times the reading time for half the size). It is written aside, flushed and
renamed, and never changed: many writers need no lock and readers never see half of anything. Its name follows
from its keys, so that two writers of the same rows write the same file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from featx.digest import digest_bytes
from featx.errors import StoreError
from featx.files import write_aside

__all__ = ["Features", "check_block", "read_features", "read_index", "write_block"]

Features = npt.NDArray[np.float32]

_CHUNK_ROWS = 64
_KEY_BYTES = 32
_FORMAT = 1


def write_block(folder: Path, recipe: str, keys: Sequence[str], features: Features) -> Path:
    """Write a block as a whole.

    Parameters
    ----------
    folder : Path
        Folder of the blocks.
    recipe : str
        Digest of the recipe that the features follow, kept in the block.
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
        If keys repeat, or keys and features do not fit each other, or a feature is not finite.
    OSError
        If the disk refuses, for instance when it is full.
    """
    _check_rows(keys, features)
    packed = np.frombuffer(bytes.fromhex("".join(keys)), np.uint8).reshape(-1, _KEY_BYTES)
    rows = min(_CHUNK_ROWS, len(keys))
    path = folder / f"block-{digest_bytes(packed.tobytes())[:16]}.h5"
    with write_aside(path) as aside, h5py.File(aside, "w") as file:
        file.attrs["format"] = _FORMAT
        file.attrs["recipe"] = recipe
        file.create_dataset("keys", data=packed, chunks=(rows, _KEY_BYTES), fletcher32=True)
        chunks = (rows, *features.shape[1:])
        file.create_dataset("features", data=features, chunks=chunks, fletcher32=True)
    return path


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


def _open(path: Path) -> Any:
    # HDF5's own lock file calls fail on some network disks; immutable files need none.
    return h5py.File(path, "r", locking=False)


def _damaged(path: Path, reason: object) -> StoreError:
    detail = " ".join(str(reason).split())
    return StoreError(
        f"{path}: damaged block ({detail}); remove it with `featx cache prune --damaged {path.parent}` "
        "and extract again, which computes only its rows"
    )


def read_index(path: Path, recipe: str) -> tuple[list[str], tuple[int, int]]:
    """Read the keys of a block, and the shape of a row.

    Parameters
    ----------
    path : Path
        A block.
    recipe : str
        Digest of the recipe that the block has to follow.

    Returns
    -------
    keys : list of str
        SHA-256 of each row's image, 64 hexadecimal digits.
    shape : tuple of int
        Views and width.

    Raises
    ------
    FileNotFoundError
        If the block is gone.
    StoreError
        If the block is damaged or follows another recipe.
    """
    try:
        with _open(path) as file:
            _check_layout(path, file, recipe)
            packed = file["keys"][...]
            views, width = file["features"].shape[1:]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    text = packed.tobytes().hex()
    keys = [text[start : start + 2 * _KEY_BYTES] for start in range(0, len(text), 2 * _KEY_BYTES)]
    return keys, (int(views), int(width))


def _check_layout(path: Path, file: Any, recipe: str) -> None:
    if file.attrs["format"] != _FORMAT:
        raise StoreError(
            f"{path}: block format {file.attrs['format']}, this featx reads {_FORMAT}; extract again"
        )
    if file.attrs["recipe"] != recipe:
        raise StoreError(
            f"{path}: a block of another recipe ({str(file.attrs['recipe'])[:8]}, the store's is {recipe[:8]}); "
            "move it back to its own store"
        )
    keys, features = file["keys"], file["features"]
    if keys.ndim != 2 or keys.shape[1] != _KEY_BYTES or keys.dtype != np.uint8:
        raise ValueError(f"keys of shape {keys.shape}, {keys.dtype}")
    if features.ndim != 3 or len(features) != len(keys) or features.dtype != np.float32:
        raise ValueError(f"{len(keys)} keys, but features of shape {features.shape}, {features.dtype}")


def read_features(path: Path) -> Features:
    """Read the features of a block as a whole.

    Parameters
    ----------
    path : Path
        A block.

    Returns
    -------
    ndarray of float32, shape (rows, views, width)
        In the order of the keys in `read_index`.

    Raises
    ------
    FileNotFoundError
        If the block is gone.
    StoreError
        If the block is damaged: HDF5 checks every chunk against its checksum.
    """
    try:
        with _open(path) as file:
            features: Features = file["features"][...]
    except FileNotFoundError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    return features


def check_block(path: Path, recipe: str) -> str | None:
    """Read a whole block and say what is wrong with it.

    Parameters
    ----------
    path : Path
        A block.
    recipe : str
        Digest of the recipe that the block has to follow.

    Returns
    -------
    str or None
        One line that names the block, or None for a sound one.
    """
    try:
        keys, _ = read_index(path, recipe)
        _check_rows(keys, read_features(path))
    except FileNotFoundError:
        return None
    except StoreError as error:
        return str(error) if str(error).startswith(os.fspath(path)) else str(_damaged(path, error))
    return None
