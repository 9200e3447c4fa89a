from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx import digest as module
from featx.digest import canonical, canonical_json, differing, digest, digest_file

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@dataclass(frozen=True)
class Point:
    x: int
    y: tuple[float, ...]


@given(JSON)
def test_canonical_is_a_fixed_point(value):
    assert canonical(canonical(value)) == canonical(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_matter(table):
    assert digest(dict(reversed(table.items()))) == digest(table)


@given(JSON, JSON)
def test_digests_are_equal_only_for_equal_text(one, other):
    assert (digest(one) == digest(other)) == (canonical_json(one) == canonical_json(other))


def test_a_digest_never_changes_between_versions():
    # A changed value here makes every store and run on users' disks stale.
    # The value is what sha256sum prints for the canonical text.
    assert digest({"a": [1, 2.5, None, True], "b": "ä"}) == (
        # sha256sum of the canonical text says so too.
        "a038e6e9a047debc3cd5c58c319020e0ebd0035d8934e70f4e18ce67ca6278a3"
    )


def test_dataclasses_arrays_paths_and_sets_have_one_form():
    assert canonical(Point(1, (2.0,))) == {"x": 1, "y": [2.0]}
    assert canonical(np.arange(3)) == [0, 1, 2]
    assert canonical(np.float64(0.5)) == 0.5
    assert canonical(Path("a/b")) == "a/b"
    assert canonical({"b", "a"}) == ["a", "b"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_hold_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        digest({"a": value})


def test_an_unknown_type_is_refused():
    with pytest.raises(TypeError, match="no canonical form for object"):
        canonical(object())


def test_digest_file_reads_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_READ_BYTES", 3)
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    assert digest_file(path) == hashlib.sha256(b"12345678").hexdigest()


def test_differing_names_fields_missing_on_either_side():
    assert differing({"a": 1}, {"b": 2}) == ["a: found None, wanted 1", "b: found 2, wanted None"]
    assert differing({"a": (1, 2)}, {"a": [1, 2]}) == []
