"""`featx study`: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from featx.jobs.machines import host
from featx_cli.main import run

STUDY = """
name = "drawn"
backbones = ["tiny"]
[targets.skin]
drawn = { kind = "dermoscopy", images = 20, size = 16 }
tasks = "malignant-vs-benign"
protocol = "kfold:2"
[arms.frozen]
weights = "random"
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "mine.toml"
    path.write_text(STUDY)
    return path


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "list"]) == 0
    assert "menegola2017     Menegola et al. 2017" in capsys.readouterr().out
    assert run(["study", "list", "--json"]) == 0
    assert "real-mini" in json.loads(capsys.readouterr().out)


def test_plan(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "plan", str(study)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["1", "pending", "extract", "tiny", "random:0", "of", "skin"]
    assert lines[1].endswith("svm frozen on skin malignant-vs-benign  (needs 1)")
    assert lines[2].endswith("report skin  (needs 2)")
    assert not (study.parent / "reports").exists()


def test_plan_and_status_as_json(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("plan", "status"):
        assert run(["study", verb, str(study), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert [job["kind"] for job in told["jobs"]] == ["extract", "svm", "report"]
        assert told["output"] == str(study.parent / "reports" / "drawn")


def test_status(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "status", str(study)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first == f"drawn in {study.parent}/reports/drawn: not running"
    assert rest[0].split() == ["extract", "1", "1", "pending"]


def test_failed_jobs_end_with_1_and_their_reasons(
    study: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_WORKER", (sys.executable, "-c", "raise SystemExit(3)"))
    assert run(["study", "run", str(study)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "0 jobs done, 0 finished before, 1 failed, 1 not started" in told.err
    assert "failed: extract tiny random:0 of skin: its process ended with exit code 3" in told.err
    assert "--retry-failed" in told.err


def test_a_report_before_anything_is_done(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "report", str(study)]) == 2
    assert "no SVM is finished yet; run `featx study run` first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "run", "gone.toml"], "study gone.toml: cannot be read (No such file or directory)"),
        (["study", "run", "mine.toml", "--manifest", "skin"], "--manifest skin: give NAME=PATH"),
        (["study", "plan", "mine.toml", "--manifest", "eyes=x.csv"], "no source or target eyes; known: skin"),
        (["study", "plan", "mine.toml", "--manifest", "skin=gone.csv"], "gone.csv"),
        (["study", "plan", "menegola2017"], "atlas.csv"),
    ],
)
def test_bad_input_ends_with_2_and_a_line(
    study: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("verb", ["run", "plan", "status", "report", "list"])
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", verb, "-h"]) == 0
    assert "Usage: featx study" in capsys.readouterr().out
