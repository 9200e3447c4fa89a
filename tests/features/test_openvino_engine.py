from __future__ import annotations

import resource
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from featx.errors import ConfigError, DiskError
from featx.features.engines import (
    TOLERANCE,
    KerasEngine,
    OpenVinoEngine,
    export_costs,
    export_network,
    exported,
    is_exported,
)
from featx.features.extraction import extract
from featx.features.store import FeatureStore
from featx.gpus import Device
from featx.zoo import count_costs

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")


@pytest.fixture(scope="module")
def network():
    from featx.zoo import build_network, find_backbone, resolve_weights

    backbone = find_backbone("tiny")
    weights = resolve_weights("random", backbone)[0]
    return build_network(backbone, weights, layers=("block3_relu", "global pool"), image_size=32)


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    folder = exported(tmp_path_factory.mktemp("cache"), {"backbone": "tiny"})
    assert not is_exported(folder)
    export_network(network, folder)
    assert is_exported(folder)
    return folder


def draw(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def test_engines_agree_layer_by_layer(network, folder):
    engine = OpenVinoEngine(folder, 4, 32, precision="float32", threads=None)
    keras_engine = KerasEngine(network, 4, Device("cpu"))
    outputs, wanted = engine.start(draw(4))(), keras_engine.start(draw(4))()
    assert [output.shape for output in outputs] == [(4, width) for width in network.widths]
    for output, reference in zip(outputs, wanted, strict=True):
        assert output.dtype == np.float32
        assert np.abs(output - reference).max() <= TOLERANCE * np.abs(reference).max()


def test_an_export_knows_what_its_layers_cost(network, folder):
    assert export_costs(folder) == count_costs(network.model)


def test_batches_in_flight_do_not_mix(folder):
    engine = OpenVinoEngine(folder, 4, 32, precision="float32", threads=2)
    alone = [engine.start(draw(4, seed))() for seed in range(engine.in_flight)]
    started = [engine.start(draw(4, seed)) for seed in range(engine.in_flight)]
    together = [collect() for collect in started]
    for first, second in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_large_batch_is_computed_in_parts(folder, monkeypatch):
    whole = OpenVinoEngine(folder, 8, 32, precision="float32", threads=2)
    wanted = [whole.start(draw(8, seed))() for seed in range(whole.in_flight)]
    monkeypatch.setattr("featx.features.exports.batch_memory._TWO_STREAMS_BYTES", whole.held_bytes // 3)
    engine = OpenVinoEngine(folder, 8, 32, precision="float32", threads=2)
    assert (engine.held_bytes, engine.in_flight) == (whole.held_bytes // 4, whole.in_flight)
    for _ in range(2):
        started = [engine.start(draw(8, seed)) for seed in range(engine.in_flight)]
        for collect, several in zip(started, wanted, strict=True):
            for found, output in zip(collect(), several, strict=True):
                np.testing.assert_allclose(found, output, rtol=0, atol=1e-5 * np.abs(output).max())


def test_an_image_has_the_same_features_beside_any_others(folder):
    engine = OpenVinoEngine(folder, 4, 32, precision="float32", threads=None)
    batch = draw(4)
    wanted = engine.start(batch)()[1][0]
    for place in range(4):
        other = draw(4, 1)
        other[place] = batch[0]
        found = engine.start(other)()[1][place]
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_an_export_that_computes_something_else_is_refused(network, tmp_path):
    from featx.zoo import build_network

    other = build_network(network.backbone, network.weights, image_size=32)

    class Wrong:
        """Keras would compute one per cent more than what was exported."""

        input = other.model.input
        export = staticmethod(other.model.export)

        def __call__(self, pixels, training):
            outputs = other.model(pixels, training=training)
            return [output * 1.01 for output in (outputs if isinstance(outputs, list) else [outputs])]

    wrong = SimpleNamespace(backbone=network.backbone, image_size=32, layers=other.layers, model=Wrong())
    with pytest.raises(ConfigError, match=r"computes other features of tiny than Keras \(difference 0\.01"):
        export_network(wrong, tmp_path / "export")
    assert not is_exported(tmp_path / "export")


def test_a_network_that_cannot_be_exported_is_refused(tmp_path):
    def fail(*args, **named):
        raise NotImplementedError("no such operation")

    model = SimpleNamespace(export=fail, count_params=lambda: 1_000_000)
    broken = SimpleNamespace(backbone=SimpleNamespace(name="odd"), layers=("a",), model=model)
    with pytest.raises(ConfigError, match="odd cannot be exported to OpenVINO"):
        export_network(broken, tmp_path / "export")
    # OpenVINO removes what it could not write to the end, so that the disk has room again.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, limits[1]))
    try:
        with pytest.raises(DiskError, match="File too large"):
            export_network(broken, tmp_path / "export")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError("no room")])
def test_what_is_no_fault_of_the_network_is_not_taken_for_one(tmp_path, error):
    def fail(*args, **named):
        raise error

    sound = SimpleNamespace(
        backbone=SimpleNamespace(name="odd"), layers=("a",), model=SimpleNamespace(export=fail)
    )
    with pytest.raises(type(error)) as raised:
        export_network(sound, tmp_path / "export")
    assert raised.value is error


def test_a_precision_that_the_processor_lacks_is_refused(folder, monkeypatch):
    core = SimpleNamespace(get_property=lambda *names: ["FP32"])
    monkeypatch.setattr(openvino, "Core", lambda: core)
    with pytest.raises(ConfigError, match="no bfloat16 arithmetic"):
        OpenVinoEngine(folder, 4, 32, precision="bfloat16", threads=None)


def test_an_extraction_by_openvino_fills_the_store_of_keras(pictures, tmp_path):
    manifest = pictures(7)
    given = {"backbone": "tiny", "weights": "random", "image_size": 32, "batch_size": 4}
    (fast,) = extract(manifest, engine="openvino", cache=tmp_path / "a", **given)
    (plain,) = extract(manifest, engine="keras", cache=tmp_path / "b", **given)
    assert (fast.engine, plain.engine) == ("openvino", "keras")
    assert fast.store.name == plain.store.name
    found, wanted = (
        FeatureStore(fast.store).read_images(manifest),
        FeatureStore(plain.store).read_images(manifest),
    )
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_the_converter_sends_no_telemetry():
    code = (
        "import featx.features.engines\n"
        "from openvino.tools.ovc import convert_impl\n"
        "print(convert_impl.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
