from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.reporting.make_report import report_runs
from featx.reporting.sections.mistakes import find_mistakes, thumbnails
from featx.reporting.summary import summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run

from .conftest import single

Write = Callable[..., Run]


def row(name: str, actual: str, score: float, fold: str = "1x1") -> Prediction:
    return Prediction(name, fold, name, actual, {"malignant": score})


def test_mistakes_are_ranked_by_their_mean_margin_over_folds(write: Write, tmp_path: Path) -> None:
    write(
        "A",
        "1x1",
        [row("a", "malignant", -1), row("b", "benign", 3), row("c", "benign", -2), row("d", "benign", 1)],
    )
    write(
        "A",
        "2x1",
        [row("a", "malignant", -3), row("b", "benign", -2), row("c", "benign", 1), row("d", "benign", -2)],
    )
    (series,) = summarise([tmp_path / "runs"]).series
    found = find_mistakes(series)
    assert [(item.id, item.actual, item.taken, item.margin, item.folds) for item in found] == [
        ("a", "malignant", "benign", 2.0, 2),
        ("b", "benign", "malignant", 0.5, 2),
    ]
    assert found[0].sd == pytest.approx(np.sqrt(2))


def test_a_single_test_set_is_named_instead_of_its_number_of_folds(write: Write, tmp_path: Path) -> None:
    write("A", "holdout", [row("a", "malignant", -1), row("b", "benign", -2)], protocol="holdout")
    write("B", "1x1", [row("a", "malignant", -1), row("b", "benign", -2)])
    write("B", "2x1", [row("a", "malignant", -1), row("b", "benign", -2)])
    table = single("mistakes", summarise([tmp_path / "runs"]))
    assert table is not None
    assert {line["arm"]: line["folds"] for line in records(table)} == {"A": "test set", "B": 2}


def test_of_several_classes_the_highest_other_one_is_named(write: Write, tmp_path: Path) -> None:
    classes = ("a", "b", "c")
    made = [
        Prediction("x", "1x1", "", "a", {"a": 0.0, "b": 1.0, "c": 3.0}),
        Prediction("y", "1x1", "", "b", {"a": 0.0, "b": 1.0, "c": 0.5}),
        Prediction("z", "1x1", "", "c", {"a": 0.0, "b": 1.0, "c": 2.0}),
    ]
    write("A", "1x1", made, task="three", classes=classes, scored=classes)
    (item,) = find_mistakes(summarise([tmp_path / "runs"]).series[0])
    assert (item.id, item.taken, item.margin) == ("x", "c", 3.0)


def test_an_arm_without_mistakes_has_no_table(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", [row("a", "malignant", 1), row("b", "benign", -1)])
    assert single("mistakes", summarise([tmp_path / "runs"])) is None


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two images, one of them broken, and a third that no run knows."""
    Image.fromarray(np.full((30, 40, 3), (200, 30, 30), np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    text = "image,id,label\na.png,a,malignant\nb.png,b,benign\n"
    (tmp_path / "manifest.csv").write_text(text)
    return tmp_path / "manifest.csv"


def test_thumbnails_are_square_and_what_is_missing_is_said(manifest: Path) -> None:
    made, missing = thumbnails(["a", "b", "c"], manifest)
    assert list(made) == ["a"]
    image = Image.open(BytesIO(base64.b64decode(made["a"].partition(",")[2])))
    assert image.size[0] == image.size[1]
    assert abs(np.asarray(image)[0, 0].astype(int) - (200, 30, 30)).max() < 6
    assert ["No thumbnail of b" in missing[0], "c: the manifest" in missing[1]] == [True, True]


def test_the_page_has_pictures_only_when_asked(
    write: Write, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: {})
    write("A", "1x1", [row("a", "malignant", -1), row("b", "benign", 1), row("c", "benign", -1)])
    plain = report_runs(tmp_path / "runs", output=tmp_path / "plain")
    assert "<img" not in plain.html.read_text(encoding="utf-8")
    shown = report_runs(tmp_path / "runs", output=tmp_path / "shown", manifest=manifest, thumbnails=True)
    text = shown.html.read_text(encoding="utf-8")
    assert text.count('<img src="data:image/jpeg;base64,') == 1
    assert 'alt="Image a: malignant, predicted benign"' in text
    assert any(warning.startswith("No thumbnail of b") for warning in shown.warnings)
