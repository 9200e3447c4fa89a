from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import Bbox

from featx.machine import environment
from featx.reporting.figures.canvas import NARROW, WIDE, ReportFigure, blank, draw_all, svg
from featx.reporting.figures.dots import auc_dots, difference_dots, rank_dots
from featx.reporting.figures.risk_curves import reliability_diagrams
from featx.reporting.figures.roc import (
    learning_curves,
    precision_recall,
    roc_folds,
    roc_means,
    score_histograms,
    search_curves,
)
from featx.reporting.report_contents import drawings
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run, run_folder, write_run

from .conftest import single

Write = Callable[..., Run]
SETTING = ("malignant-vs-benign", "5x2")


@pytest.fixture(scope="module")
def summary(study: Path) -> Summary:
    return summarise([study])


def drawn(summary: Summary) -> list[ReportFigure]:
    return [figure for several in drawings(summary).values() for figure in several if figure.figure]


def panels(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.axison]


def area(axes: Axes, line: int) -> float:
    """Area under a drawn line."""
    x, y = axes.lines[line].get_data()
    return float(np.trapezoid(y, x))


def test_the_area_under_each_mean_curve_is_the_mean_auc(summary: Summary) -> None:
    (axes,) = panels(roc_means(summary, SETTING))
    drawn = {line.get_label(): index for index, line in enumerate(axes.lines)}
    for item in summary.overall:
        assert area(axes, drawn[item.series.arm]) == pytest.approx(item.spread.mean, abs=0.01)


def test_the_area_under_each_fold_is_its_auc(summary: Summary) -> None:
    for axes, item in zip(panels(roc_folds(summary, SETTING)), summary.overall, strict=True):
        # The first line is the diagonal, the last one the mean.
        assert [area(axes, index) for index in range(1, 7)] == pytest.approx(item.auc)
        assert len(axes.lines) == 8


def test_the_area_under_precision_and_recall_is_the_average_precision(summary: Summary) -> None:
    (axes,) = panels(precision_recall(summary, SETTING))
    rows = {row["arm"]: row["average precision"] for row in records(single("metrics", summary))}
    for line in axes.lines[:3]:
        assert float(np.mean(line.get_ydata())) == pytest.approx(rows[line.get_label()], abs=0.01)  # type: ignore[arg-type]


def test_dots_stand_at_the_aucs_with_the_best_arm_on_top(summary: Summary) -> None:
    (axes,) = panels(auc_dots(summary))
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "random",
        "source",
        "source + fine-tuned",
    ]
    dots = [sorted(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 6]
    assert dots == [sorted(item.auc) for item in summary.overall]


def test_differences_stand_at_the_differences_of_the_folds(summary: Summary) -> None:
    (axes,) = panels(difference_dots(summary, SETTING))
    random, source, best = (np.array(item.auc) for item in summary.overall)
    dots = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 6]
    assert dots == [pytest.approx(random - best), pytest.approx(source - best)]


def test_ranks_over_folds_stand_alone_without_a_critical_difference(summary: Summary) -> None:
    (axes,) = panels(rank_dots(summary, SETTING))
    ranking = summary.comparisons[SETTING].ranking
    assert ranking is not None
    assert sorted(float(line.get_xdata()[0]) for line in axes.lines) == sorted(ranking.ranks)  # type: ignore[arg-type,index]
    assert not axes.texts


def test_choices_at_an_edge_are_ringed(summary: Summary) -> None:
    figure = search_curves(summary, SETTING)
    assert figure is not None
    for axes in panels(figure):
        rings = [
            line for line in axes.lines if line.get_markerfacecolor() == "none" and line.get_marker() == "o"
        ]
        assert [float(line.get_xdata()[0]) for line in rings] == [10.0] * 3  # type: ignore[arg-type,index]


def test_histograms_hold_every_image_of_each_class(summary: Summary) -> None:
    for axes in panels(score_histograms(summary, SETTING)):
        totals = [float(patch.get_data().values.sum()) for patch in axes.patches]  # type: ignore[attr-defined]
        assert totals == pytest.approx([1, 1, 1, 1])


def test_uncalibrated_and_unsearched_arms_have_no_such_figures(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    found = summarise([tmp_path / "runs"])
    assert reliability_diagrams(found, SETTING) is None
    assert search_curves(found, SETTING) is None
    assert learning_curves(found) is None
    names = [item.name for item in drawn(found)]
    assert not [
        name
        for name in names
        if name.startswith(("calibration", "search", "learning", "differences", "cost", "training"))
    ]


def test_calibrated_arms_have_diagrams_and_metrics(write: Write, tmp_path: Path) -> None:
    def rows(right: bool) -> list[Prediction]:
        chances = [0.25, 0.25, 0.25, 0.25, 0.75, 0.75, 0.75, 0.75]
        return [
            Prediction(
                str(n),
                "1x1",
                str(n),
                "malignant" if (n in (3, 4, 5, 6)) == right else "benign",
                {"malignant": chance - 0.5},
                {"malignant": chance},
            )
            for n, chance in enumerate(chances)
        ]

    write("good", "1x1", rows(True))
    write("plain", "1x1", [replace(row, probabilities={}) for row in rows(True)])
    found = summarise([tmp_path / "runs"])
    figure = reliability_diagrams(found, SETTING)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in panels(figure)] == ["good\n4 of 8 positive"]
    table = single("calibration", found)
    assert table is not None
    (good,) = records(table)
    assert (good["arm"], good["brier score"], good["observed to expected"]) == ("good", 0.1875, 1.0)
    assert good["slope"] == pytest.approx(1.0)
    assert good["intercept"] == pytest.approx(0.0)


def test_learning_curves_come_from_the_history(write: Write, tmp_path: Path) -> None:
    tuned = write("E", "1x1")
    record = replace(tuned.record, kind="finetune", arm="E")
    text = (
        "epoch,phase,learning_rate,loss,validation_loss,validation_auc,best\n"
        "1,all,0.1,0.9,0.8,0.6,True\n2,all,0.1,0.7,,,False\n3,all,0.1,0.5,0.6,0.7,True\n"
    )
    place = run_folder(tmp_path / "tuned", "E", record.task, "5x2", "1x1")
    write_run(place, record, [], environment({}), {"history.csv": text.encode()})
    figure = learning_curves(summarise([tmp_path]))
    assert figure is not None
    left, right = panels(figure)
    assert list(left.lines[0].get_ydata()) == [0.9, 0.7, 0.5]  # type: ignore[arg-type]
    assert [line.get_xdata()[0] for line in right.lines if len(line.get_xdata()) == 1] == [3.0]  # type: ignore[index,arg-type]


@pytest.mark.filterwarnings("error")
def test_long_and_odd_names_leave_room_for_the_drawing(write: Write, tmp_path: Path) -> None:
    names = [
        f"${number}_a rather long name of an arm, and $ again, ImageNet → retina → atlas" for number in (1, 2)
    ]
    for name in names:
        for fold in ("1x1", "1x2"):
            write(name, fold)
    for item in drawn(summarise([tmp_path / "runs"])):
        # Too little room would be a warning, which is an error here.
        text = svg(item)
        assert "$1_a rather" in text or item.name.startswith(("differences", "flow")), item.name


def apart(one: Bbox, other: Bbox) -> bool:
    """Whether two boxes share no more than a pixel's edge."""
    return bool(
        min(one.x1, other.x1) - max(one.x0, other.x0) < 1 or min(one.y1, other.y1) - max(one.y0, other.y0) < 1
    )


def misplaced(figure: Figure) -> list[object]:
    """Titles and legends that leave the page, panels without room, and whatever lies over another of these."""
    page, shown = figure.bbox, panels(figure)
    words = {f"title {place}": axes._left_title for place, axes in enumerate(shown)}  # type: ignore[attr-defined]
    words |= {f"legend {place}": legend for place, legend in enumerate(figure.legends)}
    found = {name: part.get_window_extent() for name, part in words.items()}
    wrong: list[object] = [
        (name, box)
        for name, box in found.items()
        if min(box.x0, box.y0, page.x1 - box.x1, page.y1 - box.y1) < -1
    ]
    found |= {f"panel {place}": axes.get_window_extent() for place, axes in enumerate(shown)}
    small = [name for name, box in found.items() if "panel" in name and min(box.size) < 0.3 * figure.dpi]
    return [
        *wrong,
        *small,
        *(pair for pair in combinations(found, 2) if not apart(*(found[name] for name in pair))),
    ]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("count", "classes", "folds"),
    [
        (1, 2, 4),
        pytest.param(2, 2, 1, marks=pytest.mark.slow),
        pytest.param(3, 4, 2, marks=pytest.mark.slow),
        pytest.param(12, 2, 2, marks=pytest.mark.slow),
    ],
)
def test_titles_legends_and_panels_lie_apart(
    arms: Callable[..., Summary], count: int, classes: int, folds: int
) -> None:
    for item in drawn(arms(count, classes, folds)):
        for narrow, figure in ((False, item.figure), (True, item.narrow)):
            assert figure is not None
            svg(item, narrow=narrow)  # lays out; panels without room are a warning, which is an error here
            assert misplaced(figure) == [], (item.name, narrow)


def test_narrow_figures_are_as_narrow_as_a_telephone(arms: Callable[..., Summary]) -> None:
    for item in drawn(arms(2, 2, 1)):
        assert item.narrow is not None
        assert item.figure is not None
        assert item.narrow.get_figwidth() <= NARROW < item.figure.get_figwidth() <= WIDE, item.name
        assert 'class="narrow"' in svg(item, narrow=True)


@pytest.mark.filterwarnings("error")
def test_the_bytes_of_figures_do_not_depend_on_the_number_of_processes(
    arms: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.reporting.figures.canvas._MANY", 2)
    summary = arms(2, 2, 1)
    every = [figure for several in drawings(summary).values() for figure in several]
    found = []
    for workers in (1, 3):
        with draw_all(every, ("svg", "pdf"), workers) as made:
            found.append([None if one is None else (one[0], one[1].markup) for one in made])
    assert found[0] == found[1]
    assert None in found[0]
    assert sum(one is not None for one in found[0]) > 5


@pytest.mark.filterwarnings("error")
def test_an_error_beside_figures_that_are_drawn_comes_alone(
    arms: Callable[..., Summary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.reporting.figures.canvas._MANY", 2)
    every = [figure for several in drawings(arms(2, 2, 1)).values() for figure in several]
    with pytest.raises(ValueError, match="odd"), draw_all(every, ("svg",), 2) as made:
        next(made)
        raise ValueError("odd")


def test_last_bits_of_the_layout_change_no_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = ConstrainedLayoutEngine.execute

    def drawn(shift: float) -> str:
        def nudged(engine: ConstrainedLayoutEngine, figure: Figure) -> None:
            execute(engine, figure)
            for axes in figure.axes:
                axes.set_position(axes.get_position().translated(shift, shift))

        monkeypatch.setattr(ConstrainedLayoutEngine, "execute", nudged)
        figures = [blank(3, 3), blank(3, 3)]
        for figure in figures:
            (line,) = figure.subplots().plot([0, 1], [0, 1])
            assert line.get_clip_on()
        return svg(ReportFigure("one", "", "", "", lambda most: figures[most == NARROW]))

    assert drawn(0.0) == drawn(1e-13)
    assert drawn(0.0) != drawn(1e-3)
