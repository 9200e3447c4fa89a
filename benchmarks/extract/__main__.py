"""Speed of extraction against what users write today, side by side in one run.

    python benchmarks/extract                      # all networks at 256 px, one at 600x450 and at 3072x2304
    python benchmarks/extract --networks resnet50 --sizes 256
    python benchmarks/extract --timm-python VENV/bin/python   # where torch and timm have their own environment

Every contestant has a process of its own, in which its network is built and warm; they take turns, so that
foreign load meets all alike, and medians of the turns are told. The bound is what the processor allows: the
inverse of the seconds an image of decoding alone plus those of the forward pass alone, both measured in the same
turns with all cores. Images are cut from ../shared/data if that is there, else drawn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

IMAGES = "images"
WORKER = Path(__file__).with_name("worker.py")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"

NETWORKS = ("mobilenet_v2", "efficientnet_b0", "resnet50", "vgg16")
# Batches of a turn: with three batches on two streams one of them idles for half of the turn.
BATCHES = 20
# Twenty batches of the usual size would be gigabytes of the largest images.
BATCH, LARGE_BATCH = 32, 8
SIZES = {"256": (256, 256), "600": (600, 450), "3072": (3072, 2304)}
PLAN = [(name, "256") for name in NETWORKS] + [("mobilenet_v2", "600"), ("mobilenet_v2", "3072")]
PEERS = ("dataset + predict", "tf.data + predict", "timm + DataLoader")
CONTESTANTS = ("featx", "featx keras", "featx bf16", "decode alone", "forward alone", *PEERS)
# Two streams of whole batches, which featx computes in parts where they hold much; and Keras' engine.
FURTHER = ("forward alone whole", "forward alone keras")


def make_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEG files of one size, each different, in a class folder; featx computes equal files once."""
    folder.mkdir(parents=True)
    pattern = "bigjpg/*.jpg" if max(size) > 1000 else "derm/isic2017_256/*.jpg"
    originals = sorted(SHARED.glob(pattern)) if SHARED.is_dir() else drawn(folder.parents[1] / "drawn")
    for number in range(count):
        with Image.open(originals[number % len(originals)]) as image:
            turned = image.convert("RGB").resize(size).rotate(180 * (number // len(originals) % 2))
            # The comment makes different bytes of the same photograph, where JPEG could lose a different pixel.
            turned.save(folder / f"{number:05d}.jpg", quality=90, comment=f"image {number}")


def drawn(folder: Path) -> list[Path]:
    from featx.data import draw_dermoscopy

    if not folder.is_dir():
        draw_dermoscopy(folder, images=64, seed=0)
    return sorted(path for path in folder.rglob("*") if path.suffix in {".jpg", ".png"})


class Contestant:
    """A worker process."""

    def __init__(self, name: str, network: str, home: Path, batch: int, python: str) -> None:
        self.name = name
        self.turns: list[dict] = []
        environment = {
            **os.environ,
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TMPDIR": str(home),
        }
        self.process = subprocess.Popen(
            [python, str(WORKER), name, network, str(home / IMAGES), str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.error = self.read().get("error", "")

    def read(self) -> dict:
        """Wait for what the worker tells next."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "the process ended"}

    def turn(self) -> None:
        """Let it run once."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        found = self.read()
        if "error" in found:
            self.error = found["error"]
        else:
            self.turns.append(found)

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()

    def median(self, key: str = "seconds") -> float:
        """Take the median over its turns."""
        return statistics.median(turn[key] for turn in self.turns)


def measure(network: str, size: str, options: argparse.Namespace) -> dict:
    """Let the contestants take turns on one network and image size."""
    batch = options.batch_size or (LARGE_BATCH if size == "3072" else BATCH)
    count = options.images or BATCHES * batch
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as home:
        make_images(Path(home) / IMAGES / "a", count, SIZES[size])
        contestants = []
        for name in options.contestants:
            python = options.timm_python if name.startswith("timm") else sys.executable
            contestants.append(Contestant(name, network, Path(home), batch, python))
        loads = []
        for _ in range(options.repeats):
            loads.append(os.getloadavg()[0])
            for contestant in contestants:
                if not contestant.error:
                    contestant.turn()
        for contestant in contestants:
            contestant.close()
    return {"network": network, "size": size, "images": count, "load": statistics.median(loads)} | {
        "contestants": {
            item.name: {"error": item.error} if item.error else {"median": item.median(), "turns": item.turns}
            for item in contestants
        }
    }


def table(result: dict) -> str:
    """Tell one network and image size."""
    count, found = result["images"], result["contestants"]
    good = {name: item for name, item in found.items() if "error" not in item}
    rate = {name: count / item["median"] for name, item in good.items()}
    lines = [
        f"## {result['network']}, {'x'.join(map(str, SIZES[result['size']]))}, {count} images a turn, "
        f"load {result['load']:.1f} on {len(os.sched_getaffinity(0))} cores",
        "",
        "| contestant | images/s | range | CPU ms/image | featx is faster by | in CPU time by |",
        "|---|---|---|---|---|---|",
    ]
    cpu = {
        name: 1000 * statistics.median(turn["cpu"] for turn in item["turns"]) / count
        for name, item in good.items()
    }
    for name, item in found.items():
        if name not in good:
            lines.append(f"| {name} | {item['error'][:90]} | | | | |")
            continue
        turns = [count / turn["seconds"] for turn in item["turns"]]
        beaten = name in PEERS and "featx" in rate
        faster = f"{rate['featx'] / rate[name]:.2f} | {cpu[name] / cpu['featx']:.2f}" if beaten else " | "
        lines.append(
            f"| {name} | {rate[name]:.1f} | {min(turns):.1f} to {max(turns):.1f} | {cpu[name]:.1f} | {faster} |"
        )
    if "featx bf16" in good:
        check = statistics.median(turn["check"] for turn in good["featx bf16"]["turns"])
        lines += [
            "",
            f"Images/s of bf16 leave out its comparison with float32 ({check:.1f} s a turn), CPU time does not.",
        ]
    if {"featx", "decode alone", "forward alone"} <= rate.keys():
        bound = 1 / (1 / rate["decode alone"] + 1 / rate["forward alone"])
        turns = good["featx"]["turns"]
        store = statistics.median(turn["store"] for turn in turns)
        memory = max(turn["megabytes"] for turn in turns)
        lines += [
            "",
            f"Bound (decode and forward share the cores): {bound:.1f} images/s; featx reaches {rate['featx'] / bound:.0%}. "
            f"In CPU time, which foreign load hardly changes, decoding and forward pass are "
            f"{(cpu['decode alone'] + cpu['forward alone']) / cpu['featx']:.0%} of what featx takes. "
            f"Hashing and writing take {store:.1%} of the run. Most resident memory: {memory:.0f} MB.",
        ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", metavar="NAME", help=f"default: {', '.join(NETWORKS)}")
    parser.add_argument("--sizes", nargs="+", choices=SIZES)
    parser.add_argument("--contestants", nargs="+", choices=(*CONTESTANTS, *FURTHER), default=CONTESTANTS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, help=f"images of a turn (default: {BATCHES} batches)")
    parser.add_argument("--batch-size", type=int, help=f"default: {BATCH}, {LARGE_BATCH} for 3072x2304")
    parser.add_argument("--timm-python", default=sys.executable)
    parser.add_argument("--output", type=Path, help="file for all turns, JSON")
    options = parser.parse_args()
    plan = PLAN
    if options.networks or options.sizes:
        plan = [(name, size) for size in options.sizes or ["256"] for name in options.networks or NETWORKS]
    results = []
    for network, size in plan:
        results.append(measure(network, size, options))
        print(table(results[-1]) + "\n", flush=True)
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
