"""`featx export`."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.deploy import ExportedModel
from featx.deploy.exports.export_check import Agreement
from featx_cli.main import run


def test_the_paths_on_stdout_and_the_comparison_on_stderr(monkeypatch, capsys):
    given = {}

    def fake(path, **options):
        given.update(options, run=path)
        agreement = Agreement(16, "images of m", 2e-6, None, None)
        return ExportedModel(Path("m.onnx"), Path("m.card.md"), agreement, ("read the card",))

    monkeypatch.setattr("featx.deploy.export_model", fake)
    assert run(["export", "runs/1", "-o", "m.onnx", "--check-images", "16", "--licence", "MIT"]) == 0
    out, err = capsys.readouterr()
    assert out == "m.onnx\nm.card.md\n"
    assert "compared with featx on 16 images of m: largest difference of a decision value 2e-06" in err
    assert "warning: read the card" in err
    assert given.pop("progress")
    assert given == {
        "run": Path("runs/1"),
        "output": Path("m.onnx"),
        "check_images": 16,
        "licence": "MIT",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["none", "-o", "m.onnx"], "none: no such folder; give run folders"),
        (["none", "-o", "m.pt"], "must end in .onnx or .keras"),
        (["none"], "The 'output' parameter is required"),
    ],
)
def test_bad_input_ends_with_2(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["export", *line]) == 2
    assert message in capsys.readouterr().err
