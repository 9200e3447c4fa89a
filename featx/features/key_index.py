"""The index of a store: finds the rows of keys among millions without an object of Python for each.

A row takes 44 bytes of memory: the 32 bytes of its key, their first 8 once more in sorted order, and the row's number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

__all__ = ["KeyIndex", "PackedKeys", "hex_keys", "pack_keys"]

# Keys as bytes, shape (n, 32).
PackedKeys = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

_BYTES = 32
_KEY = re.compile(r"[0-9a-f]{64}")
# Keys that are packed or searched at once: bounds what is needed beside the index.
_CHUNK = 1 << 17


class KeyIndex:
    """Keys of blocks, and where they are.

    Parameters
    ----------
    blocks : mapping of str to ndarray of uint8, shape (rows, 32)
        Keys of each block by its name. Rows are counted through the blocks in this order.

    Attributes
    ----------
    blocks : dict of str to ndarray of uint8, shape (rows, 32)
        The same, in the memory of the index.
    starts : ndarray of int64, shape (blocks + 1,)
        First row of each block, and the number of all rows.

    Examples
    --------
    >>> index = KeyIndex({"one": pack_keys(["ab" * 32])[0], "two": pack_keys(["cd" * 32, "ef" * 32])[0]})
    >>> index.find(["ef" * 32, "00" * 32]).tolist(), index.starts.tolist()
    ([2, -1], [0, 1, 3])
    """

    def __init__(self, blocks: Mapping[str, PackedKeys]) -> None:
        self.starts: Rows = np.cumsum([0, *map(len, blocks.values())], dtype=np.int64)
        self._keys: PackedKeys = np.empty((int(self.starts[-1]), _BYTES), np.uint8)
        self.blocks: dict[str, PackedKeys] = {}
        for (name, keys), start in zip(blocks.items(), self.starts.tolist(), strict=False):
            self.blocks[name] = self._keys[start : start + len(keys)]
            self.blocks[name][...] = keys

    @classmethod
    def of(cls, keys: Sequence[str]) -> KeyIndex:
        """Make an index of keys that are in no block; other texts are left out."""
        parts = range(0, len(keys), _CHUNK)
        return cls({str(start): pack_keys(keys[start : start + _CHUNK])[0] for start in parts})

    def without(self, name: str) -> KeyIndex:
        """Return the index without a block, itself if it has no such block."""
        if name not in self.blocks:
            return self
        return KeyIndex({one: keys for one, keys in self.blocks.items() if one != name})

    def __len__(self) -> int:
        """Count the rows, those of an image in several blocks each."""
        return len(self._keys)

    @cached_property
    def _sorted(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint32] | Rows]:
        heads = _heads(self._keys)
        # Stable: of equal keys, the last one is that of the last block.
        order = np.argsort(heads, kind="stable")
        return heads[order], order.astype(np.uint32) if len(order) < 2**32 else order

    @cached_property
    def images(self) -> int:
        """Number of different keys."""
        heads, order = self._sorted
        # Only rows whose keys begin alike can have equal keys; without copies of rows there are hardly any.
        alike = np.flatnonzero(heads[1:] == heads[:-1])
        rows = order[np.union1d(alike, alike + 1)].astype(np.int64)
        return len(self) - len(rows) + len(np.unique(self.find_packed(self._keys[rows])))

    def others(self, keys: Sequence[str]) -> frozenset[str]:
        """Return the keys that are here and not among those given."""
        given = KeyIndex.of(keys)
        parts = (held[given.find_packed(held) < 0] for held in self.blocks.values())
        return frozenset(chain.from_iterable(map(hex_keys, parts)))

    def find(self, keys: Sequence[str]) -> Rows:
        """Return the row of each key, -1 for those that are not here; of several rows the last one.

        Parameters
        ----------
        keys : sequence of str
            SHA-256 of images' bytes; any other text is not here.

        Returns
        -------
        ndarray of int64, shape (n,)
            Rows.
        """
        found = np.full(len(keys), -1, np.int64)
        for start in range(0, len(keys), _CHUNK):
            packed, places = pack_keys(keys[start : start + _CHUNK])
            found[start + places] = self.find_packed(packed)
        return found

    def find_packed(self, keys: PackedKeys) -> Rows:
        """Do as `find` for keys as bytes, shape (n, 32)."""
        found = np.full(len(keys), -1, np.int64)
        heads, order = self._sorted
        if not len(heads) or not len(keys):
            return found
        wanted, own, sought = _words(keys), _words(self._keys), _heads(keys)
        # In sorted order one search begins where another one has just been, whose memory is still in the cache.
        left = np.argsort(sought)
        places = np.searchsorted(heads, sought[left], side="right") - 1
        while len(left):
            alike = (places >= 0) & (heads[places] == sought[left])
            left, places = left[alike], places[alike]
            rows = order[places]
            same = (own[rows] == wanted[left]).all(axis=1)
            found[left[same]] = rows[same]
            # Another key that begins with the same 8 bytes: look at the one before it.
            left, places = left[~same], places[~same] - 1
        return found


def pack_keys(keys: Sequence[str]) -> tuple[PackedKeys, Rows]:
    """Convert keys to bytes, and leave out texts that are not 64 lower-case hexadecimal digits.

    Returns
    -------
    packed : ndarray of uint8, shape (m, 32)
        The keys as bytes.
    places : ndarray of int64, shape (m,)
        Their positions in `keys`.

    Examples
    --------
    >>> pack_keys(["ab" * 32, "lesion.png"])[1].tolist()
    [0]
    """
    packed = _packed(keys)
    if packed is not None:
        return packed, np.arange(len(keys))
    places = [place for place, key in enumerate(keys) if _KEY.fullmatch(key)]
    kept = bytes.fromhex("".join(keys[place] for place in places))
    return np.frombuffer(kept, np.uint8).reshape(-1, _BYTES), np.array(places, np.int64)


def _packed(keys: Sequence[str]) -> PackedKeys | None:
    """Convert keys at once; None if one of them is not a key."""
    text = "".join(keys)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return None
    # `fromhex` also takes capitals and spaces.
    if set(map(len, keys)) - {2 * _BYTES} or data.hex() != text:
        return None
    return np.frombuffer(data, np.uint8).reshape(-1, _BYTES)


def hex_keys(packed: PackedKeys) -> list[str]:
    """Convert keys from bytes to 64 hexadecimal digits each.

    Examples
    --------
    >>> hex_keys(pack_keys(["ab" * 32])[0]) == ["ab" * 32]
    True
    """
    return packed.tobytes().hex(" ", _BYTES).split(" ") if len(packed) else []


def _words(packed: PackedKeys) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(packed).view(np.uint64)


def _heads(packed: PackedKeys) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(_words(packed)[:, 0])
