"""How a process is asked to stop: SIGINT (Ctrl-C), SIGTERM and SIGHUP."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "interruptible", "on_signal"]

# `timeout` and batch systems signal a process and its group: two signals within this time are one.
_SAME_SECONDS = 0.2


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; a KeyboardInterrupt, so that no ``except Exception`` takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def on_signal(act: Callable[[int, bool], None]) -> Iterator[None]:
    """Call a function whenever the process is asked to stop.

    Yields
    ------
    None
        The former handlers are set again at the end. In a thread other than the main one signals stay with whoever
        has them, and so does a signal that is ignored, as SIGHUP is below ``nohup``.
    """
    first: list[float] = []

    def handle(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if first and now - first[0] < _SAME_SECONDS:
            return
        first[:] = first or [now]
        act(number, now > first[0])

    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if main else ()
    before = {number: signal.getsignal(number) for number in numbers}
    taken = {number: former for number, former in before.items() if former != signal.SIG_IGN}
    for number in taken:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, former in taken.items():
            signal.signal(number, former)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal, and end the process at once at a further one.

    Yields
    ------
    None
        What runs here commits what it has when `Interrupted` passes through it.
    """

    def stop(number: int, again: bool) -> None:
        if again:
            os.write(2, b"featx: ended at once; what was committed is kept\n")
            os._exit(128 + number)
        raise Interrupted(number)

    with on_signal(stop):
        yield
