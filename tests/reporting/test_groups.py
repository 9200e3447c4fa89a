from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featx.reporting.summary import summarise
from featx.reporting.tables import Score, records
from featx.runs import Prediction, Run

from .conftest import single

Write = Callable[..., Run]


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
