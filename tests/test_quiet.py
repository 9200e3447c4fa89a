"""TensorFlow's notes are held back while it loads, and shown where that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = """
import os
os.write(2, b"a note below Python\\n")
{}
"""
CODE = """
import os, sys
from featx.quiet import quieten_tensorflow
quieten_tensorflow({})
quieten_tensorflow()
import importlib.util
assert importlib.util.find_spec("tensorflow").name == "tensorflow"
try:
    import tensorflow
except ImportError as error:
    os.write(2, f"failed: {{error}}\\n".encode())
print("seen", file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("body", "debug", "level", "lines"),
    [
        ("", False, None, ["seen"]),
        ("", True, None, ["a note below Python", "seen"]),
        ("", False, "0", ["a note below Python", "seen"]),
        (
            "raise ImportError('no library')",
            False,
            None,
            ["a note below Python", "failed: no library", "seen"],
        ),
    ],
    ids=["quiet", "debug", "asked", "failing"],
)
def test_notes_are_shown_where_they_matter(tmp_path, body, debug, level, lines):
    (tmp_path / "tensorflow.py").write_text(LIBRARY.format(body))
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    env |= {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}",
        **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {}),
    }
    code = CODE.format(debug)
    shown = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert shown.stderr.splitlines() == lines
