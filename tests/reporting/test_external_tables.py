"""External validation in reports: what stands beside the internal results, and what is left out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from featx.external import external_scores, write_external
from featx.reporting.report_contents import CONTENTS
from featx.reporting.sections.statements import findings
from featx.reporting.series import collect, external_arms
from featx.reporting.summary import Summary, measure, summarise
from featx.reporting.tables import Table, records
from featx.runs import find_runs, read_run
from featx.stats import delong_interval

from .conftest import FOLDS, score_outside, several, single


def table(name: str, summary: Summary) -> Table:
    found = single(name, summary)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two calibrated arms of four folds, both scored on an external test set; not to be written to."""
    return score_outside(several(tmp_path_factory.mktemp("outside") / "runs", ["a", "b"]), rows=40)


@pytest.fixture(scope="module")
def summary(outside: Path) -> Summary:
    return summarise([outside])


def test_runs_without_external_sets_have_no_such_section(study: Path) -> None:
    (part,) = (part for part in CONTENTS if part.id == "external")
    assert summarise([study]).external == ()
    assert [list(entry.tables(summarise([study]))) for entry in part.tables] == [[]] * 5
    assert not any(one.figure for entry in part.figures for _, one in entry.figures(summarise([study])))


def test_internal_and_external_auc_are_side_by_side(summary: Summary, outside: Path) -> None:
    rows = records(table("external", summary))
    assert [(row["arm"], row["set"], row["class"]) for row in rows] == [
        ("a", "clinic", "malignant"),
        ("b", "clinic", "malignant"),
    ]
    row, inside = rows[0], summary.overall[0]
    assert row["internal"] == pytest.approx(inside.spread.mean)
    assert (row["internal images"], row["internal positives"]) == inside.distinct
    aucs = []
    for path in find_runs([outside / "a"]):
        (scores,) = external_scores(read_run(path))
        positive = [one.actual == "malignant" for one in scores.predictions]
        aucs.append(roc_auc_score(positive, [one.scores["malignant"] for one in scores.predictions]))
    assert row["external"] == pytest.approx(np.mean(aucs))
    assert row["sd"] == pytest.approx(np.std(aucs, ddof=1))
    assert (row["external images"], row["external positives"], row["groups"], row["models"]) == (
        40,
        20,
        20,
        4,
    )
    assert row["difference"] == pytest.approx(row["external"] - row["internal"])
    assert row["difference low"] < row["difference"] < row["difference high"]


def test_one_model_has_delongs_interval(tmp_path: Path) -> None:
    folder = score_outside(several(tmp_path / "runs", ["a"], folds=["1"], protocol="holdout"), rows=40)
    summary = summarise([folder])
    (row,) = records(table("external", summary))
    (fold,) = measure(summary.external[0].tested, "malignant").scores
    wanted = delong_interval(fold.actual, fold.scores, groups=fold.groups, scale="logit")
    assert (row["external low"], row["external high"]) == pytest.approx((wanted.low, wanted.high))


def test_thresholds_are_those_of_the_training_set(study: Path, tmp_path: Path) -> None:
    folder = score_outside(shutil.copytree(study, tmp_path / "runs"))
    summary = summarise([folder], arms=["source"])
    rows = records(table("external-thresholds", summary))
    assert [row["tested"] for row in rows] == ["internal"] * 4 + ["clinic"] * 4
    inside = [row for row in records(table("thresholds", summary)) if row["arm"] == "source"]
    for name in ("threshold", "sensitivity", "specificity", "true positive"):
        assert [row[name] for row in rows[:4]] == [row[name] for row in inside]
    images = len(FOLDS) * 60
    outcomes = ("true positive", "false negative", "false positive", "true negative")
    assert [sum(row[name] for name in outcomes) for row in rows[4:]] == [images] * 4


def test_calibration_is_measured_on_both(summary: Summary) -> None:
    rows = records(table("external-calibration", summary))
    assert [(row["arm"], row["tested"]) for row in rows] == [
        (arm, tested) for arm in ("a", "b") for tested in ("internal", "clinic")
    ]
    inside = records(table("calibration", summary))[0]
    assert {name: rows[0][name] for name in ("slope", "intercept", "observed to expected")} == {
        name: inside[name] for name in ("slope", "intercept", "observed to expected")
    }
    assert rows[1]["slope low"] < rows[1]["slope"] < rows[1]["slope high"]


def test_subgroups_that_both_have_are_compared(outside: Path) -> None:
    rows = records(table("external-strata", summarise([outside], ["difficulty"], ["a"])))
    assert [(row["stratum"], row["level"]) for row in rows] == [
        ("difficulty", level) for level in ("low", "medium", "high")
    ]
    assert sum(row["external images"] for row in rows) == 40
    for row in rows:
        assert row["difference"] == pytest.approx(row["external"] - row["internal"])


def test_images_left_out_are_counted_and_listed(summary: Summary) -> None:
    rows = [row for row in records(table("external-overlap", summary)) if row["arm"] == "a"]
    assert [(row["reason"], row["images"], row["ids"]) for row in rows] == [
        ("near duplicate of a training image", 1, "x"),
        ("same id as a training image", 2, "x, y"),
        ("without features", 3, None),
    ]


def test_one_class_alone_is_a_dash_not_an_error(tmp_path: Path) -> None:
    folder = several(tmp_path / "runs", ["a"])
    score_outside(folder)
    for path in find_runs([folder]):
        run = read_run(path)
        (one,) = external_scores(run)
        sick = [row for row in one.predictions if row.actual == "malignant"]
        write_external(run, dataclasses.replace(one.record, name="clinic"), sick)
    summary = summarise([folder])
    (row,) = records(table("external", summary))
    assert row["external"] is None
    assert row["difference"] is None
    assert row["external images"] == row["external positives"] == 24
    assert row["warnings"] == "a class has no image: the AUC is undefined"
    assert records(table("external-thresholds", summary))
    (figure, _) = (entry for part in CONTENTS if part.id == "external" for entry in part.figures)
    assert len(list(figure.figures(summary))) == 1


def test_the_summary_has_a_sentence_on_each_external_set(summary: Summary) -> None:
    rows = records(table("external", summary))
    (said,) = findings(summary)
    texts = [
        f"{row['arm']} {row['external']:.3f} ({row['external low']:.3f} to {row['external high']:.3f}), internal {row['internal']:.3f}"
        for row in rows
    ]
    assert (
        said.details[0] == f"External test set clinic (40 test cases, 20 positive), AUC: {'; '.join(texts)}."
    )


def test_several_classes_have_a_row_each(tmp_path: Path) -> None:
    classes = ("melanoma", "nevus", "keratosis")
    summary = summarise([score_outside(several(tmp_path / "runs", ["a"], classes), rows=45)])
    rows = records(table("external", summary))
    assert [row["class"] for row in rows] == ["mean of classes", *classes]
    means = [row["external"] for row in rows]
    assert means[0] == pytest.approx(np.mean(means[1:]))
    assert all(row["external low"] < row["external"] < row["external high"] for row in rows)


def test_folds_without_the_set_and_with_other_images_are_said(tmp_path: Path) -> None:
    folder = score_outside(several(tmp_path / "runs", ["a", "b"]))
    places = find_runs([folder])
    shutil.rmtree(places[0] / "external")
    run = read_run(places[-1])
    (one,) = external_scores(run)
    write_external(run, dataclasses.replace(one.record, images="others"), one.predictions)
    arms, warnings = external_arms(collect([folder])[0])
    assert [(arm.internal.arm, len(arm.tested.runs)) for arm in arms] == [("a", 3)]
    assert list(warnings) == [
        "a, malignant-vs-benign, external test set clinic: scored by 3 of 4 folds.",
        "malignant-vs-benign, external test set clinic: labels without a class are left out.",
        "b, malignant-vs-benign, external test set clinic: the folds scored different images; it is not shown.",
    ]
