from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx import disks, files
from featx.digest import digest_bytes
from featx.errors import MissingFeaturesError, StaleStoreError, StoreError
from featx.features import store as store_module
from featx.features.key_index import KeyIndex, pack_keys
from featx.features.store import RECIPE, TRAINED_ON, FeatureStore

FORMER = Path(__file__).parent / "data" / "format-1"


def test_rows_come_back_in_any_order_with_duplicates(store, rows):
    keys, features = rows(0, 30)
    for start in range(0, 30, 10):
        store.write_block(keys[start : start + 10], features[start : start + 10])
    order = [29, 0, 5, 5, 17, 0]
    assert np.array_equal(store.read([keys[place] for place in order]), features[order])
    assert np.array_equal(FeatureStore(store.path).read(keys), features)


@given(st.lists(st.integers(0, 19), max_size=40), st.integers(1, 20))
def test_reading_equals_indexing_whatever_the_blocks(tmp_path_factory, order, size):
    keys = [digest_bytes(bytes([number])) for number in range(20)]
    features = np.arange(20 * 2 * 3, dtype=np.float32).reshape(20, 2, 3)
    store = FeatureStore.create(tmp_path_factory.mktemp("stores") / "s", {"backbone": "any"})
    for start in range(0, 20, size):
        store.write_block(keys[start : start + size], features[start : start + size])
    assert np.array_equal(store.read([keys[place] for place in order]), features[order])


def test_an_empty_store_says_what_is_missing(store, rows):
    keys, _ = rows(0, 3)
    assert (store.width, store.views, store.keys()) == (0, 0, frozenset())
    assert store.read([]).shape == (0, 0, 0)
    with pytest.raises(MissingFeaturesError, match="2 of 2 images"):
        store.read([keys[0], keys[1], keys[0]])


def test_missing_names_each_key_once_in_order(store, rows):
    keys, features = rows(0, 5)
    store.write_block(keys[1:2], features[1:2])
    assert store.missing([keys[4], keys[1], keys[0], keys[4]]) == [keys[4], keys[0]]
    assert (store.views, store.width) == (1, 8)


def test_another_writer_is_seen(store, rows):
    keys, features = rows(0, 4)
    other = FeatureStore(store.path)
    assert other.missing(keys) == keys
    store.write_block(keys[:2], features[:2])
    assert other.missing(keys) == keys[2:]
    other.write_block(keys[2:], features[2:])
    assert np.array_equal(store.read(keys), features)


def test_rows_of_another_shape_are_refused(store, rows):
    store.write_block(*rows(0, 4))
    with pytest.raises(StoreError, match="rows of shape"):
        store.write_block(*rows(4, 8, width=9))


def test_a_store_compacted_while_reading_is_read_from_its_new_blocks(store, rows, monkeypatch):
    keys, features = rows(0, 6)
    old = store.write_block(keys, features)
    reader = FeatureStore(store.path)
    reader.refresh()
    listed = reader.refresh
    calls = []

    def late():
        # The first look still sees the old block, which is gone when it is read.
        calls.append(1)
        if len(calls) > 1:
            listed()

    store.write_block(keys[::-1], features[::-1])
    old.unlink()
    monkeypatch.setattr(reader, "refresh", late)
    assert np.array_equal(reader.read(keys), features)
    assert len(calls) == 2


def test_the_field_that_differs_is_named_and_metadata_may_differ(store, recipe):
    assert (
        FeatureStore.open_or_create(store.path, dataclasses.replace(recipe, lineage=("x",))).digest
        == recipe.digest
    )
    other = dataclasses.replace(recipe, image_size=96)
    with pytest.raises(StaleStoreError, match="image_size: found 64, wanted 96"):
        FeatureStore.open_or_create(store.path, other)
    with pytest.raises(StoreError, match="already holds a store"):
        FeatureStore.create(store.path, recipe)


def test_a_folder_without_a_sound_recipe_is_no_store(tmp_path, store):
    with pytest.raises(StoreError, match="no feature store"):
        FeatureStore(tmp_path / "nowhere")
    record = json.loads((store.path / RECIPE).read_text())
    (store.path / RECIPE).write_text(json.dumps({**record, "image_size": 32}))
    with pytest.raises(StoreError, match="does not match its digest"):
        FeatureStore(store.path)
    (store.path / RECIPE).write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        FeatureStore(store.path)
    (store.path / RECIPE).write_text(json.dumps({**record, "format": 99}))
    with pytest.raises(StoreError, match="store format 99"):
        FeatureStore(store.path)


def test_a_damaged_block_is_refused_and_verify_names_it(store, rows):
    keys, features = rows(0, 4)
    sound = store.write_block(keys[:2], features[:2])
    bad = store.write_block(keys[2:], features[2:])
    bad.write_bytes(bad.read_bytes()[:500])
    fresh = FeatureStore(store.path)
    with pytest.raises(StoreError, match=bad.name):
        fresh.read(keys[:2])
    assert [bad.name in line and sound.name not in line for line in fresh.verify()] == [True]


def test_discard_removes_rows_and_keeps_the_others(store, rows):
    keys, features = rows(0, 10)
    store.write_block(keys[:5], features[:5])
    store.write_block(keys[5:], features[5:])
    assert store.discard(keys[3:7]) == 4
    kept = [*keys[:3], *keys[7:]]
    fresh = FeatureStore(store.path)
    assert fresh.keys() == frozenset(kept)
    assert np.array_equal(fresh.read(kept), features[[0, 1, 2, 7, 8, 9]])
    assert fresh.discard(kept) == 6
    assert fresh.blocks() == []


def test_read_images_goes_by_id_and_content(store, pictures):
    manifest = pictures(4)
    files = sorted(manifest.parent.glob("*.png"))
    keys = [digest_bytes(path.read_bytes()) for path in files]
    features = np.arange(4 * 3, dtype=np.float32).reshape(4, 1, 3)
    store.write_block(keys, features)
    assert np.array_equal(store.read_images(manifest), features)
    assert np.array_equal(store.read_images(manifest, ["p0002", "p0000"]), features[[2, 0]])
    with pytest.raises(StoreError, match="p0009"):
        store.read_images(manifest, ["p0009"])
    files[1].write_bytes(files[1].read_bytes() + b"changed")
    with pytest.raises(MissingFeaturesError, match=r"1 of 4 images .* p0001"):
        store.read_images(manifest)


def test_to_numpy_is_a_table_in_the_order_of_the_manifest(store, pictures):
    manifest = pictures(4)
    files = sorted(manifest.parent.glob("*.png"))
    keys = [digest_bytes(path.read_bytes()) for path in files]
    features = np.arange(4 * 3, dtype=np.float32).reshape(4, 1, 3)
    store.write_block(keys[::-1], features[::-1])
    found = store.to_numpy(manifest)
    assert (found.dtype, found.tolist()) == (np.float32, features[:, 0].tolist())
    files[2].write_bytes(files[2].read_bytes() + b"changed")
    files[1].unlink()
    files[0].write_bytes(b"no image")
    with pytest.raises(MissingFeaturesError, match=r"2 of 3 images of .* \(first: p0000, p0002\)"):
        store.to_numpy(pictures(0))


def test_kept_views_are_successive_rows_of_a_table(store, rows, pictures):
    manifest = pictures(2)
    keys = [digest_bytes(path.read_bytes()) for path in sorted(manifest.parent.glob("*.png"))]
    _, features = rows(0, 2, width=3, views=2)
    store.write_block(keys, features)
    assert np.array_equal(store.to_numpy(manifest), features.reshape(4, 3))


def test_to_frame_has_a_row_for_each_image_and_view(store, rows):
    keys, features = rows(0, 6, width=3, views=2)
    store.write_block(keys[:2], features[:2])
    store.write_block(keys[2:], features[2:])
    frame = store.to_frame()
    assert list(frame.columns) == ["f0", "f1", "f2"]
    assert frame.index.names == ["image", "view"]
    assert list(frame.index.unique("image")) == sorted(keys)
    assert set(frame.dtypes) == {np.dtype(np.float32)}
    assert all(np.array_equal(frame.loc[key], row) for key, row in zip(keys, features, strict=True))


def test_an_empty_store_gives_an_empty_frame(store):
    assert store.to_frame().shape == (0, 0)


def test_train_keys_are_those_of_the_fine_tuning_run(store, tmp_path, recipe, rows):
    assert store.train_keys() is None
    tuned = FeatureStore.create(tmp_path / "tuned", dataclasses.replace(recipe, trained_on={"fold": "1x1"}))
    with pytest.raises(StoreError, match=TRAINED_ON):
        tuned.train_keys()
    keys, _ = rows(0, 2)
    (tuned.path / TRAINED_ON).write_text(json.dumps({"train_keys": keys}))
    assert tuned.train_keys() == frozenset(keys)


def test_a_store_of_format_1_opens_and_grows(tmp_path, rows):
    store = FeatureStore(shutil.copytree(FORMER, tmp_path / "former"))
    keys = [digest_bytes(str(number).encode()) for number in range(75)]
    features = np.array(
        [np.random.default_rng(number).normal(size=(1, 4)) for number in range(75)], np.float32
    )
    assert store.digest == "8296c109af7c2080a152c5a919a738df6949a300fef8b1abd9f7dd70add9040b"
    assert np.array_equal(store.read(keys), features)
    assert store.verify() == []
    more = rows(75, 80, width=4)
    store.write_block(*more)
    fresh = FeatureStore(store.path)
    assert np.array_equal(fresh.read(more[0] + keys), np.concatenate([more[1], features]))


def test_reading_compares_every_block_with_its_checksum(store, rows):
    keys, features = rows(0, 4)
    path = store.write_block(keys, features)
    data = bytearray(path.read_bytes())
    data[-1] ^= 128  # the sign of a number in the last row
    path.write_bytes(data)
    assert FeatureStore(store.path).keys() == frozenset(keys)
    with pytest.raises(StoreError, match=f"{path.name}: damaged block"):
        FeatureStore(store.path).read(keys[:1])


def test_a_listing_made_while_blocks_are_compacted_is_made_again(store, rows, monkeypatch):
    """It may miss the old blocks, which are gone already, and the new one, which was not there yet."""
    keys, features = rows(0, 4)
    store.write_block(keys, features)
    reader = FeatureStore(store.path)
    listings = iter([[], *[store.blocks()] * 3])
    monkeypatch.setattr(reader, "blocks", lambda: next(listings))
    reader._index = KeyIndex({"block-compacted-away.h5": pack_keys(keys)[0]})
    assert np.array_equal(reader.read(keys), features)


def test_a_reader_outlasts_compaction_after_compaction(store, rows, monkeypatch):
    keys, features = rows(0, 4)
    store.write_block(keys, features)
    original, calls = store_module.read_features, []

    def gone(*given):
        calls.append(given)
        if len(calls) < 10:
            raise FileNotFoundError
        return original(*given)

    monkeypatch.setattr(store_module, "read_features", gone)
    assert np.array_equal(store.read(keys), features)


def test_a_block_that_goes_between_listing_and_reading_is_left_out(store, rows, monkeypatch):
    keys, features = rows(0, 4)
    block = store.write_block(keys, features)
    reader = FeatureStore(store.path)
    gone = store.path / f"block-{'0' * 16}-{'0' * 32}.h5"
    listings = iter([[gone, block], [block], [block]])
    monkeypatch.setattr(reader, "blocks", lambda: next(listings))
    assert reader.keys() == frozenset(keys)


def test_reading_ends_where_blocks_are_replaced_for_ever(store, rows, monkeypatch):
    keys, features = rows(0, 2)
    store.write_block(keys, features)

    def gone(*given):
        raise FileNotFoundError

    monkeypatch.setattr(store_module, "read_features", gone)
    with pytest.raises(StoreError, match="other processes replaced blocks 100 times while they were read"):
        store.read(keys)
    assert store.discard(keys[:1]) == 0
    assert len(store.blocks()) == 1


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping only."""

    class Clock:
        now = 0.0

        def sleep(self, seconds):
            self.now += seconds

    made = Clock()
    monkeypatch.setattr(files.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(files.time, "sleep", made.sleep)
    return made


def hide(monkeypatch, clock, path, until):
    """Stand in for a client that remembers for a while that there is no such file, although it lists it."""
    opened, look = Path.open, os.stat

    def refuse(name):
        if Path(name) == path and clock.now < until:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(
        Path, "open", lambda self, *given, **more: refuse(self) or opened(self, *given, **more)
    )
    monkeypatch.setattr(os, "stat", lambda name, **given: refuse(name) or look(name, **given))


def test_a_listed_block_that_is_not_visible_yet_is_waited_for(store, rows, monkeypatch, clock):
    keys, features = rows(0, 6)
    store.write_block(keys[:3], features[:3])
    hide(monkeypatch, clock, store.write_block(keys[3:], features[3:]), until=60)
    assert np.array_equal(FeatureStore(store.path).read(keys), features)
    assert 60 <= clock.now < 90


def test_a_block_that_hides_after_its_index_was_read_is_waited_for(store, rows, monkeypatch, clock):
    keys, features = rows(0, 3)
    block = store.write_block(keys, features)
    store.refresh()
    hide(monkeypatch, clock, block, until=60)
    assert np.array_equal(store.read(keys), features)


def test_a_block_that_stays_hidden_is_an_error_that_names_it(store, rows, monkeypatch, clock):
    block = store.write_block(*rows(0, 3))
    hide(monkeypatch, clock, block, until=1000)
    with pytest.raises(
        StoreError, match=f"{block.name}: is listed in its folder, but was not found there for 90 s"
    ):
        FeatureStore(store.path).keys()


def test_a_listing_that_another_machine_made_old_is_made_again_before_rows_are_missing(
    store, rows, monkeypatch, tmp_path
):
    (tmp_path / "mountinfo").write_text(f"40 1 0:99999 / {store.path} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(disks, "_MOUNTS", tmp_path / "mountinfo")
    keys, features = rows(0, 6)
    old = store.write_block(keys[:3], features[:3])
    reader, listed = FeatureStore(store.path), FeatureStore.blocks
    changed, make = [], os.mkdir

    def watch(*given):
        changed.append(given)
        make(*given)

    store.write_block(keys[3:], features[3:])
    # The client remembers the listing until it changes the folder itself.
    monkeypatch.setattr(reader, "blocks", lambda: listed(reader) if changed else [old])
    monkeypatch.setattr(os, "mkdir", watch)
    assert reader.missing(keys[:3]) == []
    assert not changed
    assert reader.missing([*keys, "0" * 64]) == ["0" * 64]
    assert np.array_equal(reader.read(keys), features)


def test_a_recipe_that_is_no_object_is_refused(store):
    (store.path / RECIPE).write_text("[]")
    with pytest.raises(StoreError, match="is not a JSON object"):
        FeatureStore(store.path)


def test_rows_of_another_shape_by_another_writer_are_refused(store, rows):
    other = FeatureStore(store.path)
    store.write_block(*rows(0, 4))
    bad = other.write_block(*rows(4, 8, width=9))
    for reader in (store, FeatureStore(store.path)):
        with pytest.raises(StoreError, match=r"has rows of shape \(1, \d\) \(views, width\)"):
            reader.keys()
    assert bad.exists()


def test_an_image_in_two_blocks_counts_once_and_is_read_from_the_last(store, rows):
    keys, features = rows(0, 4)
    blocks = [store.write_block(keys[:3], features[:3]), store.write_block(keys[1:], features[1:] + 1)]
    last = max(blocks)
    expected = features.copy()
    if last == blocks[1]:
        expected[1:] += 1
    else:
        expected[3] += 1
    fresh = FeatureStore(store.path)
    assert fresh.images == 4
    assert np.array_equal(fresh.read(keys), expected)


def test_texts_that_are_no_keys_are_missing(store, rows):
    keys, features = rows(0, 2)
    store.write_block(keys, features)
    assert store.missing([keys[0].upper(), "lesion.png", keys[1]]) == [keys[0].upper(), "lesion.png"]
