"""Signals that ask the process to stop, its priority, and what TensorFlow may write to its stderr.

macOS has no ``/proc``; Windows also has only two of the signals, and no sessions. The library psutil, which featx
depends on except on Linux, tells there of processes what ``/proc`` tells here.
"""

from __future__ import annotations

import _thread
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

__all__ = [
    "Interrupted",
    "began",
    "end_session",
    "find_psutil",
    "interrupt_main",
    "interruptible",
    "lower_priority",
    "on_signal",
    "quieten_tensorflow",
    "stop_signals",
]


# `timeout` and batch systems signal a process and its group: two signals within this time are one.
_SAME_SECONDS = 0.2
# By then whatever has ignored an interruption has returned; if not, the next one is raised after as long again.
_AGAIN_SECONDS = 0.05


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
    numbers = stop_signals() if main else ()
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
def interruptible(at_once: Callable[[int], None] | None = None) -> Iterator[None]:
    """Raise `Interrupted` in the main thread at the first signal, and end the process at once at a further one.

    Parameters
    ----------
    at_once : callable, optional
        Called with the number of the further signal before the process ends.

    Yields
    ------
    None
        What runs here commits what it has when `Interrupted` passes through it.
    """

    def stop(number: int, again: bool) -> None:
        if again:
            try:
                if at_once is not None:
                    at_once(number)
            finally:
                os.write(2, b"featx: ended at once; what was committed is kept\n")
                os._exit(128 + number)
        raise Interrupted(number)

    with on_signal(stop), _raised_again():
        yield


@contextmanager
def _raised_again() -> Iterator[None]:
    """Raise `Interrupted` again where Python has ignored it, as it does in callbacks of the garbage collector."""
    # Without timers (Windows), what was ignored stays ignored until the next signal.
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    ignored: list[Interrupted] = []
    hook, handler = sys.unraisablehook, signal.getsignal(signal.SIGALRM)

    def unraisable(report: Any) -> None:
        if not isinstance(report.exc_value, Interrupted):
            hook(report)
            return
        ignored[:] = [report.exc_value]
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def alarm(number: int, frame: FrameType | None) -> None:
        raise Interrupted(ignored[0].number)

    sys.unraisablehook = unraisable
    signal.signal(signal.SIGALRM, alarm)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = hook


def lower_priority(nice: int) -> None:
    """Give way to other processes: raise the nice value to `nice` (0 to 19) in all threads, where it is below.

    Calling this again with the same value changes nothing. A child process inherits the value. Windows has one step.
    """
    if not hasattr(os, "setpriority"):
        psutil = find_psutil()
        if nice and psutil is not None and hasattr(psutil, "BELOW_NORMAL_PRIORITY_CLASS"):
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        return
    threads = Path("/proc/self/task")
    # 0 is this process, all of whose threads have one value where there is no /proc.
    for number in [int(thread.name) for thread in threads.iterdir()] if threads.is_dir() else [0]:
        with suppress(ProcessLookupError):  # the thread has just ended
            if os.getpriority(os.PRIO_PROCESS, number) < nice:
                os.setpriority(os.PRIO_PROCESS, number, nice)


def stop_signals() -> tuple[signal.Signals, ...]:
    """Name the signals that ask a process to stop.

    Examples
    --------
    >>> signal.SIGINT in stop_signals()
    True
    """
    known = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    return tuple(number for number in known if number is not None)


def interrupt_main() -> None:
    """Interrupt the main thread as Ctrl-C does, from another one."""
    if hasattr(signal, "SIGKILL"):
        # Cuts waiting for the system short too.
        os.kill(os.getpid(), signal.SIGINT)
    else:
        _thread.interrupt_main()


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started in a session of its own, and what it has left there; without sessions, itself."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def began(pid: int) -> str:
    """Tell when a process began, in words that are the same at each call; empty if it is gone or has ended.

    Examples
    --------
    >>> began(os.getpid()) == began(os.getpid()) != ""
    True
    """
    with suppress(OSError):
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        # The name in brackets may hold spaces and brackets.
        fields = text.rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    psutil = None if Path("/proc/self").exists() else find_psutil()
    if psutil is not None:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    return ""


def find_psutil() -> ModuleType | None:
    """Import psutil, which tells of memory and processes without ``/proc``; None where it is not installed."""
    return importlib.import_module("psutil") if importlib.util.find_spec("psutil") else None


_LEVEL = "TF_CPP_MIN_LOG_LEVEL"


def quieten_tensorflow(debug: bool = False) -> None:
    """Keep TensorFlow's notes on CUDA, oneDNN and logging off stderr, in this process and those that it starts.

    TensorFlow's own level is raised; what its libraries write all the same while they are loaded is held back, and
    shown only where the import fails. Nothing is imported here, and no arithmetic is changed.

    Notes
    -----
    Whoever has set ``TF_CPP_MIN_LOG_LEVEL`` to 0 sees everything.
    """
    shown = os.environ.setdefault(_LEVEL, "0" if debug else "3") == "0"
    waiting = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if not (shown or waiting or "tensorflow" in sys.modules):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow where the others do, and lets it load in silence."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            # Of this loader alone: it is made for this one module.
            spec.loader.exec_module = lambda module: _silently(load, module)  # type: ignore[method-assign]
        return spec


def _silently(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    """Load a module with the file behind stderr exchanged, which libraries in C++ write to directly."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            load(module)
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
