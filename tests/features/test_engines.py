from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from featx.errors import ConfigError
from featx.features import engines
from featx.features.engines import (
    Deviation,
    KerasEngine,
    PrecisionCheck,
    deviation,
    reference_outputs,
    set_threads,
)
from featx.gpus import Device

# Batches of one shape are computed by one program, but its threads may cut a batch at other places for other
# slots. Measured on zoo networks: at most 1e-6 of the largest feature; often bit for bit.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def network():
    from featx.zoo import build_network, find_backbone, resolve_weights

    backbone = find_backbone("tiny")
    return build_network(
        backbone, resolve_weights("random", backbone)[0], layers=("global pool", "block3_relu")
    )


@pytest.fixture(scope="module")
def engine(network):
    return KerasEngine(network, 8, Device("cpu"))


def draw(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), np.uint8)


def test_the_engine_computes_what_the_model_does(engine, network):
    batch = draw(8)
    expected = reference_outputs(network.model, batch)
    outputs = engine.start(batch)()
    assert [output.shape for output in outputs] == [(8, width) for width in network.widths]
    for output, wanted in zip(outputs, expected, strict=True):
        assert output.dtype == np.float32
        np.testing.assert_allclose(output, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


def test_an_image_has_the_same_features_beside_any_others(engine):
    image, neighbours = draw(1), draw(8, 1)
    alone = np.zeros((8, 64, 64, 3), np.uint8)
    alone[0] = image
    wanted = engine.start(alone)()[0][0]
    for place in range(8):
        batch = neighbours.copy()
        batch[place] = image
        found = engine.start(batch)()[0][place]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


def test_the_same_batch_gives_the_same_bits(engine):
    batch = draw(8)
    first, second = engine.start(batch)(), engine.start(batch)()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


TF32 = """
import keras
from featx.features import engines
from featx.gpus import Device
def switches():
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf
        return [tf.config.experimental.tensor_float_32_execution_enabled()]
    if backend == "torch":
        import torch
        return [torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32]
    import jax
    return [jax.config.jax_default_matmul_precision]
before = switches()
class Network:
    model, image_size = None, 8
seen = []
def compile(model, shape):
    seen.append(switches())
    return lambda batch: seen.append(switches()) or []
engines._COMPILERS[keras.backend.backend()] = compile
for wanted in (False, True):
    engines.KerasEngine(Network(), 1, Device("cpu"), tf32=wanted).start(None)
assert switches() == before
print(seen)
"""


@pytest.mark.parametrize(
    ("backend", "off", "on"),
    [
        ("tensorflow", [False], [True]),
        pytest.param("torch", [False, False], [True, True], marks=pytest.mark.slow),
        pytest.param("jax", ["float32"], ["tensorfloat32"], marks=pytest.mark.slow),
    ],
)
def test_tf32_is_off_unless_wanted_and_put_back(backend, off, on, monkeypatch):
    import keras

    wanted = str([off, off, on, on])
    if backend == keras.backend.backend():
        found = []
        monkeypatch.setitem(engines._COMPILERS, backend, None)
        exec(TF32, {"print": lambda seen: found.append(str(seen))})
        assert found == [wanted]
        return
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    env = {**os.environ, "KERAS_BACKEND": backend}
    shown = subprocess.run([sys.executable, "-c", TF32], env=env, capture_output=True, text=True)
    assert shown.stdout.strip() == wanted, shown.stderr


def test_equal_rows_do_not_deviate():
    rows = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    found = deviation(rows, rows.copy())
    assert found.worst == 0
    assert found.cosine == pytest.approx(1)


def test_the_worst_row_and_feature_count():
    reference = np.float32([[1, 0], [0, 10]])
    found = deviation(np.float32([[0, 1], [0, 10]]), reference)
    assert found == Deviation(0.0, 0.1)


def test_zero_rows_agree_with_zero_rows_alone():
    zero, one = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)
    assert deviation(zero, zero) == Deviation(1.0, 0.0)
    assert deviation(zero, one).cosine == 0


def test_threads_reach_the_backend_or_are_refused(monkeypatch):
    config = pytest.importorskip("tensorflow").config.threading
    told = []
    monkeypatch.setattr(engines, "keras_backend", lambda: "tensorflow")
    monkeypatch.setattr(config, "get_intra_op_parallelism_threads", lambda: 2)
    monkeypatch.setattr(config, "set_intra_op_parallelism_threads", told.append)
    set_threads(2)
    set_threads(3)
    assert told == [3]

    def late(threads):
        raise RuntimeError("Intra op parallelism cannot be modified after initialization.")

    monkeypatch.setattr(config, "set_intra_op_parallelism_threads", late)
    with pytest.raises(ConfigError, match="before the first forward pass"):
        set_threads(3)
    monkeypatch.setattr(engines, "keras_backend", lambda: "jax")
    with pytest.raises(ConfigError, match="no effect on Keras with the jax backend"):
        set_threads(3)


def test_threads_reach_pytorch(monkeypatch):
    torch = pytest.importorskip("torch")
    told = []
    monkeypatch.setattr(engines, "keras_backend", lambda: "torch")
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    set_threads(3)
    assert told == [3]


def test_only_the_first_two_batches_are_compared():
    notes = []

    class Reference:
        def start(self, pixels):
            return lambda: [np.float32([[1, 0], [0, 10]])]

    progress = SimpleNamespace(say=notes.append)
    check = PrecisionCheck("tiny (random0)", "bfloat16", Reference, progress)
    for _ in range(3):
        check(np.zeros((2, 1, 1, 3), np.uint8), 1, [np.float32([[1.5, 0], [9, 9]])])
    assert notes == [
        f"tiny (random0) in bfloat16, batch {number} compared with float32: smallest cosine 1.00000, "
        "largest difference 0.5 of the largest feature"
        for number in (1, 2)
    ]
