"""Net benefit, distributions of probabilities and calibration curves of internal and external test sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.reporting.figures.risk_curves import EXTERNAL_RELIABILITY, RISK_FIGURES, reliability_diagrams
from featx.reporting.report_contents import CONTENTS
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.stats import net_benefit, smooth_calibration_curve

from .conftest import score_outside, several, single

SETTING = ("malignant-vs-benign", "5x2")
CURVES, HISTOGRAMS = (row[-1] for row in RISK_FIGURES)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Two calibrated arms of two folds with an external test set."""
    folder = several(tmp_path_factory.mktemp("risk") / "runs", ["a", "b"], folds=("1x1", "1x2"))
    return summarise([score_outside(folder, rows=40)])


def test_net_benefit_is_that_of_the_calibrated_probabilities(summary: Summary) -> None:
    rows = records(single("net-benefit", summary))
    assert [(row["arm"], row["tested"]) for row in rows[::6]] == [
        (arm, tested) for arm in "ab" for tested in ("internal", "clinic")
    ]
    for row, series in ((rows[3], summary.series[0]), (rows[9], summary.external[0].tested)):
        actual, values, images, groups = series.probabilities("malignant")
        assert row["threshold"] == 0.3
        assert row["net benefit"] == net_benefit(actual, values, 0.3)
        assert row["treat all"] == pytest.approx(actual.mean() - (1 - actual.mean()) * 3 / 7)
        assert row["gain"] == pytest.approx(row["net benefit"] - row["treat all"])
        assert row["standardised"] == pytest.approx(row["net benefit"] / actual.mean())
        assert row["net benefit low"] < row["net benefit"] < row["net benefit high"]
        assert (row["images"], row["positives"]) == (len(set(images)), len(set(images[actual])))
        assert row["groups"] == len(set(groups))


def test_images_of_several_models_are_counted_once_in_the_interval(summary: Summary) -> None:
    """Both models score the same 40 images of 20 groups."""
    row = records(single("net-benefit", summary))[9]
    assert (row["images"], row["groups"]) == (40, 20)
    assert row["net benefit high"] - row["net benefit low"] > 0.05


def test_distributions_are_by_class(summary: Summary) -> None:
    rows = records(single("probabilities", summary))
    assert [row["of"] for row in rows[:4]] == ["malignant", "others"] * 2
    actual, values, _, _ = summary.series[0].probabilities("malignant")
    assert rows[0]["quantile 0.5"] == pytest.approx(np.median(values[actual]))
    assert rows[1]["quantile 0.95"] == pytest.approx(np.quantile(values[~actual], 0.95))
    assert rows[0]["images"] + rows[1]["images"] == 96


def test_figures_have_a_panel_for_each_test_set(summary: Summary) -> None:
    for draw in (CURVES, HISTOGRAMS):
        titles = [axes.get_title(loc="left") for axes in draw(summary, SETTING).axes]
        assert [title.splitlines()[0] for title in titles] == [
            "a",
            "b",
            "a, external: clinic",
            "b, external: clinic",
        ]
        assert titles[0].endswith("48 of 96 positive")
        assert titles[2].endswith("20 of 40 positive")
    axes = CURVES(summary, SETTING).axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert set(lines) == {"model", "treat all", "treat none"}
    cuts, worth = lines["model"].get_data()
    row = records(single("net-benefit", summary))[3]
    assert np.asarray(worth)[np.flatnonzero(np.isclose(cuts, 0.3))[0]] == pytest.approx(row["net benefit"])
    assert len(axes.collections) == 1


def test_calibration_curves_are_smooth_inside_and_outside(summary: Summary) -> None:
    for draw, series in (
        (reliability_diagrams, summary.series[0]),
        (EXTERNAL_RELIABILITY[-1], summary.external[0].tested),
    ):
        figure = draw(summary, SETTING)
        assert figure is not None
        assert len(figure.axes) == 2
        actual, values, _, _ = series.probabilities("malignant")
        wanted = smooth_calibration_curve(actual, values)
        np.testing.assert_allclose(figure.axes[0].lines[-1].get_data(), wanted)


def test_several_classes_have_a_panel_and_rows_each(tmp_path: Path) -> None:
    classes = ("melanoma", "nevus", "keratosis")
    summary = summarise([several(tmp_path / "runs", ["a"], classes, folds=("1x1", "1x2"))])
    assert len(CURVES(summary, summary.settings[0]).axes) == 3
    assert [row["class"] for row in records(single("net-benefit", summary))[::6]] == list(classes)


def test_runs_without_probabilities_have_no_such_section(study: Path) -> None:
    summary = summarise([study])
    (part,) = (part for part in CONTENTS if part.id == "net-benefit")
    assert [list(entry.tables(summary)) for entry in part.tables] == [[], []]
    assert not any(one.figure for entry in part.figures for _, one in entry.figures(summary))
