from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from featx.runs import Prediction, RunRecord, run_folder, write_run
from featx_cli.main import run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two arms, two folds."""
    for arm, fold in [(arm, fold) for arm in ("imagenet", "random") for fold in ("1x1", "1x2")]:
        record = RunRecord(
            kind="svm",
            arm=arm,
            task="labels",
            classes=("n", "p"),
            scored=("p",),
            protocol="5x2",
            fold=fold,
            folds_digest="f" * 64,
            seed=0,
            manifest={"name": "m", "digest": "d"},
            features={},
            settings={},
            warnings=("mind this",),
        )
        rows = [Prediction(str(n), fold, str(n), "np"[n % 2], {"p": float(n % 3)}) for n in range(8)]
        write_run(run_folder(tmp_path / "runs", record.arm, record.task, "5x2", fold), record, rows, {})
    return tmp_path / "runs"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out: these tests are about the command line."""
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: {})


@pytest.mark.usefixtures("quick")
def test_the_table_is_on_stdout_and_the_rest_on_stderr(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(runs), "--output", str(tmp_path / "out"), "--title", "Mine"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [
        ["labels", "5x2", "imagenet"],
        ["labels", "5x2", "random"],
    ]
    assert "warning: imagenet, labels, all folds: mind this" in err
    assert f"report: {tmp_path / 'out' / 'report.html'}" in err
    assert "<h1>Mine</h1>" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("folder", "text"),
    [("missing", "no such folder"), (".", "holds no finished run"), (None, "Missing argument")],
)
def test_bad_input_ends_with_2(
    folder: str | None, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given").mkdir()
    given = [] if folder is None else [str(tmp_path / "given" / folder)]
    assert run(["report", *given, "--output", str(tmp_path / "out")]) == 2
    assert text in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
def test_json_holds_every_table(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(runs), "-o", str(tmp_path / "out"), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["arm"] for row in found["tables"]["auc"]] == ["imagenet", "random"]
    assert found["tables"]["auc"][0]["folds"] == 2
    assert str(tmp_path / "out" / "report.html") in found["files"]
    assert len([text for text in found["warnings"] if "mind this" in text]) == 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("form", "start"), [("csv", "task,protocol,arm,"), ("latex", "% "), ("markdown", "## AUC")]
)
def test_stdout_takes_the_format_asked_for(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str, start: str
) -> None:
    assert run(["report", str(runs), "-o", str(tmp_path / "out"), "--format", form]) == 0
    assert capsys.readouterr().out.startswith(start)


@pytest.mark.usefixtures("quick")
def test_parquet_is_a_file_for_a_pipe_and_refused_on_a_terminal(
    runs: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["report", str(runs), "-o", str(tmp_path / "out"), "--format", "parquet"]
    assert run(given) == 0
    table = pd.read_parquet(BytesIO(capsysbinary.readouterr().out))
    assert table["arm"].tolist() == ["imagenet", "random"]
    assert table["folds"].tolist() == [2, 2]
    assert table["low"].dtype == "float64"
    assert run([*given, "--watch"]) == 2
    assert b"cannot be continued" in capsysbinary.readouterr().err
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(given) == 2
    assert b"add `> auc.parquet`" in capsysbinary.readouterr().err


@pytest.mark.usefixtures("quick")
def test_checklists_are_written_and_counted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["report", str(runs), "-o", str(tmp_path / "out")]
    assert run([*given, "--checklist", "claim", "--checklist", "tripod-ai"]) == 0
    err = capsys.readouterr().err
    form = tmp_path / "out" / "checklists" / "tripod-ai.md"
    (line,) = (line for line in err.splitlines() if line.startswith("checklist tripod-ai: 52 items: "))
    assert line.endswith(str(form))
    assert f"{line.split(': ')[1]}: {line.split(': ')[2]}" in form.read_text(encoding="utf-8")
    assert run([*given, "--checklist", "consort"]) == 2
    assert run([*given, "--mlflow", "file:x", "--watch"]) == 2
    assert "would be a new MLflow run" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_two_arms_are_compared(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(runs), "-o", str(tmp_path / "out"), "--compare", "random", "imagenet"]) == 0
    assert "Adjusted p" in capsys.readouterr().out
    assert run(["report", str(runs), "-o", str(tmp_path / "out"), "--compare", "random", "mine"]) == 2
    assert "No run has the arm 'mine'; arms of these runs: imagenet, random" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_planned_comparisons_are_stated_first(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["report", str(runs), "-o", str(tmp_path / "out")]
    assert run([*given, "--planned", "random:imagenet", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    assert "labels (5x2): Planned comparison: random minus imagenet" in err
    assert [row["kind"] for row in json.loads(out)["tables"]["pairs-labels"]] == ["planned"]
    assert run([*given, "--planned", "random:mine"]) == 2
    text = capsys.readouterr().err
    assert (
        "Planned comparison 'random:mine' does not name two arms as A:B; arms of these runs: imagenet, random"
        in text
    )
    assert run([*given, "--planned", "random:imagenet", "--planned", "imagenet:random"]) == 2
    assert "must not be repeated" in capsys.readouterr().err


def test_thumbnails_need_a_manifest(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", str(runs), "--thumbnails"]) == 2
    assert "Got no manifest; say with --manifest where they are" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_watch_reports_again_and_ends_when_interrupted(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(paths: object, every: float) -> Iterator[int]:
        yield 4
        shutil.rmtree(runs / "random")
        yield 2
        shutil.rmtree(runs / "imagenet")
        yield 0
        raise KeyboardInterrupt

    monkeypatch.setattr("featx.reporting.changes", interrupted)
    assert run(["report", str(runs), "-o", str(tmp_path / "out"), "--watch"]) == 130
    out, err = capsys.readouterr()
    assert [line.count("random") for line in out.splitlines() if line.startswith("labels")] == [0, 1, 0]
    assert "not yet:" in err
    assert '<meta http-equiv="refresh" content="10' in (tmp_path / "out" / "report.html").read_text(
        encoding="utf-8"
    )


def test_an_unknown_stratum_ends_with_2(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(runs), "--stratum", "site", "-o", str(tmp_path / "out")]) == 2
    assert "No run has the column 'site'" in capsys.readouterr().err


def test_a_study_is_reported_alone_and_with_something_finished(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        'name = "drawn"\nbackbones = ["tiny"]\n[arms.frozen]\nweights = "random"\n'
        '[targets.skin]\ndrawn = { kind = "dermoscopy", images = 20, size = 16 }\ntasks = "malignant-vs-benign"\nprotocol = "kfold:2"\n'
    )
    assert run(["report", "mine.toml"]) == 2
    assert "study drawn: no SVM is finished yet" in capsys.readouterr().err
    assert run(["report", "mine.toml", str(runs)]) == 2
    assert "A study is reported alone" in capsys.readouterr().err
    assert run(["report", "gone.toml"]) == 2
    assert "study gone.toml: cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_strict_judges_the_method_checks_after_the_report_is_written(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["report", "-o", str(tmp_path / "out"), "--format", "json"]
    # Both folds test the same images, four of each class.
    assert run([*given, "--strict", str(runs)]) == 1
    out, err = capsys.readouterr()
    failed = {one["code"]: one["severity"] for one in json.loads(out)["checks"] if one["state"] == "failed"}
    errors = [code for code, severity in failed.items() if severity == "error"]
    assert errors == ["FX201", "FX401"]
    assert err.splitlines()[-1] == "--strict=error: failed method checks: FX201, FX401"
    assert (
        "warning: FX401 Very few events in the test set: imagenet (labels), random (labels): 4 independent"
        in err
    )
    assert (tmp_path / "out" / "report.html").is_file()
    ignored = ["--ignore", "FX201", "--ignore", "FX401"]
    assert run([*given, str(runs), "--strict", *ignored]) == 0
    assert "--strict" not in capsys.readouterr().err
    assert run([*given, str(runs), "--strict=warning", *ignored]) == 1
    assert run([*given, str(runs), "--ignore", "FX9"]) == 2
    assert "codes are FX101 to FX503" in capsys.readouterr().err
    assert run([*given, str(runs), "--strict", "--watch"]) == 2
    assert run([*given, str(runs), "--strict=never"]) == 2
