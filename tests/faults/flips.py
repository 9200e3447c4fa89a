"""Flipped bits: one bit of one block is turned over, and the store is listed, read, verified and pruned.

``python -m tests.faults.flips [COUNT]`` tries COUNT random bits in blocks of each format that featx reads (format 2 as
it is written today, format 1 from ``tests/features/data``) and prints what became of them:

- survived: the block was refused by name and pruning left the other one alone, or every row was right;
- lost: the process crashed, an error was no refusal, or pruning touched another file of the store;
- wrong: a key or a row was not what had been written;
- hung: no answer within `PATIENCE` seconds.

The trials run in a process of their own, so that a hang or a crash ends that process alone.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import TextIO

import numpy as np

from featx.digest import digest_bytes
from featx.errors import StoreError
from featx.features import FeatureStore, prune

COUNT = 100_000
FORMATS = (1, 2)
PATIENCE = 20.0
OUTCOMES = ("survived", "lost", "wrong", "hung")

_FORMER = Path(__file__).resolve().parents[1] / "features" / "data" / "format-1"


def rows(start: int, stop: int) -> tuple[list[str], np.ndarray]:
    """Keys and features of images number `start` to `stop`, as in the store of format 1."""
    keys = [digest_bytes(str(number).encode()) for number in range(start, stop)]
    draws = [np.random.default_rng(number).normal(size=(1, 4)) for number in range(start, stop)]
    return keys, np.array(draws, np.float32)


ROWS = rows(0, 75)


def make_store(folder: Path, form: int) -> list[Path]:
    """Make a store of two blocks; returns them, the one of 70 rows first."""
    shutil.copytree(_FORMER, folder)
    store = FeatureStore(folder)
    if form == 2:
        for block in store.blocks():
            block.unlink()
        store.write_block(*rows(0, 70))
        store.write_block(*rows(70, 75))
    return sorted(store.blocks(), key=lambda block: -block.stat().st_size)


def attempt(folder: Path, block: Path, sound: bytes, bit: int) -> str:
    """Flip a bit of a block, use the store in every way, and mend it."""
    data = bytearray(sound)
    data[bit // 8] ^= 1 << bit % 8
    block.write_bytes(data)
    keys, features = ROWS
    try:
        store = FeatureStore(folder)
        right = store.keys() == frozenset(keys) and np.array_equal(store.read(keys), features)
        return "survived" if right and store.verify() == [] else "wrong"
    except StoreError as error:
        return _after_refusal(folder, block, error)
    except Exception as error:
        print(f"bit {bit} of {block.name}: {error!r}", file=sys.stderr)
        return "lost"
    finally:
        block.write_bytes(sound)


def _after_refusal(folder: Path, block: Path, error: StoreError) -> str:
    """See that the block was named, and that pruning takes it alone, or names and leaves it."""
    others = {path: path.read_bytes() for path in folder.iterdir() if path != block}
    done = prune(folder, damaged=True)
    if block.name not in str(error) or not (done.damaged == (block,) or block.name in "".join(done.left)):
        return "wrong"
    return (
        "survived" if all(path.is_file() and path.read_bytes() == others[path] for path in others) else "lost"
    )


def work(form: int, seed: int, start: int, stop: int) -> None:
    """Make trials number `start` to `stop` and print an outcome for each."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / "store"
        block = make_store(folder, form)[0]
        sound = block.read_bytes()
        for number in range(start, stop):
            bit = random.Random(f"{form} {seed} {number}").randrange(8 * len(sound))
            print(attempt(folder, block, sound, bit), flush=True)


def flips(count: int, form: int, seed: int = 0) -> Counter[str]:
    """Count the outcomes of random flips in blocks of one format."""
    outcomes: Counter[str] = Counter()
    while (done := outcomes.total()) < count:
        outcomes.update(_outcomes(form, seed, done, count))
    return outcomes


def _outcomes(form: int, seed: int, start: int, stop: int) -> Iterator[str]:
    """Give outcomes until the process ends: of all trials, or of those up to the one that hung or crashed."""
    command = [sys.executable, "-m", "tests.faults.flips", "--work", *map(str, (form, seed, start, stop))]
    lines: Queue[str] = Queue()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        Thread(target=_forward, args=(process.stdout, lines), daemon=True).start()
        try:
            for _ in range(start, stop):
                outcome = lines.get(timeout=PATIENCE)
                yield outcome or "lost"
                if not outcome:
                    return
        except Empty:
            yield "hung"
        finally:
            process.kill()


def _forward(output: TextIO, lines: Queue[str]) -> None:
    """Hand lines on as they come, and an empty one at the end."""
    for line in output:
        lines.put(line.strip())
    lines.put("")


def main(count: int = COUNT) -> int:
    """Flip bits, print the table and return how many flips were not survived."""
    print(f"{'':<24}{'tried':>9}" + "".join(f"{name:>10}" for name in OUTCOMES))
    bad = 0
    for form in FORMATS:
        found = flips(count, form)
        bad += found.total() - found["survived"]
        print(
            f"{f'bit flips, format {form}':<24}{found.total():>9}"
            + "".join(f"{found[name]:>10}" for name in OUTCOMES),
            flush=True,
        )
    return bad


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*map(int, sys.argv[2:]))
    else:
        sys.exit(1 if main(*map(int, sys.argv[1:])) else 0)
