"""The fault suite: what is tried, and what it did to results.

    python -m tests.faults [--share 1] [--images DIR]

Kills all verbs at operations on the file system and at random moments, fills the disk below them, flips bits of blocks,
lets four writers, readers, compaction and pruning work on one store, reads bad images, and kills, suspends and cuts off
the processes of a study on a cluster. Ends with a table of what was tried, survived, lost, wrong and hung; exit code 1 if
anything did not survive. The whole takes more than two hours on two cores; `--share 0.1` does a tenth of it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import clusters, disks, flips, images, kills, writers
from .counts import Counts, told

KILLS, WRITES, FLIPS, SECONDS, CLUSTER_KILLS = 1000, 300, 100_000, 60.0, 120


def every_fault(share: float, library: Path | None = None) -> Iterator[Counts]:
    """Try a share of all faults."""
    yield from kills.kill_all(max(int(KILLS * share), len(kills.VERBS)))
    yield from disks.fill_all(max(int(WRITES * share), 2 * len(kills.VERBS)))
    for form in flips.FORMATS:
        yield _flipped(form, max(int(FLIPS * share), 1))
    with tempfile.TemporaryDirectory() as folder:
        yield from writers.all_at_once(Path(folder), seconds=max(SECONDS * share, 2), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        made = images.make(Path(folder), [*images.MAKERS, images.large])
        yield images.judge([(path, case.wanted) for path, case in made.items()], "bad images")
    yield from clusters.fault_all(int(CLUSTER_KILLS * share))
    if library is not None:
        files = [path for path in sorted(library.rglob("*")) if path.is_file()]
        yield images.judge([(path, images.EITHER) for path in files], f"images of {library.name}")


def _flipped(form: int, count: int) -> Counts:
    found = flips.flips(count, form)
    bad = {name: [f"{found[name]} flips"] * found[name] for name in ("lost", "wrong", "hung")}
    return Counts(f"bit flips, format {form}", found["survived"], **bad)


def main() -> int:
    """Try faults and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="part of all faults to try")
    parser.add_argument(
        "--images", type=Path, help="folder of an image library's test images, to be read too"
    )
    given = parser.parse_args()
    return told(every_fault(given.share, given.images))


if __name__ == "__main__":
    sys.exit(main())
