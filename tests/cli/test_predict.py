"""`featx predict`."""

from __future__ import annotations

from pathlib import Path

from featx.deploy.predictions import PredictionTable
from featx_cli.main import run


def test_the_file_on_stdout_and_what_was_done_on_stderr(monkeypatch, capsys, tmp_path):
    given = {}

    def fake(runs, **options):
        given.update(options, runs=runs)
        rows = ({"id": "a"}, {"id": "b"})
        return PredictionTable(
            Path(options["output"]), rows, 2, "red from 0", (), ("b is in the training set",)
        )

    monkeypatch.setattr("featx.deploy.predict", fake)
    line = [
        "predict",
        "runs",
        "a.png",
        "b.png",
        "-o",
        str(tmp_path / "p.jsonl"),
        "--nearest",
        "2",
        "--probability",
    ]
    assert run([*line, "--threshold", "0.90 sensitivity"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 'p.jsonl'}\n"
    assert "2 predictions by 2 runs; predicted class: red from 0" in shown.err
    assert shown.err.endswith("warning: b is in the training set\n")
    assert given["images"] == (Path("a.png"), Path("b.png"))
    assert (given["nearest"], given["probability"], given["threshold"]) == (2, True, "0.90 sensitivity")
    assert given["runs"] == Path("runs")


def test_bad_input_ends_with_2(capsys, tmp_path):
    assert run(["predict", str(tmp_path)]) == 2
    assert "Neither images nor features were given" in capsys.readouterr().err
    assert run(["predict", str(tmp_path), "new", "-o", str(tmp_path / "p.doc")]) == 2
    assert "must end with .csv" in capsys.readouterr().err
    assert run(["predict", str(tmp_path), "new", "-o", str(tmp_path / "p.csv")]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
