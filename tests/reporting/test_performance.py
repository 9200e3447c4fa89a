"""Decisions at thresholds, confusion matrices, and scores of groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix
from statsmodels.stats.proportion import proportion_confint

from featx.errors import ConfigError
from featx.reporting.make_report import report_runs
from featx.reporting.sections.performance import fixed_cuts
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import Score, records
from featx.runs import Prediction, Run
from featx.stats.operating import specificity_at_sensitivity, youden_point

from .conftest import filled, single

Write = Callable[..., Run]


def drawn(rng: np.random.Generator, count: int, positives: int, fold: str = "1") -> list[Prediction]:
    return [
        Prediction(
            f"i{place}",
            fold,
            f"i{place}",
            "malignant" if place < positives else "benign",
            {"malignant": float(rng.normal() + 1.5 * (place < positives))},
        )
        for place in range(count)
    ]


def row(summary: Summary, threshold: str, table: int = 0) -> dict[str, Any]:
    return next(
        one
        for one in records((single("thresholds", summary), single("predictive-values", summary))[table])
        if one["threshold"] == threshold
    )


def test_a_test_part_does_not_decide_by_which_threshold_it_is_judged(write: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inner, test = drawn(rng, 60, 20), drawn(rng, 50, 15)
    write("A", "1", test, protocol="holdout", inner=inner, format=2)
    found = row(summarise([tmp_path / "runs"]), "0.90 sensitivity")
    actual, scores = (
        [one.actual == "malignant" for one in inner],
        [one.scores["malignant"] for one in inner],
    )
    cut = specificity_at_sensitivity(actual, scores, 0.9).threshold
    called = np.array([one.scores["malignant"] >= cut for one in test])
    positive = np.array([one.actual == "malignant" for one in test])
    assert found["true positive"] == (called & positive).sum()
    assert found["false positive"] == (called & ~positive).sum()
    assert found["sensitivity"] == pytest.approx(called[positive].mean())
    wanted = proportion_confint((called & positive).sum(), 15, method="wilson")
    assert (found["sensitivity low"], found["sensitivity high"]) == pytest.approx(wanted)


def test_fixed_thresholds_promise_what_they_give_and_those_of_the_test_part_do_not() -> None:
    rng = np.random.default_rng(1)
    read_off, given, truth = [], [], []
    for _ in range(250):
        inner, test, world = (drawn(rng, *sizes) for sizes in ((60, 15), (40, 8), (400, 100)))
        cut = fixed_cuts(inner, "malignant")["Youden"]

        def split(rows: list[Prediction]) -> tuple[np.ndarray, np.ndarray]:
            return (
                np.array([one.actual == "malignant" for one in rows]),
                np.array([one.scores["malignant"] for one in rows]),
            )

        actual, scores = split(test)
        point = youden_point(actual, scores)
        read_off.append(point.specificity + point.sensitivity)
        given.append((scores[~actual] < cut).mean() + (scores[actual] >= cut).mean())
        actual, scores = split(world)
        truth.append((scores[~actual] < cut).mean() + (scores[actual] >= cut).mean())
    assert np.mean(given) == pytest.approx(np.mean(truth), abs=0.035)
    assert np.mean(read_off) > np.mean(truth) + 0.1


def test_images_that_are_tested_five_times_count_once_in_intervals_and_five_times_in_counts(
    write: Write, tmp_path: Path
) -> None:
    rng = np.random.default_rng(2)
    inner, test = drawn(rng, 60, 20), drawn(rng, 50, 15)
    for fold in ("1", "2", "3", "4", "5"):
        again = [dataclasses.replace(one, fold=fold) for one in test]
        write("five", fold, again, protocol="5x2", inner=inner, format=2)
    write("once", "1", test, protocol="holdout", inner=inner, format=2)
    five, once = (row(summarise([tmp_path / "runs"], arms=[arm]), "Youden") for arm in ("five", "once"))
    assert five["true positive"] == 5 * once["true positive"]
    assert five["sensitivity"] == pytest.approx(once["sensitivity"])
    width = once["sensitivity high"] - once["sensitivity low"]
    assert width * 0.95 <= five["sensitivity high"] - five["sensitivity low"] <= width * 1.3


def test_runs_without_inner_scores_have_dashes_and_say_how_to_get_them(write: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    test = drawn(rng, 30, 10)
    write("old", "1", test, protocol="holdout")
    write("E", "1", test, protocol="holdout", kind="softmax", folder="runs/softmax")
    write("few", "1", test, protocol="holdout", format=2)
    summary = summarise([tmp_path / "runs"])
    rates, predictive = single("thresholds", summary), single("predictive-values", summary)
    for one in records(rates):
        fixed = one["threshold"] != "default, 0"
        assert (one["sensitivity"] is None) == fixed
        assert (one["true positive"] is None) == fixed
    assert all(
        one["positive predictive value"] is None
        for one in records(predictive)
        if one["threshold"] != "default, 0"
    )
    assert (
        "No fixed thresholds for old: runs of an earlier version have no inner scores; train them again"
        in rates.note
    )
    assert "for E (softmax): a fine-tuned network's own head" in rates.note
    assert "for few: a class has too few groups" in rates.note


def test_predictive_values_are_stated_at_the_training_prevalence_or_at_the_one_given(
    write: Write, tmp_path: Path
) -> None:
    rng = np.random.default_rng(4)
    write("A", "1", drawn(rng, 50, 15), protocol="holdout", inner=drawn(rng, 60, 12), format=2)
    found = row(summarise([tmp_path / "runs"]), "Youden", 1)
    assert (found["prevalence"], found["test prevalence"]) == (0.2, 0.3)
    rare = row(dataclasses.replace(summarise([tmp_path / "runs"]), prevalence=0.05), "Youden", 1)
    assert rare["prevalence"] == 0.05
    assert rare["positive predictive value"] < found["positive predictive value"]
    assert rare["negative predictive value"] > found["negative predictive value"]
    with pytest.raises(ConfigError, match="prevalence"):
        report_runs([tmp_path / "runs"], output=tmp_path / "report", prevalence=1.5)


def rows(scores: dict[str, list[float]], positive: str = "abc") -> list[Prediction]:
    """A lesion a letter, with the scores of its images."""
    return [
        Prediction(
            f"{name}{number}", "1", name, "malignant" if name in positive else "benign", {"malignant": score}
        )
        for name, several in scores.items()
        for number, score in enumerate(several)
    ]


def test_a_lesion_counts_once_by_its_mean_highest_or_most_extreme_score(write: Write, tmp_path: Path) -> None:
    scores = {
        "a": [2.0, -1.0],
        "b": [0.25, 0.5],
        "c": [1.0],
        "x": [0.6, -4.0],
        "y": [0.375],
        "z": [-1.0, -1.0],
    }
    write("A", "1", rows(scores), protocol="holdout")
    table = single("groups", summarise([tmp_path / "runs"]))
    assert table is not None
    found = {row["pooling"]: row for row in records(table)}
    assert (found["mean"]["groups"], found["mean"]["positives"]) == (6, 3)
    # Means .5, .375, 1 against -1.7, .375, -1; highest 2, .5, 1 against .6, .375, -1; extreme 2, .5, 1 against -4, .375, -1.
    assert {name: row["mean"] for name, row in found.items()} == pytest.approx(
        {"mean": 8.5 / 9, "max": 8 / 9, "extreme": 1.0}
    )
    assert found["max"]["sensitivity"] == 1.0
    assert found["max"]["specificity"] == pytest.approx(1 / 3)
    assert 0 < found["mean"]["low"] < found["mean"]["high"] < 1  # type: ignore[operator]


def test_each_class_of_several_stands_against_the_rest(write: Write, tmp_path: Path) -> None:
    classes = ("a", "b", "c")
    made = [
        Prediction(f"{n}-{view}", "1", str(n), name, {one: float(one == name) - 0.5 for one in classes})
        for n, name in enumerate("aabbcc")
        for view in range(2)
    ]
    for fold in ("1", "2"):
        write("A", fold, made, task="three", classes=classes, scored=classes)
    table = single("groups", summarise([tmp_path / "runs"]))
    assert table is not None
    counts = [(row["class"], row["pooling"], row["groups"], row["positives"]) for row in records(table)[::3]]
    assert counts == [(name, "mean", 12, 4) for name in classes]
    assert Score(1.0, 0.0, 2) in table.rows[0]
    assert "No fixed thresholds for A: runs of an earlier version" in table.note


def test_lesions_of_one_image_each_have_no_such_table(write: Write, tmp_path: Path) -> None:
    write("A", "1", rows({name: [float(ord(name))] for name in "abcxyz"}))
    assert single("groups", summarise([tmp_path / "runs"])) is None


CLASSES = ("a", "b", "c")


def test_several_classes_have_a_matrix_and_one_balanced_accuracy(write: Write, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    actual = np.arange(60) % 3
    scores = rng.normal(size=(60, 3)) + np.eye(3)[actual]
    for fold, half in (("1", slice(0, 30)), ("2", slice(30, 60))):
        rows = [
            Prediction(
                f"{fold}-{n}", fold, f"{fold}-{n}", CLASSES[label], dict(zip(CLASSES, line, strict=True))
            )
            for n, (label, line) in enumerate(zip(actual[half], scores[half].tolist(), strict=True))
        ]
        write("A", fold, rows, task="three", classes=CLASSES, scored=CLASSES)
    found = summarise([tmp_path / "runs"])
    (table,) = filled("confusion-{slug}", found)
    counts = [[one[f"called {name}"] for name in CLASSES] for one in records(table)]
    assert counts == confusion_matrix(actual, scores.argmax(axis=1)).tolist()
    together = records(single("metrics", found))[0]
    assert together["class"] == "mean of classes"
    halves = [
        balanced_accuracy_score(actual[h], scores[h].argmax(axis=1)) for h in (slice(0, 30), slice(30, 60))
    ]
    assert together["balanced accuracy"] == pytest.approx(np.mean(halves))
    assert together["sensitivity"] is None


def test_two_classes_have_a_matrix_at_the_svms_own_threshold(write: Write, tmp_path: Path) -> None:
    scores = {"malignant": [0.5, 0.0, -0.1], "benign": [-2.0, 0.1]}
    rows = [
        Prediction(f"{name}{n}", "1", f"{name}{n}", name, {"malignant": score})
        for name, several in scores.items()
        for n, score in enumerate(several)
    ]
    write("A", "1", rows, protocol="holdout")
    (table,) = filled("confusion-{slug}", summarise([tmp_path / "runs"]))
    assert [one[1:] for one in table.rows] == [("benign", 1, 1, 2), ("malignant", 1, 2, 3)]
