"""Is training bound by the network or by its input? Images a second, prepared ahead in threads and preloaded.

preloaded  one batch again and again: what the network alone does
memory     prepared images in memory, drawn and altered by the modern recipe in threads
streamed   the same, every image decoded from its JPEG file (512 x 512) in every epoch

The image is random noise, which is the worst case for a JPEG decoder.

    python benchmarks/finetune_input.py --backbone mobilenet_v2_0.35 --image-size 224
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from featx.finetuning import read_recipe
from featx.finetuning.learner import Learner
from featx.finetuning.sampling import ImageBatch, ImageSubset, training_batches
from featx.finetuning.training_images import TrainingImages, load_images
from featx.zoo import build_backbone, find_backbone, resolve_weights


def write_images(folder: Path, images: int) -> list[str]:
    rng = np.random.default_rng(0)
    paths = [str(folder / f"{number}.jpg") for number in range(images)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)).save(path, quality=90)
    return paths


def part_of(pixels: TrainingImages) -> ImageSubset:
    targets = np.arange(len(pixels)) % 2
    return ImageSubset(pixels, np.arange(len(pixels)), targets, [str(row) for row in range(len(pixels))], 2)


def speed(learner: Learner, batches: Iterable[ImageBatch]) -> float:
    begun, images = time.monotonic(), 0
    for batch in batches:
        learner.train(batch, 1e-4)
        images += len(batch.ids)
    return images / (time.monotonic() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="mobilenet_v2_0.35")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    given = parser.parse_args()
    recipe, backbone = read_recipe("modern"), find_backbone(given.backbone)
    network = build_backbone(backbone, resolve_weights("random", backbone)[0], given.image_size)
    learner = Learner(network, 2, recipe, given.images // recipe.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder), given.images)
        kept = part_of(load_images(paths, "resize", given.image_size, memory_gib=4, workers=given.workers))
        streamed = part_of(load_images(paths, "resize", given.image_size, memory_gib=0))
        preloaded = next(training_batches(kept, recipe, np.ones(2), 0, 0))
        learner.train(preloaded, 1e-4)
        speeds: dict[str, list[float]] = {"preloaded": [], "memory": [], "streamed": []}
        for epoch in range(given.repeats):
            ways: dict[str, Iterable[ImageBatch]] = {
                "preloaded": [preloaded] * (given.images // recipe.batch_size),
                "memory": training_batches(kept, recipe, np.ones(2), 0, epoch, workers=given.workers),
                "streamed": training_batches(streamed, recipe, np.ones(2), 0, epoch, workers=given.workers),
            }
            for way, batches in ways.items():
                speeds[way].append(speed(learner, batches))
    medians = {way: round(float(np.median(values)), 1) for way, values in speeds.items()}
    print(json.dumps({**vars(given), "images_per_second": medians, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
