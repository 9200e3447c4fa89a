"""A pool of worker processes on this machine.

Each worker has its own cores (pinned, and set for BLAS and TensorFlow) and its own GPU, and runs jobs one after another,
so that TensorFlow is imported once. A worker whose job has failed is replaced.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .jobs import StudyJob

__all__ = ["Pool", "Worker", "environment", "shares"]
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
)


def shares(workers: int) -> list[tuple[int, ...]]:
    """Divide the cores that this process may use among workers.

    Returns
    -------
    list of tuple of int
        Cores of each worker, as even as possible; with more workers than cores, workers share cores.

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
    """Make the environment variables of a worker: number of threads, and GPU.

    Returns
    -------
    dict of str to str
        This process's environment, with deterministic TensorFlow on a CPU; for one of several workers also with its
        number of threads, and one GPU in turn where there are any.
    """
    settings = dict(os.environ)
    gpus = _gpus(settings)
    if not gpus:
        # Before a worker's first job, which may be an extraction: see `featx.finetuning.devices.make_deterministic`.
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


# -P: a file in the current folder shall not stand in for a library.
_WORKER = (sys.executable, "-P", "-m", "featx.study.worker")
_GRACE_SECONDS = 60.0
Event = Mapping[str, Any]


@dataclass
class Worker:
    """A worker process, its current job, and its last message.

    Attributes
    ----------
    slot : int
        Index of its cores and GPU.
    process : subprocess.Popen
        The process.
    job : Job or None
        Its current job.
    text : str
        Progress of the job.
    heard : bytes
        Beginning of a line that is not complete yet.
    leaving : bool
        Whether it gets no more jobs.
    signalled : int
        Last signal sent to it.
    """

    slot: int
    process: subprocess.Popen[bytes]
    job: StudyJob | None = None
    text: str = ""
    heard: bytes = b""
    leaving: bool = False
    signalled: int = 0


class Pool:
    """A pool of at most `workers` worker processes."""

    def __init__(self, workers: int) -> None:
        self._slots = shares(workers)
        self._workers: list[Worker] = []
        self._selector = selectors.DefaultSelector()

    def busy(self) -> list[Worker]:
        """List the workers that have a job."""
        return [worker for worker in self._workers if worker.job]

    def idle(self) -> Worker | None:
        """Find a worker without a job, or start one if a share of the machine is free."""
        for worker in self._workers:
            if worker.job is None and not worker.leaving:
                return worker
        free = set(range(len(self._slots))) - {worker.slot for worker in self._workers}
        return self._start(min(free)) if free else None

    def _start(self, slot: int) -> Worker:
        cpus = ",".join(map(str, self._slots[slot]))
        alone = ["--alone"] if len(self._slots) == 1 else []
        process = subprocess.Popen(
            [*_WORKER, "--cpus", cpus, "--parent", str(os.getpid()), *alone],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(self._slots, slot),
            # A session of its own: Ctrl-C reaches the workers through this process alone.
            start_new_session=True,
        )
        os.set_blocking(_pipe(process.stdout).fileno(), False)
        worker = Worker(slot, process)
        self._workers.append(worker)
        self._selector.register(_pipe(process.stdout), selectors.EVENT_READ, worker)
        return worker

    def submit(self, worker: Worker, job: StudyJob, task: Mapping[str, Any]) -> None:
        """Give a worker a job."""
        worker.job, worker.text = job, ""
        pipe = _pipe(worker.process.stdin)
        # That a worker has died is noticed at the end of its output.
        with suppress(BrokenPipeError):
            pipe.write(json.dumps(task).encode() + b"\n")
            pipe.flush()

    def listen(self, seconds: float) -> Iterator[tuple[Worker, Event]]:
        """Wait some seconds for events of workers.

        Yields
        ------
        Worker
            Sender of the event.
        mapping
            The event, ``event`` being ``progress``, ``done``, ``failed`` or ``interrupted``; or ``ended`` with
            the exit code ``code``, by which it has left the pool.
        """
        for key, _ in self._selector.select(seconds):
            yield from self._read(key.data)
        # A process that a library has forked may hold the pipe open after its worker has ended.
        for worker in [worker for worker in self._workers if worker.process.poll() is not None]:
            yield from self._read(worker, ended=True)

    def _read(self, worker: Worker, ended: bool = False) -> Iterator[tuple[Worker, Event]]:
        """Read the events of a worker; the end of its output means that it has ended."""
        try:
            some = os.read(_pipe(worker.process.stdout).fileno(), 1 << 16)
        except BlockingIOError:
            if not ended:
                return
            some = b""
        *lines, worker.heard = (worker.heard + some).split(b"\n")
        for line in lines:
            yield worker, json.loads(line)
        if ended or not some:
            self._selector.unregister(_pipe(worker.process.stdout))
            self._workers.remove(worker)
            code = worker.process.wait()
            _end_children(worker)
            yield worker, {"event": "ended", "code": code}

    def retire(self, worker: Worker) -> None:
        """Give a worker no more jobs, so that it ends."""
        worker.leaving = True
        _pipe(worker.process.stdin).close()

    def interrupt(self, force: bool) -> bool:
        """Interrupt all workers, each once, or kill them; tell whether this was the first signal."""
        wanted = signal.SIGKILL if force else signal.SIGINT
        first = not any(worker.signalled for worker in self._workers)
        for worker in self._workers:
            if worker.signalled != wanted:
                worker.signalled = wanted
                worker.process.send_signal(wanted)
        return first and bool(self._workers)

    def dismiss(self) -> None:
        """End the workers by closing their input."""
        for worker in self._workers:
            with suppress(BrokenPipeError):
                _pipe(worker.process.stdin).close()
        for worker in self._workers:
            try:
                worker.process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            _end_children(worker)
        self._selector.close()


def _end_children(worker: Worker) -> None:
    """Kill child processes that an ended worker has left in its session."""
    with suppress(ProcessLookupError):
        os.killpg(worker.process.pid, signal.SIGKILL)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "workers are started with pipes"
    return pipe
