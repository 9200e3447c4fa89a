"""Installs the lowest version of each dependency that setup.cfg allows, and runs the fast tests with them.

`make lowest` calls this. The environment is `build/lowest`; it holds the extras that are small, and pytest. The rooms whose
tests need large extras (torch, jax, ray, ...) are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "parquet,safetensors,xlsx"
TOOLS = (
    "cryptography>=42",
    "hypothesis>=6.100",
    "mlxtend>=0.23",
    "psutil>=5.9.6",
    "pytest>=8.3",
    "pytest-xdist>=3.6",
)
TOOLS += ("scikit-posthocs>=0.11",)
TESTS = (
    "tests/cli",
    "tests/data",
    "tests/images",
    "tests/stats",
    "tests/test_files.py",
    "tests/test_runs.py",
)


def main() -> int:
    """Install and test; return the exit code of pytest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=TESTS, help="files or folders; default: the rooms")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keep", action="store_true", help="keep the environment of the last call")
    given = parser.parse_args()
    home = ROOT / "build" / "lowest"
    python = home / "bin" / "python"
    if not given.keep:
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        # Of what is named here and by featx, the lowest; of what those need, the newest: nobody tests the lowest of all.
        lowest = ("--resolution", "lowest-direct", "--python", python)
        line = [home / "bin" / "uv", "pip", "install", *lowest, *TOOLS, "--editable", f".[{EXTRAS}]"]
        subprocess.run(line, cwd=ROOT, check=True)
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-m",
        "not slow",
        "-n",
        "2",
        "-p",
        "no:cacheprovider",
        *given.tests,
    ]
    return subprocess.run(
        command, cwd=ROOT, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
