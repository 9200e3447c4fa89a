"""What Linux has and other systems lack: affinity, locks of open files, signals, ``/proc``; and what is done without.

macOS has no affinity and no ``/proc``; Windows has also no ``flock``, and only two signals. The library psutil, which
featx depends on except on Linux, tells there what ``/proc`` tells here.
"""

from __future__ import annotations

import _thread
import errno
import getpass
import importlib
import importlib.util
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = [
    "HAS_LOCKS",
    "affinity",
    "began",
    "end_session",
    "find_psutil",
    "interrupt_main",
    "lock",
    "lock_bytes",
    "move_threads",
    "open_flags",
    "raise_nice",
    "stop_signals",
    "unlock",
    "user_name",
]


def _module(name: str) -> Any:
    """Import a module that not every system has; None without it."""
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


_fcntl = _module("fcntl")

HAS_LOCKS = _fcntl is not None
"""Whether an open file or folder can be locked by `lock`; not so on Windows."""


def affinity() -> list[int]:
    """Number the cores that this process may run on: all of the machine where a system has no affinity.

    Examples
    --------
    >>> len(affinity()) >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def move_threads(pid: int, cores: set[int]) -> bool:
    """Move all threads of a process to these cores; False if it has ended. Without affinity nothing is moved."""
    if not hasattr(os, "sched_setaffinity"):
        return True
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)
    except OSError:
        return False
    return True


def lock(handle: int, *, wait: bool = False) -> None:
    """Lock an open file or folder until it is closed or its process ends.

    Raises
    ------
    BlockingIOError
        If another process has locked it, and `wait` is False.
    OSError
        With the number ``ENOTSUP`` where the system has no such locks; another one where the file system refuses.
    """
    if _fcntl is None:
        raise OSError(errno.ENOTSUP, "this system cannot lock open files")
    _fcntl.flock(handle, _fcntl.LOCK_EX | (0 if wait else _fcntl.LOCK_NB))


def lock_bytes(handle: int) -> None:
    """Lock the bytes of an open file, as SQLite does, until it is closed; the errors are those of `lock`."""
    if _fcntl is not None:
        _fcntl.lockf(handle, _fcntl.LOCK_EX | _fcntl.LOCK_NB)


def unlock(handle: int) -> None:
    """Free a lock before its file is closed."""
    if _fcntl is not None:
        _fcntl.flock(handle, _fcntl.LOCK_UN)


def open_flags(*names: str) -> int:
    """Combine flags of `os.open`, without those that this system lacks; Windows also needs to be told of bytes.

    Examples
    --------
    >>> open_flags("O_RDONLY", "O_OF_NO_SYSTEM") == os.O_RDONLY
    True
    """
    flags = 0
    for name in (*names, "O_BINARY"):
        flags |= getattr(os, name, 0)
    return flags


def stop_signals() -> tuple[signal.Signals, ...]:
    """Name the signals that ask a process to stop.

    Examples
    --------
    >>> signal.SIGINT in stop_signals()
    True
    """
    known = (getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP"))
    return tuple(number for number in known if number is not None)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that was started in a session of its own, and what it has left there; without sessions, itself."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def interrupt_main() -> None:
    """Interrupt the main thread as Ctrl-C does, from another one."""
    if hasattr(signal, "SIGKILL"):
        # Cuts waiting for the system short too.
        os.kill(os.getpid(), signal.SIGINT)
    else:
        _thread.interrupt_main()


def raise_nice(nice: int) -> None:
    """Raise the nice value (0 to 19) of all threads of this process where it is below; Windows has one step only."""
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
    found: ModuleType | None = _module("psutil")
    return found


def user_name() -> str:
    """Name the user of this process: the number, or the name where users have no numbers."""
    return str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
