"""Locks that another process holds, and locks that nobody holds."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from filelock import FileLock

from featx.doctor.disk_checks import ask_other_process
from featx.doctor.lock_trial import FILE, RANGE, held, hold_range

pytestmark = pytest.mark.linux


def test_locks_that_are_held_are_refused_to_another_process(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with FileLock(tmp_path / FILE), hold_range(tmp_path):
            assert ask_other_process(tmp_path) == {"filelock": True, "flock": True, "fcntl": True}
    finally:
        os.close(folder)


def test_locks_that_nobody_holds_are_given(tmp_path: Path) -> None:
    (tmp_path / RANGE).touch()
    assert held(tmp_path) == {"filelock": False, "flock": False, "fcntl": False}
