"""A report as a whole: its files, their bytes, and what happens to files of an earlier report."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path

import pytest

from featx.errors import ConfigError, RunError
from featx.progress import Silent
from featx.reporting import make_report as output
from featx.reporting.make_report import LIST, Report, changes, compare_arms, replaced_files, report_runs
from featx.runs import Run

from .conftest import FOLDS

GOLDEN = Path(__file__).parent / "golden"


VOID = {"meta", "link", "input", "br"}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.slow
def test_equal_runs_give_equal_bytes_wherever_they_lie(made: Report, study: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "kept"
    shutil.copytree(study, moved)
    # A fresh process, another hash seed, and a user's own matplotlib settings.
    (tmp_path / "matplotlibrc").write_text("font.size: 20\nsavefig.dpi: 30\nsvg.hashsalt: mine\n")
    code = f"from featx import report; report({str(moved)!r}, output={str(tmp_path / 'report')!r})"
    given = {**os.environ, "MATPLOTLIBRC": str(tmp_path), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code], check=True, env=given)
    first, second = contents(made.output), contents(tmp_path / "report")
    assert list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == []


def without_caption(text: str) -> str:
    """Remove the caption of a table in LaTeX, and the note of one in Markdown, which stands last."""
    lines = [line for line in text.splitlines() if not line.startswith("\\caption{")]
    return (
        "\n".join(lines[: max(place for place, line in enumerate(lines) if line and line[0] in "|\\") + 1])
        + "\n"
    )


def test_tables_are_as_kept(made: Report) -> None:
    # After a wanted change, write the tables of a report on `fill` (conftest.py) without captions into golden/.
    assert {path.name for path in made.tables} == {path.name for path in GOLDEN.iterdir()}
    for path in made.tables:
        got, kept = path.read_text(encoding="utf-8"), (GOLDEN / path.name).read_text(encoding="utf-8")
        if path.suffix == ".csv":
            # Full numbers may differ in their last digit between processors.
            assert [list(map(number, row)) for row in csv.reader(got.splitlines())] == [
                [pytest.approx(cell) if isinstance(cell, float) else cell for cell in map(number, row)]
                for row in csv.reader(kept.splitlines())
            ], path.name
        else:
            assert without_caption(got) == kept, path.name


def test_everything_named_is_written(made: Report) -> None:
    files = {path.relative_to(made.output).as_posix() for path in (*made.tables, *made.figures, made.html)}
    assert files | {LIST} == set(contents(made.output))
    assert {"figures/auc.svg", "figures/roc-malignant-vs-benign.svg"} <= files
    assert {path.suffix for path in made.figures} == {".svg"}


def test_every_table_has_mean_deviation_and_number_of_folds(made: Report) -> None:
    others = {"flow-malignant-vs-benign", "characteristics-malignant-vs-benign", "method-checks"}
    others |= {"anova-malignant-vs-benign", "auc-by-arm", "metrics", "power"}
    others |= {"thresholds", "predictive-values", "confusion-malignant-vs-benign"}
    others |= {"subgroups", "subgroup-rates"}
    for path in made.tables:
        if path.suffix == ".md" and path.stem not in others:
            head = path.read_text(encoding="utf-8").splitlines()[2]
            assert "SD" in head, path
            assert "Folds" in head, path
    cells = (made.output / "tables" / "auc-by-arm.md").read_text(encoding="utf-8")
    assert len(re.findall(r"0\.\d{3} ± 0\.\d{3} \(6\)", cells)) == 3


def test_the_words_name_the_best_arm_first(made: Report) -> None:
    (finding,) = made.findings
    assert finding.lead.startswith("source + fine-tuned is best: AUC 0.")
    assert "over 6 folds" in finding.lead
    assert "95 % confidence interval" in finding.lead


def test_the_text_is_the_main_table(made: Report) -> None:
    heads = "Task Protocol Arm Positive class AUC 95 % CI low 95 % CI high SD Folds Folds without AUC Note"
    assert made.text.splitlines()[0].split() == heads.split()
    assert len(made.text.splitlines()) == 5


class Page(HTMLParser):
    """Checks nesting and gathers what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.targets += [
            values[name] or "" for name in ("src", "href", "xlink:href", "action", "data") if name in values
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_refers_to_nothing_outside(made: Report) -> None:
    text = made.html.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert sorted(set(page.ids)) == sorted(page.ids)
    inside = [target.removeprefix("#") for target in page.targets if target.startswith("#")]
    assert set(inside) <= set(page.ids)
    assert [target for target in page.targets if not target.startswith("#")] == ["data:,"]
    assert "default-src 'none'" in text
    assert "url(http" not in text
    assert page.tags.count("svg") == 2 * len(made.figures)  # each for wide and for narrow pages


def test_the_provenance_of_every_arm_is_one_click_away(made: Report) -> None:
    text = made.html.read_text(encoding="utf-8")
    links = {
        "auc": 1,
        "auc-by-arm": 1,
        "pairs-malignant-vs-benign": 2,
        "groups": 1,
        "power": 2,
        "backbones": 1,
    }
    for name, each in links.items():
        table = text.partition(f'<table id="table-{name}"')[2].partition("</table>")[0]
        rows = table.partition("<tbody>")[2].split("</tr>")[:-1]
        assert [row.count('<a href="#origin-') for row in rows] == [each] * len(rows), name
        assert rows, name


def test_text_from_runs_is_escaped(write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    drawn = sys.modules["featx.reporting.make_report"].drawings
    monkeypatch.setattr(
        "featx.reporting.make_report.drawings", lambda summary: {"curves": drawn(summary)["curves"][:1]}
    )
    write("<script>alert(1)</script>", "1x1")
    write("$a_b & c", "1x1", warnings=("<b>odd</b>",))
    done = report_runs(str(tmp_path / "runs"), output=tmp_path / "report", title="<i>")
    text = done.html.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<b>odd" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<h1>&lt;i&gt;</h1>" in text


def test_without_figures_everything_else_is_the_same(study: Path, made: Report, tmp_path: Path) -> None:
    bare = report_runs([study], output=tmp_path / "bare", figures=False)
    assert not (tmp_path / "bare" / "figures").exists()
    assert bare.figures == ()
    assert bare.findings == made.findings
    assert bare.as_json()["tables"] == made.as_json()["tables"]
    assert "<svg" in made.html.read_text()
    assert "<svg" not in bare.html.read_text()


def test_figures_are_written_in_the_formats_that_are_named(study: Path, made: Report, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="svg, pdf, png"):
        report_runs([study], output=tmp_path, figure_formats=["gif"])
    paper = report_runs([study], output=tmp_path / "paper", figure_formats=["pdf", "png"])
    stems = {path.stem for path in made.figures}
    assert {path.name for path in paper.figures} == {
        f"{stem}.{kind}" for stem in stems for kind in ("pdf", "png")
    }
    assert paper.html.read_bytes() == made.html.read_bytes()
    begins = {".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert all(path.read_bytes().startswith(begins[path.suffix]) for path in paper.figures)


class Told(Silent):
    """A receiver that keeps what it is told."""

    def __init__(self) -> None:
        self.tasks: list[list[object]] = []

    def start(self, task: str, total: int, unit: str = "images") -> None:
        self.tasks.append([task, total, 0])

    def advance(self, count: int = 1) -> None:
        self.tasks[-1][2] += count  # type: ignore[operator]


def test_progress_names_what_is_made(study: Path, tmp_path: Path) -> None:
    told = Told()
    report_runs([study], output=tmp_path, figures=False, progress=told)
    assert [str(task) for task, _, _ in told.tasks] == [
        *("report: read", "report: tables", "report: table files", "report: page")
    ]
    assert [total for _, total, _ in told.tasks] == [done for _, _, done in told.tasks]


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


def test_a_report_is_due_when_a_run_is_finished_or_replaced(
    write: Callable[..., Run], tmp_path: Path
) -> None:
    # What happens while it waits: a writer is killed, a run, nothing, the same again with other bytes, two more.
    todo = [
        lambda: write("A", "1x1", folder="runs/.aside-killed"),
        lambda: write("A", "1x1"),
        lambda: None,
        lambda: write("A", "1x1", warnings=("trained again",)),
        lambda: (write("A", "1x2"), write("B", "1x1")),
    ]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        todo.pop(0)()

    assert list(islice(changes([tmp_path / "runs"], 5, sleep), 3)) == [1, 1, 3]
    assert waits == [5] * 5
    assert todo == []


def test_two_arms_are_compared_as_their_report_states(write: Callable[..., Run], tmp_path: Path) -> None:
    for arm in ("A", "B"):
        for fold in ("1x1", "1x2"):
            write(arm, fold)
    found = compare_arms(tmp_path / "runs", "B", "A")
    assert found.arms == ("B", "A")
    assert found.folds == ("1x1", "1x2")
    for arm in ("A", "B"):
        write(arm, "1x1", task="nevus:rest")
    with pytest.raises(RunError, match=r"must be compared on one task and protocol\. Got .* name the task"):
        compare_arms(tmp_path / "runs", "B", "A")
    assert compare_arms(tmp_path / "runs", "B", "A", task="nevus:rest").folds == ("1x1",)
