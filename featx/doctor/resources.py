"""Checks of cores, threads, memory, shared memory and the limits of this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from featx.machine import available_memory, usable_cores

from .check_rows import CheckContext, CheckRow, note, ok, problem

__all__ = ["check_cores", "check_limits", "check_memory", "check_shared_memory", "check_threads"]

_GB = 1e9
# An extraction by MobileNet with TensorFlow takes about 1 GB.
_LEAST_MEMORY, _LOW_MEMORY = 1.0 * _GB, 4.0 * _GB
# Containers of Docker have 64 MiB.
_LOW_SHARED = 128 << 20
_LEAST_FILES, _LOW_FILES = 64, 1024
_LEAST_FILE_SIZE = 1 << 30
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def check_cores(context: CheckContext) -> Iterator[CheckRow]:
    """Compare the cores that this process may use with those of the machine."""
    usable, there = usable_cores(context.root), os.cpu_count() or 1
    limited = ", limited by its affinity or a CPU quota" if usable < there else ""
    yield ok("cores", f"{usable} of {there} usable{limited}", {"usable": usable, "machine": there})


def check_threads(context: CheckContext) -> Iterator[CheckRow]:
    """Find environment variables that give libraries too many or too few threads."""
    usable = usable_cores(context.root)
    given = {name: context.environment[name] for name in _THREADS if name in context.environment}
    odd = False
    for name, value in given.items():
        # OMP_NUM_THREADS may name a number for each level of nesting, TF_NUM_... 0 for all cores.
        first = value.partition(",")[0].strip()
        text = ""
        if not first.isdigit():
            text = "not a number of threads"
        elif int(first) > usable:
            text = f"more threads than the {usable} usable cores, which slow each other down"
        elif 0 < int(first) < usable and not name.endswith("INTEROP_THREADS"):
            text = f"fewer threads than the {usable} usable cores"
        if text:
            odd = True
            yield note(name, f"{value}: {text}", f"Unset {name}, unless this is intended.", {"value": value})
    if not odd:
        shown = ", ".join(f"{name}={value}" for name, value in given.items())
        yield ok("threads", shown or "the libraries use all cores; no variable limits them", given)


def check_memory(context: CheckContext) -> Iterator[CheckRow]:
    """Compare the memory that this process may take with what an extraction needs."""
    free, total = available_memory(context.root), _meminfo(context, "MemTotal:")
    figures = {"available": free, "machine": total}
    text = f"{free / _GB:.1f} GB available of {total / _GB:.1f} GB"
    if total and free < _meminfo(context, "MemAvailable:"):
        text += ", limited by a control group"
    if free < _LEAST_MEMORY:
        yield problem(
            "memory",
            f"{text}; an extraction by a small network needs about {_LEAST_MEMORY / _GB:.0f} GB",
            "Ask the batch system or the container for more memory, or end other processes.",
            figures,
        )
    elif free < _LOW_MEMORY:
        remedy = "Use a small --batch-size and few --workers, or ask for more memory."
        yield note("memory", f"{text}; large networks may not fit", remedy, figures)
    else:
        yield ok("memory", text, figures)


def _meminfo(context: CheckContext, name: str) -> int:
    """Read a line of /proc/meminfo in bytes; 0 where there is none."""
    try:
        lines = (context.root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)


def check_shared_memory(context: CheckContext) -> Iterator[CheckRow]:
    """Check the size of /dev/shm, through which processes of one machine share arrays on Linux."""
    place = context.root / "dev/shm"
    if sys.platform == "darwin" or not hasattr(os, "statvfs"):
        return  # macOS and Windows share memory in other ways
    try:
        facts = os.statvfs(place)
    except OSError:
        yield note("/dev/shm", "missing", "Mount a tmpfs there if worker processes fail.")
        return
    size, free = facts.f_blocks * facts.f_frsize, facts.f_bavail * facts.f_frsize
    text = f"{free / _GB:.1f} GB free of {size / _GB:.1f} GB"
    figures = {"size": size, "free": free}
    if free < _LOW_SHARED:
        yield note("/dev/shm", text, "Start the container with --shm-size 1g.", figures)
    else:
        yield ok("/dev/shm", text, figures)


def check_limits(context: CheckContext) -> Iterator[CheckRow]:
    """Check the limits of open files, of the size of files and of address space; Windows has none of these."""
    try:
        import resource
    except ImportError:
        return
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    figures = {"open_files": files, "open_files_at_most": most}
    unlimited = resource.RLIM_INFINITY
    remedy = "Run `ulimit -n 4096` before featx."
    text = "unlimited" if files == unlimited else f"{files:,}"
    if files != unlimited and files < _LEAST_FILES:
        yield problem("open files", f"{text} at a time; libraries alone open more", remedy, figures)
    elif files != unlimited and files < _LOW_FILES:
        yield note("open files", f"{text} at a time", remedy, figures)
    else:
        yield ok("open files", f"{text} at a time", figures)
    largest, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if largest != unlimited and largest < _LEAST_FILE_SIZE:
        yield problem(
            "size of files",
            f"limited to {largest / 1e6:.0f} MB; weights and blocks of features may be larger",
            "Run `ulimit -f unlimited` before featx.",
            {"bytes": largest},
        )
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != unlimited:
        yield note(
            "address space",
            f"limited to {space / _GB:.1f} GB; TensorFlow and CUDA reserve more than they use",
            "Limit memory by a control group instead of `ulimit -v`.",
            {"bytes": space},
        )
