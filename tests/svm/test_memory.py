"""Memory is asked for before work begins; freed arrays go back to the system (in a fresh process each)."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

CODE = """
import sys
from pathlib import Path
import numpy as np
from featx.machine import give_back_freed
def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024
assert sys.argv[1] == "as it is" or give_back_freed()
before = resident()
for _ in range(2):
    np.ones(3 << 20)  # 24 MiB, the second of which glibc keeps, by itself
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize(("setting", "low", "high"), [("as it is", 20, 28), ("given back", -1, 4)])
def test_freed_arrays_do_not_stay_with_the_process(setting: str, low: float, high: float) -> None:
    shown = subprocess.run([sys.executable, "-c", CODE, setting], capture_output=True, text=True, check=True)
    assert low < float(shown.stdout) < high
