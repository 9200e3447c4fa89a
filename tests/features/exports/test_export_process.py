from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from featx import errors
from featx.errors import ConfigError, WeightsError
from featx.features.engines import TOLERANCE, OpenVinoEngine, export_network, is_exported
from featx.features.exports.export_process import export_apart
from featx.features.exports.network_build import NetworkBuild
from featx.zoo import find_backbone, resolve_weights

pytest.importorskip("openvino", reason="the openvino extra is not installed")


def build(weights="random"):
    backbone = find_backbone("tiny")
    return NetworkBuild(backbone, resolve_weights(weights, backbone)[0], (), "avg", 32, "cpu:0")


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
    told = answering("""print('{"error": "WeightsError", "message": "block1: other shape"}')""")
    with pytest.raises(WeightsError, match=r"^block1: other shape$"):
        export_apart(export_network, build(), tmp_path / "export", told)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was ended by SIGKILL, as the system does where memory runs out",
        ),
        ("sys.exit('no such  library')", "ended with exit code 1: no such library"),
        ("sys.exit(3)", "ended with exit code 3: no message"),
    ],
)
def test_a_process_that_fails_gives_one_line(tmp_path, code, why):
    with pytest.raises(ConfigError) as raised:
        export_apart(export_network, build(), tmp_path / "export", answering(code))
    assert str(raised.value) == f"tiny cannot be exported to OpenVINO (its process {why}); use --engine keras"
    assert raised.value.exit_code == 2


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
