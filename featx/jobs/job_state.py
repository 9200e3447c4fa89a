"""Jobs: one call of a verb each, identified by a digest of everything that decides its result, and their state on disk.

A job's folder holds ``job.json`` (the job), ``log.txt`` (of all attempts), and after its end ``done.json`` (its result)
or ``failed.json`` (the reason). A job with ``done.json`` whose outputs exist is finished; one with ``failed.json`` is
retried on request; any other is pending.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from featx.digest import canonical, digest, short
from featx.errors import StoreError
from featx.files import write_json

__all__ = [
    "KINDS",
    "TRAININGS",
    "State",
    "StudyJob",
    "is_running",
    "last_line",
    "locked",
    "read_done",
    "read_state",
    "slug",
    "write_done",
    "write_failed",
    "write_started",
]
KINDS = {
    "hash": "hashing images",
    "source": "training on a source",
    "finetune": "fine-tuning, fold by fold",
    "extract": "extracting features",
    "svm": "training SVMs",
    "report": "writing the reports",
}
"""Kinds of jobs in the order in which a study needs them, and what messages call them."""

TRAININGS = ("source", "finetune")
"""Kinds of jobs that train networks."""

_FORMAT = 1
_LOCK = ".lock"


@dataclass(frozen=True)
class StudyJob:
    """One call of a verb.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    name : str
        Name in messages, without the kind.
    identity : mapping
        Everything that decides the result, in JSON types: contents of files, not their paths.
    arguments : mapping
        Keyword arguments of the verb, in JSON types, ``manifest`` (or ``paths``) among them.
    takes : mapping of str to str or tuple of str
        Argument to the digest of the job whose result is its value. Of several, the results are joined; a text that is
        no digest of a job stands for itself.
    needs : tuple of str
        Digests of the jobs that must be finished first.
    images : int
        Number of images that it processes, for estimates of its time.
    speed : str
        Jobs of equal `speed` take about the same time per image.
    parts : tuple of str
        Names of the folds that may be done as jobs of their own.
    """

    kind: str
    name: str
    identity: Mapping[str, Any]
    arguments: Mapping[str, Any]
    takes: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    images: int = 0
    speed: str = ""
    parts: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of kind, identity and the jobs it needs."""
        return digest(
            {"format": _FORMAT, "kind": self.kind, "identity": self.identity, "needs": sorted(self.needs)}
        )

    @property
    def label(self) -> str:
        """Kind and name, for messages."""
        return f"{self.kind} {self.name}"

    def folder(self, output: Path) -> Path:
        """Name the job's folder."""
        return output / "jobs" / f"{slug(self.label)}-{short(self.digest)}"


def slug(text: str) -> str:
    """Make a text fit for a file's name.

    Returns
    -------
    str
        Its letters, digits, dots, underscores and plus signs, with single hyphens for all between; at most 100.

    Examples
    --------
    >>> slug("svm E, ImageNet (vgg16)")
    'svm-E-ImageNet-vgg16'
    """
    plain = "".join(char if char.isalnum() or char in "._+" else " " for char in text)
    return "-".join(plain.split())[:100] or "-"


@dataclass(frozen=True)
class State:
    """State of a job, read from its folder.

    Attributes
    ----------
    name : str
        ``"done"``, ``"failed"``, ``"started"`` (running, or interrupted) or ``"pending"``.
    result : mapping
        Of a finished job: ``outputs`` (files that mark it), ``seconds``, and what other jobs take.
    reason : str
        Why it failed, in one line.
    """

    name: str
    result: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


def read_done(folder: Path, job_digest: str) -> dict[str, Any] | None:
    """Read the result of a finished job whose outputs exist; None of any other."""
    done = _read(folder / "done.json", job_digest)
    return done if done is not None and all(Path(path).exists() for path in done["outputs"]) else None


def read_state(job: StudyJob, output: Path) -> State:
    """Read the state of a job."""
    folder = job.folder(output)
    done = read_done(folder, job.digest)
    if done is not None:
        return State("done", done)
    failed = _read(folder / "failed.json", job.digest)
    if failed is not None:
        return State("failed", reason=str(failed["reason"]))
    left = (folder / "job.json").is_file() and not (folder / "done.json").exists()
    return State("started" if left else "pending")


def _read(path: Path, job_digest: str) -> dict[str, Any] | None:
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({error}); delete it, and the job will be rerun") from error
    # The folder's name holds eight digits of the digest; the mark holds all.
    return mark if isinstance(mark, dict) and mark.get("digest") == job_digest else None


def write_started(job: StudyJob, output: Path) -> Path:
    """Make a job's folder, and remove the record of an earlier failure."""
    folder = job.folder(output)
    facts = {
        name: canonical(getattr(job, name))
        for name in ("kind", "name", "identity", "arguments", "takes", "needs")
    }
    write_json(folder / "job.json", {"digest": job.digest, **facts})
    for mark in ("done.json", "failed.json"):
        (folder / mark).unlink(missing_ok=True)
    return folder


def last_line(job: StudyJob, output: Path) -> str:
    """Return the last line of a job's log; empty without one."""
    try:
        text = (job.folder(output) / "log.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next(iter(text.splitlines()[-1:]), "")


def write_done(job_digest: str, folder: Path, result: Mapping[str, Any]) -> None:
    """Mark a job as finished."""
    write_json(folder / "done.json", {"digest": job_digest, **canonical(result)})


def write_failed(job_digest: str, folder: Path, reason: str) -> None:
    """Mark a job as failed."""
    write_json(folder / "failed.json", {"digest": job_digest, "reason": " ".join(reason.split())})


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Make a study's folder, and keep other runs of the study out of it."""
    output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(output / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{output}: another `featx study run` is running in this folder; wait for it, or give another --output"
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_running(output: Path) -> bool:
    """Tell whether a run of the study holds the lock of its folder; the folder is not made."""
    if not (output / _LOCK).exists():
        return False
    lock = FileLock(output / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False
