"""Thresholds come from the training part alone; what they give is counted, with intervals that know repeats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from featx.errors import ConfigError
from featx.reporting.make_report import report_runs
from featx.reporting.sections.performance import fixed_cuts
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run
from featx.stats.operating import specificity_at_sensitivity, youden_point

from .conftest import single

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
