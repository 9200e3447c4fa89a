"""Readers of PyTorch state dicts, without PyTorch: safetensors, and the files that `torch.save` writes.

Such a file describes its tensors in a pickle. What stands in that pickle is never called: the names that may
occur are a short list, each answered by a function of this module that only arranges numbers, and any other
name refuses the file.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from featx.documents import parse_json
from featx.errors import WeightsError
from featx.zoo.allowance import PICKLE_LIMIT, Allowance, check_pickle

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
_HEADER_LIMIT = 1 << 24
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
    header = parse_json(data[8 : 8 + length])
    allowance = Allowance(path)
    body = memoryview(data)[8 + length :]
    tensors = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        if facts["dtype"] not in _SAFETENSORS:
            raise ValueError(f"tensor {name!r} is of type {facts['dtype']}")
        begin, end = facts["data_offsets"]
        allowance.take(max(end - begin, 0))
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

    if archive.getinfo(described).file_size > PICKLE_LIMIT:
        raise ValueError("its description of the tensors is too long")
    storages: dict[str, bytes] = {}

    def storage(key: str, kind: str, count: int) -> np.ndarray:
        if key not in storages:
            storages[key] = archive.read(f"{folder}/data/{key}")
        return np.frombuffer(storages[key], kind, count)

    description = archive.read(described)
    check_pickle(description)
    return _state_dict(_Tensors(BytesIO(description), path, storage).load(), path)


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

    def storage(key: str, kind: str, count: int) -> np.ndarray:
        # The numbers follow later in the file; tensors are views of what they will be put into.
        if key not in storages:
            if count < 0:
                raise ValueError("a storage has less than no numbers")
            allowance.take(count * np.dtype(kind).itemsize)
            storages[key] = np.empty(count, kind)
        return storages[key]

    allowance = Allowance(path)
    with path.open("rb") as file:
        # Magic number, protocol, machine, tensors, and the order of their numbers.
        head = BytesIO(file.read(PICKLE_LIMIT))
        *_, content, keys = (_load(head, path, storage) for _ in range(5))
        file.seek(head.tell())
        for key in keys:
            count = int.from_bytes(file.read(8), "little")
            if count != storages[key].size:
                raise ValueError("a storage is of another length than its tensors say")
            storages[key][:] = np.frombuffer(file.read(storages[key].nbytes), storages[key].dtype, count)
    return _state_dict(content, path)


def _load(file: BytesIO, path: Path, storage: Callable[[str, str, int], np.ndarray]) -> Any:
    check_pickle(file.getvalue()[file.tell() :])
    return _Tensors(file, path, storage).load()


def _state_dict(content: Any, path: Path) -> dict[str, np.ndarray]:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    allowance = Allowance(path)
    for value in content.values() if isinstance(content, Mapping) else ():
        # Views may be larger than what they look at.
        allowance.take(value.numbers.nbytes if isinstance(value, _Tensor) else 0)
    tensors = {
        str(name).removeprefix("module."): _widened(value.numbers, value.halves)
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(value, _Tensor)
    }
    if not tensors:
        raise WeightsError(f"{path}: a PyTorch file without a state dict; save `model.state_dict()`")
    return tensors


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
