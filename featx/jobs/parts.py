"""Parts of a job that run side by side on a cluster, and what a job needs of a machine.

An extraction is cut into whole batches of distinct images, SVMs by their folds. Their results meet on the shared disk; the whole
job runs last, and finds all done.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .job_state import StudyJob

__all__ = ["needs_of", "split"]
_IMAGES_OF_A_PART = 1000
_GIB = 1 << 30
# Kind of job: whether it runs networks, and memory beside its images' rows.
_NEEDS = {
    "hash": (0, _GIB),
    "source": (1, 8 * _GIB),
    "finetune": (1, 8 * _GIB),
    "extract": (1, 4 * _GIB),
    "svm": (0, 2 * _GIB),
    "report": (0, 2 * _GIB),
}
_BYTES_OF_A_ROW = 4 * 4096


def needs_of(job: StudyJob) -> dict[str, int]:
    """State what a job needs.

    Returns
    -------
    dict of str to int
        ``gpus``: 1 if it runs networks, and uses a GPU where there is one; ``memory`` in bytes, a rough bound.

    Examples
    --------
    >>> needs_of(StudyJob("svm", "a", {}, {}, images=1000))["gpus"]
    0
    """
    gpus, memory = _NEEDS[job.kind]
    rows = job.images * _BYTES_OF_A_ROW if job.kind == "svm" else 0
    return {"gpus": gpus, "memory": memory + rows}


def split(
    job: StudyJob, slots: int, *, whole: bool, wanted: int | None = None, jobs: int = 1
) -> tuple[StudyJob, ...]:
    """Cut a job into parts that are jobs of their own.

    Parameters
    ----------
    job : StudyJob
        An extraction or SVMs; others are left whole.
    slots : int
        Number of jobs that run at once.
    whole : bool
        Whether only what `wanted` asks for is cut.
    wanted : int or None
        Number of parts of an extraction; chosen by its size if not given.
    jobs : int
        Number of jobs that are left, which share the place.

    Returns
    -------
    tuple of StudyJob
        The parts; none for a job that is left whole.

    Examples
    --------
    >>> job = StudyJob("svm", "a", {}, {}, parts=("1", "2", "3"))
    >>> [part.name for part in split(job, 2, whole=False)]
    ['a, folds 1 3', 'a, folds 2']
    """
    if job.kind == "extract":
        number = wanted or (1 if whole else min(job.images // _IMAGES_OF_A_PART, 4 * slots))
        return _shards(job, number) if number > 1 else ()
    if job.kind == "svm" and not whole:
        number = min(len(job.parts), -(-slots // max(jobs, 1)))
        return _folds(job, number) if number > 1 else ()
    return ()


def _shards(job: StudyJob, number: int) -> tuple[StudyJob, ...]:
    return tuple(
        _part(job, f"part {part} of {number}", job.images // number, shard=f"{part}/{number}")
        for part in range(1, number + 1)
    )


def _folds(job: StudyJob, number: int) -> tuple[StudyJob, ...]:
    groups = [job.parts[part::number] for part in range(number)]
    return tuple(
        _part(job, f"folds {' '.join(folds)}", job.images * len(folds) // len(job.parts), folds=list(folds))
        for folds in groups
    )


def _part(job: StudyJob, name: str, images: int, **arguments: Any) -> StudyJob:
    return replace(
        job,
        name=f"{job.name}, {name}",
        identity={**job.identity, "part": arguments},
        arguments={**job.arguments, **arguments},
        images=images,
        parts=(),
    )
