"""The short form of ``python -m tests.faults.clusters``; the long one is a part of ``python -m tests.faults``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.cluster_bench import _complaint, _runs_after_done
from tests.faults.clusters import FAULTS

ROOT = Path(__file__).resolve().parents[2]


class Ended:
    """A driver that has printed a text."""

    def __init__(self, said: str) -> None:
        self.said = said


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ("svm A: done in 3 s", 0, ""),
        ("featx: error: the Dask cluster was lost", 1, ""),
        ("featx: error: one\nfeatx: error: two", 1, "exit code 1"),
        ("Traceback (most recent call last):\nfeatx: error: one", 1, "with a traceback"),
        ("", None, "does not end"),
    ],
)
def test_the_end_of_a_driver_is_judged(said: str, code: int | None, text: str) -> None:
    found = _complaint(Ended(said), code, may_fail=True, code=None)  # type: ignore[arg-type]
    assert text in found
    assert bool(text) == bool(found)


def test_a_job_done_twice_is_seen_in_its_log() -> None:
    once = "--- one\ninterrupted\n--- two\ndone in 3 s\n"
    assert not _runs_after_done(once)
    assert _runs_after_done(once + "--- three\n")


def test_faults_add_up() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert 0.95 < sum(fault.share for fault in FAULTS) < 1.1


@pytest.mark.slow
def test_a_handful_of_kills_on_dask() -> None:
    pytest.importorskip("distributed")
    command = [
        sys.executable,
        "-m",
        "tests.faults.clusters",
        "--kills",
        "20",
        "--only",
        "train-svm on Dask, job's process killed",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "train-svm on Dask, job's process killed" in done.stdout
