"""Hand-made runs, written by `featx.runs.write_run`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.external import ExternalRecord, write_external
from featx.reporting.make_report import Report, report_runs
from featx.reporting.report_contents import CONTENTS, tables
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import Table
from featx.runs import Prediction, Run, RunRecord, find_runs, read_run, run_folder, write_run


def filled(name: str, summary: Summary) -> tuple[Table, ...]:
    """Fill the tables of one entry of a report's contents."""
    (entry,) = (entry for part in CONTENTS for entry in part.tables if entry.name == name)
    return tuple(entry.tables(summary))


def single(name: str, summary: Summary) -> Table | None:
    """Fill the table of an entry that gives one at the most."""
    return next(iter(filled(name, summary)), None)


def every(summary: Summary) -> list[Table]:
    """Fill every table of a report."""
    return [table for _, several in tables(summary) for table in several]


FOLDS = ("1x1", "1x2", "2x1", "2x2", "3x1", "3x2")
LEVELS = ("low", "medium", "high")


def record(arm: str, fold: str, **changes: Any) -> RunRecord:
    values: dict[str, Any] = {
        "kind": "svm",
        "arm": arm,
        "task": "malignant-vs-benign",
        "classes": ("benign", "malignant"),
        "scored": ("malignant",),
        "protocol": "5x2",
        "fold": fold,
        "folds_digest": "f0" * 32,
        "seed": 0,
        "manifest": {"name": "drawn", "digest": "ab" * 32},
        "features": {"digest": "cd" * 32, "recipe": {"backbone": "tiny", "layer": "pool", "pool": "avg"}},
        "settings": {"scaling": "l2", "inner_splits": 10},
        "lineage": ("imagenet", "atlas"),
        "counts": {"train": {"benign": 40, "malignant": 20}},
        "versions": {"python": "3.11.9", "scikit-learn": "1.9.1"},
    }
    return RunRecord(**{**values, **changes})


def predictions(fold: str, shift: float, seed: int, rows: int = 60) -> list[Prediction]:
    """Scores of a known separation: positives lie `shift` standard deviations higher."""
    rng = np.random.default_rng(seed)
    actual = np.arange(rows) % 3 == 0
    noise = rng.normal(size=rows)
    made = []
    for index in range(rows):
        level = LEVELS[index // 3 % 3]
        score = round(float(noise[index] + shift * actual[index] * (1.5 - 0.4 * LEVELS.index(level))), 6)
        made.append(
            Prediction(
                id=f"{fold}-{index:03d}",
                fold=fold,
                group=f"lesion{index // 2}",
                actual="malignant" if actual[index] else "benign",
                scores={"malignant": score},
                strata={"difficulty": level},
            )
        )
    return made


def inner_rows(shift: float, seed: int) -> list[Prediction]:
    """Scores of the training part by SVMs of five inner folds."""
    rows = predictions("inner", shift, seed)
    return [
        dataclasses.replace(row, fold=str(place % 5), group=f"inner {row.group}", strata={})
        for place, row in enumerate(rows)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Run]:
    """Write one run below ``tmp_path/runs``."""

    def one(
        arm: str,
        fold: str,
        rows: Sequence[Prediction] | None = None,
        folder: str = "runs",
        environment: dict[str, Any] | None = None,
        inner: Sequence[Prediction] = (),
        **changes: Any,
    ) -> Run:
        made = record(arm, fold, **changes)
        given = predictions(fold, 1.0, 1) if rows is None else rows
        place = run_folder(tmp_path / folder, arm, made.task, made.protocol, fold)
        return write_run(place, made, given, environment or {"host": "somewhere"}, inner=inner)

    return one


def score_outside(runs: Path, name: str = "clinic", rows: int = 60, **changes: Any) -> Path:
    """Give every run of a folder the scores of an external test set: fewer separated, the same images for each model."""
    for path in find_runs([runs]):
        run = read_run(path)
        scored = run.record.scored
        made = [
            dataclasses.replace(
                row,
                id=f"out-{place:03}",
                group=f"stranger{place // 2}",
                scores={key: round(value * 0.5 + place % 7 / 10, 6) for key, value in row.scores.items()},
            )
            for place, row in enumerate(run.predictions[:rows])
        ]
        told = ExternalRecord(
            **{
                "name": name,
                "run": run.record.id,
                "model": "m" * 64,
                "manifest": {"name": name, "digest": "d"},
                "images": "i",
                "features": "f",
                "overlap": {
                    "rule": "drop",
                    "own_names": False,
                    "kinds": {"near": 1, "id": 2},
                    "left_out": {"x": ["id", "near"], "y": ["id"]},
                },
                "counts": {"classes": dict.fromkeys(scored, 1), "groups": 30, "left_out": 3, "excluded": 0},
                "warnings": ("labels without a class are left out",),
                **changes,
            }
        )
        write_external(run, told, made)
    return runs


COST = {"parameters": 98_432, "multiply_adds": 12_345_678}
STEPS: dict[str, tuple[str, ...]] = {
    "random": ("random:0",),
    "source": ("random:0", "retina"),
    "source + fine-tuned": ("random:0", "retina", "atlas, fold {}"),
}


def speed(images_per_second: float, **changes: Any) -> dict[str, Any]:
    """What `environment.json` tells of a run's features."""
    facts = {"images_per_second": images_per_second, "device": "cpu", "engine": "keras", "networks": 1}
    return {"host": "somewhere", "extraction": {"cd" * 32: {**facts, **changes}}}


def fill(folder: Path) -> Path:
    """Three arms on one task, six folds each, the whole of them the same wherever they lie."""
    for arm, shift in {"random": 0.4, "source": 1.1, "source + fine-tuned": 1.6}.items():
        for number, fold in enumerate(FOLDS):
            curve = {"C": [0.1, 1.0, 10.0], "mean": [0.6, 0.7, 0.65 + number / 50]}
            chosen = curve["C"][int(np.argmax(curve["mean"]))]
            # The first arm's store does not know what its network costs.
            told = {"cost": COST} if arm != "random" else {}
            made = record(
                arm,
                fold,
                lineage=tuple(step.format(fold) for step in STEPS[arm]),
                features={**record(arm, fold).features, **told},
                search={
                    "classes": {
                        "malignant": {"C": chosen, "edge": "upper" if chosen == 10 else "", "curve": curve}
                    }
                },
                convergence={"fits": 31, "not_converged": int(fold == "2x1")},
            )
            # The first arm's runs are of a version that kept no inner scores.
            inner = [] if arm == "random" else inner_rows(shift, 10 * number + 8)
            made = dataclasses.replace(made, format=2 if inner else 1)
            place = run_folder(folder, arm, made.task, made.protocol, fold)
            rate = speed(80.0 if arm == "source" else 60.0 + number)
            write_run(place, made, predictions(fold, shift, 10 * number + 7), rate, inner=inner)
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of finished runs; not to be written to."""
    return fill(tmp_path_factory.mktemp("study") / "runs")


@pytest.fixture(scope="session")
def made(study: Path) -> Report:
    """A report of the study; not to be written to."""
    return report_runs([study], output=study.parent / "report")


LONG = (
    "Xception, ImageNet, 299 px, average pooling",
    "EfficientNetV2-B3 (fine-tuned on the atlas, then on HAM10000)",
    "VGG-M 4096, ImageNet -> retina (Kaggle DR) -> atlas",
    *(f"Backbone {number} with quite a long name, trained on the atlas" for number in range(4, 13)),
)
DIAGNOSES = ("melanoma", "nevus", "basal cell carcinoma", "seborrheic keratosis")


def several(
    folder: Path,
    arms: Sequence[str],
    classes: Sequence[str] = ("benign", "malignant"),
    folds: Sequence[str] = FOLDS[:4],
    **changes: Any,
) -> Path:
    """Arms with networks of their own on one task, calibrated and searched, of two classes or more."""
    scored = tuple(classes) if len(classes) > 2 else (classes[1],)
    task = {2: "malignant-vs-benign"}.get(len(classes), "diagnoses of the atlas")
    for (place, arm), (number, fold) in product(enumerate(arms), enumerate(folds)):
        rng = np.random.default_rng(number)
        rows = [
            _scored(
                f"{fold}-{row:02d}", fold, classes[row % len(classes)], scored, rng, 0.4 + 0.2 * place, row
            )
            for row in range(48)
        ]
        curve = {"C": [0.01, 0.1, 1.0, 10.0], "mean": [0.6, 0.7, 0.7, 0.65 + number / 50]}
        told = {"cost": {"parameters": 98_432 * (place + 1), "multiply_adds": 12_345_678 * (place + 1)}}
        features = {
            "recipe": {"backbone": f"net{place}", "layer": "pool", "pool": "avg"},
            "digest": "cd" * 32,
        }
        made = record(
            arm,
            fold,
            **{
                "task": task,
                "classes": tuple(classes),
                "scored": scored,
                "features": {**features, **told},
                "search": {"classes": {name: {"C": 1.0, "edge": "", "curve": curve} for name in scored}},
                **changes,
            },
        )
        write_run(run_folder(folder, arm, task, made.protocol, fold), made, rows, speed(60.0 + place))
    return folder


def _scored(
    image: str,
    fold: str,
    actual: str,
    scored: Sequence[str],
    rng: np.random.Generator,
    shift: float,
    row: int,
) -> Prediction:
    scores = {name: round(float(rng.normal() + shift * (name == actual)), 6) for name in scored}
    chances = {name: round(float(1 / (1 + np.exp(-value))), 6) for name, value in scores.items()}
    level = LEVELS[row // len(scored) % 3]
    return Prediction(image, fold, f"lesion{row // 2}", actual, scores, chances, strata={"difficulty": level})


@pytest.fixture(scope="session")
def arms(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Summary]:
    """Summaries of 1 to 12 arms with long names on a task of 2 or 4 classes, each made once."""

    @cache
    def summary(count: int, classes: int = 2, folds: int = 4) -> Summary:
        folder = tmp_path_factory.mktemp("arms")
        labels = ("benign", "malignant") if classes == 2 else DIAGNOSES
        protocol = "5x2" if folds > 1 else "holdout"
        return summarise([several(folder, LONG[:count], labels, FOLDS[:folds], protocol=protocol)])

    return summary


@pytest.fixture(scope="session")
def answers() -> Callable[[Sequence[str]], set[str]]:
    """Name the columns of a table that answer its question: where p is corrected, what belongs to it."""

    def named(columns: Sequence[str]) -> set[str]:
        wanted = {"difference", "adjusted_low", "adjusted_high", "adjusted_p"}
        if not wanted <= set(columns):
            wanted = {"mean", "low", "high", "difference", "smallest"}
        if (
            "level" in columns
        ):  # what a level reaches comes first, then its difference from the reference level
            wanted = {"mean", "auc", "low", "high"}
        return wanted & set(columns)

    return named
