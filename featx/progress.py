"""How the library tells whoever called it how far it is.

The library never prints. It calls the methods below; the command line passes an object that draws a bar on a
terminal and writes a line a minute into a batch log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

__all__ = ["BusySeconds", "Progress", "Silent", "StagedProgress", "pass_stages"]

# Stage to a function that returns the seconds that it has been busy; divided by the threads of the stage.
BusySeconds = Mapping[str, Callable[[], float]]


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


@runtime_checkable
class StagedProgress(Progress, Protocol):
    """Receiver that also shows how busy the stages of a task are."""

    def stages(self, busy: BusySeconds) -> None:
        """Take the stages of the task begun last."""


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


def pass_stages(progress: Progress, busy: BusySeconds) -> None:
    """Give the stages of the task begun last to a receiver that shows them; others never see them.

    Parameters
    ----------
    progress : Progress
        The receiver.
    busy : mapping of str to callable
        Stage to a function that returns the seconds that it has been busy so far, divided by its threads.

    Examples
    --------
    >>> pass_stages(Silent(), {"decode": lambda: 0.5})
    """
    if isinstance(progress, StagedProgress):
        progress.stages(busy)
