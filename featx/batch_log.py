"""Progress of batch jobs: rates, busy stages, memory and GPUs, as a line a minute or as JSON types."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from featx.errors import FeatxError
from featx.gpus import visible_gpus
from featx.machine import resident_memory
from featx.progress import BusySeconds, Progress

__all__ = ["BatchLog", "GpuUse", "RateMeter", "Reading", "duration_text", "rate_text"]

_LOG_SECONDS = 60.0
# A rate is given for the first of these in which there is at least one unit.
_PERIODS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))


@dataclass(frozen=True)
class GpuUse:
    """A GPU: its index, its utilisation in percent, and its allocated memory in bytes (of all processes)."""

    index: int
    percent: int
    used: int


@dataclass(frozen=True)
class Reading:
    """A task at a moment.

    Attributes
    ----------
    task, unit : str
        Name of the task, and of what it counts.
    done, total : int
        Units counted, and units of the whole task.
    seconds : float
        Time since the task began.
    rate, recent : float
        Units per second since the task began, and since the last line.
    stages, busy : mapping of str to float
        Stage to the fraction of the time that it was busy: since the last line, and since the task began.
    memory : int
        Resident memory of the process and its children, in bytes.
    gpus : tuple of GpuUse
        The visible GPUs; empty without pynvml.
    """

    task: str
    done: int
    total: int
    unit: str
    seconds: float
    rate: float
    recent: float
    stages: Mapping[str, float] = field(default_factory=dict)
    busy: Mapping[str, float] = field(default_factory=dict)
    memory: int = 0
    gpus: tuple[GpuUse, ...] = ()

    @property
    def left(self) -> float | None:
        """Seconds left at the rate since the task began; None before the first unit."""
        return max(self.total - self.done, 0) / self.rate if self.rate else None

    def line(self) -> str:
        """Return the line of a batch log.

        Returns
        -------
        str
            The line, without the time of day.

        Examples
        --------
        >>> Reading("extracting", 12_000, 40_000, "images", 38.7, 310.0, 305.0, {"decode": 0.45}, memory=2 << 30).line()
        'extracting: 12,000/40,000 images, 310 images/s (last minute 305), decode 45 %, memory 2.1 GB, 1 min 30 s left'
        """
        parts = [
            f"{self.done:,}/{self.total:,} {self.unit}",
            f"{rate_text(self.rate, self.unit)} (last minute {_scaled(self.recent, _period(self.rate)[1])})",
            *(f"{stage} {100 * share:.0f} %" for stage, share in self.stages.items()),
            f"memory {self.memory / 1e9:.1f} GB",
        ]
        for gpu in self.gpus:
            name = f"GPU {gpu.index}" if len(self.gpus) > 1 else "GPU"
            parts.append(f"{name} {gpu.percent} % {gpu.used / 1e9:.1f} GB")
        if self.left is not None:
            parts.append(f"{duration_text(self.left)} left")
        return f"{self.task}: {', '.join(parts)}"

    def record(self) -> dict[str, Any]:
        """Return the reading in JSON types; `stages` since the last line, `busy` since the task began."""
        return {
            "task": self.task,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "rate": round(self.rate, 4),
            "rate_last_minute": round(self.recent, 4),
            "stages": {stage: round(share, 4) for stage, share in self.stages.items()},
            "memory": self.memory,
            "gpu": [{"index": gpu.index, "percent": gpu.percent, "memory": gpu.used} for gpu in self.gpus],
            "seconds_left": None if self.left is None else round(self.left, 1),
        }


@dataclass(frozen=True)
class _Mark:
    """What a rate is measured from."""

    time: float = 0.0
    done: int = 0
    busy: Mapping[str, float] = field(default_factory=dict)


class RateMeter:
    """A receiver of progress that measures, and calls a function about once a minute.

    Parameters
    ----------
    show : callable
        Called with a `Reading` when units are counted and the last call is at least `seconds` ago.
    seconds : float
        Time between two calls.

    Examples
    --------
    >>> meter = RateMeter(lambda reading: print(reading.line()))
    >>> meter.start("folds", 10, "folds")
    >>> meter.advance(4)
    >>> reading = meter.reading()
    >>> reading.done, reading.total, reading.unit
    (4, 10, 'folds')
    """

    def __init__(self, show: Callable[[Reading], None], seconds: float = _LOG_SECONDS) -> None:
        self._show, self._seconds = show, seconds
        self._task, self._unit, self._total, self._done = "", "images", 0, 0
        self._busy: BusySeconds = {}
        self._begun = self._last = _Mark()
        # Threads that load images count too. A signal's handler may read while this thread counts.
        self._lock = threading.RLock()

    @property
    def running(self) -> bool:
        """Whether a task has begun and is not finished."""
        return bool(self._task)

    @property
    def text(self) -> str:
        """The task and its count, without what has to be measured."""
        return f"{self._task}: {self._done:,}/{self._total:,} {self._unit}"

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin a task."""
        self._task, self._unit, self._total, self._done, self._busy = task, unit, total, 0, {}
        self._begun = self._last = _Mark(time.monotonic())

    def stages(self, busy: BusySeconds) -> None:
        """Measure how busy the stages of the task are from now on."""
        self._busy = dict(busy)
        self._begun = self._last = self._mark()

    def advance(self, count: int = 1) -> None:
        """Count units done."""
        with self._lock:
            self._done += count
            if not self._task or time.monotonic() - self._last.time < self._seconds:
                return
            reading = self.reading()
            self._last = self._mark()
        self._show(reading)

    def say(self, message: str) -> None:
        """Ignore."""

    def finish(self) -> None:
        """End the task."""
        self._task, self._busy = "", {}

    def reading(self) -> Reading:
        """Measure now."""
        with self._lock:
            now = self._mark()
            seconds = now.time - self._begun.time
            return Reading(
                self._task,
                now.done,
                self._total,
                self._unit,
                seconds,
                _rate(self._begun, now),
                _rate(self._last, now),
                _shares(self._last, now),
                _shares(self._begun, now),
                resident_memory(),
                _gpu_use(),
            )

    def _mark(self) -> _Mark:
        return _Mark(
            time.monotonic(), self._done, {stage: seconds() for stage, seconds in self._busy.items()}
        )


class BatchLog(RateMeter, Progress):
    """A receiver of progress that writes lines: each message, and about once a minute how far the task is.

    Parameters
    ----------
    write : callable
        Called with each line.
    seconds : float
        Time between two lines about the task.

    Examples
    --------
    >>> log = BatchLog(print)
    >>> log.say("engine keras")
    engine keras
    """

    def __init__(self, write: Callable[[str], None], seconds: float = _LOG_SECONDS) -> None:
        super().__init__(lambda reading: write(f"{time.strftime('%H:%M:%S')} {reading.line()}"), seconds)
        self._write = write

    def say(self, message: str) -> None:
        """Write a line."""
        self._write(message)


def _rate(since: _Mark, now: _Mark) -> float:
    return (now.done - since.done) / max(now.time - since.time, 1e-9)


def _shares(since: _Mark, now: _Mark) -> dict[str, float]:
    """Fraction of the time that each stage was busy; work that began earlier may count for more than the time."""
    seconds = max(now.time - since.time, 1e-9)
    return {
        stage: min(max((busy - since.busy.get(stage, 0.0)) / seconds, 0.0), 1.0)
        for stage, busy in now.busy.items()
    }


def rate_text(rate: float, unit: str) -> str:
    """Write a rate per second, minute or hour, whichever is the first of at least one unit.

    Examples
    --------
    >>> rate_text(310.2, "images"), rate_text(0.05, "folds")
    ('310 images/s', '3.0 folds/min')
    """
    name, seconds = _period(rate)
    return f"{_scaled(rate, seconds)} {unit}/{name}"


def _period(rate: float) -> tuple[str, float]:
    return next((period for period in _PERIODS if rate * period[1] >= 1), _PERIODS[-1 if rate else 0])


def _scaled(rate: float, seconds: float) -> str:
    number = rate * seconds
    return f"{number:,.0f}" if number >= 99.95 else f"{number:.1f}"


def duration_text(seconds: float) -> str:
    """Write a duration in its two largest units.

    Examples
    --------
    >>> duration_text(90), duration_text(7 * 3600 + 300), duration_text(4.4)
    ('1 min 30 s', '7 h 5 min', '4 s')
    """
    whole = round(seconds)
    for large, small, size, parts in (("d", "h", 86400, 24), ("h", "min", 3600, 60), ("min", "s", 60, 60)):
        if whole >= size:
            return f"{whole // size} {large} {whole % size * parts // size} {small}"
    return f"{whole} s"


def _gpu_use() -> tuple[GpuUse, ...]:
    """Measure the GPUs that this process may use and of which NVML tells; a log goes on without the others."""
    with suppress(FeatxError):
        return tuple(
            GpuUse(gpu.index, gpu.utilisation, gpu.total - gpu.free)
            for gpu in visible_gpus()
            if gpu.utilisation is not None and gpu.total is not None and gpu.free is not None
        )
    return ()
