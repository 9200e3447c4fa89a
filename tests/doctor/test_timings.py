"""Rows of timings and of the trial extraction."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from featx.doctor import timings
from featx.doctor.check_rows import CheckContext, CheckRow
from featx.doctor.timings import check_decode, check_forward, check_round_trip, check_write

GOOD = {"images": 2, "width": 128, "finite": True, "constant": False}


def row(check: Any, **trials: Any) -> CheckRow:
    (found,) = check(CheckContext(ask=lambda: trials))
    assert isinstance(found, CheckRow)
    return found


def test_an_extraction_with_finite_features_is_right() -> None:
    found = row(check_round_trip, round_trip=GOOD)
    assert (found.status, found.found) == ("ok", "2 synthetic images gave 128 finite features each")


@pytest.mark.parametrize(
    ("trial", "text"),
    [
        ({"error": "DiskError: full"}, "two synthetic images have no features: DiskError: full"),
        ({**GOOD, "finite": False}, "features of synthetic images are not finite"),
        ({**GOOD, "constant": True}, "two different images have equal features"),
    ],
)
def test_an_extraction_that_fails_is_a_problem(trial: dict[str, Any], text: str) -> None:
    found = row(check_round_trip, round_trip=trial)
    assert (found.status, found.found) == ("problem", text)


def test_the_speed_of_decoding_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timings, "_IMAGES", 2)
    found = row(check_decode)
    assert found.status == "ok"
    assert found.figures["images_per_second"] > 0


def test_the_speed_of_the_forward_pass_is_told() -> None:
    trial = {"images_per_second": 31.4, "engine": "keras", "device": "gpu:0", "batch": 8}
    found = row(check_forward, forward=trial)
    assert found.found == "31.4 images/s, MobileNet with keras on gpu:0, batches of 8"
    assert row(check_forward, forward={"error": "out of memory"}).status == "problem"


def test_the_speed_of_writing_is_measured_and_nothing_is_left(tmp_path: Path) -> None:
    (found,) = check_write(CheckContext(cache=tmp_path / "cache"))
    assert found.figures["megabytes_per_second"] > 0
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(timings, "write_bytes", full)
    (found,) = check_write(CheckContext(cache=tmp_path))
    assert found.status == "problem"
    assert "No space left on device" in found.found
