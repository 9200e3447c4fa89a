"""Signals that ask the process to stop, its priority, copies of it, and what TensorFlow may write to its stderr.

macOS has no ``/proc`` and no safe copies; Windows also has only two of the signals, and no sessions. The library psutil, which featx
depends on except on Linux, tells there of processes what ``/proc`` tells here.
"""

from __future__ import annotations

import _thread
import gc
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, TypeVar, cast

__all__ = [
    "Interrupted",
    "began",
    "end_session",
    "find_psutil",
    "in_copies",
    "interrupt_main",
    "interruptible",
    "lower_priority",
    "on_signal",
    "quieten_tensorflow",
    "stop_signals",
]


_Made = TypeVar("_Made")

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


@contextmanager
def in_copies(make: Callable[[int], _Made], count: int, copies: int) -> Iterator[Iterator[_Made]]:
    """Make several things in copies of this process, which begin at once, while this process does something else.

    A copy has all that this process holds, so that nothing has to be sent to it. Only Linux copies processes safely:
    elsewhere, and with a single copy, each thing is made here when it is asked for.

    Parameters
    ----------
    make : callable
        Makes the n-th thing, from 0, which is sent back by pickle. It must not use threads of this process.
    count : int
        Number of things.
    copies : int
        Number of processes.

    Yields
    ------
    iterator
        The things in order. What a copy has failed to make, or was killed at, is made here, where an error has its traceback.

    Examples
    --------
    >>> with in_copies(lambda number: number**2, 4, copies=2) as made:
    ...     print(list(made))
    [0, 1, 4, 9]
    """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    alone = sys.platform != "linux" or multiprocessing.current_process().daemon
    if min(copies, count) < 2 or alone:
        yield map(make, range(count))
        return
    before = {*multiprocessing.active_children()}
    pool = ProcessPoolExecutor(min(copies, count), multiprocessing.get_context("fork"), _begin_copy, (make,))
    try:
        with warnings.catch_warnings():  # of threads, which a copy lacks: it does not need them
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [pool.submit(_make, place) for place in range(count)]
        working = {*multiprocessing.active_children()} - before

        def made(place: int) -> _Made:
            with suppress(Exception, BrokenProcessPool):  # made again here, where an error has its traceback
                return cast("_Made", futures[place].result())
            return make(place)

        yield map(made, range(count))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for one in working:
            one.terminate()
            one.join()


# What a copy makes, as it was when the process was copied.
_made_here: Callable[[int], object] | None = None


def _begin_copy(make: Callable[[int], object]) -> None:
    global _made_here
    _made_here = make
    gc.freeze()  # what was copied stays: it need not be searched, nor its memory be written to
    for one in stop_signals():
        # An interruption reaches the first process, which ends its copies.
        signal.signal(one, signal.SIG_IGN if one == signal.SIGINT else signal.SIG_DFL)


def _make(place: int) -> object:
    assert _made_here is not None
    return _made_here(place)


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
