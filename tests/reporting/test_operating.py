"""Confusion matrices of every task, and balanced accuracy of several classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from featx.reporting.summary import summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run

from .conftest import filled, single

Write = Callable[..., Run]
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
