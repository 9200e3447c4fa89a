from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from featx.errors import RunError
from featx.reporting.arm_facts import size_points
from featx.reporting.figures.trends import costs, size_curves
from featx.reporting.method_checks.checked_runs import check_summary, remaining_warnings
from featx.reporting.summary import summarise
from featx.reporting.tables import records
from featx.runs import Run, read_runs
from featx.stats import fold_aucs, fold_scores, summarise_arm
from featx.zoo import find_backbone

from .conftest import predictions, single

Write = Callable[..., Run]


def marks(axes: Axes) -> list[Any]:
    """Where the marks of the arms stand, from left to right in the order of the arms."""
    return [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]  # type: ignore[arg-type,index]


def within(axes: Axes) -> bool:
    """Tell whether all that is drawn, but for intervals that do not exist, lies inside of the axes."""
    points = np.array([point for line in axes.lines for point in line.get_xydata()])  # type: ignore[union-attr]
    known = points[np.isfinite(points).all(axis=1)]
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    return len(known) > 0 and bool((known > low).all() and (known < high).all())


def features(backbone: str, layer: str = "", **more: Any) -> dict[str, Any]:
    return {"digest": "d", "recipe": {"backbone": backbone, "layer": layer}, **more}


def test_the_cost_is_what_the_runs_tell_of_their_features(write: Write, tmp_path: Path) -> None:
    known = {"parameters": 98_432, "multiply_adds": 12_345_678}
    for fold, rate in (("1x1", 30.0), ("1x2", 50.0), ("2x1", 31.0)):
        speed = {"images_per_second": rate, "engine": "keras", "device": "cpu", "networks": 1}
        told = {"extraction": {"d": speed}}
        write("A", fold, features=features("tiny", cost=known), environment=told)
    cost = {"parameters": 7, "multiply_adds": None}
    speed = {"images_per_second": 4.5, "engine": "openvino", "device": "cpu", "networks": 2}
    for fold, key in (("1x1", "d"), ("1x2", "e")):
        named = {**features("resnet50", cost=cost), "digest": key}
        write("B", fold, features=named, environment={"extraction": {key: speed}})
    write("C", "1x1", features=features("of my own"), environment={"extraction": {"d": speed}})
    write("D", "1x1", features=features("tiny", cost=known), environment={"extraction": {"d": speed}})
    summary = summarise([tmp_path / "runs"])
    table = single("backbones", summary)
    assert table is not None
    found = {row["arm"]: row for row in records(table)}
    assert (found["A"]["images_per_second"], found["A"]["parameters"]) == (31.0, 98_432)
    assert (found["B"]["images_per_second"], found["B"]["multiply_adds"]) == (9.0, None)
    assert (found["A"]["measured"], found["A"]["weights"]) == ("keras on cpu", "imagenet → atlas")
    assert found["B"]["measured"] == "openvino on cpu, 2 networks at once"
    # The one store of D shared its pass with an unknown network.
    assert (found["D"]["images_per_second"], found["D"]["parameters"]) == (None, 98_432)
    assert [found["C"][name] for name in ("images_per_second", "multiply_adds", "parameters")] == [None] * 3
    figure = costs(summary)
    assert figure is not None
    assert [axes.get_xlabel().split()[0] for axes in figure.axes] == ["Extraction", "Parameters"]
    assert all(map(within, figure.axes))
    assert [marks(axes) for axes in figure.axes] == [[31.0, 9.0], [98_432, 7, 98_432]]


def test_without_a_word_on_cost_the_zoo_knows_the_parameters_of_its_own_layers(
    write: Write, tmp_path: Path
) -> None:
    for arm, backbone, layer in (
        ("A", "resnet50", ""),
        ("B", "vgg16", "fc2"),
        ("C", "vgg16", "block3_pool"),
    ):
        write(arm, "1x1", features=features(backbone, layer))
    table = single("backbones", summarise([tmp_path / "runs"]))
    assert table is not None
    known = [find_backbone(name).parameters for name in ("resnet50", "vgg16")]
    assert [row["parameters"] for row in records(table)] == [*known, None]


def test_an_arm_of_one_backbone_alone_has_no_figure_of_cost(
    study: Path, write: Write, tmp_path: Path
) -> None:
    write("A", "1x1", features={"digest": "d"})
    assert single("backbones", summarise([tmp_path / "runs"])) is None
    assert costs(summarise([tmp_path / "runs"])) is None
    # Three arms of one network: that their speed differs is chance.
    assert costs(summarise([study])) is None


def sized(write: Write, arm: str, fold: str, images: int, protocol: str = "5x2") -> None:
    counts = {"train": {"benign": images // 2, "malignant": images - images // 2}}
    write(arm, fold, protocol=protocol, counts=counts, folds_digest=protocol)


def test_folds_of_one_size_stand_together_whatever_their_protocol(write: Write, tmp_path: Path) -> None:
    for fold, images in (("1", 100), ("2", 104), ("3", 400)):
        sized(write, "A", fold, images, "mine.json")
    sized(write, "A", "1x1", 200)
    sized(write, "B", "1x1", 200)
    summary = summarise([tmp_path / "runs"])
    table = single("training-sizes", summary)
    assert table is not None
    assert [(row["arm"], row["images"], row["folds"]) for row in records(table)] == [
        ("A", 102, 2),
        ("A", 200, 1),
        ("A", 400, 1),
    ]
    ((_, several),) = size_points(summary.series).items()
    (series,) = [item for item in summary.series if item.protocol == "mine.json"]
    assert several[0].total.mean == pytest.approx(summarise_arm(series.scores[:2]).mean)
    assert any("have 100 to 400 images" in text for text in summary.warnings)
    figure = size_curves(summary)
    assert figure is not None
    (axes,) = figure.axes
    (line,) = [line for line in axes.lines if len(line.get_xdata()) == 3]  # type: ignore[arg-type]
    assert list(line.get_xdata()) == [102, 200, 400]  # type: ignore[arg-type]
    assert within(axes)


def test_folds_of_about_one_size_have_no_such_table(study: Path) -> None:
    assert single("training-sizes", summarise([study])) is None
    assert size_curves(summarise([study])) is None


def curve(write: Write, arm: str = "A", folds: tuple[str, ...] = ("1x1", "1x2"), **more: Any) -> None:
    """Runs on whole training sets of 60 images, and two draws of a fourth and of one image of each class."""
    for number, fold in enumerate(folds):
        write(arm, fold, predictions(fold, 1.5, number), **more)
        for seed in (0, 1):
            for size, (kind, value, shift) in {2: ("shots", 1, 0.1), 15: ("fraction", 0.25, 0.8)}.items():
                counts = {"train": {"benign": size - size // 3 - (size == 2), "malignant": max(1, size // 3)}}
                write(
                    arm,
                    fold,
                    predictions(fold, shift + seed / 5, number),
                    folder=f"runs/parts/{kind}{seed}",
                    settings={"subset": {kind: value, "seed": seed}},
                    counts=counts,
                    warnings=(f"{seed + 3} of 10 inner splits lack a class",),
                    **more,
                )


def test_a_learning_curve_is_no_arm_and_averages_the_draws_of_a_fold(write: Write, tmp_path: Path) -> None:
    curve(write)
    summary = summarise([tmp_path / "runs"])
    assert [(one.arm, len(one.runs), len(one.subsets)) for one in summary.series] == [("A", 2, 8)]
    table = single("training-sizes", summary)
    assert table is not None
    rows = records(table)
    named = ("part", "images", "events", "draws", "folds")
    assert [tuple(row[name] for name in named) for row in rows] == [
        ("1 of each class", 2, 1, 2, 2),
        ("25 %", 15, 5, 2, 2),
        ("whole training set", 60, 20, None, 2),
    ]
    assert rows[0]["mean"] < rows[1]["mean"] < rows[2]["mean"]
    flat = read_runs(tmp_path / "runs")
    assert flat.columns[-4:].tolist() == ["subset:fraction", "subset:seed", "subset:shots", "run"]
    assert flat["subset:seed"].isna().sum() == 2 * 60
    drawn = [one for one in summary.series[0].subsets if "shots" in one.record.subset]
    aucs = [auc for one in drawn for auc in fold_aucs([fold_scores(*_columns(one))])]
    assert rows[0]["mean"] == pytest.approx(np.mean(aucs))
    assert any("8 of 8 runs on parts of training sets: 3 of 10 inner" in text for text in summary.warnings)
    # Small parts lack classes by design: no method check fails for it, and nobody is left without the warning.
    states = {one.code: one.state for one in check_summary(summary)}
    assert (states["FX304"], states["FX205"]) == ("passed", "passed")
    assert any("3 of 10 inner splits" in text for text in remaining_warnings(summary))
    figure = size_curves(summary)
    assert figure is not None
    figure.draw_without_rendering()  # type: ignore[no-untyped-call]
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2\n(1)", "15\n(5)", "60\n(20)"]
    assert axes.get_xscale() == "log"
    assert within(axes)


def _columns(run: Run) -> tuple[str, list[str], list[bool], list[float]]:
    rows = run.predictions
    return (
        "1",
        [row.id for row in rows],
        [row.actual == "malignant" for row in rows],
        [row.scores["malignant"] for row in rows],
    )


def test_a_learning_curve_without_its_end_is_refused(write: Write, tmp_path: Path) -> None:
    curve(write)
    with pytest.raises(RunError, match="was trained on a part of the training set"):
        summarise([tmp_path / "runs" / "parts"])
    write("A", "1x1", folder="more", settings={"subset": {"shots": 1, "seed": 0}})
    with pytest.raises(RunError, match="found two runs"):
        summarise([tmp_path / "runs", tmp_path / "more"])
