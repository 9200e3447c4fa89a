"""How the library tells whoever called it how far it is.

The library never prints. It calls the methods below; the command line passes an object that draws a bar on a
terminal and writes a line a minute into a batch log.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Receiver of progress and messages."""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin a task of `total` units; a task begun before is over."""

    def advance(self, count: int = 1) -> None:
        """Count units done."""

    def say(self, message: str) -> None:
        """Show one line to the user."""

    def finish(self) -> None:
        """End the task begun last."""


class Silent:
    """A receiver that shows nothing."""

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Ignore."""

    def advance(self, count: int = 1) -> None:
        """Ignore."""

    def say(self, message: str) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Ignore."""
