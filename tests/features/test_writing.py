from __future__ import annotations

import time

import numpy as np
import pytest

from featx.errors import ExtractionError
from featx.features import pipeline as writing
from featx.features.pipeline import BlockWriter, block_rows
from featx.features.store import FeatureStore


def test_blocks_are_committed_by_size(store, rows, monkeypatch):
    monkeypatch.setattr(writing, "_BLOCK_BYTES", 64 * 8 * 4)
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
