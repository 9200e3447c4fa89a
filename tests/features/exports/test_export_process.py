from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

from featx import errors
from featx.errors import ConfigError, DiskError, WeightsError
from featx.features.engines import TOLERANCE, OpenVinoEngine, export_network, is_exported
from featx.features.exports.export_process import export_apart
from featx.features.exports.network_build import NetworkBuild
from featx.zoo import find_backbone, resolve_weights

pytest.importorskip("openvino", reason="OpenVINO is not installed")


def build(device="cpu:0"):
    backbone = find_backbone("tiny")
    return NetworkBuild(backbone, resolve_weights("random", backbone)[0], (), "avg", 32, device)


def answering(code):
    return (sys.executable, "-c", f"import os, signal, sys; {code}")


def test_an_export_of_another_process_computes_what_keras_does(tmp_path):
    from featx.features.engines import reference_outputs

    export_apart(export_network, build(), tmp_path / "export")
    assert is_exported(tmp_path / "export")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (found,) = OpenVinoEngine(tmp_path / "export", 2, 32, precision="float32", threads=None).start(pixels)()
    (wanted,) = reference_outputs(build()().model, pixels)
    assert np.abs(found - wanted).max() <= TOLERANCE * np.abs(wanted).max()


def test_an_error_of_the_process_is_raised_as_it_is(tmp_path):
    told = answering("""print('{"error": "WeightsError", "arguments": ["block1: other shape"]}')""")
    with pytest.raises(WeightsError, match=r"^block1: other shape$"):
        export_apart(export_network, build(), tmp_path / "export", told)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was ended by SIGKILL, as the system does where memory runs out",
        ),
        ("os.kill(os.getpid(), signal.SIGTERM)", "was ended by SIGTERM"),
        ("os.kill(os.getpid(), signal.SIGRTMIN + 6)", "was ended by signal 40"),
        ("sys.exit('no such  library')", "ended with exit code 1: no such library"),
        ("sys.exit(3)", "ended with exit code 3: no message"),
    ],
)
def test_a_process_that_fails_gives_one_line(tmp_path, code, why):
    with pytest.raises(ConfigError) as raised:
        export_apart(export_network, build(), tmp_path / "export", answering(code))
    assert str(raised.value) == f"tiny cannot be exported to OpenVINO (its process {why}); use --engine keras"
    assert raised.value.exit_code == 2


FAILING = """
from types import SimpleNamespace
from featx.errors import DiskError
class Build:
    backbone, device = SimpleNamespace(name="tiny"), "cpu:0"
    def __call__(self):
        return None
class ResourceExhaustedError(Exception):
    pass
def refused(network, folder):
    raise PermissionError(13, "Permission denied", folder / "model.xml")
def unreadable(network, folder):
    raise OSError("cannot read")
def full_memory(network, folder):
    raise MemoryError("no room")
def full_tensorflow(network, folder):
    raise ResourceExhaustedError("no room for a tensor")
def full_disk(network, folder):
    raise DiskError("model.xml: cannot be written")
def odd(network, folder):
    raise NotImplementedError("no such operation")
def written(network, folder):
    import numpy as np
    import openvino
    from openvino import opset13 as op
    from featx.features.engines import export_network
    pixels = op.parameter([99, 99], np.float32)
    graph = openvino.Model([op.multiply(pixels, op.constant(np.eye(99, dtype=np.float32)))], [pixels])
    model = SimpleNamespace(export=lambda path, **given: openvino.serialize(graph, path), count_params=lambda: 0)
    export_network(SimpleNamespace(backbone=Build.backbone, layers=("a",), model=model), folder)
"""


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Exports that fail, in a module that the process of an export finds."""
    (tmp_path / "failing_exports.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "failing_exports", raising=False)
    return importlib.import_module("failing_exports")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("refused", PermissionError, "[Errno 13] Permission denied: '{folder}/model.xml'"),
        ("unreadable", OSError, "cannot read"),
        ("full_memory", MemoryError, "no room"),
        ("full_tensorflow", MemoryError, "no room for a tensor"),
        ("full_disk", DiskError, "model.xml: cannot be written"),
        (
            "odd",
            ConfigError,
            "tiny cannot be exported to OpenVINO (its process ended with exit code 1: NotImplementedError: no such "
            "operation); use --engine keras",
        ),
    ],
)
def test_what_is_no_fault_of_the_network_is_raised_as_what_it_is(tmp_path, failing, name, kind, message):
    with pytest.raises(kind) as raised:
        export_apart(getattr(failing, name), failing.Build(), tmp_path / "export")
    assert type(raised.value) is kind
    assert str(raised.value) == message.format(folder=tmp_path / "export")


def test_a_disk_that_is_full_is_not_taken_for_a_network_that_cannot_be_exported(tmp_path, failing):
    """A limit on the size of files does what a full disk does: OpenVINO raises a RuntimeError that does not name it."""
    limited = ("sh", "-c", 'ulimit -f 20; exec "$0" -P -m featx.features.exports.export_process')
    with pytest.raises(DiskError, match=r"export: cannot be written: File too large"):
        export_apart(failing.written, failing.Build(), tmp_path / "export", (*limited, sys.executable))
    assert not (tmp_path / "export").exists()


@pytest.mark.parametrize(("device", "seen"), [("cpu:0", "-1"), ("gpu:0", "0")])
def test_gpus_are_hidden_from_a_network_on_the_cpu(tmp_path, monkeypatch, device, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    told = answering(
        "import json; print(json.dumps({'error': 'ConfigError', 'arguments': [os.environ['CUDA_VISIBLE_DEVICES']]}))"
    )
    with pytest.raises(ConfigError, match=f"^{seen}$"):
        export_apart(export_network, build(device), tmp_path / "export", told)


def test_every_error_is_found_by_its_name():
    from featx.errors import FeatxError

    waiting, found = [FeatxError], set()
    while waiting:
        kind = waiting.pop()
        found.add(kind)
        waiting += kind.__subclasses__()
    named = {kind for kind in found if kind.__module__.startswith("featx.")}
    assert all(getattr(errors, kind.__name__, None) is kind for kind in named)


LIGHT = """
import sys
from featx.data import draw_dermoscopy
from featx.features import extract
manifest = draw_dermoscopy(sys.argv[1] + "/images", images=2, size=32)
given = {"backbone": "tiny", "weights": "random", "image_size": 32, "batch_size": 2, "engine": "openvino"}
said = []
class Notes:
    def say(self, text): said.append(text)
    start = advance = finish = lambda self, *given: None
for turn in range(2):
    extract(manifest, cache=sys.argv[1], overwrite=True, progress=Notes(), **given)
print(sum("exporting" in text for text in said), "keras" in sys.modules, "tensorflow" in sys.modules)
print(sum("MB at the peak" in text for text in said))
"""


def test_an_extraction_by_openvino_imports_neither_keras_nor_tensorflow(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIGHT, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["1 False False", "2"], done.stderr
