"""Agreement of the engines over the zoo: how far OpenVINO's features lie from Keras'.

    python benchmarks/extract/engines.py                       # a backbone of each family, at 96 px or its least size
    python benchmarks/extract/engines.py --backbones vgg16 convnext_tiny --image-size 224

Random weights, noise images. Ends with exit code 1 if a network deviates by more than the stated tolerance.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from featx.errors import ConfigError
from featx.features.engines import TOLERANCE, KerasEngine, OpenVinoEngine, deviation, export_network
from featx.gpus import Device
from featx.zoo import build_network, find_backbone, list_backbones, resolve_weights

_BATCH = 4


def compare(name: str, size: int) -> tuple[float, float, float]:
    """Return the smallest cosine, the worst deviation, and the seconds that building and exporting took."""
    backbone = find_backbone(name)
    size = max(size, backbone.min_size)
    begun = time.perf_counter()
    network = build_network(backbone, resolve_weights("random", backbone)[0], image_size=size)
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as home:
        folder = Path(home) / "export"
        export_network(network, folder)
        seconds = time.perf_counter() - begun
        pixels = np.random.default_rng(1).integers(0, 256, (_BATCH, size, size, 3), np.uint8)
        found = OpenVinoEngine(folder, _BATCH, size, precision="float32", threads=None).start(pixels)()
    wanted = KerasEngine(network, _BATCH, Device("cpu")).start(pixels)()
    off = deviation(found[0], wanted[0])
    return off.cosine, off.worst, seconds


def main() -> int:
    families = {row.family: row.name for row in reversed(list_backbones())}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbones", nargs="+", default=list(families.values()))
    parser.add_argument("--image-size", type=int, default=96)
    options = parser.parse_args()
    print("| backbone | 1 - cosine | worst of the largest feature | build and export, s |\n|---|---|---|---|")
    beyond = 0
    for name in options.backbones:
        try:
            cosine, worst, seconds = compare(name, options.image_size)
        except ConfigError as error:
            beyond += 1
            print(f"| {name} | {error} | | |", flush=True)
            continue
        beyond += worst > TOLERANCE
        print(f"| {name} | {1 - cosine:.1e} | {worst:.1e} | {seconds:.1f} |", flush=True)
    return int(beyond > 0)


if __name__ == "__main__":
    sys.exit(main())
