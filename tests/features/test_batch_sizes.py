"""The batch sizes that are remembered."""

from __future__ import annotations

import dataclasses

import pytest

from featx.features.batch_sizes import (
    BATCH_SIZES,
    BatchFit,
    BatchPlace,
    remember_batch_size,
    remembered_batch_size,
)
from featx.progress import Silent

PLACE = BatchPlace("NVIDIA H100", "float32", 224, (("resnet50", ("avg_pool",)),), host="box")


def test_each_place_has_its_own_size_and_the_last_one_counts(tmp_path):
    others = [
        dataclasses.replace(PLACE, **change)
        for change in (
            {"gpu": "NVIDIA A40"},
            {"precision": "float16"},
            {"image_size": 299},
            {"networks": (("resnet50", ("conv5",)),)},
            {"host": "laptop"},
        )
    ]
    remember_batch_size(tmp_path, PLACE, 8)
    assert [remembered_batch_size(tmp_path, place) for place in (PLACE, *others)] == [8] + [None] * 5
    for size, place in enumerate(others, 10):
        remember_batch_size(tmp_path, place, size)
    remember_batch_size(tmp_path, PLACE, 4)
    assert [remembered_batch_size(tmp_path, place) for place in (PLACE, *others)] == [4, 10, 11, 12, 13, 14]


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "3", "[3]", '[{"place": 1}]', '[{"place": {}, "batch_size": 0}]', "\xff"]
)
def test_a_damaged_file_counts_as_empty_and_is_replaced(tmp_path, text):
    (tmp_path / BATCH_SIZES).write_bytes(text.encode("latin-1"))
    assert remembered_batch_size(tmp_path, PLACE) is None
    remember_batch_size(tmp_path, PLACE, 2)
    assert remembered_batch_size(tmp_path, PLACE) == 2


def test_odd_sizes_are_halved_upwards_and_each_is_told_once():
    sizes, worked = [], []
    fit = BatchFit(7, sizes.append, worked.append, "cpu", Silent())
    for _ in range(3):
        fit.done()
        fit.done()
        fit.halve("full")
    assert (sizes, worked) == ([4, 2, 1], [7, 4, 2])
