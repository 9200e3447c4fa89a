"""Training on two virtual devices, under other backends, and deterministic training on a CPU.

All random numbers are drawn by NumPy, so that every backend is compared with one device under TensorFlow, in this
process. Without gradient clipping: Keras clips the gradient of each TensorFlow device before it sums them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.finetuning import devices
from featx.finetuning.devices import make_deterministic, slow_training
from featx.gpus import Device

TRAINING = """
import numpy as np
from conftest import RECIPE, STEPS, build_backbone, build_subset
from featx.finetuning.sampling import training_batches
from featx.finetuning.devices import find_devices
from featx.finetuning.learner import Learner

def train():
    devices = find_devices(8)
    with devices.scope():
        backbone = build_backbone()
    rng = np.random.default_rng(0)
    backbone.set_weights([0.3 * np.abs(rng.normal(size=v.shape)) for v in backbone.get_weights()])
    learner = Learner(backbone, 2, RECIPE.with_values({"dropout": 0.0, "clip_norm": 0.0}), STEPS, devices)
    learner.reset(1)
    losses = []
    for epoch, step in enumerate((learner.train_head, learner.train, learner.train)):
        for batch in training_batches(build_subset(32, 0), RECIPE, np.ones(2), 1, epoch):
            losses.append(step(batch, 5e-3))
    state = learner.state()
    before = [value.copy() for value in state]
    learner.train(batch, 1.0)
    assert all(map(np.array_equal, before, state)), "a state has to be a copy"
    learner.restore(state)
    logits = learner.predict(build_subset(11, 2), 1)
    return devices.count, losses, logits.ravel().tolist()
"""
ALONE = """
import json, sys
sys.path.insert(0, sys.argv[2])
if sys.argv[1] == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


@pytest.fixture(scope="module")
def one_device() -> tuple[int, list[float], list[float]]:
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        space: dict[str, Any] = {}
        exec(TRAINING, space)
    finally:
        sys.path.pop(0)
    result: tuple[int, list[float], list[float]] = space["train"]()
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "devices"), [("tensorflow", 2), ("jax", 2), ("torch", 1)])
def test_devices_and_backends_agree(
    backend: str, devices: int, one_device: tuple[int, list[float], list[float]]
) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    flags = "--xla_force_host_platform_device_count=2" if backend == "jax" else ""
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            ALONE + TRAINING + "print(json.dumps(train()))",
            backend,
            str(Path(__file__).parent),
        ],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    count, losses, logits = json.loads(shown.stdout.splitlines()[-1])
    assert (one_device[0], count) == (1, devices)
    assert losses == pytest.approx(one_device[1], rel=2e-3)
    assert len(logits) == 22
    assert logits == pytest.approx(one_device[2], abs=5e-3)


REPEATED = """
import sys
import keras
import numpy as np
import tensorflow as tf
from featx.finetuning.devices import make_deterministic
assert make_deterministic() and tf.config.threading.get_inter_op_parallelism_threads() == 1
keras.utils.set_random_seed(0)
network = keras.applications.MobileNetV2((160, 160, 3), alpha=0.35, weights=None, include_top=False, pooling="avg")
network.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
rng = np.random.default_rng(0)
batch = rng.normal(size=(32, 160, 160, 3)).astype(np.float32), np.ones((32, 1280), np.float32)
start, ends = network.get_weights(), set()
for _ in range(4):
    network.set_weights(start)
    network.train_on_batch(*batch)
    ends.add(b"".join(value.tobytes() for value in network.get_weights()))
assert make_deterministic()
print(len(ends))
"""


@pytest.mark.slow
def test_a_step_on_several_threads_is_bitwise_reproducible() -> None:
    """At this size TensorFlow by default gave two or three results in six steps."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("TF_NUM_")}
    shown = subprocess.run(
        [sys.executable, "-c", REPEATED], env=free, capture_output=True, text=True, check=False
    )
    assert shown.stdout.strip() == "1", shown.stderr[-2000:]


def test_settings_that_can_no_longer_be_changed_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    assert float(tf.constant(1.0) + 1.0) == 2.0  # TensorFlow is in use
    monkeypatch.setattr(tf.config.threading, "get_inter_op_parallelism_threads", lambda: 0)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    assert make_deterministic()
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "2")
    assert not make_deterministic()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert make_deterministic(), "on a GPU nothing has to be set"


@pytest.mark.parametrize(
    ("backend", "wanted", "gpu", "warned"),
    [
        ("jax", None, False, True),
        ("jax", Device("cpu"), True, True),
        ("jax", None, True, False),
        ("jax", Device("gpu", 0), True, False),
        ("tensorflow", Device("cpu"), False, False),
        ("torch", None, False, False),
    ],
)
def test_training_on_a_cpu_by_jax_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, backend: str, wanted: Device | None, gpu: bool, warned: bool
) -> None:
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(devices, "_jax_has_gpu", lambda: gpu)
    assert ("KERAS_BACKEND=tensorflow" in slow_training(wanted)) == warned


# What JAX compiles runs a few times only here: optimising it takes four times as long as running it.
QUICK_XLA = "--xla_backend_optimization_level=0"
TRAIN_FOLD = """
import json, sys
from pathlib import Path
import keras
from featx.finetuning import finetune
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


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_training_under_a_backend_is_bitwise_reproducible(
    backend: str, squares: Path, tmp_path: Path
) -> None:
    """All other tests run on TensorFlow, the default."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    shown = subprocess.run(
        [sys.executable, "-c", TRAIN_FOLD, str(squares), str(tmp_path / "1"), str(tmp_path / "2")],
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
