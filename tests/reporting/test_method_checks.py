"""Method checks: each fails on the runs that it is meant for, passes on others, and is described by the docs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.errors import ConfigError
from featx.reporting.method_checks.checked_runs import check_methods, check_summary, remaining_warnings
from featx.reporting.method_checks.method_table import METHOD_CHECKS
from featx.reporting.report_settings import SEVERITIES
from featx.reporting.summary import summarise
from featx.runs import Prediction, Run

from .conftest import inner_rows, predictions, score_outside

Write = Callable[..., Run]
DOCS = Path(__file__).parents[2] / "docs" / "method-checks.md"
FOLDS = ("1x1", "1x2", "2x1", "2x2", "3x1")


def rows_of(fold: str, **changes: Any) -> list[Prediction]:
    return [dataclasses.replace(row, **changes) for row in predictions(fold, 1.0, 3)]


def runs(write: Write, arm: str = "A", folds: tuple[str, ...] = FOLDS, **changes: Any) -> None:
    for number, fold in enumerate(folds):
        write(
            arm, fold, **{"rows": predictions(fold, 1.0, number), "inner": inner_rows(1.0, number), **changes}
        )


def leaked(write: Write) -> None:
    rows = predictions("1x1", 1.0, 3)
    write("A", "1x1", rows, inner=[dataclasses.replace(row, group="other") for row in rows[:2]])


def straddling(write: Write) -> None:
    write("A", "1x1", inner=[dataclasses.replace(row, group="lesion7") for row in inner_rows(1.0, 1)])


def ungrouped(write: Write) -> None:
    ids = [f"case{place // 2}{'bis' * (place % 2)}" for place in range(60)]
    made = [
        dataclasses.replace(row, id=name, group=name)
        for row, name in zip(predictions("1", 1, 1), ids, strict=True)
    ]
    write("A", "1", made, counts={"train": {"benign": 40, "malignant": 20}, "groups": {"train": 60}})


def warned(text: str, code_of: str = "A") -> Callable[[Write], None]:
    return lambda write: runs(write, code_of, ("1x1",), warnings=(text,))


def repeated(write: Write) -> None:
    runs(write, folds=("1x1", "1x2"), rows=predictions("same", 1.0, 1))


def unlike_folds(write: Write) -> None:
    runs(write)
    runs(write, "B", FOLDS[:3])


def unlike_settings(write: Write) -> None:
    write("A", "1x1")
    write("A", "1x2", settings={"scaling": "zscore"})


def one_class(write: Write) -> None:
    runs(write)
    write("A", "3x2", rows_of("3x2", actual="benign"))


def sizes(write: Write) -> None:
    for fold, count in (("1x1", 30), ("1x2", 90)):
        write("A", fold, counts={"train": {"benign": count, "malignant": count}})


def boundary(write: Write) -> None:
    curve = {"C": [0.1, 1.0], "mean": [0.6, 0.7]}
    runs(write, search={"classes": {"malignant": {"C": 1.0, "edge": "upper", "curve": curve}}})


def tiny(write: Write) -> None:
    write(
        "A",
        "1x1",
        [row for row in predictions("1x1", 1.0, 3) if row.actual == "benign" or row.id < "1x1-012"],
    )


def several(write: Write) -> None:
    for arm in "ABC":
        runs(write, arm, FOLDS[:2])


def calibrated(write: Write, chance: Callable[[Prediction], float], **changes: Any) -> None:
    rows = [
        dataclasses.replace(row, probabilities={"malignant": chance(row)})
        for row in predictions("1x1", 2.0, 5, 240)
    ]
    write("A", "1x1", rows, **changes)


def overconfident(write: Write) -> None:
    calibrated(write, lambda row: 0.001 if row.scores["malignant"] < 1 else 0.999)


def external(write: Write, **changes: Any) -> None:
    run = write("A", "1x1")
    score_outside(run.path, **changes)


FAILS: dict[str, tuple[Callable[[Write], None], str]] = {
    "FX101": (leaked, r"fold 1x1: 2 images \(1x1-000, 1x1-001\)"),
    "FX102": (straddling, r"fold 1x1: 1 groups \(lesion7\)"),
    "FX103": (ungrouped, r"30 ids name further images of a lesion \(case0bis"),
    "FX104": (
        warned("2 images are byte-identical to one of another class: a, b"),
        "fold 1x1: 2 images are byte",
    ),
    "FX105": (
        lambda write: runs(write, counts={"train": {"benign": 40}, "test": {"benign": 40}, "left_out": 20}),
        r"20 of 100 images \(20.0 %\)",
    ),
    "FX106": (
        warned("fold 1x1: 9 of 9 training images are in ...; are training and test set exchanged?"),
        "9 of 9",
    ),
    "FX201": (repeated, "repeated test sets: 1x2 = 1x1"),
    "FX202": (unlike_folds, "different folds are finished"),
    "FX203": (unlike_settings, "settings"),
    "FX204": (one_class, "1 of 6 folds have no AUC"),
    "FX205": (sizes, "60 to 180 images"),
    "FX301": (
        lambda write: runs(write, features={"recipe": {"backbone": "resnet50"}}),
        "20 images of the smaller class for 2048 features, 0.0098 each",
    ),
    "FX302": (boundary, r"5 of 5 choices \(upper boundary\)"),
    "FX303": (lambda write: runs(write, convergence={"fits": 30, "not_converged": 2}), "10 of 150 fits"),
    "FX304": (warned("3 of 10 inner splits lack a class; they were left out of the inner AUC"), "3 of 10"),
    "FX305": (
        lambda write: runs(
            write,
            settings={"inner": "stratified"},
            counts={"train": {"benign": 40, "malignant": 20}, "groups": {"train": 30}},
        ),
        "60 training images of 30 groups",
    ),
    "FX306": (lambda write: runs(write, folds=("1x1",)), "one training set with the seed 0"),
    "FX307": (
        warned("no thresholds were determined on the training set: a class has one group"),
        "no thresholds",
    ),
    "FX401": (tiny, "4 independent test cases of the rarest class"),
    "FX402": (runs, "20 independent test cases of the rarest class"),
    "FX403": (
        lambda write: runs(write, folds=("1x1",), rows=rows_of("1x1", scores={"malignant": 0.5})),
        "no interval",
    ),
    "FX404": (several, "3 arms were scored on the same test sets"),
    "FX405": (runs, "no predicted probabilities"),
    "FX406": (
        lambda write: runs(write, settings={"class_weight": "balanced"}),
        "training prevalence of 33 %",
    ),
    "FX407": (overconfident, r"slope 0\.\d+ \(0\.\d+ to 0\.\d+\)"),
    "FX408": (
        lambda write: calibrated(
            write,
            lambda row: 0.5,
            warnings=("isotonic calibration was fitted on 80 rows of the smaller class",),
        ),
        "80 rows",
    ),
    "FX501": (
        lambda write: external(write, manifest={"name": "x", "digest": "ab" * 32}),
        "manifest of the internal",
    ),
    "FX502": (lambda write: external(write), "2 images were left out"),
    "FX503": (runs, "no external test set"),
}


def sound(write: Write) -> None:
    """Runs that pass all that can be passed: a large test set, groups, calibration, an external test set."""
    settings = {"inner": "grouped", "class_weight": "balanced"}
    counts = {
        "train": {"benign": 4000, "malignant": 2000},
        "test": {"benign": 400},
        "left_out": 1,
        "groups": {"train": 9},
    }
    curve = {"C": [0.1, 1.0, 10.0], "mean": [0.6, 0.7, 0.6]}
    drawn = {fold: predictions(fold, 1.0, number, 400) for number, fold in enumerate(FOLDS)}
    above = [
        row.actual == "malignant" for rows in drawn.values() for row in rows if row.scores["malignant"] > 0.5
    ]
    below = [
        row.actual == "malignant" for rows in drawn.values() for row in rows if row.scores["malignant"] <= 0.5
    ]
    chance = {True: sum(above) / len(above), False: sum(below) / len(below)}
    for number, fold in enumerate(FOLDS):
        rows = [
            dataclasses.replace(
                row,
                group=f"{fold} {row.group}",
                probabilities={"malignant": chance[row.scores["malignant"] > 0.5]},
            )
            for row in drawn[fold]
        ]
        run = write(
            "A",
            fold,
            rows,
            inner=inner_rows(1.0, number),
            settings=settings,
            counts=counts,
            search={"classes": {"malignant": {"C": 1.0, "edge": "", "curve": curve}}},
            convergence={"fits": 30, "not_converged": 0},
            features={"recipe": {"backbone": "tiny"}},
        )
        overlap = {"rule": "refuse", "own_names": False, "kinds": {}, "left_out": {}}
        score_outside(run.path, rows=300, overlap=overlap)


@pytest.mark.parametrize("code", FAILS)
def test_a_check_fails_on_what_it_is_meant_for(code: str, write: Write, tmp_path: Path) -> None:
    make, text = FAILS[code]
    make(write)
    found = {one.code: one for one in check_methods(tmp_path / "runs")}[code]
    assert found.state == "failed"
    assert re.search(text, "; ".join(found.found))
    ignored = {one.code: one for one in check_methods(tmp_path / "runs", ignore=[code])}[code]
    assert (ignored.state, ignored.found, ignored.failed) == ("ignored", (), False)


def test_every_check_has_runs_that_it_fails_on() -> None:
    assert list(FAILS) == [check.code for check in METHOD_CHECKS]


def test_sound_runs_pass(write: Write, tmp_path: Path) -> None:
    sound(write)
    states = {one.code: (one.state, one.found) for one in check_methods(tmp_path / "runs")}
    odd = {code: found for code, found in states.items() if found[0] != "passed"}
    # One arm alone cannot be compared.
    assert set(odd) == {"FX202"}, odd
    assert odd["FX202"][0] == "cannot be told"


def test_what_runs_do_not_record_cannot_be_told(write: Write, tmp_path: Path) -> None:
    write("A (softmax)", "1x1", kind="softmax", counts={})
    states = {one.code: one for one in check_methods(tmp_path / "runs")}
    untold = [code for code, one in states.items() if one.state == "cannot be told"]
    wanted = ("FX101", "FX102", "FX104", "FX105", "FX301", "FX302", "FX303", "FX305", "FX407", "FX501")
    assert set(wanted) <= set(untold)
    assert "runs without inner scores do not list their training set" in states["FX101"].found[0]


def test_a_planned_comparison_is_no_choice_on_the_test_set(write: Write, tmp_path: Path) -> None:
    several(write)
    planned = {one.code: one for one in check_methods(tmp_path / "runs", planned=["A:B"])}
    assert planned["FX404"].state == "passed"


def test_failed_checks_take_the_place_of_the_warnings_that_they_sum_up(write: Write, tmp_path: Path) -> None:
    text = "the best C (1) is at the upper boundary of the grid"
    boundary(write)
    runs(write, "B", warnings=(text, "mind this"))
    summary = summarise([tmp_path / "runs"])
    assert f"B, malignant-vs-benign, all folds: {text}" in summary.warnings
    shown = remaining_warnings(summary)
    assert "B, malignant-vs-benign, all folds: mind this" in shown
    assert not any(text in line for line in shown)
    (line,) = [line for line in shown if line.startswith("FX302")]
    assert line == (
        "FX302 Best C at the boundary of the grid: A (malignant-vs-benign): 5 of 5 choices (upper boundary); "
        "cannot be told of B (malignant-vs-benign): the runs have no search for C."
    )
    # What is ignored is not hidden: the runs' own warnings are shown then.
    ignoring = remaining_warnings(dataclasses.replace(summary, ignored=("FX302",)))
    assert any(text in line for line in ignoring)
    assert not any(line.startswith("FX302") for line in ignoring)
    notes = {one.code for one in check_summary(summary) if one.failed and one.severity == "note"}
    assert notes
    assert not any(line.startswith(tuple(notes)) for line in shown)


def test_an_unknown_code_is_refused_with_the_nearest(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    with pytest.raises(ConfigError, match=r"Got 'fx404'; did you mean FX404\?"):
        check_methods(tmp_path / "runs", ignore=["fx404"])
    with pytest.raises(ConfigError, match=r"codes are FX101 to FX503, see docs/method-checks\.md"):
        check_methods(tmp_path / "runs", ignore=["groups"])


def test_the_page_describes_every_check_as_the_code_does() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line[:4] == "| [F"
    ]
    assert rows == [
        [f"[{one.code}](#{one.code.lower()})", one.name, one.severity, one.threshold, one.source]
        for one in METHOD_CHECKS
    ]
    parts = dict(re.findall(r"^## (FX\d+)\n\n(.*?)(?=\n## |\Z)", text, re.DOTALL | re.MULTILINE))
    assert list(parts) == [one.code for one in METHOD_CHECKS]
    for one in METHOD_CHECKS:
        reason, _, remedy = parts[one.code].partition("\n\n")
        assert " ".join(reason.split()) == f"**{one.name}.** {one.reason}"
        assert remedy.strip()


def test_rows_are_complete_and_ordered() -> None:
    codes = [one.code for one in METHOD_CHECKS]
    assert codes == sorted(set(codes))
    for one in METHOD_CHECKS:
        assert one.severity in SEVERITIES
        assert re.search(r"\b(19|20)\d\d\b", one.source)
        assert one.reason.endswith(".")
        assert not one.name.endswith(".")
        # A note is not shown among the warnings, so that it stands for none of them.
        assert one.severity != "note" or not one.claims
