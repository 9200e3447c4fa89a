"""Small synthetic images that the examples share, and one folder for everything that they make.

The pictures are drawn from random numbers: two kinds of spots, of which the one called melanoma is larger, darker and
patchier. They show how featx works, and nothing about skin.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SIDE = 64
TASK = "melanoma:rest"


@functools.cache
def workspace() -> Path:
    """Return a temporary folder, the same for all examples of a process, which is removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="featx-examples-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def draw(name: str = "clinic", images: int = 160, seed: int = 0, brightness: float = 1.0) -> Path:
    """Draw a data set into the shared folder, and return its manifest."""
    folder = workspace() / name
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(seed)
    rows = []
    for number in range(images):
        patient = number // 2
        label = "melanoma" if patient % 3 == 0 else "nevus"
        path = f"images/{name}{number:03d}.png"
        Image.fromarray(_spot(random, label == "melanoma", brightness)).save(folder / path)
        site = ("arm", "back", "leg")[patient // 3 % 3]
        rows.append({"image": path, "label": label, "group": f"{name}-{patient:02d}", "site": site})
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def _spot(random: np.random.Generator, malignant: bool, brightness: float) -> np.ndarray:
    """Draw one image, uint8 of shape (64, 64, 3)."""
    y, x = (np.mgrid[:SIDE, :SIDE] - SIDE / 2) / (SIDE / 2)
    radius = random.normal(0.58 if malignant else 0.48, 0.1)
    edge = radius * (1 + 0.12 * np.cos(3 * np.arctan2(y, x) + random.uniform(0, 6.3)))
    inside = 1 / (1 + np.exp((np.hypot(x, y * random.uniform(1, 1.3)) - edge) / 0.05))
    patches = _smooth(random.normal(size=(8, 8))) * random.normal(0.2 if malignant else 0.12, 0.04)
    darkness = random.normal(0.5 if malignant else 0.46, 0.05)
    skin = np.array([0.86, 0.68, 0.58]) + random.normal(0, 0.03, 3)
    shade = np.maximum(1 - inside * (darkness + patches), 0.02)
    tint = np.array([0.8, 1.0, 1.1])
    pixels = skin * shade[..., None] ** tint + random.normal(0, 0.02, (SIDE, SIDE, 3))
    return np.uint8(np.clip(brightness * pixels, 0, 1) * 255)


def _smooth(grid: np.ndarray) -> np.ndarray:
    """Enlarge a small grid to the side of an image."""
    return np.asarray(Image.fromarray(np.float32(grid)).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def show(axes, manifest: Path, ids: list[str]) -> None:
    """Show images of a manifest side by side."""
    for axis, name in zip(np.ravel(axes), ids, strict=True):
        axis.imshow(Image.open(manifest.parent / "images" / f"{name}.png"))
        axis.set_title(name, fontsize=8)
        axis.axis("off")
