"""Small data sets, and a network of a few hundred weights, for training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

from featx.finetuning.learner import Learner, precision
from featx.finetuning.sampling import ImageSubset
from featx.finetuning.training_images import TrainingImages
from featx.finetuning.training_recipe import TrainingRecipe

SIDE = 24
SIZE, STEPS = 8, 4
RECIPE = TrainingRecipe(
    epochs=3, head_epochs=1, batch_size=8, learning_rate=5e-3, patience=0, fill="black", dropout=0.3
)


def write_data(folder: Path, images: int, seed: int = 0) -> Path:
    """Write noise images, half of them with a bright square; two images make a group."""
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


def build_backbone() -> keras.Model:
    pixels = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    x = keras.layers.Conv2D(6, 3, kernel_initializer=keras.initializers.GlorotUniform(1), name="first")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2D(8, 3, kernel_initializer=keras.initializers.GlorotUniform(2), name="second")(x)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))


def build_learner(**fields: Any) -> Learner:
    recipe = RECIPE.with_values(fields)
    with precision(recipe.precision):
        return Learner(build_backbone(), 2, recipe, STEPS)


def build_subset(images: int, seed: int) -> ImageSubset:
    """Make images of which the second class is brighter."""
    targets = np.arange(images) % 2
    noise = np.random.default_rng(seed).integers(0, 120, (images, SIZE, SIZE, 3))
    pixels = TrainingImages(
        [""] * images, "resize", SIZE, (noise + 90 * targets[:, None, None, None]).astype(np.uint8)
    )
    return ImageSubset(pixels, np.arange(images), targets, [f"i{row}" for row in range(images)], 2)


@pytest.fixture(scope="session")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifest of 48 images in two classes and 24 groups."""
    return write_data(tmp_path_factory.mktemp("squares") / "squares", 48)


@pytest.fixture(scope="session")
def recipe() -> TrainingRecipe:
    return RECIPE


@pytest.fixture(scope="session")
def make_backbone() -> Callable[[], keras.Model]:
    return build_backbone


@pytest.fixture(scope="session")
def make_learner() -> Callable[..., Learner]:
    return build_learner


@pytest.fixture(scope="session")
def make_subset() -> Callable[[int, int], ImageSubset]:
    return build_subset


@pytest.fixture(scope="module")
def learner() -> Learner:
    """A learner of the recipe, compiled once for each test file."""
    return build_learner()
