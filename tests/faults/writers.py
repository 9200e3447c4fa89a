"""Four writers, two readers, `cache compact` and `cache prune` at work on one store, all at once.

Every row that a writer has reported as stored is there and right, for every reader at every moment and in the end.
Nobody meets an error. Pruning also takes away rows that are not to be kept, while their writers write more of them.

    python -m tests.faults.writers [--seconds 60] [--seed 0]
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from featx.digest import digest_bytes
from featx.features import FeatureStore, compact, facts, prune
from featx.features.blocks import Features
from featx.files import ASIDE

from .counts import Counts, table

_WRITERS, _READERS = 4, 2
_IMAGES, _UNWANTED = 2000, 200
_WIDTH, _ROWS, _SAMPLE = 16, 8, 100
_HUNG_SECONDS = 120.0
# Between two blocks, at most: writers compute, and what is upkept shall not grow without end.
_PAUSE = 0.3
_RECIPE = {"backbone": "any"}

KEYS = [digest_bytes(str(number).encode()) for number in range(_IMAGES + _UNWANTED)]


def features(numbers: list[int]) -> Features:
    """The one right row of each image."""
    rows = [np.random.default_rng(number).normal(size=(1, _WIDTH)) for number in numbers]
    return np.array(rows, np.float32).reshape(-1, 1, _WIDTH)


class Bench:
    """A store, and what was done to it.

    Parameters
    ----------
    folder : Path
        An empty folder.
    seconds : float
        How long everybody works.
    seed : int
        Seed of what is written and read.
    """

    def __init__(self, folder: Path, seconds: float, seed: int) -> None:
        self.store, self.reports, self.seed = folder / "store", folder / "reports", seed
        self.reports.mkdir()
        FeatureStore.create(self.store, _RECIPE)
        self.end = time.monotonic() + seconds

    def reported(self) -> list[int]:
        """Images that some writer has said to be stored, in whole lines."""
        lines = [line for path in self.reports.glob("writer-*") for line in path.read_text().split("\n")[:-1]]
        return [int(number) for line in lines for number in line.split()]

    def write(self, number: int, say: Callable[[str], None]) -> int:
        rng, store, done = random.Random(f"{self.seed}-{number}"), FeatureStore(self.store), 0
        with (self.reports / f"writer-{number}").open("w") as report:
            while not done or time.monotonic() < self.end:
                unwanted = rng.random() < 0.2
                numbers = range(_IMAGES, _IMAGES + _UNWANTED) if unwanted else range(_IMAGES)
                chosen = rng.sample(numbers, rng.randint(1, _ROWS))
                store.write_block([KEYS[one] for one in chosen], features(chosen))
                done += 1
                if not unwanted:
                    print(*chosen, file=report, flush=True)
                time.sleep(_PAUSE * rng.random())
        return done

    def read(self, number: int, say: Callable[[str], None]) -> int:
        rng, store, done = random.Random(f"{self.seed}-reader-{number}"), FeatureStore(self.store), 0
        while not done or time.monotonic() < self.end:
            if not (known := self.reported()):
                continue
            chosen = rng.sample(known, min(_SAMPLE, len(known))) + known[-1:]
            store = FeatureStore(self.store) if rng.random() < 0.5 else store
            if not np.array_equal(store.read([KEYS[one] for one in chosen]), features(chosen)):
                say("a reader got a wrong row")
            facts(self.store)
            done += 1
        return done

    def compact(self, number: int, say: Callable[[str], None]) -> int:
        done = 0
        while not done or time.monotonic() < self.end:
            compact(self.store)
            done += 1
        return done

    def prune(self, number: int, say: Callable[[str], None]) -> int:
        done = 0
        while not done or time.monotonic() < self.end:
            if prune(self.store, damaged=True, keep=KEYS[:_IMAGES]).damaged:
                say("a sound block was taken for a damaged one")
            done += 1
        return done

    def work(self, role: str, number: int) -> None:
        """Be one of the processes: leave what was done, and what went wrong."""
        wrong: list[str] = []
        done = 0
        try:
            done = getattr(self, role)(number, wrong.append)
        except Exception as error:
            wrong.append(f"{role}: {type(error).__name__}: {error}")
        (self.reports / f"done-{role}-{number}").write_text("\n".join([str(done), *wrong]))


def all_at_once(folder: Path, seconds: float, seed: int) -> list[Counts]:
    """Let everybody work for some seconds, then look at the store.

    Parameters
    ----------
    folder : Path
        An empty folder.
    seconds : float
        How long.
    seed : int
        Seed.

    Returns
    -------
    list of Counts
        Operations by role, and rows.
    """
    bench = Bench(folder, seconds, seed)
    crew = {"write": _WRITERS, "read": _READERS, "compact": 1, "prune": 1}
    roles = [(role, number) for role, count in crew.items() for number in range(count)]
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=bench.work, args=role) for role in roles]
    for process in processes:
        process.start()
    found = {role: Counts(f"beside each other: {role}") for role in crew}
    for process, (role, number) in zip(processes, roles, strict=True):
        process.join(max(0.0, bench.end - time.monotonic()) + _HUNG_SECONDS)
        if process.is_alive():
            process.kill()
            found[role].hung.append(f"{role} {number} did not end")
            continue
        done, *wrong = (bench.reports / f"done-{role}-{number}").read_text().splitlines()
        found[role].survived += int(done)
        found[role].wrong += wrong
    return [*found.values(), _rows(bench)]


def _rows(bench: Bench) -> Counts:
    """Every row that was reported, in the end."""
    counts, store = Counts("beside each other: rows stored"), FeatureStore(bench.store)
    wanted = sorted(set(bench.reported()))
    lost = set(store.missing([KEYS[one] for one in wanted]))
    counts.lost += [f"image {one}" for one in wanted if KEYS[one] in lost]
    there = [one for one in wanted if KEYS[one] not in lost]
    right = [
        np.array_equal(row, wanted)
        for row, wanted in zip(store.read([KEYS[one] for one in there]), features(there), strict=True)
    ]
    counts.wrong += [f"image {one}" for one, good in zip(there, right, strict=True) if not good]
    counts.wrong += [*store.verify(), *(f"{path.name} is left" for path in bench.store.glob(f"{ASIDE}*"))]
    counts.survived = sum(right)
    return counts


def main() -> int:
    """Let all work at once and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = all_at_once(Path(folder), given.seconds, given.seed)
    print(table(found))
    return int(any(one.bad for one in found))


if __name__ == "__main__":
    sys.exit(main())
