"""Two virtual devices learn what one learns, under either backend that can share a batch out; one repeats itself.

All chance is drawn by NumPy, so that one device under TensorFlow, in this process, is the measure for all.
Without clipping: Keras clips each TensorFlow device's gradient before it sums them up.
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

from featx.finetuning.devices import compute_in_order

TRAINING = """
import numpy as np
from test_fit import RECIPE, STEPS, make_backbone, make_part
from featx.finetuning.sampling import training_batches
from featx.finetuning.devices import find_devices
from featx.finetuning.learner import Learner

def train():
    devices = find_devices(8)
    with devices.scope():
        backbone = make_backbone()
    rng = np.random.default_rng(0)
    backbone.set_weights([0.3 * np.abs(rng.normal(size=v.shape)) for v in backbone.get_weights()])
    learner = Learner(backbone, 2, RECIPE.with_values({"dropout": 0.0, "clip_norm": 0.0}), STEPS, devices)
    learner.reset(1)
    losses = []
    for epoch, step in enumerate((learner.train_head, learner.train, learner.train)):
        for batch in training_batches(make_part(32, 0), RECIPE, np.ones(2), 1, epoch):
            losses.append(step(batch, 5e-3))
    state = learner.state()
    before = [value.copy() for value in state]
    learner.train(batch, 1.0)
    assert all(map(np.array_equal, before, state)), "a state has to be a copy"
    learner.restore(state)
    logits = learner.predict(make_part(11, 2), 1)
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


@pytest.mark.parametrize(
    ("backend", "devices"), [("tensorflow", 2), pytest.param("jax", 2, marks=pytest.mark.slow), ("torch", 1)]
)
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
from featx.finetuning.devices import compute_in_order
assert compute_in_order() and tf.config.threading.get_inter_op_parallelism_threads() == 1
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
assert compute_in_order()
print(len(ends))
"""


@pytest.mark.slow
def test_several_threads_repeat_a_step_to_the_bit() -> None:
    """Of a size at which TensorFlow, left to itself, gave two or three results in six steps."""
    free = {name: value for name, value in os.environ.items() if not name.startswith("TF_NUM_")}
    shown = subprocess.run(
        [sys.executable, "-c", REPEATED], env=free, capture_output=True, text=True, check=False
    )
    assert shown.stdout.strip() == "1", shown.stderr[-2000:]


def test_what_cannot_be_told_any_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    assert float(tf.constant(1.0) + 1.0) == 2.0  # it is at work
    monkeypatch.setattr(tf.config.threading, "get_inter_op_parallelism_threads", lambda: 0)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    assert compute_in_order()
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "2")
    assert not compute_in_order()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    assert compute_in_order(), "on a GPU there is nothing to tell"
