"""Records of external scores in the folders of runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from featx.errors import RunError
from featx.external import (
    EXTERNAL_RECORD,
    ExternalRecord,
    external_scores,
    finished_scores,
    write_external,
)
from featx.runs import Prediction, Run, RunRecord, find_runs, read_run, shown_as, write_run


@pytest.fixture
def made(tmp_path: Path) -> Run:
    record = RunRecord(
        kind="svm",
        arm="a",
        task="sick:well",
        classes=("well", "sick"),
        scored=("sick",),
        protocol="holdout",
        fold="1",
        folds_digest="",
        seed=0,
        manifest={},
        features={},
        settings={},
    )
    return write_run(tmp_path / "runs" / "1", record, [row("home", 0.5)], {})


def row(name: str, score: float) -> Prediction:
    return Prediction(name, "1", name, "sick", {"sick": score}, {"sick": 0.75}, {"sex": "=female"})


def record(**changes: object) -> ExternalRecord:
    given = ExternalRecord(
        name="PH2, clinic",
        run="r",
        model="m",
        manifest={"name": "ph2", "digest": "d"},
        images="i",
        features="f",
        overlap={"rule": "drop", "own_names": False, "kinds": {"id": 1}, "left_out": {"x": ["id"]}},
        counts={"classes": {"sick": 1, "well": 0}, "groups": 1, "left_out": 0, "excluded": 2},
        warnings=("few images",),
    )
    return dataclasses.replace(given, **changes)  # type: ignore[arg-type]


def test_what_is_written_is_read(made: Run) -> None:
    assert external_scores(made) == ()
    written = write_external(made, record(), [row("x", 1.25)])
    assert written.path.relative_to(made.path).as_posix() == "external/PH2--clinic"
    assert external_scores(made) == (written,)
    assert finished_scores(made, record()) == written


def test_the_run_itself_stays_as_it_is(made: Run) -> None:
    before = {path.name: path.read_bytes() for path in made.path.iterdir()}
    write_external(made, record(), [row("x", 1.25)])
    assert {path.name: path.read_bytes() for path in made.path.iterdir() if path.is_file()} == before
    assert read_run(made.path) == made
    assert find_runs([made.path.parent]) == [made.path]


def test_other_inputs_under_the_same_name_are_refused(made: Run) -> None:
    write_external(made, record(), [row("x", 1.25)])
    assert finished_scores(made, record(name="other")) is None
    with pytest.raises(
        RunError, match=r"external scores with other inputs exist here .*images.*NAME=MANIFEST"
    ):
        finished_scores(made, record(images="j"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("predictions.csv", "id,fold\n"),
        (EXTERNAL_RECORD, "{}"),
        (EXTERNAL_RECORD, "[]"),
        (EXTERNAL_RECORD, "no JSON"),
    ],
)
def test_damaged_files_are_named(made: Run, name: str, content: str) -> None:
    written = write_external(made, record(), [row("x", 1.25)])
    (written.path / name).write_text(content)
    with pytest.raises(RunError, match="external scores cannot be read"):
        external_scores(made)


def test_classes_have_the_names_that_reports_show(made: Run) -> None:
    write_external(made, record(), [row("x", 1.25)])
    shown = shown_as(made, "malignancy", {"well": "benign", "sick": "malignant"}, ("benign", "malignant"))
    (found,) = external_scores(shown)
    assert found.predictions[0].actual == "malignant"
    assert found.predictions[0].scores == {"malignant": 1.25}
    assert found.record.counts["classes"] == {"malignant": 1, "benign": 0}
