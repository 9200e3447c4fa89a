"""Status of a study: the state of each job, and the estimated time of the rest."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.errors import FeatxError
from featx.features import FeatureOptions, missing_keys, targets
from featx.jobs import KINDS, State, StudyJob, is_running, last_line, read_state
from featx.zoo import find_backbone, weights_folder

from .plan import Plan

__all__ = ["Overview", "StatusRow", "images_in_cache", "overview"]
_SETTINGS = ("layers", "pool", "image_size", "preparation", "precision", "views", "view_ranges", "view_pool")


def images_in_cache(job: StudyJob, keys: Collection[str]) -> int:
    """Count the images of an extraction whose features are in the cache.

    Returns
    -------
    int
        Images with features of all networks; 0 if that is unknown, and then the job reports the reason.

    Examples
    --------
    >>> given = {"backbone": "tiny", "weights": "random:0", "engine": "keras", "cache": "/nowhere"}
    >>> settings = {"layers": [], "pool": "avg", "image_size": 32, "preparation": "resize", "precision": "float32"}
    >>> views = {"views": 1, "view_ranges": "paper", "view_pool": "mean"}
    >>> images_in_cache(StudyJob("extract", "tiny", {}, {**given, **settings, **views}), ["0" * 64])
    0
    """
    given = job.arguments
    backbone, weights = find_backbone(given["backbone"]), str(given["weights"])
    if weights == "imagenet" and not (
        backbone.published and (weights_folder() / backbone.published.file).is_file()
    ):
        return 0
    chosen = {name: given[name] for name in _SETTINGS}
    settings = FeatureOptions(**{**chosen, "layers": tuple(chosen["layers"])}, engine=given["engine"])
    try:
        wanted = targets([backbone.name], [weights], settings, Path(given["cache"]))
        lacking = frozenset().union(*(missing for target in wanted for missing in missing_keys(target, keys)))
    except FeatxError:
        return 0
    return len(set(keys) - lacking)


@dataclass(frozen=True)
class StatusRow:
    """A job as a row of a table.

    Attributes
    ----------
    job : Job
        The job.
    state : str
        ``"done"``, ``"failed"``, ``"blocked"`` (a job that it needs has failed), ``"running"`` or ``"pending"``; for a
        report regardless of its last run.
    seconds : float or None
        Measured, or estimated from the rates of finished jobs; None if no similar job has finished.
    note : str
        Reason of a failure, last line of a running job's log, or images of a pending job that are in the cache.
    """

    job: StudyJob
    state: str
    seconds: float | None
    note: str = ""


@dataclass(frozen=True)
class Overview:
    """All jobs of a study.

    Attributes
    ----------
    plan : Plan
        The study.
    rows : tuple of Row
        The jobs in the plan's order.
    running : bool
        Whether a run of the study is running.
    """

    plan: Plan
    rows: tuple[StatusRow, ...]
    running: bool

    def counts(self) -> dict[str, int]:
        """Count the jobs in each state."""
        states = [row.state for row in self.rows]
        return {name: states.count(name) for name in dict.fromkeys(states)}

    def seconds_left(self) -> tuple[float, int]:
        """Estimate the rest.

        Returns
        -------
        float
            Seconds of the unfinished jobs with an estimate, one after another.
        int
            Number of unfinished jobs without an estimate.
        """
        rest = [row for row in self.rows if row.state not in {"done", "failed", "blocked"}]
        known = [row.seconds for row in rest if row.seconds is not None]
        return sum(known), len(rest) - len(known)

    def lines(self) -> list[str]:
        """Describe the status in lines of text.

        Returns
        -------
        list of str
            A line for each kind of job with the number of jobs in each state, the running and failed jobs, and the time left.
        """
        lines = []
        for kind in KINDS:
            rows = [row for row in self.rows if row.job.kind == kind]
            counts = {
                name: sum(row.state == name for row in rows)
                for name in dict.fromkeys(row.state for row in rows)
            }
            if rows:
                lines.append(
                    f"{kind:9}{len(rows):5}  "
                    + ", ".join(f"{count} {name}" for name, count in counts.items())
                )
        lines += [f"running  {row.job.label}: {row.note}" for row in self.rows if row.state == "running"]
        lines += [f"failed   {row.job.label}: {row.note}" for row in self.rows if row.state == "failed"]
        seconds, unknown = self.seconds_left()
        if seconds or unknown:
            more = (
                f", and {unknown} jobs without an estimate, because no similar job has finished"
                if unknown
                else ""
            )
            lines.append(f"left: about {_duration(seconds)}, one job at a time{more}")
        return lines

    def job_lines(self) -> list[str]:
        """Describe each job in a line: number, state, time, label, and the numbers of the jobs it needs."""
        numbers = {row.job.digest: number for number, row in enumerate(self.rows, 1)}
        lines = []
        for number, row in enumerate(self.rows, 1):
            needs = ",".join(str(numbers[key]) for key in row.job.needs)
            time = f"{row.seconds:.0f} s" if row.seconds is not None else ""
            notes = [f"needs {needs}"] * bool(needs) + [row.note] * (
                row.state == "pending" and bool(row.note)
            )
            more = f"  ({'; '.join(notes)})" if notes else ""
            lines.append(f"{number:4}  {row.state:8} {time:>8}  {row.job.label}{more}")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Describe the status in JSON types.

        Returns
        -------
        dict
            ``study``, ``output``, ``running``, ``jobs``, ``seconds_left``, ``jobs_without_estimate``.
        """
        seconds, unknown = self.seconds_left()
        jobs = [
            {
                "kind": row.job.kind,
                "name": row.job.name,
                "digest": row.job.digest,
                "needs": list(row.job.needs),
                "state": row.state,
                "seconds": row.seconds,
                "note": row.note,
                "log": str(row.job.folder(self.plan.output) / "log.txt"),
            }
            for row in self.rows
        ]
        return {
            "study": self.plan.study.name,
            "output": str(self.plan.output),
            "running": self.running,
            "jobs": jobs,
            "seconds_left": round(seconds, 1),
            "jobs_without_estimate": unknown,
        }


def overview(plan: Plan) -> Overview:
    """Look at how far a study is.

    Returns
    -------
    Overview
        Every job's state, and its time: measured, or estimated from finished jobs of the same backbone and size.
    """
    running = is_running(plan.output)
    states = {job.digest: read_state(job, plan.output) for job in plan.jobs}
    rates = _rates(states.values())
    done = {key for key, state in states.items() if state.name == "done"}
    rows: list[StatusRow] = []
    lost: set[str] = set()
    for job in plan.jobs:
        row = _row(job, states[job.digest], running, rates, done, lost, plan)
        if row.state in {"failed", "blocked"} and job.kind != "report":
            lost.add(job.digest)
        rows.append(row)
    return Overview(plan, tuple(rows), running)


def _row(
    job: StudyJob,
    state: State,
    running: bool,
    rates: Mapping[str, float],
    done: Set[str],
    lost: set[str],
    plan: Plan,
) -> StatusRow:
    if state.name == "done":
        return StatusRow(job, "done", state.result["seconds"])
    if state.name == "failed":
        return StatusRow(job, "failed", None, state.reason)
    if job.kind == "report":
        return StatusRow(job, "pending" if set(job.needs) - lost else "blocked", rates.get(job.speed))
    if lost.intersection(job.needs):
        return StatusRow(job, "blocked", None)
    seconds = rates[job.speed] * job.images if job.speed in rates else None
    if state.name == "started" and running:
        return StatusRow(job, "running", seconds, last_line(job, plan.output))
    if job.kind == "extract" and set(job.needs) <= done:
        keys = plan.contents[job.arguments["manifest"], job.arguments["root"]]
        there = images_in_cache(job, keys)
        if there == len(keys):
            seconds = 0.0
        elif seconds is not None:
            seconds *= 1 - there / len(keys)
        return StatusRow(
            job, "pending", seconds, f"{there} of {len(keys)} images in the cache" if there else ""
        )
    return StatusRow(job, "pending", seconds)


def _rates(states: Iterable[State]) -> dict[str, float]:
    """Measure seconds an image for each speed: the median over finished jobs."""
    measured: dict[str, list[float]] = {}
    for state in states:
        if state.name == "done":
            images = max(state.result["images"], 1)
            measured.setdefault(state.result["speed"], []).append(state.result["seconds"] / images)
    return {speed: statistics.median(values) for speed, values in measured.items()}


def _duration(seconds: float) -> str:
    """Write seconds as people say them.

    >>> _duration(42), _duration(600), _duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
