"""Progress on a terminal (a bar) and in a batch log (a line a minute), always on stderr."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from featx.progress import Progress

_LOG_SECONDS = 60.0


def progress() -> Progress:
    """Choose the receiver that suits stderr."""
    if not sys.stderr.isatty():
        return _Lines()
    bar = _Bar()
    # An interrupt or an error leaves the bar's line before anything is said about it.
    if (context := click.get_current_context(silent=True)) is not None:
        context.call_on_close(bar.finish)
    return bar


class _Lines:
    """A line a minute, for batch logs."""

    def __init__(self) -> None:
        self._task, self._unit, self._total, self._done = "", "images", 0, 0
        self._begun = self._shown = time.monotonic()

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self._task, self._unit, self._total, self._done = task, unit, total, 0
        self._begun = self._shown = time.monotonic()

    def advance(self, count: int = 1) -> None:
        self._done += count
        if time.monotonic() - self._shown >= _LOG_SECONDS:
            self._show()

    def say(self, message: str) -> None:
        click.echo(message, err=True)

    def finish(self) -> None:
        self._total = 0

    def _show(self) -> None:
        self._shown = time.monotonic()
        rate = self._done / max(self._shown - self._begun, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        self.say(
            f"{self._task}: {self._done}/{self._total} {self._unit}, {rate:.1f} {self._unit}/s, {left:.0f} s left"
        )


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
