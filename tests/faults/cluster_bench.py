"""A small study and two single verbs, drivers that run them on a cluster, and a judge of what came of a fault.

Every process that is started here bears a mark in its environment, which what it starts inherits: so victims and what
was left behind are found among the processes of a machine that others use too.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image

from . import kills
from .counts import Counts

__all__ = ["Bench", "Cluster", "Driver", "harass"]

_MARK = "FEATX_FAULTS"
_HUNG_SECONDS = 900.0
# An idle worker process stays for 30 s, and TensorFlow takes half a minute to end on a busy machine.
_LEFT_SECONDS = 90.0
_POLL_SECONDS = 0.1
_IMAGES = 40
_FEATX = str(Path(sys.executable).with_name("featx"))
_CHILD = "featx.jobs.worker"

_STUDY = """
name = "small"
backbones = ["tiny"]
[targets.skin]
manifest = "skin/manifest.csv"
tasks = ["melanoma:rest"]
protocol = "kfold:2"
[extract]
engine = "keras"
image_size = 32
[finetune]
image_size = 32
epochs = 2
batch_size = 8
[svm]
costs = [0.1, 1]
inner_splits = 2
[arms.frozen]
weights = "random"
[arms.tuned]
weights = "random"
finetune = true
"""
# One core for each job: the last bits of a network's results may depend on its number of threads, which would follow
# the number of workers that are there when a job starts.
_RETRIES = "--retries 1000 --cores 1"
COMMANDS = {
    "study": f"study run small.toml {_RETRIES} --cluster {{place}} -j 2",
    "extract": "extract skin/manifest.csv -m tiny -w random --image-size 32 --engine keras -b 4 --cache verbs/cache "
    f"--parts 3 {_RETRIES} --cluster {{place}} -j 2",
    "train-svm": "train-svm skin/manifest.csv -f {store} --cache verbs/cache --task melanoma:rest --protocol kfold:4 --arm A "
    f"--inner-splits 2 --costs 0.1,1 {_RETRIES} --cluster {{place}} -j 2",
}
"""Commands behind ``featx`` by the name of what they do."""


class Driver:
    """A process of ``featx`` that runs a study or a verb."""

    _started = 0

    def __init__(self, command: Sequence[str], bench: Bench, prefix: Sequence[str] = ()) -> None:
        Driver._started += 1
        self._bench = bench
        self._log = bench.folder / f"driver-{Driver._started}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [*prefix, _FEATX, *command],
                cwd=bench.work,
                env=bench.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, seconds: float = _HUNG_SECONDS, until: Callable[[], bool] = lambda: False) -> int | None:
        """Wait for its end, or until something has happened: the exit code, None while it runs."""
        limit = time.monotonic() + seconds
        while (code := self.process.poll()) is None and time.monotonic() < limit and not until():
            self._bench.look()
            time.sleep(_POLL_SECONDS)
        self._bench.look()
        return code

    def kill(self) -> None:
        """Kill it, not what it has started."""
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")


class Bench:
    """The data, the study, and the outcome of runs on this machine that nobody disturbed.

    Parameters
    ----------
    folder : Path
        An empty folder to work in, or one that an earlier bench has used: the undisturbed outcome is taken from there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.whole = folder, folder / "work", folder / "whole"
        self.mark = uuid.uuid4().hex
        # Locks of cores are those of this suite alone.
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            _MARK: self.mark,
            "TMPDIR": str(folder / "tmp"),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "RAY_USAGE_STATS_ENABLED": "0",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "20s",
        }
        self._marks: dict[Path, tuple[int, int]] = {}
        self.redone: list[str] = []
        if not self.whole.exists():
            self._make()
        self.wanted = _outcome(self.whole)

    def _make(self) -> None:
        """Run everything undisturbed."""
        shutil.rmtree(self.work, ignore_errors=True)
        _make_inputs(self.work)
        for what in COMMANDS:
            driver = self.drive(what, "local")
            if driver.wait() != 0:
                raise AssertionError(f"{what}: {driver.said}")
        self.work.rename(self.whole)

    def drive(self, what: str, place: str, *more: str, prefix: Sequence[str] = ()) -> Driver:
        """Start a driver."""
        stores = sorted((self.work / "verbs" / "cache" / "features").glob("*"))
        command = COMMANDS[what].format(place=place, store=stores[0] if stores else "none")
        return Driver([*command.split(), *more], self, prefix)

    def begin(self, what: str, first: str = "") -> None:
        """Restore the outcome, less that of a verb, or of the jobs of the study from one on whose label starts so."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.whole, self.work)
        if what == "extract":
            shutil.rmtree(self.work / "verbs" / "cache" / "features")
        elif what == "train-svm":
            shutil.rmtree(self.work / "reports" / "runs")
        else:
            _forget(self.work / "reports" / "small", first)
        self.look_anew()

    def look_anew(self) -> None:
        """Note the marks of finished jobs for the first time, or after all files were copied."""
        self._marks, self.redone = {}, []
        self.look()

    def look(self) -> None:
        """Note the marks of finished jobs: a mark that is gone or another than before is a job done again."""
        for path in (self.work / "reports" / "small").glob("jobs/*/done.json"):
            with suppress(OSError):
                facts = path.stat()
                now = (facts.st_ino, facts.st_mtime_ns)
                if self._marks.setdefault(path, now) != now:
                    self.redone.append(f"{path.parent.name} was marked twice")
                    self._marks[path] = now

    def ours(self) -> dict[int, str]:
        """List the living processes with the mark, by number, and their command lines."""
        found: dict[int, str] = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                number = int(entry.name)
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                marked = f"{_MARK}={self.mark}".encode()
                # A process that changes its title, as those of Ray do, writes over its environment.
                homes = (entry, Path("/proc") / fields[1])
                if fields[0] not in "ZX" and any(marked in (home / "environ").read_bytes() for home in homes):
                    found[number] = (
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
        return found

    def having(self, text: str) -> list[int]:
        """List the marked processes whose command line has a text."""
        return [number for number, line in self.ours().items() if text in line]

    def children(self) -> list[int]:
        """List the worker processes of featx."""
        return self.having(_CHILD)

    def left(self, seconds: float = _LEFT_SECONDS) -> list[str]:
        """Wait until no process of a job or driver is left; name those that are."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit and (self.having(_CHILD) or self.having(_FEATX)):
            time.sleep(0.5)
        return [line for line in self.ours().values() if _CHILD in line or _FEATX in line]

    def judge(
        self,
        counts: Counts,
        where: str,
        driver: Driver,
        again: Callable[[], Driver] | None = None,
        faults: int = 1,
        code: int | None = None,
    ) -> bool:
        """Wait for a driver's end; one that ends with a clear message is run again; compare what is there with the outcome.

        Parameters
        ----------
        counts : Counts
            Where it is counted.
        where : str
            For the table.
        driver : Driver
            The driver that was disturbed.
        again : callable, optional
            Starts the same command again; the driver must end well if there is none.
        faults : int
            How many faults there were; none if it ended before the first.
        code : int, optional
            The exit code that it must have.

        Returns
        -------
        bool
            Whether all was right.
        """
        found = driver.wait()
        text = _complaint(driver, found, again is not None, code)
        if not text and found:
            assert again is not None, "a driver that failed has complained"
            driver = again()
            found = driver.wait()
            text = f"the same command again: {_complaint(driver, found, False, 0)}" if found != 0 else ""
        if found is None:
            counts.hung.append(f"{where}: {text}")
            self.end_all()
            return False
        lost, odd = self._compared()
        if text or odd:
            counts.wrong.append(f"{where}, {faults} faults: {text or odd}")
        elif lost:
            counts.lost.append(f"{where}, {faults} faults: {lost}")
        else:
            counts.survived += faults
        return not (text or odd or lost)

    def _compared(self) -> tuple[str, str]:
        """Name what is lost, and what is not as it should be."""
        found = _outcome(self.work)
        gone = sorted(self.wanted.keys() - found.keys())
        odd = sorted(name for name in found if found[name] != self.wanted.get(name))
        doubles = [
            path.parent.name
            for path in (self.work / "reports" / "small").glob("jobs/*/log.txt")
            if _runs_after_done(path.read_text(errors="replace"))
        ]
        wrong = [f"{name} differs" for name in odd]
        wrong += self.redone + [f"{name} was run again after it was done" for name in doubles]
        if wrong:
            # For whoever looks for the reason.
            shutil.copytree(self.work, self.folder / f"wrong-{uuid.uuid4().hex[:6]}")
        return (f"{gone[0]} is gone" if gone else ""), ", ".join(wrong[:6])

    def end_all(self) -> None:
        """Kill drivers and worker processes that hang."""
        for number in [*self.having(_FEATX), *self.having(_CHILD)]:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)

    def close(self) -> None:
        """Kill every process that is left."""
        for number in self.ours():
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)


def _complaint(driver: Driver, found: int | None, may_fail: bool, code: int | None) -> str:
    """Say what is wrong with the end of a driver; empty for nothing."""
    said = driver.said
    errors = [line for line in said.splitlines() if line.startswith("featx: error")]
    last = " | ".join(said.splitlines()[-3:])
    if found is None:
        return f"does not end: {last}"
    if "Traceback" in said:
        return f"exit code {found} with a traceback: {last}"
    if code is not None and found != code:
        return f"exit code {found} instead of {code}: {last}"
    if found == 0 or found < 0 or found in (130, 143):
        return ""
    if not may_fail or (len(errors) != 1 and " failed: " not in said):
        return f"exit code {found}: {last}"
    return ""


def _runs_after_done(log: str) -> bool:
    """Tell whether a job was run after its log says that it was done."""
    lines = log.splitlines()
    ends = [number for number, line in enumerate(lines) if line.startswith("done in ")]
    return bool(ends) and any(line.startswith("--- ") for line in lines[ends[0] :])


def _outcome(folder: Path) -> dict[str, str]:
    """Digest the rows of stores, runs, weights, tables and figures; the table of backbones holds speeds."""
    verbs = {f"verbs/{name}": text for name, text in kills.outcome(folder / "verbs").items()}
    return {name: text for name, text in {**kills.outcome(folder), **verbs}.items() if _is_compared(name)}


def _is_compared(name: str) -> bool:
    last = Path(name).name
    if "/" not in name.removeprefix("verbs/"):
        return last.startswith("tiny-")
    parts = set(Path(name).parts)
    return bool(parts & {"runs", "weights", "tables", "figures"}) and not last.startswith("backbones.")


def _make_inputs(folder: Path) -> None:
    """Draw two classes that are hard to tell apart, two images a patient."""
    rng = np.random.default_rng(0)
    (folder / "skin").mkdir(parents=True)
    lines = ["image,label,group"]
    for number in range(_IMAGES):
        ill = number % 4 < 2
        pixels = rng.normal(120 + 6 * ill, 60, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "skin" / f"{number}.png")
        lines.append(f"{number}.png,{'melanoma' if ill else 'nevus'},p{number // 2}")
    (folder / "skin" / "manifest.csv").write_text("\n".join(lines) + "\n")
    (folder / "small.toml").write_text(_STUDY)


def _forget(study: Path, first: str) -> None:
    """Remove the jobs of a study whose label starts so, all that need them, and their outputs; all jobs if it is empty."""
    jobs = {path.parent: json.loads(path.read_text()) for path in study.glob("jobs/*/job.json")}
    gone = {
        job["digest"]
        for job in jobs.values()
        if f"{job['kind']} {job['name']}".startswith(first) or not first
    }
    while more := {job["digest"] for job in jobs.values() if gone & set(job["needs"])} - gone:
        gone |= more
    for folder, job in jobs.items():
        if job["digest"] in gone:
            for output in json.loads((folder / "done.json").read_text())["outputs"]:
                shutil.rmtree(Path(output).parent, ignore_errors=True)
            shutil.rmtree(folder)


def harass(
    bench: Bench,
    driver: Driver,
    victims: Callable[[], list[int]],
    most: int,
    rng: random.Random,
    seconds: float,
    number: int = signal.SIGKILL,
) -> int:
    """Send a signal to one of the victims at random moments until the driver ends; return how many were sent.

    The first moment is soon after there is a victim: a run that is over before its first fault shows nothing.
    """
    sent, limit = 0, time.monotonic() + _HUNG_SECONDS
    driver.wait(until=lambda: bool(victims()))
    driver.wait(rng.uniform(0, seconds / 4))
    while sent < most and time.monotonic() < limit and driver.process.poll() is None:
        if found := victims():
            with suppress(ProcessLookupError):
                os.kill(rng.choice(found), number)
                sent += 1
        driver.wait(rng.expovariate(1 / seconds))
    return sent


class Cluster:
    """A Dask cluster of this suite: a scheduler and workers with nannies, each a process.

    Parameters
    ----------
    bench : Bench
        Whose.
    name : str
        Of its scheduler file.
    options : sequence of str
        More options of all its processes.
    prefixes : pair of sequences of str
        What stands before the commands of the scheduler and of the workers.
    """

    def __init__(
        self,
        bench: Bench,
        name: str = "scheduler",
        options: Sequence[str] = (),
        prefixes: tuple[Sequence[str], Sequence[str]] = ((), ()),
        host: str = "127.0.0.1",
    ) -> None:
        self.bench, self.options, self.prefixes, self.host = bench, options, prefixes, host
        (bench.folder / name).mkdir(exist_ok=True)
        self.file = bench.folder / name / "scheduler.json"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nannies: list[subprocess.Popen[bytes]] = []

    @property
    def place(self) -> str:
        """As ``--cluster`` takes it."""
        return f"dask:{self.file}"

    def start(self, workers: int = 2) -> None:
        """Start what is not running."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.end()
            self.file.unlink(missing_ok=True)
            more = ("--scheduler-file", str(self.file), "--host", self.host, "--port", "0")
            self.scheduler = self._start("dask_scheduler", more, self.prefixes[0])
            limit = time.monotonic() + 90
            while not self.file.exists():
                if time.monotonic() > limit:
                    raise AssertionError("the Dask scheduler does not start")
                time.sleep(_POLL_SECONDS)
        self.nannies = [nanny for nanny in self.nannies if nanny.poll() is None]
        while len(self.nannies) < workers:
            self.add_worker()

    def add_worker(self, prefix: Sequence[str] | None = None, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker of one slot."""
        scratch = self.bench.folder / f"scratch-{uuid.uuid4().hex[:6]}"
        more = ("--scheduler-file", str(self.file), "--nthreads", "1", "--memory-limit", "0")
        more += ("--local-directory", str(scratch), "--death-timeout", "300")
        nanny = self._start("dask_worker", more, self.prefixes[1] if prefix is None else prefix, environment)
        self.nannies.append(nanny)
        return nanny

    def _start(
        self, what: str, more: Sequence[str], prefix: Sequence[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.bench.folder / f"{what}.log").open("a") as log:
            return subprocess.Popen(
                [
                    *prefix,
                    sys.executable,
                    "-m",
                    f"distributed.cli.{what}",
                    *more,
                    "--no-dashboard",
                    *self.options,
                ],
                cwd=self.bench.folder,
                env={**self.bench.environment, **(environment or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def workers(self) -> list[int]:
        """List the processes of Dask in which jobs are hosted."""
        return list(self._workers())

    def _workers(self) -> Iterator[int]:
        nannies = {nanny.pid for nanny in self.nannies}
        for number in self.bench.having("spawn_main"):
            with suppress(OSError):
                parent = int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
                if parent in nannies:
                    yield number

    def end(self) -> None:
        """Kill all of it."""
        every = [*self.workers(), *(process.pid for process in (*self.nannies, self.scheduler) if process)]
        for number in every:
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
        for process in (*self.nannies, self.scheduler):
            if process:
                process.wait()
        self.nannies, self.scheduler = [], None
