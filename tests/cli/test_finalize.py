"""`featx finalize`."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.runs import Run, RunRecord
from featx_cli.main import run

EXPECTED = {"auc": 0.9, "sd": 0.02, "folds": 10, "protocol": "5x2", "pooled": False}


def final(expected) -> Run:
    search = {"expected": expected} if expected else {}
    record = RunRecord(
        kind="svm", arm="frozen", task="t", classes=("a", "b"), scored=("b",), protocol="final", fold="all",
        folds_digest="", seed=0, manifest={}, features={}, settings={}, counts={"train": {"a": 3, "b": 2}},
        search=search, warnings=("few images",),
    )  # fmt: skip
    return Run(Path("runs/all"), record, ())


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        (None, "no expected AUC"),
        (EXPECTED, "expected AUC 0.9000 ± 0.0200, mean over 10 folds (5x2)"),
        ({**EXPECTED, "sd": None, "folds": 1}, "expected AUC 0.9000, mean over 1 folds (5x2)"),
        ({**EXPECTED, "auc": None}, "the folds have no AUC"),
        ({**EXPECTED, "pooled": True}, "of the pooled decision values of 10 folds"),
    ],
)
def test_the_run_on_stdout_and_the_expected_auc_on_stderr(monkeypatch, capsys, expected, told):
    given = {}

    def fake(manifest, **options):
        given.update(options, manifest=manifest)
        return final(expected)

    monkeypatch.setattr("featx.deploy.finalize", fake)
    line = [
        "finalize",
        "m.csv",
        "--arm",
        "frozen",
        "--task",
        "b:a",
        "--runs",
        "runs/frozen",
        "--calibrate",
        "sigmoid",
    ]
    assert run(line) == 0
    shown = capsys.readouterr()
    assert shown.out == "runs/all\n"
    assert "frozen: final model of 5 images" in shown.err
    assert told in shown.err
    assert shown.err.endswith("warning: few images\n")
    assert (given["runs"], given["calibrate"]) == (("runs/frozen",), "sigmoid")


def test_without_features_it_ends_with_2(capsys):
    assert run(["finalize", "m.csv"]) == 2
    assert "Neither features nor an arm was given" in capsys.readouterr().err
