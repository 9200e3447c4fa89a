"""`featx robustness`."""

from __future__ import annotations

from pathlib import Path

from featx.stress_tests import RobustnessScores
from featx_cli.main import run


def test_the_drops_on_stdout_and_what_was_done_on_stderr(monkeypatch, capsys):
    given = {}

    def fake(runs, **options):
        given.update(options, runs=runs)
        return RobustnessScores((Path("runs/1/robustness/hair-1"),), (), 1, 4)

    monkeypatch.setattr("featx.stress_tests.robustness", fake)
    line = "robustness runs --manifest m.csv --corruption hair --corruption ink --severity 1 --severity 5 --limit 9"
    assert run(line.split()) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("Task  Protocol  Arm  Corruption  Severity  Parameters")
    assert shown.err.endswith("1 folds x corruptions x severities scored, 4 finished before\n")
    assert given["runs"] == Path("runs")
    assert (given["corruptions"], given["severities"], given["limit"]) == (("hair", "ink"), ("1", "5"), 9)


def test_bad_input_ends_with_2(capsys, tmp_path):
    assert run(["robustness", str(tmp_path)]) == 2
    assert "'manifest' parameter is required" in capsys.readouterr().err
    assert run(["robustness", str(tmp_path), "--manifest", "m.csv", "--severity", "7"]) == 2
    assert "from 1 to 5. Got '7'" in capsys.readouterr().err
    assert run(["robustness", str(tmp_path), "--manifest", "m.csv"]) == 2
    assert "holds no finished run" in capsys.readouterr().err
