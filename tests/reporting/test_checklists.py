"""Checklists: every item of the originals once, filled with the report's own figures, counted, and read by pandoc."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from featx.reporting.checklists.filled_checklist import FILLERS, FilledChecklist, read_items
from featx.reporting.make_report import Report, report_runs
from featx.reporting.report_settings import CHECKLISTS

from .conftest import fill, score_outside
from .test_participants import TEST, TRAIN, write_runs

# Numbers and letters of the items, as the published tables have them.
NUMBERS = {
    "tripod-ai": "1 2 3a 3b 3c 4 5a 5b 6a 6b 6c 7 8a 8b 8c 9a 9b 9c 10 11 12a 12b 12c 12d 12e 12f 12g 13 14 15 16 17 18a 18b "
    "18c 18d 18e 18f 19 20a 20b 20c 21 22 23a 23b 24 25 26 27a 27b 27c",
    "stard-ai": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15a 15b 15c 15d 16a 16b 16c 17a 17b 18 19 20 21 22 23 24 25 26a 26b 27 28 29 "
    "30 31 32 33 34 35 36 37 38 39 40a 40b",
    "claim": " ".join(map(str, range(1, 45))),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report of two arms on a holdout and an external test set, with every checklist."""
    folder = tmp_path_factory.mktemp("checklists")
    runs = score_outside(write_runs(folder, arms=("frozen", "tuned"), lacking=["i5"]), rows=4)
    return report_runs(runs, output=folder / "report", figures=False, checklist=CHECKLISTS)


def filled_as(report: Report, name: str) -> FilledChecklist:
    return next(one for one in report.checklists if one.name == name)


def answer(report: Report, name: str, number: str) -> str:
    return next(one.text for one in filled_as(report, name).items if one.item.number == number)


@pytest.mark.parametrize("name", CHECKLISTS)
def test_items_are_those_of_the_original_in_its_order(name: str) -> None:
    head, items = read_items(name)
    assert [item.number for item in items] == NUMBERS[name].split()
    assert head["source"].count("https://doi.org/") == 1
    for item in items:
        assert item.asks.endswith("."), item
        assert set(item.answer) <= set(FILLERS), item
        assert not (item.never and item.answer), item
        assert not item.add or item.answer, item


def test_every_filler_answers_an_item() -> None:
    used = {name for checklist in CHECKLISTS for item in read_items(checklist)[1] for name in item.answer}
    assert used == set(FILLERS)


def test_items_are_filled_with_the_figures_of_the_report(report: Report) -> None:
    flow = answer(report, "tripod-ai", "20a")
    assert "images listed 12 images of 6 groups" in flow.casefold()
    assert "training set 6 images of 3 groups; test set 4 images of 2 groups" in flow
    assert "Training set: benign 4, malignant 2 images" in answer(report, "tripod-ai", "21")
    assert "no features: 1 image;" in answer(report, "tripod-ai", "11")
    assert re.search(
        r"frozen, malignant-vs-benign: 0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", answer(report, "claim", "37")
    )
    assert report.findings[0].lead in answer(report, "tripod-ai", "23a")
    assert "a fold share, as listed by the runs: 0." in answer(report, "claim", "20")
    assert "scikit-learn 1.9.1" in answer(report, "claim", "23")
    assert "clinic: benign 2 of 4 (50.0 %)" in answer(report, "stard-ai", "29")
    assert "External tests: clinic" in answer(report, "stard-ai", "11")
    assert re.search(r"frozen on clinic: 0\.\d{3}", answer(report, "claim", "33"))


def test_groups_that_the_parts_share_are_counted(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, [(range(6), range(5, 10))])
    made = report_runs(runs, output=tmp_path / "report", figures=False, checklist=["claim"])
    assert "a fold share, as listed by the runs: 1." in answer(made, "claim", "20")


def test_where_names_only_what_this_report_has(report: Report) -> None:
    known = {path.stem for path in (*report.tables, *report.figures)} | {"provenance", "warnings"}
    for one in (item for filled in report.checklists for item in filled.items):
        assert set(one.where) <= known, one
        assert not (one.where and one.state != "filled"), one
    (roc,) = (item for item in filled_as(report, "stard-ai").items if item.item.number == "31")
    assert "auc" in roc.where
    assert not any(name.startswith("roc") for name in roc.where)  # this report has no figures


def test_counts_are_those_of_the_file_and_of_the_form(report: Report) -> None:
    for filled, path in zip(report.checklists, report.forms, strict=True):
        text, counts = path.read_text(encoding="utf-8"), filled.counts
        rows = [line for line in text.splitlines() if re.match(r"\| \d", line)]
        assert len(rows) == len(filled.items) == sum(counts.values()) - counts["to add"]
        cells = [re.split(r"(?<!\\)\|", row)[3].strip() for row in rows]
        assert sum(cell.startswith("Not applicable: ") for cell in cells) == counts["not applicable"]
        assert sum(set(cell) <= {"\\", "_"} for cell in cells) == counts["blank"]
        assert sum("**To add:**" in cell for cell in cells) == counts["to add"]
        assert f"{counts['filled']} filled from the runs" in text
    assert report.as_json()["checklists"]["claim"] == filled_as(report, "claim").counts
    assert str(report.forms[0]) in report.as_json()["files"]


def test_what_a_run_cannot_know_stays_blank(report: Report) -> None:
    blank = {one.item.number for one in filled_as(report, "tripod-ai").items if one.state == "blank"}
    assert {"1", "2", "3a", "5b", "17", "18a", "18e", "19", "25", "27a"} <= blank


def test_without_external_sets_and_maps_the_items_do_not_apply(tmp_path: Path) -> None:
    made = report_runs(
        write_runs(tmp_path, [(TRAIN, TEST), (TEST, TRAIN)], protocol="5x2"),
        output=tmp_path / "report",
        figures=False,
        checklist=["claim", "stard-ai"],
    )
    states = {one.item.number: one for one in filled_as(made, "claim").items}
    assert states["31"].state == "not applicable"
    assert states["33"].state == "blank"  # why there is none has to be said
    assert "no external test set" in answer(made, "stard-ai", "29")
    assert "2 folds; training set 4 to 6 images" in answer(made, "claim", "19")


def test_runs_of_earlier_versions_fill_less(tmp_path: Path, report: Report) -> None:
    old = report_runs(
        write_runs(tmp_path, old=True, columns=False),
        output=tmp_path / "report",
        figures=False,
        checklist=["tripod-ai"],
    )
    assert filled_as(old, "tripod-ai").counts["filled"] < filled_as(report, "tripod-ai").counts["filled"]
    assert answer(old, "tripod-ai", "6b") == ""
    assert "Exclusions are not recorded" in answer(old, "tripod-ai", "20a")


def test_text_of_runs_cannot_break_the_tables(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, arms=("a|b\\", "*c*"))
    made = report_runs(runs, output=tmp_path / "report", figures=False, checklist=["claim"])
    rows = [line for line in made.forms[0].read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {5}


def test_a_filler_gives_an_answer_or_a_reason(report: Report) -> None:
    for one in (item for filled in report.checklists for item in filled.items):
        assert one.state == "blank" or one.text, one
        assert not one.text or one.text.endswith("."), one


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pandoc") is None, reason="pandoc is not installed")
def test_pandoc_makes_a_document_of_it(report: Report, tmp_path: Path) -> None:
    subprocess.run(["pandoc", report.forms[0], "-o", tmp_path / "form.docx"], check=True)
    back = subprocess.run(
        ["pandoc", tmp_path / "form.docx", "-t", "gfm"], check=True, capture_output=True, text=True
    )
    assert back.stdout.count("To add:") == report.checklists[0].counts["to add"]


def test_more_kinds_of_runs_are_described(tmp_path: Path) -> None:
    """The fixture of other tests: arms with a search, warnings, and several lineages, of an earlier version."""
    made = report_runs(
        fill(tmp_path / "runs"), output=tmp_path / "report", figures=False, checklist=["claim"]
    )
    assert "random → retina" in answer(made, "claim", "24")
    assert re.search(r"18 choices, \d+ at the boundary", answer(made, "claim", "26"))
    assert "fits of SVMs converged" in answer(made, "claim", "25")
    assert "most confident mistakes" in answer(made, "claim", "39")


def test_settings_of_the_svms_decide_what_applies(tmp_path: Path) -> None:
    said = {}
    for weight, method in (("balanced", "sigmoid"), ("none", "none")):
        settings = {
            "class_weight": weight,
            "calibrate": method,
            "scaling": ["l2", "pca"],
            "group_scores": "none",
        }
        runs = write_runs(tmp_path / weight, settings=settings)
        made = report_runs(runs, output=tmp_path / "report", figures=False, checklist=["tripod-ai"])
        said[weight] = {one.item.number: one for one in filled_as(made, "tripod-ai").items}
    assert "calibrated (sigmoid) inside the training set" in said["balanced"]["13"].text
    assert "a probability (calibration: sigmoid)" in said["balanced"]["15"].text
    assert "scaled by l2, pca" in said["balanced"]["12b"].text
    assert said["none"]["13"].state == "not applicable"
    assert said["none"]["15"].text.startswith("A decision value for each image; predicted class")
