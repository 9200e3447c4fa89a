"""Let the disk be full at every write of a small run, then make room and give the same command again.

Two ways: a stand-in lets every operation on the file system from the n-th on fail as a full disk does; and, where this
may be mounted, a real file system of memory is too small. Full is right if the command says so in one line, exits with 1,
loses nothing, and then completes.

    python -m tests.faults.disks [--writes 300] [--only VERB]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from .counts import Counts, told
from .kills import VERBS, Bench, Child, Verb

_SECONDS = 120.0


def fill_verb(verb: Verb, writes: int, folder: Path) -> Counts:
    """Fill the disk at operations of a verb, evenly chosen if there are more than wanted."""
    bench, counts = Bench(verb, folder), Counts(f"disk full, {verb.name}")
    refused = 0
    for first in sorted(
        {int(step) for step in np.linspace(1, bench.operations, min(writes, bench.operations))}
    ):
        place = bench.copy("full")
        child = Child(verb.command, place, full_from=first)
        refused += judge(bench, child, place, counts, f"operation {first}")
        shutil.rmtree(place)
    if not refused:
        counts.wrong.append("the disk was never full")
    return counts


def shrink_verb(verb: Verb, sizes: int, folder: Path) -> Counts:
    """Run a verb on file systems that are too small, from one page more than what it begins with."""
    bench, counts = Bench(verb, folder), Counts(f"small file system, {verb.name}")
    begun, needed = (_size(path) for path in (bench.template, bench.whole))
    refused = 0
    for size in np.linspace(begun, max(needed, begun + 10 * 4096), sizes).astype(int).tolist():
        place = folder / "small"
        place.mkdir(exist_ok=True)
        with _mounted(place, size) as grow:
            # What the child prints goes to a log beside the small file system.
            shutil.copytree(bench.template, place, dirs_exist_ok=True)
            child = Child(verb.command, place)
            refused += judge(bench, child, place, counts, f"{size >> 10} kB", grow)
    if not refused:
        counts.wrong.append("the file system was never full")
    return counts


def judge(bench: Bench, child: Child, place: Path, counts: Counts, where: str, grow=lambda: None) -> bool:
    """Look at what a full disk did, make room, and run the command again; tells whether the command was refused."""
    code, said = child.wait(_SECONDS), child.said
    child.close()
    lines = [text for text in said.splitlines() if "error" in text.casefold()]
    if code is None:
        counts.hung.append(f"{where}: the disk is full")
    elif code and (code != 1 or "Traceback" in said or "cannot be written" not in (lines or [""])[-1]):
        counts.wrong.append(f"{where}: exit code {code}: {said.splitlines()[-1:]}")
    elif text := bench.lost(place):
        counts.lost.append(f"{where}: {text}")
    else:
        grow()
        bench.again(place, counts, where)
    return bool(code)


@contextmanager
def _mounted(place: Path, size: int) -> Iterator:
    """Mount a file system of so many bytes; yields a function that makes it large."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def may_mount() -> bool:
    """Tell whether file systems can be mounted here."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0


def _size(folder: Path) -> int:
    """Sum the pages that the files of a folder take."""
    return sum(4096 * -(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


def fill_all(writes: int, only: str = "") -> Iterator[Counts]:
    """Fill the disk below all verbs whose name holds a text, in each way that is possible here."""
    chosen = [verb for verb in VERBS if only in verb.name]
    ways = [fill_verb, *([shrink_verb] if may_mount() else [])]
    for way in ways:
        for verb in chosen:
            with tempfile.TemporaryDirectory() as folder:
                yield way(verb, -(-writes // len(chosen) // len(ways)), Path(folder))


def main() -> int:
    """Fill the disk below every verb, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--writes", type=int, default=300)
    parser.add_argument("--only", default="", help="verbs whose name holds this text")
    given = parser.parse_args()
    return told(fill_all(given.writes, given.only))


if __name__ == "__main__":
    sys.exit(main())
