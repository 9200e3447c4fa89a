"""Robustness in reports: drops of AUC and of decisions, from scores of corrupted test images."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from featx.external import CorruptionRecord, write_corruption
from featx.reporting import collect, corruption_drops
from featx.reporting.figures.corruption_curves import severity_curves
from featx.reporting.make_report import report_runs
from featx.reporting.report_contents import CONTENTS
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.runs import find_runs, read_run
from featx.stats import corrected_t, delong_test, paired_difference

from .conftest import FOLDS, several, single


def corrupt(runs: Path, name: str, severity: int, images: int | None = None) -> Path:
    """Give the runs of a folder scores of corrupted test images: noisier with the severity."""
    for place, path in enumerate(find_runs([runs])):
        run = read_run(path)
        rng = np.random.default_rng([place, severity])
        rows = [
            dataclasses.replace(
                row, scores={key: value + severity * float(rng.normal()) for key, value in row.scores.items()}
            )
            for row in run.predictions[:images]
        ]
        what = {"name": name, "version": 1, "severity": severity, "parameters": {"sigma": severity / 224}}
        write_corruption(run, CorruptionRecord(what, run.record.id, "m", "i", len(rows), "f"), rows)
    return runs


@pytest.fixture(scope="module")
def corrupted(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = shutil.copytree(study, tmp_path_factory.mktemp("corrupted") / "runs")
    corrupt(runs / "source", "blur", 1)
    corrupt(runs / "source", "blur", 3)
    return corrupt(runs / "random", "hair", 1, images=40).parent


@pytest.fixture(scope="module")
def summary(corrupted: Path) -> Summary:
    return summarise([corrupted])


def test_runs_without_such_scores_have_no_such_section(study: Path) -> None:
    summary = summarise([study])
    assert corruption_drops(summary.series) == ()
    assert single("robustness", summary) is None
    assert single("robustness-thresholds", summary) is None
    assert severity_curves(summary, summary.settings[0]) is None


def test_the_difference_is_that_of_the_folds_own_images(summary: Summary, corrupted: Path) -> None:
    table = single("robustness", summary)
    assert table is not None
    rows = {(row["arm"], row["corruption"], row["severity"]): row for row in records(table)}
    assert list(rows) == [("random", "hair", 1), ("source", "blur", 1), ("source", "blur", 3)]
    row = rows["source", "blur", 3]
    before, after = [], []
    for path in find_runs([corrupted / "source"]):
        run = read_run(path)
        later = {drop.severity: drop for drop in corruption_drops(collect([path])[0])}[3].corrupted.runs[0]
        actual = [one.actual == "malignant" for one in run.predictions]
        before.append(roc_auc_score(actual, [one.scores["malignant"] for one in run.predictions]))
        after.append(roc_auc_score(actual, [one.scores["malignant"] for one in later.predictions]))
    assert row["clean"] == pytest.approx(np.mean(before))
    assert row["corrupted"] == pytest.approx(np.mean(after))
    wanted = corrected_t(np.subtract(after, before), ratio=1.0)
    assert row["difference"] == pytest.approx(np.mean(after) - np.mean(before))
    assert (row["difference low"], row["difference high"]) == pytest.approx((wanted.low, wanted.high))
    assert (row["folds"], row["images"]) == (len(FOLDS), 60 * len(FOLDS))
    assert row["parameters"] == "sigma 0.0134"


def test_of_a_limited_choice_the_same_images_are_compared(summary: Summary) -> None:
    (drop,) = (one for one in corruption_drops(summary.series) if one.corruption == "hair")
    for clean, later in zip(drop.clean.runs, drop.corrupted.runs, strict=True):
        assert [row.id for row in clean.predictions] == [row.id for row in later.predictions]
        assert len(clean.predictions) == 40


def test_one_test_set_has_delongs_paired_interval_by_groups(tmp_path: Path) -> None:
    runs = corrupt(several(tmp_path / "runs", ["a"], folds=["1"], protocol="holdout"), "blur", 2)
    (drop,) = corruption_drops(collect([runs])[0])
    (clean,), (later,) = drop.clean.scores, drop.corrupted.scores
    wanted = delong_test(clean.actual, later.scores, clean.scores, groups=clean.groups)
    assert (drop.comparison.finding.low, drop.comparison.finding.high) == pytest.approx(
        (wanted.low, wanted.high)
    )


def test_decisions_are_at_the_thresholds_of_the_training_set(summary: Summary) -> None:
    table = single("robustness-thresholds", summary)
    assert table is not None
    rows = records(table)
    # The arm `random` is of a version that kept no inner scores.
    assert {row["arm"] for row in rows} == {"source"}
    assert [row["threshold"] for row in rows[:3]] == ["0.90 sensitivity", "0.90 specificity", "Youden"]
    plain = single("thresholds", summary)
    assert plain is not None
    clean = {row["threshold"]: row for row in records(plain) if row["arm"] == "source"}
    drop = next(one for one in corruption_drops(summary.series) if one.corruption == "blur")
    for row in rows[:3]:
        known = clean[row["threshold"]]
        assert row["sensitivity clean"] == pytest.approx(
            known["true positive"] / (known["true positive"] + known["false negative"])
        )
        assert row["sensitivity difference"] == pytest.approx(
            row["sensitivity corrupted"] - row["sensitivity clean"]
        )
        assert row["specificity rows"] == 240
    assert rows[0]["severity"] == drop.severity == 1


def test_missing_folds_are_told(tmp_path: Path, study: Path) -> None:
    runs = shutil.copytree(study / "source", tmp_path / "source")
    corrupt(find_runs([runs])[0], "ink", 1)
    (drop,) = corruption_drops(collect([runs])[0])
    assert drop.warnings[0] == "scored by 1 of 6 folds"


def test_the_report_has_a_figure_and_tables(corrupted: Path, tmp_path: Path) -> None:
    report = report_runs([corrupted], output=tmp_path / "report", figures=False)
    assert {"robustness.csv", "robustness-thresholds.tex"} <= {path.name for path in report.tables}
    assert 'id="robustness"' in report.html.read_text()
    (entry,) = next(part for part in CONTENTS if part.id == "robustness").figures
    ((_, figure),) = entry.figures(summarise([corrupted]))
    assert (figure.name, len(figure.figure.axes)) == ("robustness-malignant-vs-benign", 2)
    blur, hair = figure.figure.axes
    assert [axes.get_title("left") for axes in (blur, hair)] == ["blur", "hair"]
    steps = [line.get_xdata() for line in blur.lines if len(line.get_xdata()) == 3]
    assert np.round(steps[0]).tolist() == [0, 1, 3]


def test_paired_difference_of_independent_rows_is_that_of_a_t_interval() -> None:
    before, after = np.array([1, 1, 0, 1, 1, 0, 1, 1]), np.array([1, 0, 0, 1, 0, 1, 1, 1])
    found = paired_difference(before, after)
    error = (after - before).std(ddof=1) / np.sqrt(8)
    assert found.value == pytest.approx(-1 / 8)
    assert (found.high - found.low) / 2 == pytest.approx(2.364624 * error)
    doubled = paired_difference(np.tile(before, 2), np.tile(after, 2), np.tile(np.arange(8), 2))
    assert doubled == pytest.approx(found)
    assert np.isnan(paired_difference(before, before).low)
    assert np.isnan(paired_difference([], []).value)
