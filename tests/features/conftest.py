"""Images, manifests and stores for the tests of this room."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.digest import digest_bytes
from featx.features.feature_recipe import Recipe
from featx.features.store import FeatureStore


@pytest.fixture
def recipe():
    return Recipe("tiny", "ab" * 32, "global pool", "avg", 64, {"name": "resize"}, 1, weights_label="random0")


@pytest.fixture
def store(tmp_path, recipe):
    return FeatureStore.create(tmp_path / "store", recipe)


@pytest.fixture
def rows():
    """Keys and features of images number `start` to `stop`."""

    def make(start: int, stop: int, width: int = 8, views: int = 1):
        keys = [digest_bytes(str(number).encode()) for number in range(start, stop)]
        draws = [np.random.default_rng(number).normal(size=(views, width)) for number in range(start, stop)]
        return keys, np.array(draws, np.float32).reshape(-1, views, width)

    return make


@pytest.fixture
def pictures(tmp_path):
    """Draw pictures and write their manifest; returns its path."""

    def make(count: int, folder: str = "pictures", side: int = 40, first: int = 0) -> Path:
        home = tmp_path / folder
        home.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + count):
            draw = np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(draw).save(home / f"p{number:04d}.png")
        names = sorted(path.name for path in home.glob("*.png"))
        with (home / "manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image", "label"))
            writer.writerows((name, "ab"[number % 2]) for number, name in enumerate(names))
        return home / "manifest.csv"

    return make
