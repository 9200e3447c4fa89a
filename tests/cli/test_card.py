"""`featx card`."""

from __future__ import annotations

from pathlib import Path

from featx_cli.main import run


def test_the_path_on_stdout(monkeypatch, capsys):
    given = {}

    def fake(runs, **options):
        given.update(options, runs=runs)
        return Path("card.html")

    monkeypatch.setattr("featx.deploy.write_card", fake)
    assert run(["card", "a", "b", "-o", "card.html"]) == 0
    assert capsys.readouterr().out == "card.html\n"
    assert given == {"runs": (Path("a"), Path("b")), "output": Path("card.html")}


def test_bad_input_ends_with_2(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["card", "none", "-o", "card.md"]) == 2
    assert "none: no such folder" in capsys.readouterr().err
    assert run(["card", "none", "-o", "card.pdf"]) == 2
    assert "must end in .md or .html" in capsys.readouterr().err
