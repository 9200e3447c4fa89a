from __future__ import annotations

import h5py
import numpy as np
import pytest

from featx.errors import StoreError
from featx.features.blocks import check_block, read_features, read_index, write_block

RECIPE = "12" * 32


def damage(path, dataset, bytes_in=3):
    """Flip a bit in the first chunk of a dataset."""
    with h5py.File(path) as file:
        place = file[dataset].id.get_chunk_info(0).byte_offset + bytes_in
    with path.open("rb+") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def test_a_block_gives_back_what_was_written(tmp_path, rows):
    keys, features = rows(0, 100, views=2)
    path = write_block(tmp_path, RECIPE, keys, features)
    assert read_index(path, RECIPE) == (keys, (2, 8))
    assert np.array_equal(read_features(path, RECIPE), features)
    assert check_block(path, RECIPE) is None


def test_the_layout_is_the_stated_one(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 100))
    with h5py.File(path) as file:
        features = file["features"]
        assert (features.chunks, features.compression, features.fletcher32) == ((64, 1, 8), None, True)
        assert features.dtype == np.float32
        assert file["keys"].fletcher32


def test_equal_rows_give_equal_bytes(tmp_path, rows):
    first = write_block(tmp_path / "a", RECIPE, *rows(0, 70))
    second = write_block(tmp_path / "b", RECIPE, *rows(0, 70))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("dataset", ["keys", "features"])
def test_one_flipped_bit_is_found_and_named(tmp_path, rows, dataset):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    damage(path, dataset)
    with pytest.raises(StoreError, match=f"{path.name}: damaged block"):
        read_index(path, RECIPE) if dataset == "keys" else read_features(path, RECIPE)
    assert path.name in check_block(path, RECIPE)


def test_a_truncated_block_is_found_and_named(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=f"{path.name}: damaged block"):
        read_index(path, RECIPE)


def test_a_block_of_another_recipe_is_refused(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    with pytest.raises(StoreError, match="another recipe"):
        read_index(path, "34" * 32)


def test_bad_rows_are_refused_and_leave_nothing(tmp_path, rows):
    keys, features = rows(0, 4)
    broken = features.copy()
    broken[2, 0, 1] = np.nan
    for wrong_keys, wrong in (
        (keys, broken),
        (keys[:3], features),
        ([keys[0]] * 4, features),
        (keys, features[:, 0]),
        (keys, features.astype(np.float64)),
        ([], features[:0]),
    ):
        with pytest.raises(StoreError):
            write_block(tmp_path, RECIPE, wrong_keys, wrong)
    assert list(tmp_path.iterdir()) == []
