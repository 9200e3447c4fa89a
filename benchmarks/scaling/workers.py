"""Throughput of extraction with several worker processes, and the overhead of each job at each place.

    python benchmarks/scaling/workers.py [--images 256] [--turns 3] [--only shards|places] [--places local dask ray]

Shards: `featx extract --shard I/N` in 1, 2 and 4 processes at once, with threads as they are by default, and with one
thread for each of reading and the network, each process pinned to a core. All take turns on the same images.
Places: `featx extract --cluster PLACE -j 1 --parts P` with one part and with many, one job at a time. Overhead of a job is (time with P
parts - time with one) / (P - 1), without the seconds of the images themselves. Places whose library or option is
missing are left out. At the end, both are extrapolated to 1,000 workers and 100 million images.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

FEATX = Path(sys.executable).with_name("featx")
CORES = sorted(os.sched_getaffinity(0))
LIBRARIES = {"local": "featx", "dask": "distributed", "ray": "ray"}
WORKERS, IMAGES = 1000, 100_000_000
# Seconds a step on the way to a place may take; a cluster that does not start must not hold the rest up.
PATIENCE = 480
BLAS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Layout:
    """Processes at once, and whether each has one core and one thread of each kind."""

    processes: int
    pinned: bool

    @property
    def name(self) -> str:
        """Say it in words."""
        return f"{self.processes}, {'one thread, pinned' if self.pinned else 'threads by default'}"


LAYOUTS = [Layout(count, pinned) for count in (1, 2, 4) for pinned in (False, True)]


@dataclass(frozen=True)
class Taken:
    """Seconds of the clock and of the processor (all processes together), and the slowest process's own seconds."""

    wall: float
    cpu: float
    inside: float = 0.0
    start: float = 0.0


def make_images(folder: Path, count: int, side: int) -> None:
    """Write JPEG files of blurred noise, each different."""
    (folder / "a").mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).resize((side, side)).save(folder / "a" / f"{number:06d}.jpg", quality=90)


def environment() -> dict[str, str]:
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def command(images: Path, cache: Path, backbone: str, *more: str) -> list[str]:
    """Write a command line of `featx extract`."""
    given = ["-m", backbone, "-w", "random", "--cache", str(cache), "--json", *more]
    return [str(FEATX), "extract", str(images), *given]


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def shards(images: Path, home: Path, backbone: str, layout: Layout) -> Taken:
    """Extract all images into an empty store, as processes that each do a shard; exported networks are kept."""
    cache = home / "cache"
    before, begun = children(), time.perf_counter()
    running = []
    for number in range(layout.processes):
        more = ["--shard", f"{number + 1}/{layout.processes}"]
        variables, pin = environment(), None
        if layout.pinned:
            more += ["-j", "1", "--threads", "1"]
            variables |= dict.fromkeys(BLAS, "1")
            pin = partial(os.sched_setaffinity, 0, {CORES[number % len(CORES)]})
        line = command(images, cache, backbone, *more)
        running.append(
            subprocess.Popen(
                line, env=variables, preexec_fn=pin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        )
    found = [json.loads(process.communicate()[0])[0]["seconds"] for process in running]
    wall = time.perf_counter() - begun
    shutil.rmtree(cache / "features")
    inside = max(seconds["wall"] for seconds in found)
    return Taken(wall, children() - before, inside, statistics.mean(seconds["build"] for seconds in found))


def compare_shards(images: Path, count: int, home: Path, backbone: str, turns: int) -> dict[str, Taken]:
    """Let all layouts take turns, and take medians."""
    taken: dict[str, list[Taken]] = {layout.name: [] for layout in LAYOUTS}
    shards(images, home, backbone, LAYOUTS[0])  # exports the network
    for _ in range(turns):
        for layout in LAYOUTS:
            one = shards(images, home, backbone, layout)
            taken[layout.name].append(one)
            print(f"{layout.name}: {one}", file=sys.stderr, flush=True)
    fields = ("wall", "cpu", "inside", "start")
    medians = {
        name: Taken(*(statistics.median(getattr(one, field) for one in items) for field in fields))
        for name, items in taken.items()
    }
    one = medians[LAYOUTS[0].name]
    print(
        f"{count} images, {backbone}, {len(CORES)} cores, load {os.getloadavg()[0]:.1f}, medians of {turns} turn(s)\n"
    )
    print(
        "| processes | whole run, s | pass alone, s | throughput of the pass | processor s | processor time |"
    )
    print("|---|---|---|---|---|---|")
    for name, item in medians.items():
        print(
            f"| {name} | {item.wall:.1f} | {item.inside:.1f} | {one.inside / item.inside:.2f} | {item.cpu:.1f} | "
            f"{item.cpu / one.cpu:.2f} |",
            flush=True,
        )
    return medians


def offered(place: str) -> bool:
    """Tell whether this featx has the option and the library of a place."""
    done = subprocess.run([FEATX, "extract", "--help"], capture_output=True, text=True, check=True)
    return "--cluster" in done.stdout and find_spec(LIBRARIES[place]) is not None


def at_place(images: Path, home: Path, backbone: str, place: str, jobs: int, parts: int) -> Taken | None:
    """Extract all images into an empty cache at a place; None if that fails.

    Ray and Dask keep processes that are no children, so that the processor time is not told.
    """
    cache = Path(tempfile.mkdtemp(dir=home))
    line = command(images, cache, backbone, "--cluster", place, "-j", str(jobs), "--parts", str(parts))
    begun = time.perf_counter()
    try:
        done = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        print(f"{place}, {parts} parts: no end within {PATIENCE} s", flush=True)
        return None
    wall = time.perf_counter() - begun
    shutil.rmtree(cache)
    if done.returncode:
        print(f"{place}, {parts} parts: {' '.join(done.stderr.split()[-60:])}", flush=True)
        return None
    print(f"{place}, {parts} parts: {wall:.1f} s", file=sys.stderr, flush=True)
    return Taken(wall, 0.0)


def compare_places(
    images: Path, home: Path, backbone: str, places: Sequence[str], jobs: int, parts: int, turns: int
) -> dict[str, tuple[float, float]]:
    """Return for each place the seconds with one part, and the overhead of each further one."""
    found = {}
    for place in places:
        if not offered(place):
            print(f"{place}: left out, its option or library is missing")
            continue
        taken = [
            [at_place(images, home, backbone, place, jobs, count) for count in (1, parts)]
            for _ in range(turns)
        ]
        whole = [(one.wall, many.wall) for one, many in taken if one and many]
        if whole:
            one, many = (statistics.median(column) for column in zip(*whole, strict=True))
            found[place] = (one, (many - one) / (parts - 1))
    print(
        f"\n| place, {jobs} jobs at once | one part, s | {parts} parts, s | overhead of a job, s |\n|---|---|---|---|"
    )
    for place, (one, each) in found.items():
        print(f"| {place} | {one:.1f} | {one + each * (parts - 1):.1f} | {each:.2f} |", flush=True)
    return found


def extrapolate(per_image: float, overheads: dict[str, tuple[float, float]]) -> None:
    """Say what 100 million images on 1,000 workers take, by parts of several sizes."""
    print(f"\n{IMAGES:,} images on {WORKERS:,} workers, {per_image:.3f} processor seconds an image\n")
    print("| place | images of a part | parts | seconds of a part | overhead | hours | jobs ended a second |")
    print("|---|---|---|---|---|---|---|")
    for place, (_, each) in overheads.items():
        for size in (1_000, 10_000, 100_000):
            parts, busy = IMAGES // size, size * per_image
            hours = parts * (busy + each) / WORKERS / 3600
            print(
                f"| {place} | {size:,} | {parts:,} | {busy:.0f} | {max(each, 0) / (busy + each):.1%} | {hours:.1f} | "
                f"{WORKERS / (busy + each):.2f} |"
            )


def main() -> None:
    """Measure shards, then places, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--side", type=int, default=256, help="of the images, in pixels")
    parser.add_argument("--backbone", default="mobilenet_v2", help="for shards")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=("shards", "places"))
    parser.add_argument("--places", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--jobs", type=int, default=1, help="at once, for places")
    parser.add_argument("--parts", type=int, default=9, help="for places")
    parser.add_argument("--home", type=Path, help="folder for images and caches")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="featx-scaling-", dir=given.home) as folder:
        home, images = Path(folder), Path(folder) / "images"
        make_images(images, given.images, given.side)
        per_image = 0.03
        if given.only != "places":
            medians = compare_shards(images, given.images, home, given.backbone, given.turns)
            per_image = medians[LAYOUTS[0].name].inside * len(CORES) / given.images
        if given.only != "shards":
            places = compare_places(images, home, "tiny", given.places, given.jobs, given.parts, given.turns)
            extrapolate(per_image, places)


if __name__ == "__main__":
    main()
