"""Weights files written in the layouts that networks are published in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _forget_networks():
    """Free what a test built, so that the next one has its memory."""
    yield
    if "keras" in sys.modules:
        from keras.src.backend.common import global_state

        # Keras numbers the names of all that is built. Collecting garbage after every test took a quarter of the suite.
        if global_state.get_global_attribute("object_name_uids"):
            sys.modules["keras"].backend.clear_session()


def write_legacy(path: Path, model: Any) -> Path:
    """Write a network as `keras.applications` publishes them: layers in order, weights by name."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            variables = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{layer.name}/{number}:0" for number in range(len(variables))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, variable in zip(names, variables, strict=True):
                group[name] = np.asarray(variable)
    return path


@pytest.fixture
def legacy() -> Callable[[Path, Any], Path]:
    """The writer of legacy files."""
    return write_legacy


@pytest.fixture
def images() -> Callable[[int], np.ndarray]:
    """Maker of two uint8 images of a given side."""

    def make(side: int) -> np.ndarray:
        return np.random.default_rng(7).integers(0, 256, (2, side, side, 3), dtype=np.uint8)

    return make
