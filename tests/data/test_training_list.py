"""The training set of a run as a file."""

from __future__ import annotations

import pytest

from featx.data.training_list import TRAINING_SET, TrainingImage, training_set, training_set_bytes
from featx.errors import RunError
from featx.runs import Run, RunRecord, write_run

IMAGES = (TrainingImage("=a,b", "nevus", "p1", "ab" * 32), TrainingImage("c", "mel", "it's", "cd" * 32))


def write(folder, data: bytes) -> Run:
    record = RunRecord(
        kind="svm", arm="a", task="t", classes=("nevus", "mel"), scored=("mel",), protocol="5x2", fold="1x1",
        folds_digest="", seed=0, manifest={}, features={}, settings={},
    )  # fmt: skip
    return write_run(folder / "run", record, (), {}, {TRAINING_SET: data} if data else {})


def test_what_was_written_is_read(tmp_path):
    assert training_set(write(tmp_path, training_set_bytes(IMAGES))) == IMAGES


def test_runs_of_earlier_versions_have_none(tmp_path):
    assert training_set(write(tmp_path, b"")) == ()


def test_a_changed_file_and_another_one_are_refused(tmp_path):
    run = write(tmp_path, training_set_bytes(IMAGES))
    (run.path / TRAINING_SET).write_bytes(training_set_bytes(IMAGES[:1]))
    with pytest.raises(RunError, match=r"training_set.csv was changed"):
        training_set(run)
    with pytest.raises(RunError, match="not the list of a training set"):
        training_set(write(tmp_path, b"id,label\na,b\n"))


def test_further_columns_of_the_manifest_are_kept(tmp_path):
    images = (
        TrainingImage("a", "nevus", "p1", "ab" * 32, {"sex": "male", "=age": "=40"}),
        TrainingImage("b", "mel", "p2", "cd" * 32, {"sex": "", "=age": "50"}),
    )
    assert training_set(write(tmp_path, training_set_bytes(images))) == images
