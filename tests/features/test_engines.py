from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from featx.errors import ConfigError
from featx.features import engines
from featx.features.engines import Device, KerasEngine, choose_device, parse_device, reference_outputs
from featx.features.extraction_plan import ExtractSettings, targets
from featx.features.passes import NetworkAtWork, first_bad_layer
from featx.progress import Silent

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


def test_the_first_bad_layer_is_named(network):
    import keras

    from featx.zoo import build_network

    broken = build_network(network.backbone, network.weights)
    assert first_bad_layer(broken.model, draw(1)) == ""
    layer = next(layer for layer in broken.model.layers if layer.name == "block3_conv")
    kernel = keras.ops.convert_to_numpy(layer.kernel).copy()
    kernel[0, 0, 0, 0] = np.inf
    layer.kernel.assign(kernel)
    assert first_bad_layer(broken.model, draw(1)) == "block3_conv"


def test_rows_are_rescued_in_float32_or_their_layer_is_named(network, tmp_path, monkeypatch):
    import keras

    from featx.zoo import build_network

    given = {"layers": ("block3_relu",), "batch_size": 4, "engine": "keras"}
    (target,) = targets(["tiny"], ["random"], ExtractSettings(**given), tmp_path)
    at_work = NetworkAtWork(target, ExtractSettings(**given), Device("cpu"), "keras", tmp_path, Silent())
    pixels = draw(4)
    sound, layers = at_work.rescue(pixels, [1, 3])
    assert layers == ["", ""]
    assert np.array_equal(sound[0], at_work.engine.start(pixels)()[0][[1, 3]])

    broken = build_network(network.backbone, network.weights, layers=("block3_relu",))
    layer = next(layer for layer in broken.model.layers if layer.name == "block2_norm")
    layer.gamma.assign(keras.ops.full(layer.gamma.shape, np.nan))
    monkeypatch.setattr(NetworkAtWork, "_build", lambda self, policy: broken)
    at_work = NetworkAtWork(target, ExtractSettings(**given), Device("cpu"), "keras", tmp_path, Silent())
    bad, layers = at_work.rescue(pixels, [2])
    assert layers == ["block2_norm"]
    assert not np.isfinite(bad[0]).all()


def test_device_names():
    assert parse_device("auto") is None
    assert parse_device("cpu") == Device("cpu", 0)
    assert parse_device("gpu:3") == Device("gpu", 3)
    for text in ("tpu", "gpu:", "gpu:x", "gpu:-1", ""):
        with pytest.raises(ConfigError, match="device"):
            parse_device(text)


def test_a_gpu_that_is_not_there_is_refused():
    assert choose_device(Device("cpu")) == Device("cpu")
    with pytest.raises(ConfigError, match=r"sees \d+ GPUs"):
        choose_device(Device("gpu", 99))


TF32 = """
import keras
from featx.features import engines
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
    engines.KerasEngine(Network(), 1, engines.Device("cpu"), tf32=wanted).start(None)
assert switches() == before
print(seen)
"""


@pytest.mark.parametrize(
    ("backend", "off", "on"),
    [
        ("tensorflow", [False], [True]),
        ("torch", [False, False], [True, True]),
        ("jax", ["float32"], ["tensorfloat32"]),
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
