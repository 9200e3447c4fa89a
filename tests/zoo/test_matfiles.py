"""The reader of MATLAB files against SciPy's."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import loadmat, savemat

from featx.zoo.matfiles import read_mat

NUMBERS = st.one_of(
    st.sampled_from([np.float32, np.float64, np.uint8, np.int32]).flatmap(
        lambda kind: st.tuples(st.integers(1, 3), st.integers(0, 3), st.integers(1, 2)).map(
            lambda shape: np.arange(np.prod(shape), dtype=kind).reshape(shape)
        )
    ),
    st.floats(allow_nan=False),
    st.integers(-1000, 1000),
    st.text(alphabet="abcé", max_size=5),
)


def cell(values: list) -> np.ndarray:
    made = np.empty((1, len(values)), object)
    made[0, :] = values
    return made


NAMES = st.sampled_from(["a", "weights", "long_name_of_a_field"])
VALUES = st.recursive(
    NUMBERS,
    lambda inner: st.lists(inner, max_size=3).map(cell) | st.dictionaries(NAMES, inner, min_size=1),
    max_leaves=8,
)


def same(one, other) -> bool:
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.shape != other.shape or one.dtype.names != other.dtype.names:
            return False
        if one.dtype.names:
            return all(same(one[name], other[name]) for name in one.dtype.names)
        if one.dtype == object:
            return all(same(a, b) for a, b in zip(one.ravel(), other.ravel(), strict=True))
        return one.dtype.kind == other.dtype.kind and np.array_equal(one, other)
    return False


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.booleans())
def test_variables_are_read_as_scipy_reads_them(tmp_path_factory, variables, compressed):
    path = tmp_path_factory.mktemp("mat") / "a.mat"
    savemat(path, variables, do_compression=compressed, long_field_names=True)
    wanted = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    found = read_mat(path)
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert same(value, wanted[name]), (value, wanted[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:200], "longer than what holds it"),
        (lambda data: data[:126] + b"XX" + data[128:], "how its bytes are ordered"),
        (lambda data: data[:128] + struct.pack("<2I", 3, 8) + bytes(8), "kind 3 where a variable"),
        (lambda data: data[:128] + struct.pack("<2I", 14, 1 << 31) + bytes(8), "longer than what holds it"),
        (lambda data: data.replace(struct.pack("<2i", 1, 3), struct.pack("<2i", 1, 1 << 30)), "members in"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    path = tmp_path / "a.mat"
    savemat(path, {"a": cell([1.0, 2.0, 3.0])})
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        read_mat(path)


def test_no_file_unpacks_to_much_more_than_itself(tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"a": 1.0})
    bomb = zlib.compress(bytes(80 << 20))
    path.write_bytes(path.read_bytes()[:128] + struct.pack("<2I", 15, len(bomb)) + bomb)
    with pytest.raises(ValueError, match="unpacks to more than 67 MB"):
        read_mat(path)


def test_cells_in_cells_in_cells_are_refused(tmp_path):
    value = 1.0
    for _ in range(40):
        value = cell([value])
    path = tmp_path / "a.mat"
    savemat(path, {"a": value})
    with pytest.raises(ValueError, match="nested deeper"):
        read_mat(path)
