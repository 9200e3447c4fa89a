"""The short form of the flipped bits; `python -m tests.faults.flips` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import flips

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_no_flipped_bit_gives_a_wrong_row_a_hang_or_a_crash():
    command = [sys.executable, "-m", "tests.faults.flips", "100"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split()[-5:] for line in done.stdout.splitlines()[1:]]
    assert rows == [["100", "100", "0", "0", "0"]] * 2


def test_a_chunk_of_format_1_that_is_looked_up_in_empty_space_is_no_row_of_zeros(tmp_path):
    block = flips.make_store(tmp_path / "store", 1)[0]
    assert flips.attempt(tmp_path / "store", block, block.read_bytes(), 103435) == "survived"
