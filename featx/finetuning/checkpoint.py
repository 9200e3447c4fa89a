"""Checkpoints of a training. A resumed training ends with the bytes of an uninterrupted one.

A checkpoint is a folder with ``state.npz`` (everything that training changes, after the last whole epoch) and
``best-EPOCH.npz`` (the network at its best epoch so far). Both are written atomically, the best weights first, so that
an interruption at any moment leaves a state whose best weights exist. They are plain arrays without code.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.files import write_aside

__all__ = ["Checkpoint", "TrainingState"]

Array = NDArray[Any]


@dataclass
class TrainingState:
    """State of a training after an epoch.

    Attributes
    ----------
    epoch : int
        Number of whole epochs.
    history : list of dict
        A row for each epoch, JSON types.
    best_epoch : int
        Epoch of the best weights, from 1; 0 for none yet.
    best : list of ndarray
        The network's weights at that epoch.
    arrays : list of ndarray
        Everything that training changes, after the last epoch.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best: list[Array] = field(default_factory=list)
    arrays: list[Array] = field(default_factory=list)


class Checkpoint:
    """The checkpoint of one training.

    Parameters
    ----------
    inputs : str
        Digest of everything that decides the training; a checkpoint of another training is ignored.
    """

    def __init__(self, folder: Path, inputs: str) -> None:
        self._folder, self._inputs, self._kept = folder, inputs, 0

    def save(self, done: TrainingState) -> None:
        """Write the state; the best weights only if they are new."""
        if done.best_epoch != self._kept:
            _write(self._best(done.best_epoch), done.best)
        facts = {
            "inputs": self._inputs,
            "epoch": done.epoch,
            "best_epoch": done.best_epoch,
            "history": done.history,
        }
        _write(self._folder / "state.npz", done.arrays, facts)
        if done.best_epoch != self._kept and self._kept:
            self._best(self._kept).unlink(missing_ok=True)
        self._kept = done.best_epoch

    def load(self) -> TrainingState | None:
        """Return the state, or None if there is none for these inputs."""
        try:
            arrays, facts = _read(self._folder / "state.npz")
            if facts.get("inputs") != self._inputs:
                return None
            best = _read(self._best(facts["best_epoch"]))[0] if facts["best_epoch"] else []
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):
            # Missing or damaged: the training starts from its first epoch.
            return None
        self._kept = facts["best_epoch"]
        return TrainingState(facts["epoch"], facts["history"], facts["best_epoch"], best, arrays)

    def discard(self) -> None:
        """Remove the checkpoint."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _best(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch}.npz"


def _write(path: Path, arrays: Sequence[Array], facts: dict[str, Any] | None = None) -> None:
    text = np.frombuffer(json.dumps(facts or {}).encode(), np.uint8)
    named = {f"array_{number:05d}": array for number, array in enumerate(arrays)}
    with write_aside(path) as aside, aside.open("wb") as file:
        np.savez(file, facts=text, **named)  # type: ignore[arg-type]


def _read(path: Path) -> tuple[list[Array], dict[str, Any]]:
    with np.load(path, allow_pickle=False) as stored:
        facts: dict[str, Any] = json.loads(stored["facts"].tobytes())
        return [stored[name] for name in sorted(stored.files) if name != "facts"], facts
