"""Readers of PyTorch state dicts, without PyTorch: safetensors, and the archives that `torch.save` writes.

An archive describes its tensors in a pickle. What stands in that pickle is never called: the names that may
occur are a short list, each answered by a function of this module that only arranges numbers, and any other
name refuses the file.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError

__all__ = ["is_safetensors", "is_torch_archive", "read_safetensors", "read_torch_archive"]

_HEADER_LIMIT = 1 << 27
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
    (described,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = described.removesuffix("/data.pkl")
    if f"{folder}/byteorder" in archive.namelist() and archive.read(f"{folder}/byteorder") != b"little":
        raise WeightsError(f"{path}: a PyTorch file of a big-endian machine; save it again on another")
    with archive.open(described) as file:
        content = _Tensors(file, path, archive, folder).load()
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, np.ndarray)
    }
    if not tensors:
        raise WeightsError(f"{path}: a PyTorch file without a state dict; save `model.state_dict()`")
    return tensors


class _Tensors(pickle.Unpickler):
    """Unpickle tensors as arrays, and refuse everything else."""

    def __init__(self, file: Any, path: Path, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._path, self._archive, self._folder = path, archive, folder

    def find_class(self, module: str, name: str) -> Any:
        """Answer a name of the list, with a function that only arranges numbers."""
        if module == "torch" and name in _STORAGES:
            return name
        allowed = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): _parameter,
        }
        if (module, name) not in allowed:
            raise WeightsError(
                f"{self._path}: holds {module}.{name}, which would run code on loading; "
                "save `model.state_dict()` alone, or as safetensors"
            )
        return allowed[module, name]

    def persistent_load(self, pid: Any) -> tuple[np.ndarray, bool]:
        """Read the numbers of a storage: the array, and whether they are halves of float32."""
        _, storage, key, _, count = pid
        data = self._archive.read(f"{self._folder}/data/{key}")
        return np.frombuffer(data, _STORAGES[storage], count), storage == "BFloat16Storage"


def _tensor(
    storage: tuple[np.ndarray, bool], offset: int, shape: Any, strides: Any, *rest: Any
) -> np.ndarray:
    numbers, halves = storage
    last = offset + sum((length - 1) * step for length, step in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides), default=0) < 0 or (0 not in shape and last >= numbers.size):
        raise ValueError("a tensor reaches beyond its storage")
    steps = [step * numbers.itemsize for step in strides]
    view = np.lib.stride_tricks.as_strided(numbers[offset:], shape, steps, writeable=False)
    return _widened(view, halves)


def _parameter(data: np.ndarray, *rest: Any) -> np.ndarray:
    return data


def _widened(array: np.ndarray, halves: bool) -> np.ndarray:
    """Widen bfloat16, the upper half of a float32 which NumPy has no type for."""
    return (array.astype(np.uint32) << 16).view(np.float32) if halves else array
