"""Reader of MATLAB files of version 5 to 7, of what networks are made of: numbers, texts, cells and structs.

Everything that a file says of its own lengths is compared with the bytes that are there before anything is made of it,
so that no file can ask for more memory than its own length (`_RATIO`), for deep recursion, or for bytes beyond its end.
Format: The MathWorks, MAT-File Format.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read_mat"]

_HEADER = 128
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15
_COMPLEX = 0x0800
_TAG = 8
_DEEPEST = 32
# Compressed variables may unpack to this many bytes, or to this many times the file: weights do not shrink by much.
_LEAST, _RATIO = 64 << 20, 4


def read_mat(path: Path) -> dict[str, Any]:
    """Read the variables of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to ndarray
        Variables by name, as `scipy.io.loadmat` gives them: numbers as they are stored, texts as arrays of str, cells as
        arrays of objects, structs as structured arrays of objects.

    Raises
    ------
    ValueError
        If it is damaged, or holds something else; the message says what.
    NotImplementedError
        For version 7.3.
    """
    data = memoryview(path.read_bytes())
    version, order = bytes(data[124:126]), bytes(data[126:128])
    if order not in (b"IM", b"MI"):
        raise ValueError("its header does not say how its bytes are ordered")
    endian = "<" if order == b"IM" else ">"
    if 2 in version:
        raise NotImplementedError
    budget = max(_LEAST, _RATIO * len(data))
    found: dict[str, Any] = {}
    rest = _Bytes(data[_HEADER:], endian)
    while rest.left:
        kind, body = rest.element()
        if kind == _COMPRESSED:
            unpacked = _unpacked(body, budget)
            budget -= len(unpacked)
            kind, body = _Bytes(unpacked, endian).element()
        if kind != _MATRIX:
            raise ValueError(f"an element of kind {kind} where a variable is due")
        name, value = _matrix(_Bytes(body, endian), 0)
        found[name] = value
    return found


def _unpacked(body: memoryview, most: int) -> memoryview:
    stream = zlib.decompressobj()
    data = stream.decompress(body, most + 1)
    if len(data) > most:
        raise ValueError(f"it unpacks to more than {most / 1e6:,.0f} MB")
    if not stream.eof:
        raise ValueError("a compressed variable is cut off")
    return memoryview(data)


class _Bytes:
    """The elements of a part of a file, one after the other."""

    def __init__(self, data: memoryview, endian: str) -> None:
        self.data, self.endian = data, endian

    @property
    def left(self) -> int:
        return len(self.data)

    def element(self) -> tuple[int, memoryview]:
        """Take the next element: its kind and its bytes."""
        if self.left < _TAG:
            raise ValueError("it ends within an element")
        kind, size = (int(word) for word in np.frombuffer(self.data, f"{self.endian}u4", 2))
        start, padded = _TAG, size if kind == _COMPRESSED else -(-size // 8) * 8
        if kind >> 16:  # a small element: kind, size and bytes in one tag
            kind, size, start, padded = kind & 0xFFFF, kind >> 16, 4, 4
        if size > min(padded, self.left - start):
            raise ValueError("an element is longer than what holds it")
        body = self.data[start : start + size]
        self.data = self.data[start + padded :]
        return kind, body

    def numbers(self) -> np.ndarray:
        """Take the next element, which holds numbers."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise ValueError(f"an element of kind {kind} where numbers are due")
        stored = np.dtype(f"{self.endian}{_NUMBERS[kind]}")
        return np.frombuffer(body, stored).astype(stored.newbyteorder("="), copy=False)

    def number(self) -> int:
        """Take the next element, of which the first number counts."""
        numbers = self.numbers()
        if not numbers.size:
            raise ValueError("an element without a number")
        return int(numbers[0])

    def text(self) -> str:
        """Take the next element, which holds text."""
        kind, body = self.element()
        if kind not in _TEXTS:
            raise ValueError(f"an element of kind {kind} where text is due")
        order = {"<": "-le", ">": "-be"}[self.endian] if kind in (4, 17, 18) else ""
        return bytes(body).decode(_TEXTS[kind] + order, errors="replace")


def _matrix(part: _Bytes, depth: int) -> tuple[str, Any]:
    """Read a variable, or a member of a cell or struct."""
    if depth > _DEEPEST:
        raise ValueError(f"cells and structs nested deeper than {_DEEPEST}")
    if not part.left:
        return "", np.empty((0, 0))
    flags, shape = part.number(), tuple(int(length) for length in part.numbers())
    name, kind = part.text(), flags & 0xFF
    if min(shape, default=-1) < 0 or len(shape) > _DEEPEST:
        raise ValueError(f"an array of shape {shape}")
    if kind == _CELL:
        return name, _filled(part, shape, object, 1, depth)
    if kind == _STRUCT:
        return name, _struct(part, shape, depth)
    if kind == _CHAR:
        return name, _chars(part.text(), shape)
    if not _FIRST_NUMBER <= kind <= _LAST_NUMBER or flags & _COMPLEX:
        raise ValueError(f"an array of class {kind}, which is none of a network's")
    return name, part.numbers().reshape(shape, order="F")


def _struct(part: _Bytes, shape: tuple[int, ...], depth: int) -> np.ndarray:
    length, names = part.number(), part.element()[1]
    if length < 1 or len(names) % length:
        raise ValueError(f"names of {length} bytes in {len(names)}")
    fields = [
        bytes(names[start : start + length]).split(b"\0")[0].decode("latin-1")
        for start in range(0, len(names), length)
    ]
    if not fields or not all(fields) or len(set(fields)) < len(fields):
        raise ValueError("a struct without fields, or with fields of one name")
    return _filled(part, shape, [(name, object) for name in fields], len(fields), depth)


def _filled(part: _Bytes, shape: tuple[int, ...], kind: Any, members: int, depth: int) -> np.ndarray:
    """Read the members of a cell or struct, the first index first."""
    count = math.prod(shape)
    if count * members > part.left // _TAG:
        raise ValueError(f"{count * members} members in {part.left} bytes")
    flat = np.empty(count, kind)
    for place in range(count):
        values = tuple(_member(part, depth) for _ in range(members))
        flat[place] = values[0] if kind is object else values
    return flat.reshape(shape, order="F")


def _member(part: _Bytes, depth: int) -> Any:
    kind, body = part.element()
    if kind != _MATRIX:
        raise ValueError(f"an element of kind {kind} where an array is due")
    return _matrix(_Bytes(body, part.endian), depth + 1)[1]


def _chars(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Give each row of a text as a str."""
    if len(shape) != 2 or math.prod(shape) != len(text):
        raise ValueError(f"a text of {len(text)} letters in an array of shape {shape}")
    rows = ["".join(text[start :: shape[0]]).rstrip() for start in range(shape[0])]
    return np.array(rows if shape[1] else [], str)
