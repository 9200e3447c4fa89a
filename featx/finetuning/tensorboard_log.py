"""Logs for TensorBoard: the metrics of every epoch, written by tensorboardX under any backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featx.errors import ConfigError

__all__ = ["TensorboardLog", "find_writer", "open_log"]

_TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_auc": "auc/validation",
    "learning_rate": "learning_rate",
}


class TensorboardLog:
    """Log of one training."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, row: Mapping[str, Any], speed: float) -> None:
        """Add an epoch: its row of the history, and its images per second."""
        for column, tag in _TAGS.items():
            if row[column] is not None:
                self._writer.add_scalar(tag, row[column], row["epoch"])
        self._writer.add_scalar("images_per_second", speed, row["epoch"])
        self._writer.flush()


def find_writer() -> Any:
    """Import tensorboardX's writer."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError(f"--tensorboard: {error}; run `pip install 'featx[tensorboard]'`") from error
    return SummaryWriter


@contextmanager
def open_log(folder: Path | None) -> Iterator[TensorboardLog | None]:
    """Open the log of one training, if there is a folder.

    A training that is resumed adds a file to the folder; TensorBoard joins them.
    """
    if folder is None:
        yield None
        return
    writer = find_writer()(str(folder))
    try:
        yield TensorboardLog(writer)
    finally:
        writer.close()
