from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.digest import digest_bytes
from featx.features import key_index
from featx.features.key_index import KeyIndex, hex_keys, pack_keys

# Keys that differ in their first 8 bytes, and keys that begin alike.
_KEYS = [*(digest_bytes(bytes([number])) for number in range(6)), *("ab" * 8 + f"{n:048x}" for n in range(6))]


def index_of(*blocks: list[str]) -> KeyIndex:
    return KeyIndex({str(number): pack_keys(keys)[0] for number, keys in enumerate(blocks)})


@given(
    st.lists(st.lists(st.sampled_from(_KEYS[:10]), unique=True, min_size=1), max_size=5),
    st.lists(st.sampled_from([*_KEYS, "lesion.png", _KEYS[1].upper()]), max_size=20),
)
def test_an_index_finds_what_a_dictionary_finds(blocks, wanted):
    index = index_of(*blocks)
    rows = {key: row for row, key in enumerate(chain.from_iterable(blocks))}
    assert index.find(wanted).tolist() == [rows.get(key, -1) for key in wanted]
    assert index.images == len(rows)
    assert len(index) == sum(map(len, blocks))
    assert index.others(wanted) == rows.keys() - set(wanted)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_size_of_the_pieces_does_not_matter(monkeypatch, size):
    monkeypatch.setattr(key_index, "_CHUNK", size)
    index = index_of(_KEYS[:5], _KEYS[5:])
    assert index.find(["x", *_KEYS[::-1], "y"]).tolist() == [-1, *range(11, -1, -1), -1]
    assert len(KeyIndex.of([*_KEYS, "x"])) == 12


def test_the_last_of_many_copies_is_found():
    assert index_of(*[_KEYS[:2]] * 50).find(_KEYS[:3]).tolist() == [98, 99, -1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab" * 31,
        "ab" * 33,
        "AB" * 32,
        "ab " * 21 + "a",
        "g" * 64,
        "é" * 64,
        "/images/" + "a" * 56,
    ],
)
def test_texts_that_are_no_keys_are_left_out(text):
    packed, places = pack_keys([_KEYS[0], text, _KEYS[1]])
    assert places.tolist() == [0, 2]
    assert hex_keys(packed) == _KEYS[:2]


def test_lengths_that_add_up_do_not_make_keys():
    assert len(pack_keys(["ab" * 31, "ab" * 33])[0]) == 0


def test_keys_of_blocks_share_the_memory_of_the_index():
    index = index_of(_KEYS[:3], _KEYS[3:5])
    assert [hex_keys(keys) for keys in index.blocks.values()] == [_KEYS[:3], _KEYS[3:5]]
    assert all(keys.base is index.blocks["0"].base for keys in index.blocks.values())
    assert np.array_equal(index.starts, [0, 3, 5])


def test_an_index_without_a_block_does_not_find_its_rows():
    index = index_of(_KEYS[:3], _KEYS[3:5])
    assert index.without("0").find(_KEYS[:5]).tolist() == [-1, -1, -1, 0, 1]
    assert index.without("9") is index
