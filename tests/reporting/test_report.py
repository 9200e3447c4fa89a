from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from featx.reporting.make_report import LIST, Report, report_runs

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


def test_tables_are_as_kept(made: Report) -> None:
    # To renew after a wanted change: copy the tables of a report on `fill` (conftest.py) into golden/.
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
            assert got == kept, path.name


def test_everything_named_is_written(made: Report) -> None:
    files = {path.relative_to(made.output).as_posix() for path in (*made.tables, *made.figures, made.html)}
    assert files | {LIST} == set(contents(made.output))
    assert {"figures/auc.png", "figures/auc.pdf", "figures/roc-malignant-vs-benign.pdf"} <= files


def test_every_table_has_mean_deviation_and_number_of_folds(made: Report) -> None:
    others = {"anova-malignant-vs-benign", "auc-by-arm", "metrics", "power"}
    others |= {"thresholds", "predictive-values", "confusion-malignant-vs-benign"}
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
    assert page.tags.count("svg") == len(made.figures)  # each for wide and for narrow pages


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
