"""How fast a feature store is written, listed, read and verified, and what its checksums cost.

    python benchmarks/store.py [--rows 10000] [--width 2048] [--repeats 7] [--beside TREE]

Writes blocks of 1,024 rows, opens the store anew and lists its keys, reads all rows in random order, and verifies.
Times are seconds of the processor, best of the repeats, files in the page cache. With ``--beside`` the same is done with the code of another
checkout of featx, in turn, each time in a process of its own, and the ratio is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BLOCK_ROWS = 1024
HERE = Path(__file__).resolve().parents[1]


def measure(rows: int, width: int) -> dict[str, float]:
    """Time each step once, in seconds of the processor, which other work on the machine disturbs least."""
    from featx.digest import digest_bytes
    from featx.features import FeatureStore

    keys = [digest_bytes(str(number).encode()) for number in range(rows)]
    features = np.random.default_rng(0).normal(size=(rows, 1, width)).astype(np.float32)
    order = [keys[row] for row in np.random.default_rng(1).permutation(rows)]
    seconds = {}
    with tempfile.TemporaryDirectory() as home:
        store = FeatureStore.create(Path(home) / "store", {"backbone": "any"})
        begun = time.process_time()
        for start in range(0, rows, BLOCK_ROWS):
            store.write_block(keys[start : start + BLOCK_ROWS], features[start : start + BLOCK_ROWS])
        seconds["write"] = time.process_time() - begun
        fresh = FeatureStore(store.path)
        begun = time.process_time()
        assert not fresh.missing(keys)
        seconds["list"] = time.process_time() - begun
        begun = time.process_time()
        found = fresh.read(order)
        seconds["read"] = time.process_time() - begun
        assert found.shape == features.shape
        begun = time.process_time()
        assert fresh.verify() == []
        seconds["verify"] = time.process_time() - begun
        seconds["checksum"] = _checksum(store.path)
    return seconds


def _checksum(folder: Path) -> float:
    """Time the checksum alone, over all blocks, each just read as `read` has it."""
    import xxhash

    seconds = 0.0
    for path in folder.glob("block-*.h5"):
        content = path.read_bytes()
        begun = time.process_time()
        xxhash.xxh3_128_digest(content)
        seconds += time.process_time() - begun
    return seconds


def run(tree: Path, rows: int, width: int) -> dict[str, float]:
    """Measure with the code of a checkout, in a process of its own."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--once",
        "--rows",
        str(rows),
        "--width",
        str(width),
    ]
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--beside", type=Path, help="another checkout of featx")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.rows, given.width)))
        return
    trees = [HERE, *([given.beside.resolve()] if given.beside else [])]
    runs = [[run(tree, given.rows, given.width) for tree in trees] for _ in range(given.repeats)]
    print(
        f"{given.rows} rows x {given.width}, {given.rows * given.width * 4 / 1e6:.0f} MB, processor time, best of {given.repeats}"
    )
    for step in runs[0][0]:
        here, *other = (min(turn[place][step] for turn in runs) for place in range(len(trees)))
        beside = f"   beside {1e3 * other[0]:8.2f} ms   ratio {here / other[0]:.3f}" if other else ""
        print(f"{step:<10}{1e3 * here:8.2f} ms{beside}")


if __name__ == "__main__":
    main()
