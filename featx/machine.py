"""What this process may use of the machine: cores and memory, by its affinity and its control groups.

A batch system or a container gives a process a part of the machine. The number of cores and the free memory of the
whole machine say nothing of it.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from featx.errors import ConfigError
from featx.process import find_psutil

__all__ = [
    "affinity",
    "available_memory",
    "environment",
    "give_back_freed",
    "move_threads",
    "peak_memory",
    "rare_collections",
    "require_memory",
    "resident_memory",
    "usable_cores",
    "versions",
]


_ROOT = Path("/")
_LARGE = 4 << 20

# Objects after which young garbage is collected, and rounds of it that no process reaches.
_YOUNG, _NEVER = 20_000, 1 << 30


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


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that this process may use.

    Returns
    -------
    int
        At least 1: the cores of its affinity, or as many whole ones as the CPU quotas of its control groups and of
        those above them pay for, if that is less.

    Examples
    --------
    >>> 1 <= usable_cores() <= os.cpu_count()
    True
    """
    quotas = [_quota(folder) for folder in _control_groups(root, "cpu")]
    return max(1, min([len(affinity()), *(int(quota) for quota in quotas if quota is not None)]))


def available_memory(root: Path = _ROOT) -> int:
    """Measure the memory that this process may still take.

    Returns
    -------
    int
        Bytes: what the kernel calls available, or what the tightest of the process's control groups and of those
        above them leaves if that is less. File pages that are not in use count as free, since the kernel drops them
        before it refuses memory.

    Examples
    --------
    >>> available_memory() > 0
    True
    """
    left = [_left(folder) for folder in _control_groups(root, "memory")]
    return max(0, min([_meminfo(root), *(amount for amount in left if amount is not None)]))


def resident_memory(root: Path = _ROOT) -> int:
    """Measure the memory of this process and the processes below it.

    Returns
    -------
    int
        Bytes: the sum of their resident sets. Pages that several of them share count for each.

    Examples
    --------
    >>> resident_memory() > 0
    True
    """
    pages: dict[int, int] = {}
    below: dict[int, list[int]] = {}
    for file in (root / "proc").glob("[0-9]*/stat"):
        # The name in brackets may hold spaces and brackets.
        fields = _text(file).rpartition(")")[2].split()
        if len(fields) > 21:
            number = int(file.parent.name)
            pages[number] = int(fields[21])
            below.setdefault(int(fields[1]), []).append(number)
    if not pages:
        return _resident_by_psutil()
    total, waiting = 0, [os.getpid()]
    while waiting:
        number = waiting.pop()
        total += pages.get(number, 0)
        waiting += below.get(number, [])
    return total * os.sysconf("SC_PAGE_SIZE")


def _resident_by_psutil() -> int:
    psutil = find_psutil()
    if psutil is None:
        return 0
    total, this = 0, psutil.Process()
    for process in (this, *this.children(recursive=True)):
        with suppress(psutil.Error):  # it has just ended
            total += int(process.memory_info().rss)
    return total


def peak_memory(root: Path = _ROOT) -> int:
    """Return the largest resident set that this process has had, in bytes; 0 where the kernel does not tell.

    Examples
    --------
    >>> peak_memory() > 0
    True
    """
    for line in _text(root / "proc/self/status").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """List the folders of this process's control groups for a controller, versions 1 and 2, innermost first.

    A container that does not see the groups above its own has that one at the place of the root.
    """
    top = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = top / controller if controllers else top
        inside = base.joinpath(*(part for part in path.split("/") if part not in ("", "..")))
        yield from (folder for folder in (inside, *inside.parents) if folder.is_relative_to(base))


def _left(folder: Path) -> int | None:
    """Limit less what is used for good; None without a limit."""
    for limit, used, inactive in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, taken = _number(folder / limit), _number(folder / used)
        if most is not None and taken is not None:
            counted = dict(line.split(maxsplit=1) for line in _text(folder / "memory.stat").splitlines())
            return most - taken + int(counted.get(inactive, 0))
    return None


def _quota(folder: Path) -> float | None:
    """Cores that a quota pays for; None without one."""
    quota, *rest = _text(folder / "cpu.max").split() or ["max"]
    if quota != "max":
        return int(quota) / int(*rest)
    spent, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return spent / period if spent is not None and period and spent > 0 else None


def _meminfo(root: Path) -> int:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    psutil = find_psutil()
    if psutil is not None:
        return int(psutil.virtual_memory().available)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _number(path: Path) -> int | None:
    """Read a number; None where there is no such file, or it says ``max``."""
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def versions(names: Iterable[str]) -> dict[str, str]:
    """Look up the versions of installed distributions, and of Python, without importing them."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def environment(durations: Mapping[str, float], **facts: Any) -> dict[str, Any]:
    """Describe the machine, the time and the seconds for each stage, for ``environment.json``."""
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {name: round(value, 4) for name, value in durations.items()},
        **facts,
    }


_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


# The thresholds that each running body of `rare_collections` found, in any thread: the first are those to give back.
_FOUND: list[tuple[int, int, int]] = []
_COLLECTOR = threading.Lock()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect only young garbage while the body, or the decorated function, makes very many objects that it keeps.

    Python's collector otherwise goes through all objects of the process each time that they have grown by a quarter.
    """
    with _COLLECTOR:
        before = gc.get_threshold()
        _FOUND.append(before)
        if before[0]:
            gc.set_threshold(max(before[0], _YOUNG), max(before[1], 20), _NEVER)
    try:
        yield
    finally:
        with _COLLECTOR:
            before = _FOUND[0]
            _FOUND.pop()
            if not _FOUND:
                gc.set_threshold(*before)


@cache
def give_back_freed() -> bool:
    """Have large arrays go back to the system as soon as they are freed, in this process from now on.

    By itself glibc raises the size from which it does so to that of what has been freed, up to 32 MiB, and keeps
    what is smaller: a search then holds the squares of steps long past.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except (AttributeError, OSError, TypeError):
        return False


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse work that does not fit into memory, before it is begun."""
    there = available_memory()
    if needed > there:
        raise ConfigError(
            f"{what} need {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are available; {advice}"
        )
