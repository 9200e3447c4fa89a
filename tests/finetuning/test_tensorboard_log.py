"""Logs for TensorBoard, read back with tensorboardX."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from featx.errors import ConfigError
from featx.finetuning.tensorboard_log import find_writer, open_log


def test_every_epoch_is_logged(tmp_path: Path) -> None:
    proto = pytest.importorskip("tensorboardX.proto.event_pb2", reason="tensorboardX is not installed")
    row = {"epoch": 1, "loss": 0.5, "validation_loss": 0.25, "validation_auc": None, "learning_rate": 0.125}
    with open_log(tmp_path) as log:
        assert log
        log.write(row, 30.0)
        log.write({**row, "epoch": 2, "validation_auc": 0.75}, 32.0)
    (file,) = tmp_path.iterdir()
    data, shown = file.read_bytes(), {}
    while data:  # length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        event = proto.Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            shown.setdefault(value.tag, []).append((event.step, value.simple_value))
        data = data[16 + length :]
    assert shown == {
        "loss/training": [(1, 0.5), (2, 0.5)],
        "loss/validation": [(1, 0.25), (2, 0.25)],
        "auc/validation": [(2, 0.75)],
        "learning_rate": [(1, 0.125), (2, 0.125)],
        "images_per_second": [(1, 30.0), (2, 32.0)],
    }


def test_without_a_folder_there_is_no_log() -> None:
    with open_log(None) as log:
        assert log is None


def test_a_missing_tensorboardx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match=r"run `pip install 'featx\[tensorboard\]'`$"):
        find_writer()
