"""The short form of ``python -m tests.faults.kills`` and ``.disks``.

Each test forks children, which a process cannot safely do in which a framework has started its threads: so each runs in
a process of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import kills
from tests.faults.counts import Counts, table
from tests.faults.disks import fill_verb

ROOT = Path(__file__).resolve().parents[2]
VERBS = {verb.name: verb for verb in kills.VERBS}


def killed(folder: Path) -> None:
    counts = kills.kill_verb(VERBS["train-svm --overwrite"], 6, 0, folder)
    assert counts.tried == 6
    assert not counts.bad, table([counts])


def full(folder: Path) -> None:
    counts = fill_verb(VERBS["protocol make"], 4, folder)
    assert counts.tried == 4
    assert not counts.bad, table([counts])


def seen(folder: Path) -> None:
    bench = kills.Bench(VERBS["train-svm --overwrite"], folder)
    place = bench.copy("changed")
    run = place / "reports" / "runs" / "A" / "melanoma-rest" / "kfold-2" / "1"
    assert bench.lost(place) == ""
    shutil.rmtree(run)
    assert "is gone" in bench.lost(place)
    counts = Counts("none")
    bench.wanted["reports/more"] = ""
    bench.again(place, counts, "here")
    assert counts.wrong == ["here: reports/more differs from a run that nobody killed"]


def alone(name: str, folder: Path) -> None:
    """Run one of the functions above in a process of its own."""
    code = (
        f"from pathlib import Path; from tests.faults.test_kills import {name}; {name}(Path({str(folder)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_killed_verb_loses_nothing_and_resumes(tmp_path: Path) -> None:
    alone("killed", tmp_path)


def test_a_full_disk_is_one_line_and_the_same_command_completes(tmp_path: Path) -> None:
    alone("full", tmp_path)


@pytest.mark.slow
def test_what_is_lost_or_changed_is_seen(tmp_path: Path) -> None:
    alone("seen", tmp_path)


@pytest.mark.slow
def test_a_part_of_all_faults() -> None:
    command = [sys.executable, "-m", "tests.faults", "--share", "0.03"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
