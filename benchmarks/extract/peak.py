"""Peak memory of an extraction, beside that of the imports alone; one process for each network.

One command::

    python benchmarks/extract/peak.py vgg16 --weights vgg16.weights.h5 --layer block5_pool
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import keras

import featx
from featx.machine import peak_memory

DATA = Path(__file__).parents[3] / "shared" / "data" / "derm" / "isic2017_256"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backbone")
    parser.add_argument("--weights", default="random:0")
    parser.add_argument("--layer")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--images", type=int, default=48)
    options = parser.parse_args()
    files = sorted(DATA.glob("*.jpg"))[: options.images]
    if not files:
        parser.exit(message=f"no images in {DATA}\n")
    imports = peak_memory() / 1e6
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "images.csv")
        rows = [f"{file},{'ab'[number % 2]}" for number, file in enumerate(files)]
        manifest.write_text("\n".join(["image,label", *rows]) + "\n")
        layers = {"layers": [options.layer]} if options.layer else {}
        featx.extract(
            manifest,
            backbone=options.backbone,
            weights=options.weights,
            engine=options.engine,
            cache=folder,
            allow_outside=True,
            workers=2,
            **layers,
        )
    peak = peak_memory() / 1e6
    print(
        f"{options.backbone} {options.layer or ''}, {options.engine}, {keras.backend.backend()}: imports {imports:.0f} MB, "
        f"peak {peak:.0f} MB, {peak - imports:.0f} MB beyond them"
    )


if __name__ == "__main__":
    main()
