"""Peak memory of an extraction that has its network exported, and of one that finds the export, as a table.

One command, with a process for each run::

    python benchmarks/extract/peak.py vgg16_conv xception mobilenet_v2
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import featx
from featx.features import FeatureStore
from featx.machine import peak_memory

DATA = Path(__file__).parents[3] / "shared" / "data" / "derm" / "isic2017_256"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--layer")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--data", default=str(DATA), help="folder of images")
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cache:
        print(json.dumps(measure(options)))
        return
    print("| network | weights, MB | first run, MB | its export, MB | run with the export, MB |")
    print("|---|---|---|---|---|")
    for network in options.networks:
        first, again = runs(options, network)
        print(
            f"| {network} | {first['weights']:.0f} | {first['peak']:,.0f} | {first['child']:,.0f} | {again['peak']:,.0f} |",
            flush=True,
        )


def runs(options: argparse.Namespace, network: str) -> list[dict[str, float]]:
    """Run twice with one cache, each time in a new process; the second one computes its features again."""
    given = {
        name: value for name, value in vars(options).items() if name not in ("networks", "cache") and value
    }
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, network, "--cache", cache]
        command += [f"--{name}={value}" for name, value in given.items()]
        return [json.loads(subprocess.check_output(command).splitlines()[-1]) for _ in range(2)]


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Extract, and return the peaks of this process and of what it started, and the size of the weights, in MB."""
    manifest = Path(options.cache, "images.csv")
    files = sorted(Path(options.data).glob("*.jpg"))[: options.images]
    rows = [f"{file},{'ab'[number % 2]}" for number, file in enumerate(files)]
    manifest.write_text("\n".join(["image,label", *rows]) + "\n")
    (done,) = featx.extract(
        manifest,
        backbone=options.networks[0],
        weights=options.weights,
        engine=options.engine,
        cache=options.cache,
        allow_outside=True,
        overwrite=True,
        workers=2,
        layers=[options.layer] if options.layer else [],
    )
    cost = FeatureStore(done.store).cost or {}
    return {
        "weights": 4e-6 * cost["parameters"],
        "peak": peak_memory() / 1e6,
        "child": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3,
    }


if __name__ == "__main__":
    main()
