"""Preparations beside `resize`: processor time of decoding, cropping and resizing an image.

One command::

    python benchmarks/preparations.py ../shared/data/bigjpg

For each image, the preparations run in turns, so that the load of the machine falls on all alike; seconds are processor
time of the thread, and the ratios are medians over images of medians over turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from featx.images import PREPARATIONS, load_image


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="folders of images, also within subfolders")
    parser.add_argument("--size", type=int, default=224, help="input size, px")
    parser.add_argument("--images", type=int, default=100, help="at most so many of each folder")
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    for folder in options.folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        if not files:
            print(f"{folder}: no images")
            continue
        step = max(len(files) // options.images, 1)
        show(folder, [path.read_bytes() for path in files[::step][: options.images]], options)


def show(folder: Path, contents: list[bytes], options: argparse.Namespace) -> None:
    seconds = [measure(content, options) for content in contents]
    for name in PREPARATIONS:
        mine = statistics.median(one[name] for one in seconds)
        ratios = sorted(one[name] / one["resize"] for one in seconds)
        print(
            f"{folder}, {len(contents)} images, {name}: {1e3 * mine:.1f} ms an image, {statistics.median(ratios):.2f} times "
            f"resize (at most {ratios[-1]:.2f})",
            flush=True,
        )


def measure(content: bytes, options: argparse.Namespace) -> dict[str, float]:
    """Return the median processor time of each preparation in seconds."""
    turns: dict[str, list[float]] = {name: [] for name in PREPARATIONS}
    for _ in range(options.turns):
        for name, taken in turns.items():
            begun = time.thread_time()
            load_image(content, name, options.size)
            taken.append(time.thread_time() - begun)
    return {name: statistics.median(taken) for name, taken in turns.items()}


if __name__ == "__main__":
    main()
