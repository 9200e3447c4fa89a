"""`featx saliency`."""

from __future__ import annotations

from pathlib import Path

from featx.reporting import SaliencyMap
from featx.saliency_maps.maps import Saliency
from featx_cli.main import run


def test_pictures_on_stdout_and_warnings_on_stderr(monkeypatch, capsys, tmp_path):
    given = {}

    def fake(runs, **options):
        given.update(options, runs=runs)
        made = SaliencyMap("t", "5x2", "a", "1x1", "p1", "red", 1.5, "block6_relu", "t-5x2-a-p1.png")
        return Saliency(Path(options["output"]), (made,), ("image p2: no map",))

    monkeypatch.setattr("featx.saliency_maps.saliency", fake)
    line = [
        "saliency",
        "runs",
        "--manifest",
        "m.csv",
        "--image",
        "p1",
        "--image",
        "p2",
        "--layer",
        "block2_relu",
    ]
    assert run([*line, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"{tmp_path / 't-5x2-a-p1.png'}\n"
    assert shown.err.endswith("warning: image p2: no map\n")
    assert (given["images"], given["layer"], given["weights"]) == (("p1", "p2"), "block2_relu", None)
    assert given["runs"] == (Path("runs"),)


def test_a_folder_without_runs_ends_with_2(capsys, tmp_path):
    assert run(["saliency", str(tmp_path), "--manifest", "m.csv"]) == 2
    assert "holds no finished run" in capsys.readouterr().err
