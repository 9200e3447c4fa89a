"""Progress on a terminal (a bar) and in a batch log (a line a minute), always on stderr."""

from __future__ import annotations

import sys
from typing import Any

import click

from featx.batch_log import BatchLog
from featx.progress import Progress

from .batch import current_batch


def progress() -> Progress:
    """Choose the receiver that suits stderr; what it is told is also recorded for the end of the command."""
    return current_batch().also(_shown())


def _shown() -> Progress:
    if not sys.stderr.isatty():
        return BatchLog(lambda line: click.echo(line, err=True))
    bar = _Bar()
    # An interrupt or an error leaves the bar's line before anything is said about it.
    if (context := click.get_current_context(silent=True)) is not None:
        context.call_on_close(bar.finish)
    return bar


class _Bar:
    """A bar with units a second and the time left."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None

    def start(self, task: str, total: int, unit: str = "images") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.finish()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self._bar = RichProgress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task(task, total=total, rate="")
        self._unit = unit
        self._bar.start()

    def advance(self, count: int = 1) -> None:
        if self._bar is None:
            return
        speed = self._bar.tasks[0].speed
        self._bar.update(self._task, advance=count, rate=f"{speed:.1f} {self._unit}/s" if speed else "")

    def say(self, message: str) -> None:
        if self._bar is None:
            click.echo(message, err=True)
        else:
            self._bar.console.print(message, markup=False, highlight=False)

    def finish(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
