from __future__ import annotations

from pathlib import Path

import pytest

from featx.runs import Prediction, RunRecord, run_folder, write_run
from featx_cli.main import run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """One arm, two folds."""
    for fold in ("1x1", "1x2"):
        record = RunRecord(
            kind="svm",
            arm="imagenet",
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


def test_the_table_is_on_stdout_and_the_rest_on_stderr(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(runs), "--output", str(tmp_path / "out"), "--title", "Mine"]) == 0
    out, err = capsys.readouterr()
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [["labels", "5x2", "imagenet"]]
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


def test_an_unknown_stratum_ends_with_2(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", str(runs), "--stratum", "site", "-o", str(tmp_path / "out")]) == 2
    assert "no run has the stratum 'site'" in capsys.readouterr().err
