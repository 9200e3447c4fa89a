from __future__ import annotations

import os
import threading
import time

import numpy as np
import pytest

from featx.digest import digest_bytes
from featx.errors import ExtractionError, ImageError
from featx.features import pipeline
from featx.features.pipeline import (
    BlockWriter,
    BusyTime,
    ImageSource,
    PreparedImage,
    batches,
    block_rows,
    read_ahead,
)
from featx.features.store import FeatureStore


def sources(folder, count):
    made = []
    for number in range(count):
        path = folder / f"{number:03d}.bin"
        path.write_bytes(bytes([number]))
        made.append(ImageSource(digest_bytes(bytes([number])), str(path)))
    return made


def prepare(data, path):
    return np.full((1, 2, 2, 3), data[0], np.uint8)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 5), (8, 100)])
def test_images_come_in_order_whoever_is_faster(tmp_path, workers, ahead):
    def uneven(data, path):
        time.sleep(0.002 * (data[0] % 3))
        return prepare(data, path)

    found = list(read_ahead(sources(tmp_path, 30), uneven, workers=workers, ahead=ahead))
    assert [int(item.views[0, 0, 0, 0]) for item in found] == list(range(30))


def test_no_more_than_wanted_is_read_ahead(tmp_path):
    read, before = [], threading.active_count()

    def note(data, path):
        read.append(data[0])
        return prepare(data, path)

    images = read_ahead(sources(tmp_path, 50), note, workers=4, ahead=6)
    most = 0
    for count in range(1, 20):
        next(images)
        time.sleep(0.005)
        most = max(most, len(read) - count)
    images.close()
    assert 1 <= most <= 6
    assert threading.active_count() < before + 9


def test_a_bad_image_says_why_and_the_others_go_on(tmp_path):
    made = sources(tmp_path, 5)
    (tmp_path / "001.bin").unlink()
    (tmp_path / "002.bin").write_bytes(b"other bytes")

    def picky(data, path):
        if data[0] == 3:
            raise ImageError(f"{path}: not an image")
        return prepare(data, path)

    found = list(read_ahead(made, picky, workers=2, ahead=3))
    assert [item.views is None for item in found] == [False, True, True, True, False]
    assert "cannot be read: No such file" in found[1].reason
    assert "changed after" in found[2].reason
    assert found[3].reason.endswith("003.bin: not an image")


def test_a_file_rewritten_with_its_size_and_time_is_not_taken_for_the_old_one(tmp_path):
    made = sources(tmp_path, 1)
    path = tmp_path / "000.bin"
    before = path.stat()
    path.write_bytes(b"X")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    (found,) = read_ahead(made, prepare, workers=1, ahead=1)
    assert found.views is None
    assert found.reason == (
        f"{path}: the file was changed after its key was computed; run the extraction again, with new keys if `keys` were "
        "given"
    )


def test_an_unforeseen_error_is_not_swallowed(tmp_path):
    def broken(data, path):
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        list(read_ahead(sources(tmp_path, 3), broken, workers=2, ahead=3))


def test_busy_adds_up_the_threads_work(tmp_path):
    def slow(data, path):
        time.sleep(0.01)
        return prepare(data, path)

    busy = BusyTime()
    list(read_ahead(sources(tmp_path, 8), slow, workers=4, ahead=8, busy=busy))
    assert busy.seconds >= 8 * 0.01


def pixels(number, views=1, bad=False):
    source = ImageSource(f"{number:064x}", f"{number}.png")
    return PreparedImage(
        source, None if bad else np.full((views, 2, 2, 3), number, np.uint8), "bad" if bad else ""
    )


def test_batches_have_one_shape_and_black_padding():
    failed = []
    images = [pixels(1), pixels(2, bad=True), pixels(3), pixels(4)]
    made = list(batches(images, 2, failed.append))
    assert [batch.pixels.shape for batch in made] == [(2, 2, 2, 3)] * 2
    assert [batch.keys for batch in made] == [(f"{1:064x}", f"{3:064x}"), (f"{4:064x}",)]
    assert made[1].pixels[1].max() == 0
    assert failed == [images[1]]


def test_views_of_an_image_may_lie_in_two_batches():
    made = list(batches([pixels(1, 3), pixels(2, 3)], 4, pytest.fail))
    assert [int(key, 16) for batch in made for key in batch.keys] == [1, 1, 1, 2, 2, 2]
    assert [len(batch.keys) for batch in made] == [4, 2]


def test_nothing_gives_no_batch():
    assert list(batches([], 4, pytest.fail)) == []


def test_blocks_are_committed_by_size(store, rows, monkeypatch):
    monkeypatch.setattr(pipeline, "_BLOCK_BYTES", 64 * 8 * 4)
    keys, features = rows(0, 150)
    writer = BlockWriter([store])
    for start in range(0, 150, 10):
        writer.put(0, keys[start : start + 10], features[start : start + 10])
    writer.close()
    assert len(store.blocks()) == 3
    assert np.array_equal(FeatureStore(store.path).read(keys), features)


def test_a_block_is_committed_by_time_while_nothing_comes(store, rows):
    writer = BlockWriter([store], seconds=0.05)
    writer.put(0, *rows(0, 3))
    for _ in range(500):
        if store.blocks():
            break
        time.sleep(0.01)
    assert len(store.blocks()) == 1
    writer.put(0, *rows(3, 5))
    writer.close()
    assert len(FeatureStore(store.path).keys()) == 5


def test_a_write_that_fails_stops_the_work_with_its_reason(store, rows, monkeypatch):
    def full(keys, features):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_block", full)
    writer = BlockWriter([store], seconds=0.0)
    with pytest.raises(ExtractionError, match=r"No space left.*run again"):
        for start in range(10_000):
            writer.put(0, *rows(start, start + 1))
    with pytest.raises(ExtractionError, match="No space left"):
        writer.close()
    assert store.blocks() == []


def test_many_stores_share_the_memory():
    assert block_rows(4 * 1280, 1) == 1638
    assert block_rows(4 * 1280, 64) == 409
    assert block_rows(1, 1) == 4096
    assert block_rows(10**9, 1) == 64
