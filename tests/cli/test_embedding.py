"""`featx embedding`."""

from __future__ import annotations

from pathlib import Path

from featx.embedding_maps import Embedding
from featx.reporting import EmbeddedArm
from featx_cli.main import run


def test_files_on_stdout_and_what_was_found_on_stderr(monkeypatch, capsys):
    given = {}

    def fake(runs, **options):
        given.update(options, runs=runs)
        arm = EmbeddedArm("t", "5x2", "a", "1", "PCA", {}, "d", 5, (), (), (), ("seen",))
        return Embedding(Path("maps"), (Path("maps/points.csv"), Path("maps/embedding.json")), (arm,))

    monkeypatch.setattr("featx.embedding_maps.embedding", fake)
    line = "embedding runs more --manifest m.csv --method pca --neighbours 5 --features store -o maps"
    assert run(line.split()) == 0
    shown = capsys.readouterr()
    assert shown.out == "maps/points.csv\nmaps/embedding.json\n"
    assert "a, t: 0 images, 0 label-noise candidates; PCA" in shown.err
    assert shown.err.endswith("warning: a, t: seen\n")
    assert given["runs"] == (Path("runs"), Path("more"))
    assert (given["method"], given["neighbours"], given["features"]) == ("pca", 5, ("store",))


def test_bad_input_ends_with_2(capsys, tmp_path, monkeypatch):
    assert run(["embedding", str(tmp_path), "--manifest", "m.csv"]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["embedding", str(tmp_path), "--manifest", "m.csv", "--method", "umap"]) == 2
    assert "pip install 'featx[umap]'" in capsys.readouterr().err
