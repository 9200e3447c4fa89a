"""OpenVINO tells its makers nothing: images and studies may be private."""

from __future__ import annotations

import subprocess
import sys

import pytest


def test_the_converter_uses_its_silent_stub() -> None:
    pytest.importorskip("openvino")
    code = (
        "import featx.features.openvino_engine\n"
        "from openvino.tools.ovc import convert_impl\n"
        "print(convert_impl.tm.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
