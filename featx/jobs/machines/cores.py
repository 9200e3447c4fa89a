"""Cores and GPUs of this machine for jobs that run side by side.

Each core and GPU has a lock file in a folder of this user on this machine. A job holds the locks of what it uses; the kernel
gives them up however the process ends. So jobs of several studies, schedulers and batch jobs of one user keep out of
each other's way without knowing of each other. What is taken is shared, not waited for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featx.disks import lock, open_flags
from featx.errors import FeatxError
from featx.gpu_queue import user_folder
from featx.machine import affinity, usable_cores

__all__ = [
    "Claim",
    "claim_cores",
    "claim_gpu",
    "gpu_names",
    "share_of_cores",
    "tensorflow_threads",
    "thread_settings",
]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_TENSORFLOW_THREADS = "TF_NUM_INTRAOP_THREADS"


@dataclass
class Claim:
    """Names of cores or GPUs that a job uses, and the locks that say so."""

    names: tuple[str, ...]
    _locks: list[int] = field(default_factory=list)

    @property
    def cores(self) -> set[int]:
        """The numbers of the cores."""
        return {int(name) for name in self.names}

    def release(self) -> None:
        """Give up the locks."""
        for handle in self._locks:
            os.close(handle)
        self._locks.clear()


def share_of_cores(slots: int) -> int:
    """Number of cores of each of so many jobs at once: at least one, rounded up.

    Examples
    --------
    >>> share_of_cores(1) == usable_cores(), share_of_cores(10_000)
    (True, 1)
    """
    return -(-usable_cores() // max(slots, 1))


def claim_cores(count: int) -> Claim:
    """Claim cores of this process, free ones first.

    Returns
    -------
    Claim
        Its cores. All cores of the process are taken without locks: a job that has all of them has no neighbours.
    """
    here = [str(core) for core in affinity()]
    return _claim("core", here, count) if count < len(here) else Claim(tuple(here))


def claim_gpu(names: Sequence[str]) -> Claim:
    """Claim one of the GPUs of these names, a free one first; none if there are none."""
    return _claim("gpu", names, 1) if names else Claim(())


def _claim(kind: str, names: Sequence[str], count: int) -> Claim:
    """Take names whose lock is free first; then the others, beginning where the process's number says."""
    claim, free = Claim(()), list[str]()
    for name in names:
        if len(free) < count and (handle := _lock(f"{kind}-{name}")) is not None:
            claim._locks.append(handle)
            free.append(name)
    others = [name for name in names if name not in free]
    turn = os.getpid() % len(others) if others else 0
    claim.names = tuple(free + (others[turn:] + others[:turn])[: count - len(free)])
    return claim


def _lock(name: str) -> int | None:
    """Lock a file of this name; None if another process has it, or locks cannot be had here."""
    safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in name)
    try:
        handle = os.open(
            user_folder() / safe, open_flags("O_RDWR", "O_CREAT", "O_CLOEXEC", "O_NOFOLLOW"), 0o600
        )
    except (FeatxError, OSError):
        # A full disk, or a folder of somebody else, must not keep jobs from running: they share cores then.
        return None
    try:
        lock(handle)
    except OSError:
        os.close(handle)
        return None
    return handle


def gpu_names(settings: Mapping[str, str]) -> list[str]:
    """Name the GPUs that a process with these environment variables may use, as CUDA_VISIBLE_DEVICES does."""
    if "CUDA_VISIBLE_DEVICES" in settings:
        return [name for name in settings["CUDA_VISIBLE_DEVICES"].split(",") if name not in {"", "-1"}]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number, _ in enumerate(folder.iterdir())] if folder.is_dir() else []


def tensorflow_threads() -> int:
    """Number of threads among which TensorFlow divides an operation of this process.

    The last bits of a training on a CPU depend on it: worker processes have the number of their scheduler, on however
    many cores they run.

    Examples
    --------
    >>> tensorflow_threads() >= 1
    True
    """
    return int(os.environ.get(_TENSORFLOW_THREADS) or len(affinity()))


def thread_settings(threads: int, pool: int, gpu: str, alone: bool) -> dict[str, str]:
    """Make the environment variables of a worker process.

    Parameters
    ----------
    threads : int
        Number of threads of a worker that is not alone.
    pool : int
        Number of threads among which TensorFlow divides an operation.
    gpu : str
        Its GPU, as CUDA_VISIBLE_DEVICES names it; empty for none.
    alone : bool
        Whether no other worker runs, so that it may use all GPUs, and its libraries choose their threads.

    Returns
    -------
    dict of str to str
        This process's environment with these.
    """
    settings = {**os.environ, _TENSORFLOW_THREADS: str(pool)}
    gpus = gpu_names(settings)
    if not (gpus if alone else gpu):
        # Before a worker's first job, which may be an extraction: see `featx.finetuning.devices.make_deterministic`.
        settings.setdefault("TF_NUM_INTEROP_THREADS", "1")
    if not alone:
        settings |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
        if gpus:
            settings["CUDA_VISIBLE_DEVICES"] = gpu or "-1"
            settings["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    settings.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return settings
