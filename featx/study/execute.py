"""Scheduler: runs the unfinished jobs of a plan in worker processes.

A failed job keeps its log and its reason; jobs that need it are not started, all others run. SIGINT, SIGTERM and SIGHUP
interrupt the running jobs, which keep their checkpoints; the same command resumes.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from featx.errors import ConfigError
from featx.files import write_json
from featx.process import Interrupted, on_signal
from featx.progress import Progress, Silent

from .jobs import KINDS, State, StudyJob, locked, read_state, write_failed, write_started
from .places import Pool, Worker
from .plan import Plan
from .schema import KEPT

__all__ = ["StudyOutcome", "Written", "execute", "settled"]
_LEAVING_RUNS = frozenset({"source", "finetune", "svm"})


def settled(plan: Plan, states: Mapping[str, State]) -> list[StudyJob]:
    """Find the runs of each report of a study: the finished SVMs, and the trainings before them.

    Returns
    -------
    list of Job
        The reports, with the run folders as their argument ``paths``; those without a finished SVM are left out.
    """
    jobs = {job.digest: job for job in plan.jobs}
    made = []
    for job in plan.jobs:
        finished = tuple(key for key in job.needs if job.kind == "report" and states[key].name == "done")
        if finished:
            sources = [
                key
                for key in _behind(jobs, finished)
                if jobs[key].kind in _LEAVING_RUNS and states[key].name == "done"
            ]
            paths = [path for key in sources for path in states[key].result["paths"]]
            made.append(replace(job, arguments={**job.arguments, "paths": paths}, needs=finished))
    return made


def _behind(jobs: Mapping[str, StudyJob], keys: Sequence[str]) -> list[str]:
    """List jobs with all that they need, directly or not, each once."""
    found: dict[str, None] = {}
    waiting = list(keys)
    while waiting:
        key = waiting.pop(0)
        if key not in found:
            found[key] = None
            waiting += jobs[key].needs
    return list(found)


_TICK_SECONDS = 0.5
_TELL_SECONDS = 60.0
_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Written:
    """A finished report.

    Attributes
    ----------
    folder : Path
        Where ``report.html``, tables and figures are.
    table : str
        AUC by arm, as aligned text.
    findings : tuple of str
        The main result of each task, in a sentence or two.
    """

    folder: Path
    table: str
    findings: tuple[str, ...]


@dataclass
class StudyOutcome:
    """What a run of a study did.

    Attributes
    ----------
    done, reused : list of Job
        Jobs finished by this run, and jobs finished before.
    failed : dict of str to str
        Label of each failed job, now or before, to its reason.
    blocked : list of Job
        Jobs that were not started, because a job that they need has failed.
    reports : list of Written
        The finished reports, one for each target.
    """

    done: list[StudyJob] = field(default_factory=list)
    reused: list[StudyJob] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[StudyJob] = field(default_factory=list)
    reports: list[Written] = field(default_factory=list)


def execute(
    plan: Plan,
    *,
    jobs: int = 1,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> StudyOutcome:
    """Run the unfinished jobs of a plan, a number of them at once."""
    if jobs < 1:
        raise ConfigError(f"The 'jobs' parameter must be at least 1. Got {jobs} instead.")
    with locked(plan.output):
        write_json(plan.output / KEPT, plan.study.model_dump(mode="json"))
        return _Execution(plan, jobs, retry_failed, progress or Silent()).run()


class _Execution:
    """One run of a plan."""

    def __init__(self, plan: Plan, jobs: int, retry_failed: bool, progress: Progress) -> None:
        self.plan, self.progress, self.outcome = plan, progress, StudyOutcome()
        self.work = [job for job in plan.jobs if job.kind != "report"]
        self.states = {job.digest: read_state(job, plan.output) for job in self.work}
        if retry_failed:
            failed = [key for key, state in self.states.items() if state.name == "failed"]
            self.states |= dict.fromkeys(failed, State("pending"))
        self.pool = Pool(jobs)
        self.told_kinds: set[str] = set()
        self.stops, self.signal = 0, int(signal.SIGINT)
        self.stopped_at = self.told_at = time.monotonic()

    def run(self) -> StudyOutcome:
        """Run the jobs, then the reports on the finished ones."""
        for job in self.work:
            state = self.states[job.digest]
            if state.name == "done":
                self.outcome.reused.append(job)
            elif state.name == "failed":
                self.outcome.failed[job.label] = state.reason
        self.progress.start("study", len(self.plan.jobs), "jobs")
        self.progress.advance(len(self.outcome.reused))
        with on_signal(self._stop):
            try:
                self._do(self._open(self.work))
                reports = self._reports()
                self._do(self._open(reports))
            finally:
                self.pool.dismiss()
        self.progress.finish()
        self.outcome.blocked = self._open(self.work)
        self.outcome.reports = [
            Written(Path(job.arguments["output"]), state.result["table"], tuple(state.result["findings"]))
            for job, state in ((job, self.states[job.digest]) for job in reports)
            if state.name == "done"
        ]
        return self.outcome

    def _open(self, jobs: Sequence[StudyJob]) -> list[StudyJob]:
        return [job for job in jobs if self.states[job.digest].name in {"pending", "started"}]

    def _reports(self) -> list[StudyJob]:
        """Find the runs of each report, and the reports that are finished."""
        reports = settled(self.plan, self.states)
        for report in reports:
            state = read_state(report, self.plan.output)
            self.states[report.digest] = State("pending") if state.name == "failed" else state
            if state.name == "done":
                self.outcome.reused.append(report)
                self.progress.advance()
        return reports

    def _do(self, todo: list[StudyJob]) -> None:
        """Give jobs to workers as soon as the jobs that they need are finished, until none can start."""
        waiting = list(todo)
        while True:
            while not self.stops and (job := self._ready(waiting)) and (worker := self.pool.idle()):
                waiting.remove(job)
                self._submit(worker, job)
            if not self.pool.busy() and (self.stops or not self._ready(waiting)):
                break
            self._listen()
        if self.stops:
            raise Interrupted(self.signal)

    def _ready(self, waiting: list[StudyJob]) -> StudyJob | None:
        return next(
            (job for job in waiting if all(self.states[key].name == "done" for key in job.needs)), None
        )

    def _submit(self, worker: Worker, job: StudyJob) -> None:
        folder = write_started(job, self.plan.output)
        taken = {name: self.states[key].result[name] for name, key in job.takes.items()}
        if job.kind not in self.told_kinds:
            self.told_kinds.add(job.kind)
            self.progress.say(f"{KINDS[job.kind]} ...")
        task = {
            "digest": job.digest,
            "folder": str(folder),
            "kind": job.kind,
            "label": job.label,
            "arguments": {**job.arguments, **taken},
            "measures": {"images": job.images, "speed": job.speed},
        }
        self.pool.submit(worker, job, task)

    def _listen(self) -> None:
        """Wait for events of workers, and report progress."""
        for worker, event in self.pool.listen(_TICK_SECONDS):
            self._hear(worker, event)
        if self.stops:
            force = self.stops > 1 or time.monotonic() - self.stopped_at > _GRACE_SECONDS
            if self.pool.interrupt(force):
                self.progress.say(
                    "stopping the running jobs at their next checkpoint; press Ctrl-C again to stop at once"
                )
        elif time.monotonic() - self.told_at >= _TELL_SECONDS:
            self.told_at = time.monotonic()
            for worker in self.pool.busy():
                if worker.job and worker.text:
                    self.progress.say(f"{worker.job.label}: {worker.text}")

    def _hear(self, worker: Worker, event: Mapping[str, Any]) -> None:
        if event["event"] == "ended":
            self._lose(worker, event["code"])
            return
        job = worker.job
        assert job is not None, "events of a worker are about its job"
        if event["event"] == "progress":
            worker.text = event["text"]
        elif event["event"] == "done":
            worker.job = None
            self.states[job.digest] = read_state(job, self.plan.output)
            self.outcome.done.append(job)
            self.progress.advance()
            self.progress.say(f"{job.label}: done in {event['seconds']:.0f} s")
        elif event["event"] == "failed":
            # Memory that a failed job leaves allocated must not affect the next job.
            worker.job = None
            self.pool.retire(worker)
            self._fail(job, event["reason"])

    def _fail(self, job: StudyJob, reason: str) -> None:
        self.states[job.digest] = State("failed", reason=reason)
        self.outcome.failed[job.label] = reason
        self.progress.say(f"{job.label}: failed: {reason} (log: {job.folder(self.plan.output) / 'log.txt'})")

    def _lose(self, worker: Worker, code: int) -> None:
        """Record a worker that has ended; one that ended during a job has failed the job."""
        job = worker.job
        if job is None or self.stops:
            return
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = "; it may have been out of memory" if code == -signal.SIGKILL else ""
        write_failed(job.digest, job.folder(self.plan.output), f"its process {how}{hint}")
        self._fail(job, f"its process {how}{hint}")

    def _stop(self, number: int, again: bool) -> None:
        """Stop the running jobs at their next checkpoint; kill them at a second signal."""
        self.stops, self.signal = 1 + again, number
        self.stopped_at = time.monotonic()
