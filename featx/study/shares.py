"""Shares of the machine: which cores, threads and GPU each of several workers may use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["environment", "shares"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def shares(workers: int) -> list[tuple[int, ...]]:
    """Share out the cores that this process may use.

    Parameters
    ----------
    workers : int
        How many shares, at least 1.

    Returns
    -------
    list of tuple of int
        Cores of each share, as even as can be; where there are more shares than cores, each has one core, and
        cores are shared.

    Examples
    --------
    >>> len(shares(3)), len(set(shares(1)[0])) == len(os.sched_getaffinity(0))
    (3, True)
    """
    cores = sorted(os.sched_getaffinity(0))
    if workers > len(cores):
        return [(cores[share % len(cores)],) for share in range(workers)]
    return [tuple(cores[share::workers]) for share in range(workers)]


def environment(slots: Sequence[tuple[int, ...]], slot: int) -> dict[str, str]:
    """Tell a worker's libraries how many threads and which GPU are theirs.

    Parameters
    ----------
    slots : sequence of tuple of int
        What `shares` returned.
    slot : int
        The worker's place in it.

    Returns
    -------
    dict of str to str
        This process's environment, so that TensorFlow on a processor computes in order; for one of several workers
        with its number of threads, and one GPU in turn where there are any.
    """
    settings = dict(os.environ)
    gpus = _gpus(settings)
    if not gpus:
        # Before a worker's first job, which may be an extraction: see `featx.finetuning.devices.compute_in_order`.
        settings.setdefault("TF_NUM_INTEROP_THREADS", "1")
    if len(slots) > 1:
        settings |= dict.fromkeys(_THREAD_VARIABLES, str(len(slots[slot])))
        if gpus:
            settings["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
            settings["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    settings.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    return settings


def _gpus(settings: Mapping[str, str]) -> list[str]:
    """Name the GPUs that this process may use, as CUDA_VISIBLE_DEVICES wants them."""
    if "CUDA_VISIBLE_DEVICES" in settings:
        return [name for name in settings["CUDA_VISIBLE_DEVICES"].split(",") if name not in {"", "-1"}]
    folder = Path("/proc/driver/nvidia/gpus")
    return [str(number) for number, _ in enumerate(folder.iterdir())] if folder.is_dir() else []
