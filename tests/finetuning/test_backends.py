"""Training under the other backends of Keras that are installed, each in a process of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What JAX compiles is run a few times here: optimising it takes four times as long as running it.
QUICK_XLA = "--xla_backend_optimization_level=0"
CODE = """
import json, sys
from pathlib import Path
import keras
from featx.finetuning.finetune_folds import finetune
from featx.zoo import architectures
layers = keras.layers
def dropping(input_tensor):
    # As published architectures do, with batch normalisation, and with a dropout that has no seed.
    x = layers.Conv2D(8, 3, strides=2, use_bias=False, name="conv1")(input_tensor)
    x = layers.ReLU(name="relu1")(layers.BatchNormalization(name="norm1")(x))
    x = layers.Conv2D(16, 3, strides=2, name="conv2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu2")(x))
    x = layers.Dropout(0.5, name="drop")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x, name="tiny")
architectures.tiny = dropping
def train(output):
    return finetune(
        sys.argv[1], backbone="tiny", weights="random", protocol="kfold:2", folds=["1"], recipe="modern",
        epochs=1, head_epochs=1, image_size=16, batch_size=8, accumulate=2, mixup=0.2, validation=0.25,
        output=Path(output), cache=Path(output), head="softmax", scores=Path(output) / "softmax",
    )
first, again = train(sys.argv[2]), train(sys.argv[3])
print(json.dumps({
    "backend": keras.backend.backend(),
    "search": [run.record.search["best"] for run in (first[0], again[0])],
    "scored": len(first[1].predictions),
    "paths": [str(run.path) for run in (first[0], again[0])],
}))
"""


@pytest.mark.parametrize("backend", [pytest.param("jax", marks=pytest.mark.slow), "torch"])
def test_a_backend_trains_and_repeats_itself(backend: str, squares: Path, tmp_path: Path) -> None:
    """TensorFlow, the default, is what all other tests run on."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    shown = subprocess.run(
        [sys.executable, "-c", CODE, str(squares), str(tmp_path / "1"), str(tmp_path / "2")],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": QUICK_XLA},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-2000:]
    values = json.loads(shown.stdout.splitlines()[-1])
    assert (values["backend"], values["scored"]) == (backend, 24)
    assert 0 < values["search"][0]["loss"] < 2
    assert values["search"][0] == values["search"][1]
    files = [Path(path) / "backbone.weights.h5" for path in values["paths"]]
    assert files[0].read_bytes() == files[1].read_bytes()
