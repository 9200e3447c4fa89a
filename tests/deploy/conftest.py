"""Images with a red patch or none, features of `tiny` in a cache, and runs of two folds and of a final model."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from featx.deploy import finalize, predict
from featx.deploy.predictions import PredictionTable
from featx.features import extract
from featx.runs import Run
from featx.svm import train_svm

COUNT, SIDE = 24, 32


def draw(number: int) -> np.ndarray:
    """Grey noise; every other image has a red patch in one quarter."""
    pixels = np.random.default_rng(number).integers(90, 110, (SIDE, SIDE, 3), np.uint8)
    if number % 2:
        row, column = number // 2 % 2 * SIDE // 2, number // 4 % 2 * SIDE // 2
        pixels[row : row + SIDE // 2, column : column + SIDE // 2] = (250, 40, 40)
    return pixels


def write_images(folder: Path, numbers: Sequence[int], labels: Callable[[int], str] | None = None) -> Path:
    """Write images p00.png and so on, with a manifest if labels are given; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(draw(number)).save(folder / f"p{number:02}.png")
    if labels is not None:
        with (folder / "manifest.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("image", "label", "group"))
            writer.writerows((f"p{number:02}.png", labels(number), f"g{number // 2}") for number in numbers)
    return folder


def colour(number: int) -> str:
    return "red" if number % 2 else "grey"


@dataclass(frozen=True)
class Place:
    """A folder with training images, their store, runs of two folds, and a final model that expects their AUC."""

    home: Path
    store: Path
    folds: tuple[Run, ...]
    final: Run

    @property
    def manifest(self) -> Path:
        return self.home / "images" / "manifest.csv"

    @property
    def new(self) -> Path:
        return self.home / "new"

    @property
    def runs(self) -> Path:
        return self.folds[0].path.parent

    def options(self, **given: Any) -> dict[str, Any]:
        options = {"task": "red:grey", "costs": (1.0,), "calibrate": "sigmoid", "features": [self.store]}
        return {**options, "arm": "tiny", "output": self.home / "runs", "cache": self.home / "cache", **given}

    def predict(self, runs: Any, output: Path, **given: Any) -> PredictionTable:
        options = {
            "images": self.new,
            "cache": self.home / "cache",
            "engine": "keras",
            "device": "cpu",
            **given,
        }
        return predict(runs, output=output, **options)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """The trained runs, and a folder `new` with images 30 to 35; nothing may write below them."""
    home = tmp_path_factory.mktemp("deploy")
    write_images(home / "images", range(COUNT), colour)
    write_images(home / "new", range(30, 36))
    options = {"cache": home / "cache", "image_size": SIDE, "engine": "keras", "device": "cpu"}
    (done,) = extract(home / "images", backbone="tiny", weights="random:2", **options)
    made = Place(home, done.store, (), None)  # type: ignore[arg-type]
    folds = train_svm(home / "images", protocol="kfold:2", **made.options())
    final = finalize(home / "images", runs=folds[0].path.parent, **made.options())
    return Place(home, done.store, folds, final)
