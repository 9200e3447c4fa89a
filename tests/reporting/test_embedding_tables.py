"""Embedding maps in reports: tables, figure, and the interactive map of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from featx.reporting import (
    EmbeddedArm,
    MapPoint,
    NeighbourRow,
    NoiseCandidate,
    find_mistakes,
    write_embedding,
)
from featx.reporting.figures.embedding_scatter import embedding_panels
from featx.reporting.make_report import report_runs
from featx.reporting.maps.interactive_maps import map_views, shown_points
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records

from .conftest import several, single

TASK = "malignant-vs-benign"
BAD = "</script><b>&"


def drawn(summary: Summary, warnings: tuple[str, ...] = ()) -> EmbeddedArm:
    """Map of the first arm: its test images in a row, two of them doubtful."""
    series = summary.series[0]
    rows = [row for run in series.runs for row in run.predictions]
    points = tuple(
        MapPoint(
            row.id,
            row.actual,
            BAD if place == 0 else row.group,
            row.fold,
            round(place / (len(rows) - 1), 5),
            0.5 * (place % 2),
            "malignant" if row.scores["malignant"] >= 0 else "benign",
            row.scores["malignant"] * (1 if row.actual == "malignant" else -1),
        )
        for place, row in enumerate(rows)
    )
    worst = find_mistakes(series)[0]
    near = tuple(
        NeighbourRow(worst.id, "1x1", rank, f"n{rank}", "benign", 1 - rank / 10) for rank in range(1, 8)
    )
    noise = (
        NoiseCandidate(worst.id, worst.actual, worst.taken, 0.1, 0.5, -1.5, 1, "test"),
        NoiseCandidate("other", "benign", "malignant", 0.2, 0.5, -0.5, 1, "inner"),
    )
    return EmbeddedArm(TASK, "5x2", series.arm, "1x1", "PCA", {}, "d", 7, points, near, noise, warnings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("mapped")
    several(home / "runs", ["a", "b"])
    write_embedding(home / "maps", [drawn(summarise([home / "runs"]), ("seen by the network",))])
    return home


@pytest.fixture(scope="module")
def report(folder: Path) -> tuple[Summary, str, dict[str, list[dict[str, object]]]]:
    done = report_runs([folder / "runs"], output=folder / "report", embedding=folder / "maps", figures=False)
    tables = {table.name: records(table) for table in done.contents}
    return summarise([folder / "runs"]), done.html.read_text(), tables


def test_without_maps_there_is_no_such_section(folder: Path) -> None:
    summary = summarise([folder / "runs"])
    assert single("label-noise", summary) is None
    assert single("neighbours", summary) is None
    assert embedding_panels(summary, summary.settings[0]) is None


def test_tables_name_neighbours_and_candidates(
    report: tuple[Summary, str, dict[str, list[dict[str, object]]]],
) -> None:
    summary, _, tables = report
    worst = find_mistakes(summary.series[0])[0]
    (row,) = tables["neighbours"]
    assert (row["image"], row["class"], row["taken"], row["neighbours"]) == (
        worst.id, worst.actual, worst.taken, 7,
    )  # fmt: skip
    assert row["nearest"] == ", ".join(f"n{rank} (benign, {1 - rank / 10:.2f})" for rank in range(1, 6))
    assert row["agreeing"] == (1.0 if worst.actual == "benign" else 0.0)
    assert [(one["image"], one["agreeing"], one["expected"], one["value"]) for one in tables["label-noise"]] == [
        (worst.id, 0.1, 0.5, -1.5), ("other", 0.2, 0.5, -0.5),
    ]  # fmt: skip


def test_the_page_has_a_point_for_each_image(
    report: tuple[Summary, str, dict[str, list[dict[str, object]]]],
) -> None:
    summary, page, _ = report
    count = sum(len(run.predictions) for run in summary.series[0].runs)
    section = page[page.index('id="map-1"') : page.index("</figure>", page.index('id="map-1"'))]
    assert section.count("<circle ") == count
    assert 'tabindex="0"' in section
    assert "Seen by the network." in section
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', section, re.DOTALL)[1])
    assert len(data) == count
    assert any(f"group {BAD}" in one["text"] for one in data)
    wrong = [one for one in data if any("label-noise" in text for text in one["text"])]
    assert len(wrong) == 1
    assert 'aria-label="Fold"' in section


def test_doubtful_images_are_always_drawn_and_on_top(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = drawn(summarise([folder / "runs"]))
    monkeypatch.setattr("featx.reporting.maps.interactive_maps._MOST", 100)
    points = shown_points(one)
    assert len(points) == 100
    doubtful = [place for place, point in enumerate(points) if point.value < 0]
    assert len(doubtful) == min(100, sum(point.value < 0 for point in one.points))
    assert doubtful == list(range(100 - len(doubtful), 100))


def test_thumbnails_are_those_of_the_points(folder: Path) -> None:
    summary = summarise([folder / "runs"])
    object.__setattr__(summary, "embedding", (drawn(summary),))
    name = summary.series[0].runs[0].predictions[3].id
    (view,) = map_views(summary, {name: "data:image/jpeg;base64,AA"})
    pictures = [one for one in json.loads(view.data) if "picture" in one]
    assert [one["text"][0] for one in pictures] == [name]
    assert view.height == round(0.5 * (view.width - 24)) + 24


def test_the_figure_has_a_panel_for_each_map(folder: Path) -> None:
    summary = summarise([folder / "runs"])
    object.__setattr__(summary, "embedding", (drawn(summary),))
    figure = embedding_panels(summary, summary.settings[0])
    assert figure is not None
    (axes,) = figure.axes
    benign, malignant, wrong = (len(one.get_offsets()) for one in axes.collections)
    assert benign + malignant == len(summary.embedding[0].points)
    assert wrong == int(np.sum([point.value < 0 for point in summary.embedding[0].points]))
