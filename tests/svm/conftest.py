"""A small data set with stored features that look like a network's, without any network."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.features import FeatureStore
from featx.features.feature_recipe import Recipe
from featx.images import content_keys

Make = Callable[..., tuple[Path, Path]]


def _relu_features(
    count: int, width: int, seed: int = 0, signal: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rectified low-rank features and labels that some of their directions decide, with noise."""
    rng = np.random.default_rng(seed)
    rank = min(width, 80)
    latent = rng.normal(size=(count, rank)) * (1 + np.arange(rank)) ** -0.75
    features = np.maximum(
        latent @ rng.normal(size=(rank, width)) + 0.25 * rng.normal(size=(count, width)) - 0.3, 0
    )
    score = latent @ rng.normal(size=rank)
    score = signal * score / score.std() + rng.normal(size=count)
    return features.astype(np.float32), score > np.quantile(score, 0.6)


@pytest.fixture
def relu_features() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Give the function that draws features and labels."""
    return _relu_features


def recipe(**changes: Any) -> Recipe:
    """Give a recipe of features that no network made."""
    fields = {
        "backbone": "tiny",
        "weights": "ab12",
        "layer": "global pool",
        "pool": "avg",
        "image_size": 64,
        "preparation": {"name": "resize", "version": 1},
        "decode": 1,
        "weights_label": "random0",
        "lineage": ("random",),
    }
    return Recipe(**(fields | changes))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write files, a manifest over them, and a store of their features; return manifest and store."""

    def build(
        features: np.ndarray,
        labels: Sequence[object],
        groups: Sequence[object] | None = None,
        contents: Sequence[bytes] | None = None,
        store: str = "store",
        skip: Sequence[int] = (),
        splits: Sequence[str] | None = None,
        **changes: Any,
    ) -> tuple[Path, Path]:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        rows = []
        for index, label in enumerate(labels):
            path = folder / f"i{index:04}.png"
            path.write_bytes(contents[index] if contents else f"image {index}".encode())
            row = {"image": str(path), "id": path.stem, "label": str(label), "difficulty": "low"}
            row |= {"group": str(groups[index])} if groups is not None else {}
            rows.append(row | ({"split": splits[index]} if splits is not None else {}))
        manifest = tmp_path / "manifest.csv"
        with manifest.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        keys = content_keys([row["image"] for row in rows]).keys
        unique = {keys[row["image"]]: index for index, row in enumerate(rows) if index not in skip}
        made = FeatureStore.create(tmp_path / store, recipe(**changes))
        values = features if features.ndim == 3 else features[:, None]
        made.write_block(list(unique), np.ascontiguousarray(values[list(unique.values())]))
        return manifest, made.path

    return build
