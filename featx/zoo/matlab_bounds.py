"""Bounds of MATLAB files, checked before their reader is let at them: it calls itself for each cell in a cell."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from featx.files import open_regular
from featx.zoo.allowance import Allowance

__all__ = ["MATRICES", "check_matlab"]

MATRICES = 10_000
"""Matrices, cells and structs of a file: VGG-19 with its thousand classes has about 4,000."""
_HEAD, _MATRIX, _PACKED, _PIECE = 128, 14, 15, 2**16


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Unpacked:
    """The bytes of a packed variable, a piece at a time."""

    def __init__(self, file: BinaryIO, length: int, allowance: Allowance) -> None:
        self._file, self._left, self._allowance = file, length, allowance
        self._unpacker, self._ready, self._at = zlib.decompressobj(), b"", 0

    def read(self, size: int, /) -> bytes:
        while len(self._ready) - self._at < size and not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(min(_PIECE, self._left))
            if not packed:
                break
            if not self._unpacker.unconsumed_tail:
                self._left -= len(packed)
            piece = self._unpacker.decompress(packed, 16 * _PIECE)
            self._allowance.take(len(piece))
            self._ready, self._at = self._ready[self._at :] + piece, 0
        found = self._ready[self._at : self._at + size]
        self._at += len(found)
        return found


def check_matlab(path: Path) -> None:
    """Walk through a MATLAB file up to version 7 without building anything.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    WeightsError
        If it would unpack to more than weights do.
    ValueError
        If it has more than `MATRICES` matrices, each of which may be in another.
    """
    allowance = Allowance(path)
    with open_regular(path) as file:
        order = "little" if file.read(_HEAD)[126:] == b"IM" else "big"
        place, walked = _HEAD, 0
        while len(tag := file.read(8)) == 8:
            kind, length = _tag(tag, order)
            if kind == _PACKED:
                walked += _walk(_Unpacked(file, length, allowance), order)
            else:
                # A length may lie, so that the reader reads on where this variable should have ended.
                file.seek(place)
                walked += _walk(file, order)
            if walked > 10 * MATRICES:
                raise ValueError("it has too many variables")
            place += 8 + length
            file.seek(place)


def _walk(stream: _Stream, order: Any) -> int:
    """Count the matrices from here to the stream's end, entering each and passing over numbers."""
    count, steps = 0, 0
    while len(tag := stream.read(8)) == 8:
        kind, length = _tag(tag, order)
        if kind == _MATRIX:
            count += 1
        elif kind == _PACKED or kind >> 16:
            # A packed variable is walked through on its own; short numbers stand within the tag.
            length = length if kind == _PACKED else 0
            _skip(stream, length)
        else:
            _skip(stream, length + -length % 8)
        steps += 1
        if count > MATRICES or steps > 10 * MATRICES:
            raise ValueError(f"it has more than {MATRICES:,} matrices")
    return count


def _tag(tag: bytes, order: Any) -> tuple[int, int]:
    return int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)


def _skip(stream: _Stream, size: int) -> None:
    if isinstance(stream, _Unpacked):
        while size and (found := len(stream.read(min(size, 16 * _PIECE)))):
            size -= found
    else:
        stream.seek(size, 1)  # type: ignore[attr-defined]
