"""A worker process: it runs jobs one after another, each with its own log.

Started by `featx.jobs.machines.host` as ``python -m featx.jobs.worker --cpus 0,1``. It reads jobs, a line of JSON
each, from standard input, and writes an event at the end of each, a line of JSON, to standard output; what a job
prints goes to the job's log. When standard input ends, the running job is interrupted at its next checkpoint, as it
is by SIGINT and SIGTERM. When its host dies, the kernel kills the worker; its checkpoints are complete. While it
works on a job, it holds the lease of the job's folder: two workers never write there at the same time.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from featx.batch_log import BatchLog
from featx.errors import FeatxError, TrainingError
from featx.finetuning import CompiledNetwork
from featx.machine import move_threads
from featx.process import interrupt_main, quieten_tensorflow
from featx.progress import Progress
from featx.runs import COMPLETE

from .job_state import read_done, write_done, write_failed
from .machines.leases import Lease, hold_lease

__all__ = ["WorkerResources", "do_job", "main"]
Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class WorkerResources:
    """Resources of a worker for all its jobs.

    Attributes
    ----------
    threads : int
        Number of threads of a job.
    kept : CompiledNetwork
        The network that the training before has compiled.
    """

    threads: int
    kept: CompiledNetwork = field(default_factory=CompiledNetwork)


def do_job(kind: str, arguments: Arguments, resources: WorkerResources, progress: Progress) -> dict[str, Any]:
    """Do a job.

    Returns
    -------
    dict
        ``outputs``: files that stand as long as the result does; and what other jobs take: ``features``
        (stores), ``paths`` (run folders); of a report ``table`` and ``findings``.
    """
    verb = _VERBS[kind]
    if verb is not _train:
        resources.kept.clear()
    return verb({**arguments, "progress": progress}, resources)


def _train(arguments: Arguments, resources: WorkerResources) -> dict[str, Any]:
    from featx.finetuning import FinetuneSettings, train_folds

    given = {**arguments, "workers": resources.threads}
    manifest = given.pop("manifest")
    runs = train_folds(manifest, FinetuneSettings.make(given), resources.kept)
    return {"outputs": [str(run.path / COMPLETE) for run in runs], "paths": [str(run.path) for run in runs]}


def _extract(arguments: Arguments, resources: WorkerResources) -> dict[str, Any]:
    from featx.features import RECIPE, compact, extract

    # The process has its number of threads from its environment and its cores.
    given = {**arguments, "workers": resources.threads, "threads": None}
    join = given.pop("compact", False)
    stores = [done.store for done in extract(given.pop("manifest"), **given)]
    for store in stores if join else ():
        compact(store)
    return {
        "outputs": [str(store / RECIPE) for store in stores],
        "features": [str(store) for store in stores],
    }


def _svm(arguments: Arguments, resources: WorkerResources) -> dict[str, Any]:
    from featx.external import EXTERNAL_RECORD, external_scores
    from featx.svm import train_svm

    given = {**arguments, "workers": resources.threads}
    runs = train_svm(given.pop("manifest"), **given)
    if not runs:
        raise TrainingError(f"the protocol {arguments['protocol']!r} has no fold to train on; give another")
    scored = [one.path / EXTERNAL_RECORD for run in runs for one in external_scores(run)]
    outputs = [*(run.path / COMPLETE for run in runs), *scored]
    return {"outputs": list(map(str, outputs)), "paths": [str(run.path) for run in runs]}


def _hash(arguments: Arguments, resources: WorkerResources) -> dict[str, Any]:
    from .hashing import hash_part

    given = {**arguments, "workers": resources.threads}
    return {"outputs": [str(hash_part(given.pop("manifest"), **given))]}


def _report(arguments: Arguments, resources: WorkerResources) -> dict[str, Any]:
    from featx.reporting import report_runs

    given = dict(arguments)
    done = report_runs(given.pop("paths"), **given)
    return {
        "outputs": [str(done.html)],
        "table": done.text,
        "findings": [finding.lead for finding in done.findings],
    }


_VERBS: dict[str, Callable[[Arguments, WorkerResources], dict[str, Any]]] = {
    "hash": _hash,
    "source": _train,
    "finetune": _train,
    "extract": _extract,
    "svm": _svm,
    "report": _report,
}
_LOST_LEASE = 75
_LEASE = "worker"
_PR_SET_PDEATHSIG = 1


class _Events:
    """Where events go: the standard output that the process was started with."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w", encoding="utf-8")
        # From here on all output, of Python and of libraries, goes to the log of the current job, or else to stderr.
        os.dup2(2, 1)

    def send(self, **event: Any) -> None:
        """Send an event, if the study's process is still alive."""
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
        except BrokenPipeError:
            pass


class _JobProgress(BatchLog):
    """Progress of a job: lines for its log. A worker that has lost the lease of its job ends at its next step."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lambda line: print(line, flush=True))
        self._lease = lease

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin a task."""
        super().start(task, total, unit)
        self.say(self.text)

    def advance(self, count: int = 1) -> None:
        """Count units done."""
        if self._lease.lost():
            _leave()
        super().advance(count)

    def finish(self) -> None:
        """End the task."""
        self.say(self.text)
        super().finish()


def _leave() -> None:
    """End at once, and write nothing more: another worker has this job."""
    print("another worker has taken over this job; this one ends", flush=True)
    os._exit(_LOST_LEASE)


def main(arguments: list[str] | None = None) -> int:
    """Run the jobs that standard input names, and return the exit code: 130 if interrupted."""
    parser = argparse.ArgumentParser(description="Run jobs; started by featx itself.")
    parser.add_argument("--cpus", required=True, help="cores to run on, such as 0,1")
    parser.add_argument("--threads", type=int, required=True, help="number of threads")
    parser.add_argument("--parent", type=int, required=True, help="the host's process, to die with it")
    given = parser.parse_args(arguments)
    _die_with(given.parent)
    cpus = {int(cpu) for cpu in given.cpus.split(",")}
    move_threads(os.getpid(), cpus)
    # No lock, which a second signal would wait for inside the handler of the first.
    asked: list[int] = []

    def interrupt(number: int, frame: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    quieten_tensorflow()
    events = _Events()
    resources = WorkerResources(given.threads)
    tasks = _TaskQueue()
    threading.Thread(target=tasks.listen, daemon=True).start()
    try:
        while (task := tasks.take()) is not None:
            _do(task, resources, events, asked)
            tasks.busy.clear()
    except KeyboardInterrupt:
        # The end of the input, or a second signal, must not disturb the process's own end.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return 130
    return 0


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies (Linux, ``PR_SET_PDEATHSIG``)."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    except (AttributeError, OSError, TypeError):
        return  # elsewhere the end of the input interrupts the job
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


class _TaskQueue:
    """Tasks from standard input, read in a thread of their own so that their end is noticed during a job."""

    def __init__(self) -> None:
        self.busy = threading.Event()
        self._ended = threading.Event()
        self._tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()

    def listen(self) -> None:
        """Read tasks; when they end, interrupt the current job."""
        for line in sys.stdin:
            self._tasks.put(json.loads(line))
        self._ended.set()
        self._tasks.put(None)
        if self.busy.is_set():
            interrupt_main()

    def take(self) -> dict[str, Any] | None:
        """Wait for a task; None after the last one."""
        task = self._tasks.get()
        # Set before the other thread's flag is read, as that thread does with its own, so that no end is missed.
        self.busy.set()
        return None if self._ended.is_set() else task


def _do(task: dict[str, Any], resources: WorkerResources, events: _Events, asked: list[int]) -> None:
    folder = Path(task["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a", encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    print(
        f"--- {datetime.now().isoformat(timespec='seconds')} {task['label']}, {resources.threads} threads, "
        f"{platform.node()} process {os.getpid()}",
        flush=True,
    )
    try:
        with hold_lease(folder / _LEASE, _leave, _wait) as lease:
            assert lease is not None, "a worker waits for its lease until it is interrupted"
            event = _run(task, folder, resources, _JobProgress(lease), asked)
        # Whoever hears of the end may end this process, which must have given its lease back by then.
        events.send(**event)
    except KeyboardInterrupt:
        print("interrupted; the next run resumes from the last checkpoint", flush=True)
        events.send(event="interrupted")
        raise


def _wait(holder: Mapping[str, Any]) -> bool:
    """Say whom the worker waits for, each time that this changes."""
    _say_holder(str(holder["host"]), int(holder["pid"]))
    return False


@cache
def _say_holder(host: str, pid: int) -> None:
    print(f"waiting for process {pid} on {host}, which works on this job, to end or be lost", flush=True)


def _run(
    task: dict[str, Any],
    folder: Path,
    resources: WorkerResources,
    progress: Progress,
    asked: list[int],
) -> dict[str, Any]:
    """Run a job, mark its end, and return its event."""
    began = time.monotonic()
    done = read_done(folder, task["digest"])
    if done is not None:
        return {"event": "done", "seconds": done["seconds"]}
    try:
        result = do_job(task["kind"], task["arguments"], resources, progress)
        # Ends the process if it was suspended meanwhile and another has the job.
        progress.advance(0)
    except Exception as error:
        if asked:
            # A library has swallowed the interruption while it was imported, and failed of what that left behind.
            raise KeyboardInterrupt from error
        reason = str(error) if isinstance(error, FeatxError) else f"{type(error).__name__}: {error}"
        print(f"failed: {reason}", flush=True)
        if not isinstance(error, FeatxError):
            traceback.print_exc()
        write_failed(task["digest"], folder, reason)
        return {"event": "failed", "reason": " ".join(reason.split())}
    seconds = round(time.monotonic() - began, 2)
    facts = {"seconds": seconds, "threads": resources.threads, **task["measures"]}
    write_done(task["digest"], folder, {**result, **facts})
    print(f"done in {seconds:.0f} s", flush=True)
    return {"event": "done", "seconds": seconds}


if __name__ == "__main__":
    sys.exit(main())
