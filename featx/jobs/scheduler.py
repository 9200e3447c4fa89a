"""Scheduler: runs jobs in the order in which they need each other, at a place, until none can start.

A job whose worker or machine died is started again, a number of times. A failed job keeps its log and its reason; jobs
that need it are not started, all others run. SIGINT, SIGTERM and SIGHUP interrupt the running jobs, which keep their
checkpoints; the same command resumes.
"""

from __future__ import annotations

import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from featx.errors import ClusterError
from featx.images import write_keys
from featx.process import Interrupted, on_signal
from featx.progress import Progress

from .job_state import KINDS, TRAININGS, State, StudyJob, last_line, read_state, write_failed, write_started
from .machines.cores import tensorflow_threads
from .machines.leases import Lease, hold_lease
from .machines.places import Place
from .parts import needs_of, split

__all__ = ["Scheduler"]
_TICK_SECONDS = 0.25
_TELL_SECONDS = 60.0
_GRACE_SECONDS = 60.0
_LATE_SECONDS = 15.0
_UNREACHED_SECONDS = 60.0


class Scheduler:
    """Runs jobs at a place.

    Attributes
    ----------
    states : dict of str to State
        State of each job by its digest.
    done : list of StudyJob
        Jobs that it has finished.
    failed : dict of str to str
        Label of each failed job, now or before, to its reason.
    executions : Counter
        How often each job was started, by its digest.
    """

    def __init__(
        self,
        place: Place,
        output: Path,
        states: dict[str, State],
        *,
        retries: int,
        progress: Progress,
        parts: int | None = None,
        keys: Mapping[str, str] | None = None,
    ) -> None:
        self.place, self.output, self.states = place, output, states
        self.done: list[StudyJob] = []
        self.failed: dict[str, str] = {}
        self.executions: Counter[str] = Counter()
        self._retries, self._wanted_parts, self._progress, self._keys = retries, parts, progress, keys
        self._running: dict[Future[dict[str, Any]], StudyJob] = {}
        self._parts: dict[str, tuple[str, ...]] = {}
        self._wholes: dict[str, StudyJob] = {}
        self._told_kinds: set[str] = set()
        self._stops, self._signal = 0, int(signal.SIGINT)
        self._stopped_at = self._told_at = self._reached_at = time.monotonic()
        self._lease: Lease | None = None

    @contextmanager
    def on_duty(self) -> Iterator[None]:
        """Hold the lease that the jobs look at, and take the signals; whatever ends this ends the jobs.

        Raises
        ------
        Interrupted
            After a signal, once the running jobs have ended.
        """
        path = self.output / f".scheduler-{uuid.uuid4().hex[:8]}"
        for old in self.output.glob(".scheduler-*"):
            old.unlink(missing_ok=True)
        if self._keys is not None:
            # They travel with the jobs, so that no machine hashes all images again.
            write_keys(self._keys_file, self._keys)
        with hold_lease(path, lambda: None) as lease, on_signal(self._stop):
            self._lease = lease
            try:
                yield
            finally:
                self._abandon()

    @property
    def _keys_file(self) -> Path:
        return self.output.resolve() / "content-keys.csv"

    def do(self, todo: Sequence[StudyJob]) -> None:
        """Run jobs as soon as the jobs that they need are finished, until none can start."""
        waiting = list(todo)
        while True:
            while not self._stops and len(self._running) < self.place.most and (job := self._ready(waiting)):
                waiting.remove(job)
                waiting[:0] = self._start(job, len(todo))
            if not self._running and (self._stops or not self._ready(waiting)):
                break
            self._listen()
        if self._stops:
            raise Interrupted(self._signal)

    def _ready(self, waiting: Sequence[StudyJob]) -> StudyJob | None:
        return next((job for job in waiting if all(self._is_done(key) for key in self._before(job))), None)

    def _before(self, job: StudyJob) -> tuple[str, ...]:
        return (*job.needs, *self._parts.get(job.digest, ()))

    def _is_done(self, key: str) -> bool:
        return self.states[key].name == "done"

    def _start(self, job: StudyJob, jobs: int) -> list[StudyJob]:
        """Submit a job; one that is cut into parts is given back behind them."""
        parts: tuple[StudyJob, ...] = ()
        if job.digest not in {*self._parts, *self._wholes}:
            place = self.place
            parts = split(job, place.total(), whole=place.whole, wanted=self._wanted_parts, jobs=jobs)
        if not parts:
            self._submit(job)
            return []
        self._parts[job.digest] = tuple(part.digest for part in parts)
        for part in parts:
            self._wholes[part.digest] = job
            state = read_state(part, self.output)
            self.states[part.digest] = State("pending") if state.name == "failed" else state
        return [*(part for part in parts if not self._is_done(part.digest)), job]

    def _taken(self, name: str, keys: str | tuple[str, ...]) -> Any:
        """Return what a job takes of the results of others."""
        if isinstance(keys, str):
            return self.states[keys].result[name]
        return [
            item for key in keys for item in (self.states[key].result[name] if key in self.states else [key])
        ]

    def _submit(self, job: StudyJob) -> None:
        folder = write_started(job, self.output)
        taken = {name: self._taken(name, keys) for name, keys in job.takes.items()}
        if job.kind not in self._told_kinds:
            self._told_kinds.add(job.kind)
            self._progress.say(f"{KINDS[job.kind]} ...")
        assert self._lease is not None, "jobs are done on duty only"
        # A whole job whose parts are done only joins them.
        more: dict[str, Any] = (
            {"compact": True} if job.kind == "extract" and job.digest in self._parts else {}
        )
        if self._keys is not None and job.kind != "report":
            more["keys"] = str(self._keys_file)
        task = {
            "digest": job.digest,
            "folder": str(folder.resolve()),
            "kind": job.kind,
            "label": job.label,
            "arguments": {**job.arguments, **taken, **more},
            "measures": {"images": job.images, "speed": job.speed},
            "scheduler": {"path": str(self._lease.path.resolve()), "token": self._lease.token},
            "slots": self.place.slots(),
            "cores": self.place.cores,
            "threads": tensorflow_threads(),
            "trains": job.kind in TRAININGS,
            "grace": _GRACE_SECONDS,
            **needs_of(job),
        }
        self.executions[job.digest] += 1
        try:
            self._running[self.place.submit(task)] = job
        except Exception as error:
            if not self.place.alive():
                raise self._lost() from error
            raise ClusterError(
                f"{self.place.name} takes no more jobs ({error}); the same command resumes"
            ) from error

    def _listen(self) -> None:
        """Wait for jobs to end, and report progress."""
        ended, _ = wait(self._running, _TICK_SECONDS, FIRST_COMPLETED)
        for future in ended:
            self._hear(self._running.pop(future), _event_of(future))
        self._check_place()
        if self._stops:
            self._hurry()
        elif time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._told_at = time.monotonic()
            for job in self._running.values():
                if line := last_line(job, self.output):
                    self._progress.say(f"{job.label}: {line}")

    def _check_place(self) -> None:
        now = time.monotonic()
        if self.place.alive():
            self._reached_at = now
        elif now - self._reached_at > _UNREACHED_SECONDS or not self._running:
            raise self._lost()

    def _lost(self) -> ClusterError:
        return ClusterError(
            f"{self.place.name} was lost; {len(self.done)} jobs were finished by then, and the same command "
            "resumes from them"
        )

    def _hear(self, job: StudyJob, event: Mapping[str, Any]) -> None:
        state = read_state(job, self.output)
        # A machine that is lost after the end of a job takes the answer with it, not the job's result.
        if event["event"] == "done" or state.name == "done":
            self.states[job.digest] = state
            if job.digest not in self._wholes:
                self.done.append(job)
                self._progress.advance()
                self._progress.say(f"{job.label}: done in {state.result.get('seconds', 0):.0f} s")
        elif event["event"] == "failed":
            self._fail(job, event["reason"])
        elif self._stops:
            pass
        elif event["event"] == "interrupted":
            # Its machine was told to leave: another one resumes.
            self._submit(job)
        else:
            self._lose(job, event)

    def _lose(self, job: StudyJob, event: Mapping[str, Any]) -> None:
        """Start a job again whose worker or machine has died; fail it when that has happened too often."""
        if not self.place.alive():
            raise self._lost()
        reason, tried = _reason(event), self.executions[job.digest]
        if tried <= self._retries:
            self._progress.say(
                f"{job.label}: {reason}; starting it again ({tried} of {self._retries} retries)"
            )
            self._submit(job)
            return
        reason += f" ({tried} attempts)" if tried > 1 else ""
        write_failed(job.digest, job.folder(self.output), reason)
        self._fail(job, reason)

    def _fail(self, job: StudyJob, reason: str) -> None:
        whole = self._wholes.get(job.digest, job)
        self.states[job.digest] = State("failed", reason=reason)
        if whole is not job and self.states[whole.digest].name != "failed":
            write_failed(whole.digest, whole.folder(self.output), reason)
            self.states[whole.digest] = State("failed", reason=reason)
        self.failed[whole.label] = reason
        log = job.folder(self.output) / "log.txt"
        self._progress.say(f"{job.label}: failed: {reason} (log: {log})")

    def _stop(self, number: int, again: bool) -> None:
        """Stop the running jobs at their next checkpoint; kill them at a second signal."""
        self._stops, self._signal = 1 + again, number
        self._stopped_at = time.monotonic()

    def _hurry(self) -> None:
        """Tell the running jobs to stop, and forget those that do not answer."""
        lease = self._lease
        assert lease is not None, "jobs are done on duty only"
        late = time.monotonic() - self._stopped_at
        wanted = 2 if self._stops > 1 or late > _GRACE_SECONDS + _LATE_SECONDS else 1
        if lease.stop < wanted:
            if lease.stop == 0 and self._running:
                self._progress.say(
                    "stopping the running jobs at their next checkpoint; press Ctrl-C again to stop at once"
                )
            lease.tell(wanted)
            for future in [future for future in self._running if future.cancel()]:
                self._running.pop(future, None)
        if late > _GRACE_SECONDS + 2 * _LATE_SECONDS:
            self._running.clear()

    def _abandon(self) -> None:
        """Stop what still runs when something else than a signal ends the schedule."""
        if self._running and self._lease is not None:
            self._lease.tell(2)
            # An engine that was lost has nobody to cancel them, and complains of it with a traceback.
            if self.place.alive():
                for future in self._running:
                    future.cancel()
                wait(self._running, _LATE_SECONDS)


def _event_of(future: Future[dict[str, Any]]) -> Mapping[str, Any]:
    """Return the event of a job; an engine that could not run it answers with an error."""
    try:
        return future.result()
    except (Exception, CancelledError) as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {"event": "lost", "reason": f"its machine or its engine's process was lost ({text})"}


def _reason(event: Mapping[str, Any]) -> str:
    if event["event"] == "lost":
        return str(event["reason"])
    code = int(event["code"])
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    hint = "; it may have been out of memory" if code == -getattr(signal, "SIGKILL", 0) else ""
    return f"its process {how}{hint}"
