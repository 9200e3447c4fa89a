from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from featx.reporting import make_report as output
from featx.reporting.make_report import LIST, replaced_files, report_runs

from .conftest import FOLDS


def put(folder: Path, *names: str, text: str = "") -> list[str]:
    with replaced_files(folder) as (made, kept):
        for name in names:
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_text(text + name)
    return kept


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {LIST}


def test_a_report_of_fewer_tasks_leaves_nothing_of_the_others(write, tmp_path):
    for arm in ("a", "b", "c"):
        for fold in FOLDS[:2]:
            write(arm, fold)
            write(arm, fold, task="nevus-vs-rest", folder="more")
    out = tmp_path / "out"
    report_runs([tmp_path / "runs", tmp_path / "more"], output=out, figures=False)
    assert any("nevus" in name for name in names(out))
    (out / "tables" / "notes-on-nevus.txt").write_text("mine")
    done = report_runs(tmp_path / "runs", output=out, figures=False)
    fresh = report_runs(tmp_path / "runs", output=tmp_path / "fresh", figures=False)
    assert names(out) == names(fresh.output) | {"tables/notes-on-nevus.txt"}
    assert done.warnings == fresh.warnings
    assert all(path.is_file() for path in (done.html, *done.tables))


def test_what_was_changed_and_what_is_not_listed_stays(tmp_path):
    put(tmp_path, "report.html", "tables/a.csv", "tables/b.csv", "figures/a.png")
    (tmp_path / "tables" / "a.csv").write_text("changed")
    (tmp_path / "tables" / "mine.csv").write_text("mine")
    assert put(tmp_path, "report.html", text="new") == ["tables/a.csv"]
    assert names(tmp_path) == {"report.html", "tables/a.csv", "tables/mine.csv"}
    assert (tmp_path / "report.html").read_text() == "newreport.html"
    assert not (tmp_path / "figures").exists()
    assert put(tmp_path, "report.html") == []


@pytest.mark.parametrize("point", ["_found", "_write", "sync_folder", "_removed", "replace"])
@pytest.mark.parametrize("call", [1, 2])
def test_killed_at_any_point_the_next_report_finishes_the_work(tmp_path, monkeypatch, point, call):
    put(tmp_path, "report.html", "tables/a.csv", "tables/b.csv")
    place, name = (Path, "replace") if point == "replace" else (output, point)
    original, calls = getattr(place, name), []

    def killed(*given):
        calls.append(given)
        return os._exit(9) if len(calls) == call else original(*given)

    process = os.fork()
    if not process:
        monkeypatch.setattr(place, name, killed)
        put(tmp_path, "report.html", "tables/c.csv", "tables/d.csv", text="new")
        os._exit(0)
    os.waitpid(process, 0)
    assert put(tmp_path, "report.html") == []
    assert names(tmp_path) == {"report.html"}
    assert not list(tmp_path.glob(".aside-*"))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": 1}', '{"files": {"a": 1}}', "[" * 100_000, '{"files": {"a": null}}']
)
def test_a_list_that_cannot_be_read_removes_nothing(tmp_path, text):
    (tmp_path / "a").write_text("a")
    (tmp_path / LIST).write_text(text)
    put(tmp_path, "report.html")
    assert names(tmp_path) == {"a", "report.html"}


def test_a_list_removes_nothing_outside_of_its_folder(tmp_path):
    folder, other = tmp_path / "report", tmp_path / "other.csv"
    put(folder, "other.csv")
    (folder / "other.csv").rename(other)
    listed = json.loads((folder / LIST).read_text())["files"]["other.csv"]
    (folder / LIST).write_text(json.dumps({"files": {"../other.csv": listed, str(other): listed}}))
    put(folder, "report.html")
    assert other.is_file()
