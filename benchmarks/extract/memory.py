"""Memory of a long extraction: many tiny images streamed, resident memory told on the way.

    python benchmarks/extract/memory.py            # 100,000 images
    python benchmarks/extract/memory.py --images 10000

Then the same command again, everything cached, in a fresh process and timed. Ends with exit code 1 if memory grew
by more than 100 MB between a tenth of the way and its end.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

_MOST_GROWTH = 100.0
_PER_FOLDER = 5000


def make_images(folder: Path, count: int) -> None:
    """Write PNG images of 16x16 pixels, each different, in class folders."""
    draws = np.random.default_rng(0)
    for number in range(count):
        home = folder / f"class{number // _PER_FOLDER:03d}"
        home.mkdir(parents=True, exist_ok=True)
        pixels = draws.integers(0, 256, (16, 16, 3), np.uint8)
        data = io.BytesIO()
        Image.fromarray(pixels).save(data, "PNG", compress_level=0)
        (home / f"{number:06d}.png").write_bytes(data.getvalue())


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


class Watch:
    """A progress receiver that samples memory at every tenth of the way."""

    def __init__(self) -> None:
        self.samples: list[tuple[int, float]] = []
        self.total = self.done = 0

    def start(self, task: str, total: int, unit: str = "images") -> None:
        """Begin to count."""
        self.total = total if task == "extracting" else 0
        self.done = 0

    def advance(self, count: int = 1) -> None:
        """Count, and sample at every tenth."""
        before, self.done = self.done, self.done + count
        if self.total and 10 * before // self.total != 10 * self.done // self.total:
            self.samples.append((self.done, resident()))
            print(f"{self.done} images: {self.samples[-1][1]:.0f} MB", flush=True)

    def say(self, message: str) -> None:
        """Pass the line on."""
        print(message, flush=True)

    def finish(self) -> None:
        """Ignore."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    from featx.features import extract, summarise_extraction

    with tempfile.TemporaryDirectory(prefix="featx-bench-") as home:
        folder, cache, watch = Path(home) / "images", Path(home) / "cache", Watch()
        make_images(folder, options.images)
        given = {
            "backbone": "tiny",
            "weights": "random",
            "image_size": 16,
            "engine": "keras",
            "device": "cpu",
        }
        print(summarise_extraction(extract(folder, cache=cache, batch_size=64, progress=watch, **given)))
        (_, first), (_, last) = watch.samples[0], watch.samples[-1]
        print(f"growth from a tenth of the way to its end: {last - first:.0f} MB")
        line = [
            str(Path(sys.executable).with_name("featx")),
            "extract",
            str(folder),
            "--backbone",
            "tiny",
            "--weights",
            "random",
        ]
        begun = time.perf_counter()
        subprocess.run(
            [*line, "--image-size", "16", "--cache", str(cache)], check=True, stdout=subprocess.DEVNULL
        )
        print(f"again, everything cached, a fresh process: {time.perf_counter() - begun:.2f} s")
    return int(last - first > _MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
