"""Kill every verb at every operation on the file system and at random moments, then give the same command again.

A kill is survived if everything that was finished before still stands, whatever counts as finished is right, and the
same command then ends with the bytes of a run that nobody killed.

    python -m tests.faults.kills [--kills 1000] [--seed 0] [--only VERB]
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from featx import files
from featx.features import FeatureStore
from featx.files import ASIDE, remove_leftovers
from featx.runs import COMPLETE, find_runs, read_run
from featx_cli.main import run

from .counts import Counts, told

_HUNG_SECONDS = 120.0
# What may differ between two equal runs: times, hosts, caches of known files, marks over these.
_VARIES = {"environment.json", COMPLETE, "log.txt", "cost.json"}
_EVENTS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "sqlite3.connect"}
_SHRINKING = {"os.remove", "os.rmdir", "os.rename"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True)
class Verb:
    """A command that is killed.

    Attributes
    ----------
    name : str
        For the table.
    command : str
        What stands behind `featx`, in a folder with ``m.csv``; ``{store}`` is the feature store there.
    before : tuple of str
        Commands that are run once, to make what this one needs.
    preload : str
        A module to import once, before the process forks for each kill.
    """

    name: str
    command: str
    before: tuple[str, ...] = ()
    preload: str = "sklearn.svm"


_EXTRACT = "extract m.csv -m tiny -w random --image-size 16 --engine keras -b 4 -j 2"
_SHARDS = tuple(f"{_EXTRACT} --shard {part}/3" for part in (1, 2, 3))
_ARM = "--task melanoma:rest --protocol kfold:2 -j 1 --arm A"
_TRAIN = f"train-svm m.csv -f {{store}} {_ARM} --inner-splits 2 --costs 0.1,1"
_TUNE = f"finetune m.csv --backbone tiny --weights random --image-size 16 {_ARM} --epochs 2 -b 8"
_REPORT = "report reports/runs --no-figures"

VERBS = (
    Verb("extract", _EXTRACT, preload="keras"),
    Verb("train-svm", _TRAIN, (_EXTRACT,)),
    Verb("train-svm --overwrite", f"{_TRAIN} --overwrite --rule one-se", (_EXTRACT, _TRAIN)),
    Verb("finetune", _TUNE, preload="keras"),
    Verb("report", _REPORT, (_EXTRACT, _TRAIN)),
    Verb(
        "report of fewer runs",
        "report reports/runs/A --no-figures",
        (_EXTRACT, _TRAIN, f"{_TRAIN} --arm B", _REPORT),
    ),
    Verb("report over another", f"{_REPORT} --title again", (_EXTRACT, _TRAIN, _REPORT)),
    Verb("protocol make", "protocol make m.csv --protocol 5x2 --task melanoma:rest -o folds.json"),
    Verb("cache compact", "cache compact {store}", _SHARDS),
    Verb("cache export", "cache export {store} -o rows.npz", (_EXTRACT,)),
)


def make_inputs(folder: Path) -> None:
    """Write a manifest and its images: noise, two of a patient."""
    rng = np.random.default_rng(0)
    lines = ["image,label,group"]
    (folder / "images").mkdir(parents=True)
    for number in range(16):
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        lines.append(f"images/{number}.png,{'melanoma' if number % 4 < 2 else 'nevus'},p{number // 2}")
    (folder / "m.csv").write_text("\n".join(lines) + "\n")


def line(command: str, folder: Path) -> list[str]:
    """Split a command, with the store that stands in the folder."""
    found = sorted(folder.glob("cache/features/*"))
    store = found[0].relative_to(folder).as_posix() if found else "no-store"
    return [word.format(store=store) for word in command.split()]


class Child:
    """A forked process that runs a command in a folder, and kills itself before an operation.

    Parameters
    ----------
    command : str
        As in `Verb`.
    folder : Path
        Where it works.
    last : int, optional
        The operation before which it kills itself; never if left out.
    full_from : int, optional
        The first of the operations that fail since the disk is full; none if left out.
    """

    def __init__(
        self, command: str, folder: Path, last: int | None = None, full_from: int | None = None
    ) -> None:
        self._log = folder.parent / f"{folder.name}.log"
        self._ended: int | None = None
        reader, writer = os.pipe()
        self.process = os.fork()
        if not self.process:
            os.close(reader)
            os._exit(_work(command, folder, last, full_from, writer, self._log))
        os.close(writer)
        self._told = b""
        self._reader = threading.Thread(target=self._read, args=(reader,), daemon=True)
        self._reader.start()

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as pipe:
            self._told = pipe.read()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end: the exit code, negative for a signal; None if it is still running."""
        limit = time.monotonic() + seconds
        while self._ended is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self._ended = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > limit:
                return None
            else:
                time.sleep(0.002)
        return self._ended

    def kill(self) -> None:
        """Kill it."""
        if self._ended is None:
            os.kill(self.process, signal.SIGKILL)
            self.wait(60)

    def results(self) -> tuple[int, list[str]]:
        """Count the operations of a process that has ended by itself, and name the modules that it has imported."""
        count, modules = json.loads(self._told)
        return count, modules

    def close(self) -> None:
        """Forget it."""
        self.kill()
        self._reader.join()

    @property
    def said(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")[-2000:]


def _work(command: str, folder: Path, last: int | None, full_from: int | None, writer: int, log: Path) -> int:
    """Be the child."""
    try:
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout, sys.stderr = (
            open(handle, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
            for handle in (1, 2)
        )
        os.chdir(folder)
        words = line(command, folder)
        with _counted(folder, last, full_from) as count:
            code = run(words)
        with os.fdopen(writer, "w") as pipe:
            json.dump([count[0], sorted(sys.modules)], pipe)
        return code
    except BaseException:
        traceback.print_exc()
        return 99


@contextmanager
def _counted(folder: Path, last: int | None, full_from: int | None) -> Iterator[list[int]]:
    """Count what the process changes on the file system below a folder; die before one such change, or refuse it."""
    count, lock, inside = [0], threading.Lock(), str(folder)

    def step(grows: bool = True) -> None:
        with lock:
            count[0] += 1
            if count[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)
            if grows and full_from is not None and count[0] >= full_from:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def hook(event: str, given: tuple[object, ...]) -> None:
        if event == "open":
            path, _, flags = given
            if isinstance(flags, int) and flags & _WRITES and _below(path, inside):
                step()
        elif event in _EVENTS:
            step(event not in _SHRINKING)

    sys.addaudithook(hook)
    exchange, flush = files.exchange, os.fsync

    def counted_exchange(one: Path, other: Path) -> bool:
        step()
        return exchange(one, other)

    def counted_flush(handle: int) -> None:
        step()
        flush(handle)

    files.exchange, os.fsync = counted_exchange, counted_flush
    yield count


def _below(path: object, folder: str) -> bool:
    text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    return bool(text) and Path(text).absolute().is_relative_to(folder)


def outcome(folder: Path) -> dict[str, str]:
    """Digest everything that a command leaves behind and that equal runs have alike."""
    found = {}
    for store in sorted((folder / "cache" / "features").glob("*")):
        if (store / "recipe.json").is_file():
            found[store.name] = _digest(b"".join(_rows(store)))
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            path.is_file()
            and not name.startswith("cache/")
            and path.name not in _VARIES
            and ASIDE not in name
        ):
            found[name] = _digest(path.read_bytes())
    return found


def _rows(path: Path) -> list[bytes]:
    store = FeatureStore(path)
    keys = sorted(store.keys())
    return [key.encode() + store.read([key]).tobytes() for key in keys]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def finished(folder: Path) -> dict[str, str]:
    """Digest what counts as finished: rows of stores, and runs."""
    found = {}
    for store in sorted((folder / "cache" / "features").glob("*")):
        if (store / "recipe.json").is_file():
            found |= {f"{store.name}/row {_digest(row[:64])[:12]}": _digest(row) for row in _rows(store)}
    if any((folder / "reports").rglob(COMPLETE)):
        with suppress_no_runs():
            for path in find_runs([folder / "reports"]):
                read_run(path)
                found[path.relative_to(folder).as_posix()] = _digest((path / "run.json").read_bytes())
    return found


@contextmanager
def suppress_no_runs() -> Iterator[None]:
    """Pass over folders in which nothing is finished."""
    from featx.errors import RunError

    try:
        yield
    except RunError as error:
        if "holds no finished run" not in str(error):
            raise


class Bench:
    """One verb, with the folder that every kill starts from and the outcome of a run that nobody killed.

    Parameters
    ----------
    verb : Verb
        The verb.
    folder : Path
        An empty folder to work in.
    """

    def __init__(self, verb: Verb, folder: Path) -> None:
        importlib.import_module(verb.preload)
        self.verb, self.folder, self.template = verb, folder, folder / "template"
        make_inputs(self.template)
        for command in verb.before:
            self._run(command, self.template)
        self.before = finished(self.template)
        self.whole = whole = self.copy("whole")
        began = time.monotonic()
        self.operations = self._run(verb.command, whole)
        self.seconds = time.monotonic() - began
        self.wanted, self.after = outcome(whole), finished(whole)

    def copy(self, name: str) -> Path:
        # One name for all: paths may stand in what is written.
        target = self.folder / name
        shutil.copytree(self.template, target)
        return target

    def _run(self, command: str, folder: Path) -> int:
        child = Child(command, folder)
        if child.wait(_HUNG_SECONDS) != 0:
            child.close()
            raise AssertionError(f"{command}: {child.said}")
        child.close()
        count, modules = child.results()
        # What is imported here once need not be imported again by each child.
        for name in modules:
            with suppress(Exception):
                importlib.import_module(name)
        return count

    def kill(self, counts: Counts, last: int | None = None, seconds: float | None = None) -> None:
        """Kill the verb before an operation or after a time, run it again, and count what came of it."""
        where = f"operation {last}" if last else f"after {seconds:.3f} s"
        folder = self.copy("killed")
        child = Child(self.verb.command, folder, last)
        try:
            code = child.wait(_HUNG_SECONDS if seconds is None else seconds)
            child.kill()
            if code is None and seconds is None:
                counts.hung.append(f"{where}: before the kill")
            elif text := self.lost(folder):
                counts.lost.append(f"{where}: {text}")
            else:
                self.again(folder, counts, where)
        except Exception as error:
            counts.wrong.append(f"{where}: {type(error).__name__}: {error}")
        finally:
            child.close()
            shutil.rmtree(folder, ignore_errors=True)

    def lost(self, folder: Path) -> str:
        """Name what was finished before the kill or is said to be, and is not what it was or shall be."""
        found = finished(folder)
        if gone := sorted(self.before.keys() - found.keys()):
            return f"{gone[0]} is gone"
        odd = [
            name
            for name, value in found.items()
            if value not in (self.before.get(name), self.after.get(name))
        ]
        return f"{odd[0]} counts as finished and is not right" if odd else ""

    def again(self, folder: Path, counts: Counts, where: str) -> None:
        child = Child(self.verb.command, folder)
        code = child.wait(_HUNG_SECONDS)
        said, found = child.said, outcome(folder) if code == 0 else {}
        child.close()
        odd = sorted(name for name in {*found, *self.wanted} if found.get(name) != self.wanted.get(name))
        # Where nothing was left to be written, pruning has to do it.
        remove_leftovers(folder, below=True)
        left = [path.name for path in folder.rglob(f"{ASIDE}*")]
        if code is None:
            counts.hung.append(f"{where}: the same command again")
        elif code:
            counts.wrong.append(
                f"{where}: the same command again exits with {code}: {said.splitlines()[-1:]}"
            )
        elif odd:
            counts.wrong.append(f"{where}: {odd[0]} differs from a run that nobody killed")
        elif left:
            counts.wrong.append(f"{where}: {left[0]} is left behind")
        else:
            counts.survived += 1


def kill_verb(verb: Verb, kills: int, seed: int, folder: Path) -> Counts:
    """Kill one verb: before each of its operations in turn, evenly chosen if there are too many, and at random."""
    bench, counts = Bench(verb, folder), Counts(f"kill {verb.name}")
    rng = random.Random(seed)
    at_random = kills // 4
    steps = np.linspace(1, bench.operations, min(kills - at_random, bench.operations)).astype(int)
    for last in sorted(set(steps.tolist())):
        bench.kill(counts, last=last)
    while counts.tried < kills:
        bench.kill(counts, seconds=rng.uniform(0, bench.seconds))
    return counts


def kill_all(kills: int, seed: int = 0, only: str = "") -> Iterator[Counts]:
    """Kill all verbs whose name holds a text, each as often as the others."""
    chosen = [verb for verb in VERBS if only in verb.name]
    for verb in chosen:
        with tempfile.TemporaryDirectory() as folder:
            yield kill_verb(verb, -(-kills // len(chosen)), seed, Path(folder))


def main() -> int:
    """Kill all verbs and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="verbs whose name holds this text")
    given = parser.parse_args()
    return told(kill_all(given.kills, given.seed, given.only))


if __name__ == "__main__":
    sys.exit(main())
