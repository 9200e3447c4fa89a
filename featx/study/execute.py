"""Execution: jobs in worker processes, as many at once as wanted, finished ones skipped.

Each worker has its own share of the cores (pinned, and told to BLAS and TensorFlow) and of the GPUs. A job that
fails leaves its log and its reason; what needs it is left out, all else goes on. SIGINT and SIGTERM interrupt
the jobs in hand, which keep what they have committed; the same command goes on from there.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

from filelock import FileLock, Timeout

from featx.errors import ConfigError, StoreError
from featx.files import write_json
from featx.progress import Progress, Silent
from featx.study.jobs import KINDS, Job, State, read_state, write_failed, write_started
from featx.study.plan import Plan
from featx.study.shares import environment, shares

__all__ = ["LOCK", "Outcome", "Written", "execute"]

LOCK = ".lock"

# -P: a file in the current folder shall not stand in for a library.
_WORKER = (sys.executable, "-P", "-m", "featx.study.worker")
_TICK_SECONDS = 0.5
_TELL_SECONDS = 60.0
_GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Written:
    """A report that stands.

    Attributes
    ----------
    folder : Path
        Where ``report.html``, tables and figures are.
    table : str
        AUC by arm, as aligned text.
    findings : tuple of str
        The answer to each task in a sentence or two.
    """

    folder: Path
    table: str
    findings: tuple[str, ...]


@dataclass
class Outcome:
    """What an execution did.

    Attributes
    ----------
    done, reused : list of Job
        Finished now, and finished before.
    failed : dict of str to str
        Label of each failed job, now or before, to its reason.
    blocked : list of Job
        Jobs not begun, since one that they need has failed.
    reports : list of Written
        The reports that stand, one a target.
    """

    done: list[Job] = field(default_factory=list)
    reused: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[Job] = field(default_factory=list)
    reports: list[Written] = field(default_factory=list)


def execute(
    plan: Plan,
    *,
    jobs: int = 1,
    retry_failed: bool = False,
    only_reports: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Do the jobs of a plan that are not finished.

    Parameters
    ----------
    plan : Plan
        What `make_plan` returned.
    jobs : int
        Jobs at once, at least 1.
    retry_failed : bool
        Try jobs again that failed before; else they stay failed.
    only_reports : bool
        Write the reports over what is finished, and begin nothing else.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    Outcome
        What was done, reused, failed and left out.

    Raises
    ------
    ConfigError
        If `jobs` is below 1.
    StoreError
        If another execution is at work in the study's folder.
    KeyboardInterrupt
        After SIGINT or SIGTERM, once the jobs in hand have ended.
    """
    if jobs < 1:
        raise ConfigError(f"The 'jobs' parameter must be at least 1. Got {jobs} instead.")
    plan.output.mkdir(parents=True, exist_ok=True)
    lock = FileLock(plan.output / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{plan.output}: another `featx study run` is at work here; wait for it, or give another --output"
        ) from error
    try:
        write_json(plan.output / "study.json", plan.study.model_dump(mode="json"))
        return _Execution(plan, jobs, retry_failed, only_reports, progress or Silent()).run()
    finally:
        lock.release()


@dataclass
class _Worker:
    """A worker process, the job that it has in hand, and what was last heard of it."""

    slot: int
    process: subprocess.Popen[bytes]
    job: Job | None = None
    text: str = ""
    heard: bytes = b""
    leaving: bool = False
    signalled: int = 0


class _Execution:
    """One run through a plan."""

    def __init__(
        self, plan: Plan, jobs: int, retry_failed: bool, only_reports: bool, progress: Progress
    ) -> None:
        self.plan, self.progress, self.outcome = plan, progress, Outcome()
        self.work = [job for job in plan.jobs if job.kind != "report"]
        self.states = {job.digest: read_state(job, plan.output) for job in self.work}
        if retry_failed:
            failed = [key for key, state in self.states.items() if state.name == "failed"]
            self.states |= dict.fromkeys(failed, State("pending"))
        self.only_reports = only_reports
        self.slots = shares(jobs)
        self.workers: list[_Worker] = []
        self.selector = selectors.DefaultSelector()
        self.told_kinds: set[str] = set()
        self.stops = 0
        self.stopped_at = self.told_at = time.monotonic()

    def run(self) -> Outcome:
        """Do the jobs, then the reports over what has come of them."""
        for job in self.work:
            state = self.states[job.digest]
            if state.name == "done":
                self.outcome.reused.append(job)
            elif state.name == "failed":
                self.outcome.failed[job.label] = state.reason
        self.progress.start("study", len(self.plan.jobs), "jobs")
        self.progress.advance(len(self.outcome.reused))
        with self._signals():
            try:
                self._do([] if self.only_reports else self._open(self.work))
                reports = self._reports()
                self._do(self._open(reports))
            finally:
                self._dismiss()
        self.progress.finish()
        self.outcome.blocked = self._open(self.work)
        self.outcome.reports = [
            Written(Path(job.arguments["output"]), state.result["table"], tuple(state.result["findings"]))
            for job, state in ((job, self.states[job.digest]) for job in reports)
            if state.name == "done"
        ]
        return self.outcome

    def _open(self, jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if self.states[job.digest].name in {"pending", "started"}]

    def _reports(self) -> list[Job]:
        """Settle what each report is over: the SVMs that are finished."""
        settled = []
        for job in self.plan.jobs:
            if job.kind != "report":
                continue
            finished = [key for key in job.needs if self.states[key].name == "done"]
            if not finished:
                continue
            paths = [path for key in finished for path in self.states[key].result["paths"]]
            arguments = {**job.arguments, "paths": paths}
            report = replace(job, arguments=arguments, needs=tuple(finished))
            state = read_state(report, self.plan.output)
            self.states[report.digest] = State("pending") if state.name == "failed" else state
            if state.name == "done":
                self.outcome.reused.append(report)
                self.progress.advance()
            settled.append(report)
        return settled

    def _do(self, todo: list[Job]) -> None:
        """Hand jobs to workers as soon as what they need is finished, until none can be begun."""
        waiting = list(todo)
        while True:
            while not self.stops and (job := self._ready(waiting)) and (worker := self._idle()):
                waiting.remove(job)
                self._order(worker, job)
            if not any(worker.job for worker in self.workers) and (self.stops or not self._ready(waiting)):
                break
            self._listen()
        if self.stops:
            raise KeyboardInterrupt

    def _ready(self, waiting: list[Job]) -> Job | None:
        return next(
            (job for job in waiting if all(self.states[key].name == "done" for key in job.needs)), None
        )

    def _idle(self) -> _Worker | None:
        """Find a worker without a job, or hire one for a free share of the cores."""
        for worker in self.workers:
            if worker.job is None and not worker.leaving:
                return worker
        free = set(range(len(self.slots))) - {worker.slot for worker in self.workers}
        return self._hire(min(free)) if free else None

    def _hire(self, slot: int) -> _Worker:
        cpus = ",".join(map(str, self.slots[slot]))
        alone = ["--alone"] if len(self.slots) == 1 else []
        process = subprocess.Popen(
            [*_WORKER, "--cpus", cpus, *alone],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(self.slots, slot),
            # A session of its own: Ctrl-C reaches the workers through this process alone.
            start_new_session=True,
        )
        os.set_blocking(_pipe(process.stdout).fileno(), False)
        worker = _Worker(slot, process)
        self.workers.append(worker)
        self.selector.register(_pipe(process.stdout), selectors.EVENT_READ, worker)
        return worker

    def _order(self, worker: _Worker, job: Job) -> None:
        folder = write_started(job, self.plan.output)
        taken = {name: self.states[key].result[name] for name, key in job.takes.items()}
        order = {
            "digest": job.digest,
            "folder": str(folder),
            "kind": job.kind,
            "label": job.label,
            "arguments": {**job.arguments, **taken},
            "measures": {"images": job.images, "speed": job.speed},
        }
        worker.job, worker.text = job, ""
        if job.kind not in self.told_kinds:
            self.told_kinds.add(job.kind)
            self.progress.say(f"{KINDS[job.kind]} ...")
        pipe = _pipe(worker.process.stdin)
        # A worker that has died is noticed by the end of what it says.
        with suppress(BrokenPipeError):
            pipe.write(json.dumps(order).encode() + b"\n")
            pipe.flush()

    def _listen(self) -> None:
        """Wait a moment for what workers say, and pass on what has to be passed on."""
        for key, _ in self.selector.select(_TICK_SECONDS):
            self._read(key.data, key.fd)
        # A process that a library has forked may hold the pipe open after its worker has ended.
        for worker in [worker for worker in self.workers if worker.process.poll() is not None]:
            self._read(worker, _pipe(worker.process.stdout).fileno(), ended=True)
        if self.stops:
            self._interrupt()
        elif time.monotonic() - self.told_at >= _TELL_SECONDS:
            self.told_at = time.monotonic()
            for worker in self.workers:
                if worker.job and worker.text:
                    self.progress.say(f"{worker.job.label}: {worker.text}")

    def _read(self, worker: _Worker, pipe: int, ended: bool = False) -> None:
        """Read what a worker has said; nothing means that it has ended."""
        try:
            some = os.read(pipe, 1 << 16)
        except BlockingIOError:
            if not ended:
                return
            some = b""
        *lines, worker.heard = (worker.heard + some).split(b"\n")
        for line in lines:
            self._hear(worker, json.loads(line))
        if ended or not some:
            self._lose(worker)

    def _hear(self, worker: _Worker, event: Mapping[str, Any]) -> None:
        job = worker.job
        assert job is not None, "workers speak of their jobs only"
        if event["event"] == "progress":
            worker.text = event["text"]
        elif event["event"] == "done":
            worker.job = None
            self.states[job.digest] = read_state(job, self.plan.output)
            self.outcome.done.append(job)
            self.progress.advance()
            self.progress.say(f"{job.label}: done in {event['seconds']:.0f} s")
        elif event["event"] == "failed":
            # What a failed job leaves behind in memory shall not trouble the next one.
            worker.job, worker.leaving = None, True
            _pipe(worker.process.stdin).close()
            self._fail(job, event["reason"])

    def _fail(self, job: Job, reason: str) -> None:
        self.states[job.digest] = State("failed", reason=reason)
        self.outcome.failed[job.label] = reason
        self.progress.say(f"{job.label}: failed: {reason} (log: {job.folder(self.plan.output) / 'log.txt'})")

    def _lose(self, worker: _Worker) -> None:
        """Notice that a worker has ended, which it should not have done with a job in hand."""
        self.selector.unregister(_pipe(worker.process.stdout))
        self.workers.remove(worker)
        code = worker.process.wait()
        _end_children(worker)
        if worker.job is None or self.stops:
            return
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = "; memory may have run out" if code == -signal.SIGKILL else ""
        write_failed(worker.job.digest, worker.job.folder(self.plan.output), f"its process {how}{hint}")
        self._fail(worker.job, f"its process {how}{hint}")

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the execution after the commit points of the jobs in hand."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.stops += 1
            self.stopped_at = time.monotonic()

        # Only a program's main thread may take signals; elsewhere they stay with whoever has them.
        taken = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if taken else ()
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self) -> None:
        """Tell workers to stop: kindly once; by force if asked again, or if they take too long."""
        force = self.stops > 1 or time.monotonic() - self.stopped_at > _GRACE_SECONDS
        wanted = signal.SIGKILL if force else signal.SIGINT
        for worker in self.workers:
            if worker.signalled != wanted:
                if not any(other.signalled for other in self.workers):
                    self.progress.say(
                        "stopping after the last commit point of the jobs in hand; once more: at once"
                    )
                worker.signalled = wanted
                worker.process.send_signal(wanted)

    def _dismiss(self) -> None:
        """End the workers: the end of their orders is the end of their work."""
        for worker in self.workers:
            with suppress(BrokenPipeError):
                _pipe(worker.process.stdin).close()
        for worker in self.workers:
            try:
                worker.process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _end_children(worker)
        self.selector.close()


def _end_children(worker: _Worker) -> None:
    """End what an ended worker has left behind: its session is its own."""
    with suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "workers are started with pipes"
    return pipe
