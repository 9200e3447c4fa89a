"""The short form of ``python -m tests.faults.kills`` and ``.disks``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.faults import kills
from tests.faults.__main__ import every_fault
from tests.faults.counts import Counts, table
from tests.faults.disks import fill_verb

VERBS = {verb.name: verb for verb in kills.VERBS}


def test_a_killed_verb_loses_nothing_and_resumes(tmp_path: Path) -> None:
    counts = kills.kill_verb(VERBS["train-svm --overwrite"], 6, 0, tmp_path)
    assert counts.tried == 6
    assert not counts.bad, table([counts])


def test_a_full_disk_is_one_line_and_the_same_command_completes(tmp_path: Path) -> None:
    counts = fill_verb(VERBS["protocol make"], 4, tmp_path)
    assert counts.tried == 4
    assert not counts.bad, table([counts])


def test_what_is_lost_or_changed_is_seen(tmp_path: Path) -> None:
    bench = kills.Bench(VERBS["train-svm --overwrite"], tmp_path)
    folder = bench.copy("changed")
    run = folder / "reports" / "runs" / "A" / "melanoma-rest" / "kfold-2" / "1"
    assert bench.lost(folder) == ""
    shutil.rmtree(run)
    assert "is gone" in bench.lost(folder)
    counts = Counts("none")
    bench.wanted["reports/more"] = ""
    bench.again(folder, counts, "here")
    assert counts.wrong == ["here: reports/more differs from a run that nobody killed"]


@pytest.mark.slow
def test_a_part_of_all_faults() -> None:
    found = list(every_fault(0.05))
    assert not any(one.bad for one in found), table(found)
