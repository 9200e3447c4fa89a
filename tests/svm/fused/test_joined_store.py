"""Stores side by side."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import ConfigError
from featx.features import FeatureStore
from featx.svm.fused.joined_store import JoinedStore

KEYS = ["ab" * 32, "cd" * 32]


@pytest.fixture
def store(tmp_path):
    def make(name, rows, keys=KEYS, **more):
        made = FeatureStore.create(tmp_path / name, {"backbone": name, "layer": "top", **more})
        made.write_block(keys, np.float32(rows))
        return made

    return make


def test_rows_stand_side_by_side_at_unit_length_for_one_svm(store):
    one, other = store("a", [[[3.0, 4.0]], [[0.0, 0.0]]]), store("b", [[[20.0]], [[-5.0]]])
    plain = JoinedStore("stack", ("x", "y"), (one, other))
    assert plain.read(KEYS).tolist() == [[[3.0, 4.0, 20.0]], [[0.0, 0.0, -5.0]]]
    assert (plain.width, plain.widths, plain.views) == (3, (2, 1), 1)
    unit = JoinedStore("concat", ("x", "y"), (one, other)).read(KEYS[::-1])
    np.testing.assert_allclose(unit, [[[0.0, 0.0, -1.0]], [[0.6, 0.8, 1.0]]])
    assert unit.dtype == np.float32


def test_the_digest_is_that_of_method_and_members(store):
    one, other = store("a", [[[1.0]], [[2.0]]]), store("b", [[[3.0]], [[4.0]]])
    joined = JoinedStore("stack", ("x", "y"), (one, other))
    assert JoinedStore("stack", ("other", "names"), (one, other)).digest == joined.digest
    digests = {
        JoinedStore("stack", ("x", "y"), (other, one)).digest,
        JoinedStore("concat", ("x", "y"), (one, other)).digest,
        joined.digest,
    }
    assert len(digests) == 3
    assert (joined.recipe["kind"], joined.recipe["backbone"], joined.recipe["layer"]) == (
        "joined",
        "a + b",
        "top",
    )


def test_what_a_member_lacks_the_join_lacks(store):
    one, other = store("a", [[[1.0]], [[2.0]]]), store("b", [[[3.0]]], KEYS[1:])
    joined = JoinedStore("stack", ("x", "y"), (one, other))
    assert joined.missing([*KEYS, "ef" * 32]) == [KEYS[0], "ef" * 32]
    assert joined.cost is None
    assert joined.train_keys() is None


def test_training_images_of_every_member_count(store, tmp_path):
    one, other = store("a", [[[1.0]], [[2.0]]]), store("b", [[[3.0]], [[4.0]]])
    (one.path / "trained-on.json").write_text(f'{{"train_keys": ["{KEYS[0]}"]}}')
    assert JoinedStore("concat", ("x", "y"), (one, other)).train_keys() == {KEYS[0]}


def test_other_numbers_of_views_are_refused(store):
    one, other = store("a", [[[1.0], [1.5]], [[2.0], [2.5]]]), store("b", [[[3.0]], [[4.0]]])
    with pytest.raises(ConfigError, match="keep 1, 2 views"):
        JoinedStore("concat", ("x", "y"), (one, other))
