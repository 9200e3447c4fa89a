"""Names of jobs' folders, and the lock of a study's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.errors import StoreError
from featx.jobs.job_state import is_running, locked, slug


def test_names_of_folders_are_plain() -> None:
    assert slug("svm F, ImageNet / retina (vgg16)") == "svm-F-ImageNet-retina-vgg16"
    assert len(slug("x" * 300)) == 100
    assert slug("///") == "-"


def test_a_lock_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert not is_running(folder)
    assert not folder.exists()
    with locked(folder):
        assert is_running(folder)
        with pytest.raises(StoreError, match="another `featx study run` is running"), locked(folder):
            pass
    assert not is_running(folder)
