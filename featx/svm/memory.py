"""How much memory there is, asked before work that could need more; and freed memory given back."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from pathlib import Path

from featx.errors import ConfigError

__all__ = ["available_memory", "give_back_freed", "require_memory"]

_CONTROL_GROUP = Path("/sys/fs/cgroup")
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 4 << 20


def available_memory() -> int:
    """Measure the memory that this process may still take.

    Returns
    -------
    int
        Bytes: what the kernel calls available, or what the control group leaves if that is less.
    """
    found = [_meminfo()]
    limit, used = (_number(_CONTROL_GROUP / name) for name in ("memory.max", "memory.current"))
    if limit is not None and used is not None:
        found.append(limit - used)
    return max(0, min(found))


def _meminfo() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    kilobytes = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) * 1024


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or `max`: no limit
        return None


@cache
def give_back_freed() -> bool:
    """Have large arrays go back to the system as soon as they are freed, in this process from now on.

    By itself glibc raises the size from which it does so to that of what has been freed, up to 32 MiB, and keeps
    what is smaller: a search then holds the squares of steps long past.

    Returns
    -------
    bool
        Whether there is such a setting here: not with another C library.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except (AttributeError, OSError):
        return False


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse work that does not fit into memory, before it is begun.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What needs them.
    advice : str
        What to do if there is less.

    Raises
    ------
    ConfigError
        If there is less; the message holds both figures.
    """
    there = available_memory()
    if needed > there:
        raise ConfigError(
            f"{what} need {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are available; {advice}"
        )
