from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from pyarrow import parquet

from featx.errors import ConfigError, MissingFeaturesError, StoreError
from featx.features import blocks, upkeep
from featx.features import store as store_module
from featx.features.blocks import is_current, read_features
from featx.features.store import FeatureStore
from featx.features.upkeep import compact, export, facts, prune, prune_exports
from featx.files import write_aside

FORMER = Path(__file__).parent / "data" / "format-1"


@pytest.fixture
def filled(store, rows):
    keys, features = rows(0, 20, views=2)
    for start in range(0, 20, 4):
        store.write_block(keys[start : start + 4], features[start : start + 4])
    return store, keys, features


def test_facts_tell_what_a_store_holds(filled):
    store, _, _ = filled
    found = facts(store.path)
    assert (found.backbone, found.weights, found.layer) == ("tiny", "random0", "global pool")
    assert (found.images, found.views, found.width, found.blocks) == (20, 2, 8, 5)
    assert found.bytes == sum(path.stat().st_size for path in store.blocks())


def test_compacting_keeps_every_row_and_drops_doubles(filled):
    store, keys, features = filled
    store.write_block(keys[2:6], features[2:6])
    assert compact(store.path) == (6, 1)
    fresh = FeatureStore(store.path)
    assert len(fresh.blocks()) == 1
    assert np.array_equal(fresh.read(keys), features)
    assert fresh.verify() == []
    assert compact(store.path) == (1, 1)


def test_compacting_makes_several_blocks_where_one_is_too_large(filled, monkeypatch):
    monkeypatch.setattr(upkeep, "_COMPACT_BYTES", 10 * 4 * 2 * 8)
    store, keys, features = filled
    assert compact(store.path) == (5, 2)
    assert np.array_equal(FeatureStore(store.path).read(keys), features)


def test_compacting_reads_each_block_twice_however_many_there_are(store, rows, monkeypatch):
    keys, features = rows(0, 120)
    for start in range(0, 120, 3):
        store.write_block(keys[start : start + 3], features[start : start + 3])
    monkeypatch.setattr(upkeep, "_COMPACT_BYTES", 10 * 4 * 8)
    reads = Counter()

    def counted(path, recipe):
        reads[path.name] += 1
        return read_features(path, recipe)

    for module in (blocks, upkeep, store_module):
        monkeypatch.setattr(module, "read_features", counted)
    assert compact(store.path) == (40, 12)
    assert set(reads.values()) == {2}
    monkeypatch.undo()
    assert np.array_equal(FeatureStore(store.path).read(keys), features)


def test_compacting_writes_format_1_anew(tmp_path):
    store = FeatureStore(shutil.copytree(FORMER, tmp_path / "former"))
    keys = sorted(store.keys())
    features = store.read(keys)
    assert compact(store.path) == (2, 1)
    assert all(map(is_current, store.blocks()))
    fresh = FeatureStore(store.path)
    assert fresh.digest == store.digest
    assert np.array_equal(fresh.read(keys), features)
    assert fresh.verify() == []


def test_compacting_twice_at_once_loses_nothing(filled, monkeypatch):
    store, keys, features = filled
    read, calls = upkeep.read_keys, []

    def interrupted(path, recipe):
        calls.append(path)
        if len(calls) == 3:
            compact(store.path)
        return read(path, recipe)

    monkeypatch.setattr(upkeep, "read_keys", interrupted)
    compact(store.path)
    assert np.array_equal(FeatureStore(store.path).read(keys), features)


def test_compacting_changes_nothing_where_a_block_is_damaged(filled):
    store, _, _ = filled
    block = store.blocks()[0]
    block.write_bytes(block.read_bytes()[:-50])
    with pytest.raises(StoreError, match=block.name):
        compact(store.path)
    assert len(store.blocks()) == 5


def test_prune_removes_leftovers_and_damaged_blocks_when_told(filled):
    store, keys, _ = filled
    (store.path / ".aside-killed").mkdir()
    (store.path / ".aside-killed" / "block-1.h5").write_bytes(b"half")
    block = store.blocks()[0]
    block.write_bytes(b"")
    planned = prune(store.path, damaged=True, dry_run=True)
    assert [len(planned.leftovers), planned.damaged] == [1, (block,)]
    assert block.exists()
    assert prune(store.path).damaged == ()
    assert not (store.path / ".aside-killed").exists()
    assert block.exists()
    prune(store.path, damaged=True)
    assert not block.exists()
    assert len(FeatureStore(store.path).missing(keys)) == 4


def test_prune_leaves_sound_blocks_of_another_format_or_recipe(filled, tmp_path, recipe, rows):
    store, keys, _ = filled
    other = FeatureStore.create(tmp_path / "other", replace(recipe, image_size=96))
    foreign = Path(shutil.copy(other.write_block(*rows(50, 52, views=2)), store.path))
    newer = store.path / "block-0123456789abcdef.h5"
    with h5py.File(newer, "w") as file:
        file.attrs["format"] = 3
    bad = store.blocks()[-1]
    bad.write_bytes(bad.read_bytes()[:-1])
    done = prune(store.path, damaged=True)
    assert done.damaged == (bad,)
    assert [any(path.name in line for line in done.left) for path in (foreign, newer)] == [True, True]
    assert foreign.exists()
    assert newer.exists()
    for path in (foreign, newer):
        path.unlink()
    assert len(FeatureStore(store.path).missing(keys)) == 4


def test_prune_keeps_the_images_that_it_is_told_to(filled):
    store, keys, features = filled
    assert prune(store.path, keep=keys[:7], dry_run=True).rows == 13
    assert prune(store.path, keep=keys[:7]).rows == 13
    fresh = FeatureStore(store.path)
    assert fresh.keys() == frozenset(keys[:7])
    assert np.array_equal(fresh.read(keys[:7]), features[:7])


def test_exports_hold_ids_and_features_in_the_order_asked(filled, tmp_path):
    store, keys, features = filled
    order = [3, 1, 7]
    asked, names = [keys[place] for place in order], ["c", "a", "é"]
    with np.load(export(store.path, tmp_path / "x.npz", "npz", asked, names)) as file:
        assert list(file["ids"]) == names
        assert np.array_equal(file["features"], features[order])
    with h5py.File(export(store.path, tmp_path / "x.h5", "h5", asked, names)) as file:
        assert list(file["ids"].asstr()) == names
        assert np.array_equal(file["features"][...], features[order])
    table = parquet.read_table(export(store.path, tmp_path / "x.parquet", "parquet", asked, names))
    assert table["id"].to_pylist() == [name for name in names for _ in range(2)]
    assert table["view"].to_pylist() == [0, 1] * 3
    assert np.array_equal(
        np.array(table["features"].to_pylist(), np.float32).reshape(3, 2, 8), features[order]
    )


def test_exports_refuse_what_is_not_there(filled, tmp_path):
    store, keys, _ = filled
    with pytest.raises(MissingFeaturesError):
        export(store.path, tmp_path / "x.npz", "npz", ["00" * 32], ["a"])
    with pytest.raises(MissingFeaturesError, match="no images"):
        export(store.path, tmp_path / "x.npz", "npz", [], [])
    with pytest.raises(ConfigError, match="format"):
        export(store.path, tmp_path / "x.mat", "mat", keys, keys)
    assert list(tmp_path.glob("x.*")) == []


def test_prune_leaves_what_a_living_writer_has_begun(store):
    with write_aside(store.path / "begun") as aside:
        aside.write_text("begun")
        assert prune(store.path).leftovers == prune(store.path, dry_run=True).leftovers == ()
    assert (store.path / "begun").read_text() == "begun"


def test_a_store_is_described_while_its_blocks_are_compacted(filled, monkeypatch):
    store, *_ = filled
    gone = store.path / "block-gone.h5"
    listed = store.blocks()
    monkeypatch.setattr(FeatureStore, "keys", lambda self: frozenset(["a"]))
    monkeypatch.setattr(FeatureStore, "refresh", lambda self: None)
    monkeypatch.setattr(FeatureStore, "blocks", lambda self: [*listed, gone])
    assert facts(store.path).bytes == sum(block.stat().st_size for block in listed)


def test_an_empty_store_is_compact(store):
    assert compact(store.path) == (0, 0)


def test_exported_networks_are_counted_and_removed(tmp_path):
    folder = tmp_path / "openvino" / "tiny-0123"
    folder.mkdir(parents=True)
    (folder / "model.xml").write_bytes(b"12345")
    assert prune_exports(tmp_path, dry_run=True) == (1, 5)
    assert folder.exists()
    assert prune_exports(tmp_path) == (1, 5)
    assert prune_exports(tmp_path) == (0, 0)
