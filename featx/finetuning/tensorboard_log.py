"""What TensorBoard shows of a training: the numbers of every epoch, by tensorboardX, under any backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featx.errors import ConfigError

__all__ = ["Board", "check_board", "open_board"]


_NAMES = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_auc": "auc/validation",
    "learning_rate": "learning_rate",
}


class Board:
    """Writer of one training's numbers."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, row: Mapping[str, Any], speed: float) -> None:
        """Add an epoch."""
        for column, name in _NAMES.items():
            if row[column] is not None:
                self._writer.add_scalar(name, row[column], row["epoch"])
        self._writer.add_scalar("images_per_second", speed, row["epoch"])
        self._writer.flush()


def check_board() -> Any:
    """Import the writer."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ConfigError(f"--tensorboard: {error}; pip install 'featx[tensorboard]'") from error
    return SummaryWriter


@contextmanager
def open_board(folder: Path | None) -> Iterator[Board | None]:
    """Open the writer of one training.

    A training that is taken up adds a file to the folder, and TensorBoard joins them.
    """
    if folder is None:
        yield None
        return
    writer = check_board()(str(folder))
    try:
        yield Board(writer)
    finally:
        writer.close()
