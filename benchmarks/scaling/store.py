"""How time and memory of a feature store grow with its rows, up to ten million.

    python benchmarks/scaling/store.py [--rows 10000000] [--width 16] [--beside TREE] [--folder DIR]
    python benchmarks/scaling/store.py --rows 1000000 --profile open

Writes stores of 100,000, 1 million and --rows rows with the store's own writer, in the blocks that an extraction would write; keys are
SHA-256 of a counter. Each step has a process of its own, so that its memory is its own. Seconds are of the clock and of
the processor, files in the page cache; memory is the peak during the step, without what the process held before it
(the interpreter, and the keys that a reader asks for). With ``--beside`` the code of another checkout does the same in
turn, and ratios are printed. At the end, costs for each block and each row are extrapolated to 100 million images.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parents[2]
SIZES = (100_000, 1_000_000)
LIMIT = 8 << 30
IMAGES = 100_000_000

Step = tuple[Callable[[], Any], Callable[[Any], Any]]


def key(number: int) -> str:
    """Make the key of an image that does not exist."""
    return sha256(number.to_bytes(8, "big")).hexdigest()


def write(folder: Path, rows: int, width: int) -> dict[str, float]:
    """Write a store; only the writer's own time counts."""
    from featx.features import FeatureStore
    from featx.features.pipeline import block_rows

    store = FeatureStore.create(folder, {"backbone": "any"})
    each, random = block_rows(4 * width, 1), np.random.default_rng(0)
    wall = cpu = 0.0
    before = _forget_peak()
    for start in range(0, rows, each):
        keys = [key(number) for number in range(start, min(start + each, rows))]
        features = random.normal(size=(len(keys), 1, width)).astype(np.float32)
        begun, used = time.perf_counter(), time.process_time()
        store.write_block(keys, features)
        wall += time.perf_counter() - begun
        cpu += time.process_time() - used
    return {"wall": wall, "cpu": cpu, "memory": _memory("VmHWM") - before}


def steps(folder: Path, rows: int) -> dict[str, Step]:
    """Return for each step what is made before it, and the step."""
    from featx.features import FeatureStore, compact, facts

    def some(count: int) -> list[str]:
        return [key(int(number)) for number in np.random.default_rng(1).integers(0, rows, count)]

    def read(keys: list[str]) -> None:
        assert len(FeatureStore(folder).read(keys)) == len(keys)

    def everything() -> list[str]:
        return [key(number) for number in range(rows)]

    def intact(_: None) -> None:
        assert FeatureStore(folder).verify() == []

    nothing = lambda: None  # noqa: E731
    found: dict[str, Step] = {
        "list files": (nothing, lambda _: FeatureStore(folder).blocks()),
        "open, look up 1 key": (nothing, lambda _: FeatureStore(folder).missing([key(0)])),
        "look up all keys": (everything, lambda keys: FeatureStore(folder).missing(keys)),
        "keys()": (nothing, lambda _: FeatureStore(folder).keys()),
        "cache ls": (nothing, lambda _: facts(folder)),
        "verify": (nothing, intact),
        "read 1,000 random rows": (lambda: some(1000), read),
        "read 100,000 random rows": (lambda: some(100_000), read),
        "read all rows": (everything, read),
        "compact": (nothing, lambda _: compact(folder)),
    }
    return found | {
        f"{name}, compacted": found[name]
        for name in (
            "open, look up 1 key",
            "read 1,000 random rows",
            "read 100,000 random rows",
            "read all rows",
        )
    }


NAMES = ("write", *steps(Path(), 1))


def measure(name: str, folder: Path, rows: int, width: int) -> dict[str, float]:
    """Do one step in this process."""
    if name == "write":
        return write(folder, rows, width)
    prepare, act = steps(folder, rows)[name]
    given = prepare()
    before = _forget_peak()
    begun, used = time.perf_counter(), time.process_time()
    act(given)
    wall, cpu = time.perf_counter() - begun, time.process_time() - used
    return {"wall": wall, "cpu": cpu, "memory": _memory("VmHWM") - before}


def _forget_peak() -> int:
    """Let Linux forget the peak of this process's memory, and return what it holds now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def run(tree: Path, name: str, folder: Path, rows: int, width: int) -> dict[str, float] | None:
    """Do one step with the code of a checkout in a fresh process; None if it fails, as with too little memory."""
    command = [sys.executable, str(Path(__file__).resolve()), "--step", name, "--folder", str(folder)]
    done = subprocess.run(
        [*command, "--rows", str(rows), "--width", str(width)],
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT)),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(f"{tree}: {name}, {rows:,} rows: {done.stderr.strip().splitlines()[-1]}", flush=True)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{tree}: {name}, {rows:,} rows: {found['cpu']:.2f} s of the processor", file=sys.stderr, flush=True
    )
    return found


Result = dict[tuple[Path, int, str], dict[str, float] | None]


def table(found: Result, tree: Path, sizes: list[int]) -> str:
    """Print one checkout's steps: seconds of clock and processor and MB at each size, and the growth of the last."""
    heads = [f"{rows:,} rows: s, processor s, MB" for rows in sizes]
    lines = [f"| step | {' | '.join(heads)} | growth |", "|---" * (len(sizes) + 2) + "|"]
    for name in NAMES:
        items = [found.get((tree, rows, name)) for rows in sizes]
        cells = [
            f"{item['wall']:.2f}, {item['cpu']:.2f}, {item['memory'] / 1e6:.0f}" if item else "failed"
            for item in items
        ]
        growth = (
            f"{items[-1]['cpu'] / items[-2]['cpu']:.1f}" if len(items) > 1 and items[-1] and items[-2] else ""
        )
        lines.append(f"| {name} | {' | '.join(cells)} | {growth} |")
    return "\n".join(lines)


def ratios(found: Result, here: Path, other: Path, sizes: list[int]) -> str:
    """Print what the other checkout takes as a multiple of what this one takes."""
    heads = [f"{rows:,} rows: processor, memory" for rows in sizes]
    lines = [f"| step, other / this | {' | '.join(heads)} |", "|---" * (len(sizes) + 1) + "|"]
    for name in NAMES:
        cells = []
        for rows in sizes:
            mine, theirs = found.get((here, rows, name)), found.get((other, rows, name))
            both = bool(mine and theirs)
            cells.append(
                f"{theirs['cpu'] / mine['cpu']:.2f}, {theirs['memory'] / max(mine['memory'], 1e6):.2f}"
                if both
                else ""
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def extrapolate(found: Result, tree: Path, rows: int, width: int) -> str:
    """Compute costs for a block and for a row from the store before and after compaction, and multiply them."""
    from featx.features.pipeline import block_rows

    many, few = (found.get((tree, rows, f"open, look up 1 key{end}")) for end in ("", ", compacted"))
    if not many or not few:
        return ""
    blocks = -(-rows // block_rows(4 * width, 1))
    fewer = -(-rows // ((64 << 20) // (4 * width)))
    block = (many["cpu"] - few["cpu"]) / max(blocks - fewer, 1)
    row = max(few["cpu"] - fewer * block, 0) / rows
    held = many["memory"] / rows
    lines = [
        f"Opening costs {1e3 * block:.2f} ms of the processor for each block, {1e9 * row:.0f} ns and {held:.0f} bytes of "
        f"memory for each row. Extrapolated to {IMAGES:,} images:",
        "",
        "| numbers in a row | blocks | size, TB | open, s | compacted blocks | open, s | memory, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for wide in (16, 512, 1280, 2048):
        written = -(-IMAGES // block_rows(4 * wide, 1))
        compacted = -(-IMAGES // ((64 << 20) // (4 * wide)))
        lines.append(
            f"| {wide:,} | {written:,} | {IMAGES * (4 * wide + 32) / 1e12:.2f} | {written * block + IMAGES * row:.0f} | "
            f"{compacted:,} | {compacted * block + IMAGES * row:.0f} | {held * IMAGES / 1e9:.1f} |"
        )
    return "\n".join(lines)


def compare(trees: list[Path], sizes: list[int], width: int, home: Path) -> Result:
    """Do all steps of all checkouts at all sizes, in turn; stores are removed when they are done with."""
    found: Result = {}
    for rows in sizes:
        with tempfile.TemporaryDirectory(prefix="scaling-", dir=home) as folder:
            for name in NAMES:
                for place, tree in enumerate(trees):
                    found[tree, rows, name] = run(tree, name, Path(folder) / str(place), rows, width)
    return found


def main() -> None:
    """Measure in turn and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the largest store")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--beside", type=Path, help="another checkout of featx")
    parser.add_argument(
        "--folder", type=Path, help="folder for the stores, 1 GB for 10 million rows of 16 numbers"
    )
    parser.add_argument("--profile", choices=NAMES, help="print where one step spends its time")
    parser.add_argument("--step", choices=NAMES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(measure(given.step, given.folder, given.rows, given.width)))
        return
    if given.profile:
        with tempfile.TemporaryDirectory(dir=given.folder) as home:
            folder = Path(home) / "store"
            write(folder, given.rows, given.width)
            with cProfile.Profile() as profile:
                measure(given.profile, folder, given.rows, given.width)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        return
    trees = [HERE, *([given.beside.resolve()] if given.beside else [])]
    sizes = [*(rows for rows in SIZES if rows < given.rows), given.rows]
    found = compare(trees, sizes, given.width, given.folder or Path(tempfile.gettempdir()))
    for tree in trees:
        print(f"{tree}, rows of {given.width} numbers\n\n{table(found, tree, sizes)}\n")
    for other in trees[1:]:
        print(ratios(found, HERE, other, sizes) + "\n")
    print(extrapolate(found, HERE, given.rows, given.width))


if __name__ == "__main__":
    main()
