"""Checkpoints: what is written, read back, and ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.finetuning.checkpoint import Checkpoint, TrainingState


def state(epoch: int, best: int) -> TrainingState:
    rows = [{"epoch": number + 1} for number in range(epoch)]
    return TrainingState(epoch, rows, best, [np.full(3, best)] if best else [], [np.arange(epoch), np.eye(2)])


@pytest.mark.parametrize("best", [0, 1, 2])
def test_a_state_is_read_back(tmp_path: Path, best: int) -> None:
    Checkpoint(tmp_path, "inputs").save(state(2, best))
    found = Checkpoint(tmp_path, "inputs").load()
    assert found
    assert (found.epoch, found.history, found.best_epoch) == (2, [{"epoch": 1}, {"epoch": 2}], best)
    assert all(map(np.array_equal, found.best, state(2, best).best))
    assert all(map(np.array_equal, found.arrays, state(2, best).arrays))


def test_only_the_best_weights_stay_on_disk(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "inputs").save(state(1, 1))
    resumed = Checkpoint(tmp_path, "inputs")
    assert resumed.load()
    resumed.save(state(2, 1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-1.npz", "state.npz"]
    resumed.save(state(3, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-3.npz", "state.npz"]
    resumed.discard()
    assert not tmp_path.exists()


@pytest.mark.parametrize("damage", ["other inputs", "truncated", "no best weights", "no checkpoint"])
def test_a_checkpoint_that_cannot_be_used_is_ignored(tmp_path: Path, damage: str) -> None:
    Checkpoint(tmp_path, "inputs").save(state(2, 1))
    file, inputs = tmp_path / "state.npz", "inputs"
    if damage == "other inputs":
        inputs = "others"
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:400])
    elif damage == "no best weights":
        (tmp_path / "best-1.npz").unlink()
    else:
        file.unlink()
    assert Checkpoint(tmp_path, inputs).load() is None
