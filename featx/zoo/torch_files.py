"""Readers of PyTorch state dicts, without PyTorch: safetensors, and the files that `torch.save` writes.

Such a file describes its tensors in a pickle. What stands in that pickle is never called: the names that may
occur are a short list, each answered by a function of this module that only arranges numbers, and any other
name refuses the file.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from featx.errors import WeightsError

__all__ = [
    "OLD_TORCH",
    "is_safetensors",
    "is_torch_archive",
    "read_old_torch",
    "read_safetensors",
    "read_torch_archive",
]

# How a file begins that PyTorch wrote before version 1.6.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_HEADER_LIMIT = 1 << 27
# What stands in a file may take this many bytes, and this many times the file, as a whole.
_LEAST, _RATIO = 64 << 20, 4
_SAFETENSORS = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Keys under which training scripts keep the weights beside other things.
_WRAPPERS = ("state_dict", "model", "model_state_dict")


def is_safetensors(head: bytes, size: int) -> bool:
    """Tell whether a file is a safetensors file.

    Parameters
    ----------
    head : bytes
        Its beginning, nine bytes or more.
    size : int
        Its length.

    Returns
    -------
    bool
        Whether it begins with the length of a JSON header that it can hold.
    """
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to ndarray
        Tensors by name; bfloat16 as float32.

    Raises
    ------
    ValueError
        If its header does not describe its bytes.
    """
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if length > _HEADER_LIMIT:
        raise ValueError("its header is too long")
    header = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] not in _SAFETENSORS:
            raise ValueError(f"tensor {name!r} is of type {facts['dtype']}")
        begin, end = facts["data_offsets"]
        flat = np.frombuffer(body[begin:end], _SAFETENSORS[facts["dtype"]])
        tensors[name] = _widened(flat, facts["dtype"] == "BF16").reshape(facts["shape"])
    return tensors


def is_torch_archive(archive: zipfile.ZipFile) -> bool:
    """Tell whether a zip archive is one that `torch.save` wrote.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The archive.

    Returns
    -------
    bool
        Whether it has a ``data.pkl`` in its one folder.
    """
    return any(name.count("/") == 1 and name.endswith("/data.pkl") for name in archive.namelist())


def read_torch_archive(path: Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """Read the state dict in an archive that `torch.save` wrote.

    Parameters
    ----------
    path : Path
        The file, for messages.
    archive : zipfile.ZipFile
        The same, opened.

    Returns
    -------
    dict of str to ndarray
        Tensors by name, without the ``module.`` of parallel training; bfloat16 as float32.

    Raises
    ------
    WeightsError
        If it holds anything but tensors, names and numbers: a whole pickled model, say.
    """
    sizes = sum(member.file_size for member in archive.infolist())
    if sizes > _most(path):
        raise ValueError(f"it unpacks to {sizes / 1e6:,.0f} MB")
    (described,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = described.removesuffix("/data.pkl")
    if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
        raise WeightsError(f"{path}: a PyTorch file of a big-endian machine; save it again on another")

    @cache
    def storage(key: str, kind: str, count: int) -> np.ndarray:
        return np.frombuffer(archive.read(f"{folder}/data/{key}"), kind, count)

    return _state_dict(_unpickled(io.BytesIO(archive.read(described)), path, storage), path)


def read_old_torch(path: Path) -> dict[str, np.ndarray]:
    """Read the state dict in a file that PyTorch wrote before version 1.6, as torchvision's older ones.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to ndarray
        Tensors by name, as `read_torch_archive` returns them.

    Raises
    ------
    WeightsError
        If it holds anything but tensors, names and numbers.
    """
    storages: dict[str, np.ndarray] = {}
    left = path.stat().st_size

    def storage(key: str, kind: str, count: int) -> np.ndarray:
        # The numbers follow later in the file; tensors are views of what they will be put into.
        nonlocal left
        if key not in storages:
            left -= count * np.dtype(kind).itemsize
            if count < 0 or left < 0:
                raise ValueError("its storages are longer than the file")
            storages[key] = np.empty(count, kind)
        return storages[key]

    with path.open("rb") as opened:
        file = _Whole(opened)
        for _ in ("magic number", "protocol", "machine"):
            _unpickled(file, path, storage)
        content = _unpickled(file, path, storage)
        for key in _unpickled(file, path, storage):
            count = int.from_bytes(file.read(8), "little")
            if count != storages[key].size:
                raise ValueError("a storage is of another length than its tensors say")
            storages[key][:] = np.frombuffer(file.read(storages[key].nbytes), storages[key].dtype, count)
    return _state_dict(content, path)


class _Whole:
    """A file that is asked for no more than it has: Python makes room for what it is asked for before it reads."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size = file, os.fstat(file.fileno()).st_size
        self.tell, self.seek, self.readline = file.tell, file.seek, file.readline

    def read(self, count: int) -> bytes:
        return self._file.read(min(count, self._size - self._file.tell()))


def _most(path: Path) -> int:
    """Bytes that what stands in a file may take: weights do not shrink by much."""
    return _LEAST + _RATIO * path.stat().st_size


def _unpickled(file: Any, path: Path, storage: Callable[[str, str, int], np.ndarray]) -> Any:
    """Read a pickle, after a look at how it numbers its objects: room is made for as many."""
    start = file.tell()
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "LONG_BINPUT" and argument > file.tell():
            raise ValueError("its pickle numbers more objects than it has")
    file.seek(start)
    try:
        return _Tensors(file, path, storage).load()
    except AttributeError as error:  # an operation on an object of another kind
        raise ValueError(str(error)) from error


def _state_dict(content: Any, path: Path) -> dict[str, np.ndarray]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    found = {
        str(name).removeprefix("module."): value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, _Tensor)
    }
    if not found:
        raise WeightsError(f"{path}: a PyTorch file without a state dict; save `model.state_dict()`")
    if sum(value.numbers.nbytes for value in found.values()) > _most(path):
        raise ValueError("its tensors are larger than the file")
    return {name: _widened(value.numbers, value.halves) for name, value in found.items()}


@dataclass(frozen=True)
class _Tensor:
    """A tensor, or the storage below some: numbers, and whether they are halves of float32."""

    numbers: np.ndarray
    halves: bool


class _Tensors(pickle.Unpickler):
    """Unpickle tensors as arrays, and refuse everything else."""

    def __init__(self, file: Any, path: Path, storage: Callable[[str, str, int], np.ndarray]) -> None:
        super().__init__(file)
        self._path, self._storage = path, storage

    def find_class(self, module: str, name: str) -> Any:
        """Answer a name of the list, with a function that only arranges numbers."""
        if module == "torch" and name in _STORAGES:
            return name
        if (module, name) not in _ALLOWED:
            raise WeightsError(
                f"{self._path}: holds {module}.{name}, which would run code on loading; "
                "save `model.state_dict()` alone, or as safetensors"
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Tensor:
        """Find a storage."""
        _, storage, key, _, count, *_ = pid
        return _Tensor(self._storage(key, _STORAGES[storage], count), storage == "BFloat16Storage")


def _tensor(storage: _Tensor, offset: int, shape: Any, strides: Any, *rest: Any) -> _Tensor:
    if not isinstance(storage, _Tensor):
        raise ValueError("a tensor without a storage")
    numbers = storage.numbers
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0 or (0 not in shape and last >= numbers.size):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [step * numbers.itemsize for step in strides]
    view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
    return _Tensor(view, storage.halves)


def _parameter(data: _Tensor, *rest: Any) -> _Tensor:
    return data


# Names that may stand in a file, and what answers them.
_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
}


def _widened(array: np.ndarray, halves: bool) -> np.ndarray:
    """Widen bfloat16, the upper half of a float32 which NumPy has no type for."""
    return (array.astype(np.uint32) << 16).view(np.float32) if halves else array
