"""Fuzz every parser for a bounded time, and keep what fails in ``corpus/``.

python -m tests.fuzz [--seconds 60] [--seed 0] [--only TARGET]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ..faults.counts import Counts, table
from .run import fuzz
from .targets import TARGETS


def main() -> int:
    """Fuzz and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="for each parser")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="parsers whose name holds this text")
    given = parser.parse_args()
    found = []
    for target in TARGETS:
        if given.only in target.name:
            with tempfile.TemporaryDirectory() as folder:
                one = fuzz(target, given.seconds, given.seed, Path(folder))
            counts = Counts(f"fuzz {target.name}", one.survived, wrong=one.wrong, hung=one.hung)
            found.append(counts)
            print(
                f"{target.name}: {counts.tried} files, {one.kinds} different outcomes",
                file=sys.stderr,
                flush=True,
            )
    print(table(found))
    return int(any(one.bad for one in found))


if __name__ == "__main__":
    sys.exit(main())
