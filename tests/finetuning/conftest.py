"""Small data sets for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SIDE = 24


def write_data(folder: Path, images: int, seed: int = 0) -> Path:
    """Draw images whose `bright` half has a bright square; two images make a group."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["image,id,label,group"]
    for number in range(images):
        bright = number % 4 < 2
        pixels = rng.integers(40, 120, (SIDE, SIDE, 3), dtype=np.uint8)
        if bright:
            pixels[6:18, 6:18] += 100
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append(f"{number}.png,x{number},{'bright' if bright else 'dark'},g{number // 2}")
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(rows) + "\n")
    return manifest


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 48 images in two classes and 24 groups."""
    return write_data(tmp_path_factory.mktemp("squares") / "squares", 48)
