"""The host of a job: runs it in a worker process of its own, on whatever machine an engine has called this function.

Verbs never run in an engine's own process, whose threads and random state they would share. The worker process stays
for the next job, so that TensorFlow is imported once, and ends when it is idle for a while, when its host ends, or
when a job has failed in it.
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any

from featx.machine import move_threads
from featx.process import end_session

from ..job_state import read_done
from .cores import Claim, claim_cores, claim_gpu, gpu_names, share_of_cores, thread_settings
from .leases import Watch

__all__ = ["dismiss_workers", "interrupt_workers", "run_job"]

Task = Mapping[str, Any]
Event = dict[str, Any]
# Number of threads, and of TensorFlow's for an operation; whether it has a GPU, and whether it is alone.
_Kind = tuple[int, int, bool, bool]

# -P: a file in the current folder shall not stand in for a library.
_WORKER = (sys.executable, "-P", "-m", "featx.jobs.worker")
_LOOK_SECONDS = 0.25
_GRACE_SECONDS = 60.0
_IDLE_SECONDS = 30.0


@dataclass
class _Worker:
    """A worker process.

    Attributes
    ----------
    process : subprocess.Popen
        The process, in a session of its own: Ctrl-C reaches it through its host alone.
    kind : tuple
        What it was started with.
    gpu : Claim
        Its GPU, claimed until it ends: it keeps memory of the GPU between jobs.
    idle_since : float
        When its last job ended.
    stop : int
        What it was told last: 0 go on, 1 stop at the next checkpoint, 2 stop at once.
    events : queue.Queue
        What it has sent, read by a thread of its own: not every system can wait for several pipes.
    """

    process: subprocess.Popen[bytes]
    kind: _Kind
    gpu: Claim
    idle_since: float = 0.0
    stop: int = 0
    events: queue.Queue[Event] = field(default_factory=queue.Queue)

    def __post_init__(self) -> None:
        self._listener = threading.Thread(target=self._listen, name="featx-events", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with _pipe(self.process.stdout) as pipe:
            for line in pipe:
                if line.endswith(b"\n"):  # a killed process may leave a part of one
                    self.events.put(json.loads(line))

    def event(self, seconds: float) -> Event | None:
        """Wait for an event for this time, or, once the process has ended, for those that it had sent before."""
        with suppress(queue.Empty):
            return self.events.get(timeout=seconds)
        if self.process.poll() is not None:
            # A process that a library has forked may hold the pipe open after its worker has ended.
            self._listener.join(seconds)
            with suppress(queue.Empty):
                return self.events.get_nowait()
        return None

    def tell(self, stop: int) -> None:
        """Tell it to stop at its next checkpoint (1) or at once (2), once."""
        if self.stop == stop:
            return
        self.stop = stop
        if stop > 1:
            self.process.kill()
        elif hasattr(signal, "SIGKILL"):
            self.process.send_signal(signal.SIGINT)
        else:
            # Windows cannot send it this signal; the end of its input interrupts it too.
            _pipe(self.process.stdin).close()

    def end(self, seconds: float = _GRACE_SECONDS) -> int:
        """Close its input, wait for its end, and kill what it has left in its session; return its exit code."""
        with suppress(OSError):
            _pipe(self.process.stdin).close()
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        end_session(self.process)
        self._listener.join(_LOOK_SECONDS)
        self.gpu.release()
        return code


@dataclass
class _Workers:
    """The worker processes of this process."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    idle: list[_Worker] = field(default_factory=list)
    busy: list[_Worker] = field(default_factory=list)
    stopping: bool = False
    # The kernel ends a worker when the thread that started it ends, so that one thread starts all.
    starter: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "featx-starter"))

    def take(self, kind: _Kind, cores: set[int]) -> _Worker:
        """Take an idle worker of this kind, or start one."""
        with self.lock:
            found = next((worker for worker in self.idle if worker.kind == kind), None)
            # One that starts takes the place of an idle one, so that there are never more than jobs at once.
            taken = found or next(iter(self.idle), None)
            self.idle = [worker for worker in self.idle if worker is not taken]
        if taken is not None and not (found and move_threads(found.process.pid, cores)):
            taken.end()
            found = None
        worker = found or self.starter.submit(_start, kind, cores).result()
        with self.lock:
            self.busy.append(worker)
        return worker

    def give_back(self, worker: _Worker, keep: bool) -> int:
        """Keep a worker for the next job, or end it; return its exit code."""
        with self.lock:
            self.busy.remove(worker)
            keep = keep and not self.stopping
            if keep:
                worker.idle_since = time.monotonic()
                self.idle.append(worker)
        if not keep:
            return worker.end()
        timer = threading.Timer(_IDLE_SECONDS, self.end_idle)
        timer.daemon = True
        timer.start()
        return 0

    def end_idle(self, seconds: float = _IDLE_SECONDS) -> None:
        """End the workers that have been idle for this time."""
        limit = time.monotonic() - seconds
        with self.lock:
            old = [worker for worker in self.idle if worker.idle_since <= limit]
            self.idle = [worker for worker in self.idle if worker not in old]
        for worker in old:
            worker.end()


@cache
def _workers_of(pid: int) -> _Workers:
    """Return the workers of a process of this number: one that was forked begins with none."""
    return _Workers()


def _workers() -> _Workers:
    return _workers_of(os.getpid())


def _start(kind: _Kind, cores: set[int]) -> _Worker:
    threads, pool, needs_gpu, alone = kind
    gpu = claim_gpu(gpu_names(os.environ) if needs_gpu and not alone else [])
    process = subprocess.Popen(
        [
            *_WORKER,
            *("--threads", str(threads), "--cpus", ",".join(map(str, sorted(cores)))),
            *("--parent", str(os.getpid())),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=thread_settings(threads, pool, "".join(gpu.names), alone),
        start_new_session=True,
    )
    return _Worker(process, kind, gpu)


def run_job(task: Task) -> Event:
    """Run a job in a worker process, and wait for its end.

    Parameters
    ----------
    task : mapping
        The job in JSON types, as `featx.jobs.scheduler` makes it. It names the lease of its scheduler: when that is
        lost, or says so, the job is interrupted at its next checkpoint.

    Returns
    -------
    dict
        ``event``: ``"done"``, ``"failed"`` (with ``reason``), ``"interrupted"``, or ``"died"`` (with the exit code
        ``code``); and the ``host``.
    """
    place = {"host": platform.node(), "pid": os.getpid()}
    done = read_done(Path(task["folder"]), task["digest"])
    if done is not None:
        # The engine has lost the answer of an earlier run of this job.
        return {"event": "done", "seconds": done["seconds"], "executions": 0, **place}
    watch = Watch(Path(task["scheduler"]["path"]), task["scheduler"]["token"])
    if _told(watch):
        return {"event": "interrupted", "executions": 0, **place}
    slots = int(task["slots"].get(platform.node(), task["slots"][""]))
    cores = claim_cores(int(task["cores"] or share_of_cores(slots)))
    alone = slots == 1 and not task["cores"]
    workers = _workers()
    try:
        needs_gpu = bool(task["gpus"] and gpu_names(os.environ))
        # A training has the scheduler's number exactly; others only where that wastes no core of this machine.
        pool = task["threads"] if task["trains"] else max(task["threads"], len(cores.names))
        worker = workers.take((len(cores.names), pool, needs_gpu, alone), cores.cores)
        event = _follow(worker, task, watch)
        # Memory that a failed job leaves allocated must not affect the next job, nor an import that a signal has cut short.
        code = workers.give_back(worker, keep=event["event"] == "done" and not worker.stop)
    finally:
        cores.release()
    return {**event, "executions": 1, **place, **({"code": code} if event["event"] == "died" else {})}


def _told(watch: Watch) -> int:
    """Return what the scheduler wants: 0 go on, 1 stop, 2 stop at once; a lost one wants its jobs stopped."""
    holder = watch.holder()
    return 1 if holder is None else int(holder["stop"])


def _follow(worker: _Worker, task: Task, watch: Watch) -> Event:
    """Give a worker a job and wait for its last event."""
    pipe = _pipe(worker.process.stdin)
    # That a worker has died is noticed at the end of its output.
    with suppress(BrokenPipeError):
        pipe.write(json.dumps(dict(task)).encode() + b"\n")
        pipe.flush()
    asked = None
    while True:
        event = worker.event(_LOOK_SECONDS)
        if event is not None:
            return event
        if worker.process.poll() is not None:
            # One that was still starting has died of the signal.
            return worker.event(_LOOK_SECONDS) or {"event": "interrupted" if asked else "died"}
        stop = max(_told(watch), int(_workers().stopping))
        if stop:
            asked = asked or time.monotonic()
            late = time.monotonic() - asked > float(task["grace"])
            worker.tell(2 if stop > 1 or late else 1)


def interrupt_workers() -> None:
    """Stop the running jobs of this process at their next checkpoint, and start no worker that stays.

    For engines that are told to leave a machine: the jobs are interrupted, and other machines resume them.
    """
    workers = _workers()
    workers.stopping = True
    workers.end_idle(0)
    limit = time.monotonic() + _GRACE_SECONDS
    while workers.busy and time.monotonic() < limit:
        time.sleep(_LOOK_SECONDS / 5)


def dismiss_workers() -> None:
    """End the idle workers of this process."""
    _workers().end_idle(0)


atexit.register(dismiss_workers)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "workers are started with pipes"
    return pipe
