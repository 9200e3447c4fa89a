"""Maps of runs: coordinates, neighbours, candidates, and files that reports read."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from featx.deploy import read_models
from featx.embedding_maps import Embedding
from featx.embedding_maps.embedded_runs import label_value
from featx.errors import ConfigError, ManifestError, RunError
from featx.features import FeatureStore
from featx.images import content_keys
from featx.reporting.embedding_files import read_embedding
from featx.runs import Prediction, find_runs, read_run, write_run
from tests.deploy.conftest import Place

from .conftest import mapped


def test_every_image_has_a_point_with_its_prediction(made: Embedding, place: Place) -> None:
    (arm,) = made.arms
    assert [point.id for point in arm.points] == [f"p{number:02}" for number in range(24)]
    assert max(np.ptp([(point.x, point.y) for point in arm.points], axis=0)) == 1.0
    rows = {row.id: row for path in find_runs([place.runs]) for row in read_run(path).predictions}
    for point in arm.points:
        row = rows[point.id]
        assert (point.actual, point.group, point.fold) == (row.actual, row.group, row.fold)
        assert point.value == pytest.approx(label_value(row.scores, row.actual), abs=1e-6)
        assert (point.predicted == point.actual) == (point.value >= 0)


def test_coordinates_are_principal_components_of_what_the_svm_sees(made: Embedding, place: Place) -> None:
    (arm,) = made.arms
    model = read_models(place.runs)[0]
    paths = [str(place.manifest.parent / f"{point.id}.png") for point in arm.points]
    keys = content_keys(paths)[0]
    rows = model.svm.scaled(FeatureStore(place.store).read([keys[path] for path in paths]))
    left, values, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    wanted, found = left[:, :2] * values[:2], np.array([(point.x, point.y) for point in arm.points])
    for place_ in range(2):
        assert abs(np.corrcoef(wanted[:, place_], found[:, place_])[0, 1]) == pytest.approx(1, abs=1e-6)
    assert arm.parameters["explained_variance"] == pytest.approx(
        values[:2] ** 2 / (values**2).sum(), abs=1e-4
    )


def test_equal_runs_give_equal_bytes_and_files_are_read_back(
    made: Embedding, place: Place, tmp_path: Path
) -> None:
    again = mapped(place, tmp_path / "again")
    assert [path.name for path in again.files] == [path.name for path in made.files]
    for one, other in zip(again.files, made.files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    (read,), (arm,) = read_embedding(made.output), made.arms
    assert dataclasses.asdict(read) == dataclasses.asdict(arm)
    index = json.loads((again.output / "embedding.json").read_text())
    assert str(place.home) not in json.dumps(index)
    again.files[0].write_text("id\n")
    with pytest.raises(ConfigError, match=r"points-.* was changed after it was written"):
        read_embedding(again.output)
    with pytest.raises(ConfigError, match="Give a folder that `featx embedding` has written"):
        read_embedding(tmp_path)


def relabelled(place: Place, home: Path) -> Path:
    """Runs in which image p04 of the other class is called red: a wrong label that nothing supports."""
    for path in find_runs([place.runs]):
        run = read_run(path)
        rows = [
            dataclasses.replace(row, actual="red" if row.id == "p04" else row.actual)
            for row in run.predictions
        ]
        files = {name: (path / name).read_bytes() for name in ("model.skops", "training_set.csv")}
        write_run(home / path.name, run.record, rows, {}, files)
    return home


def test_a_wrong_label_is_the_first_candidate(place: Place, tmp_path: Path) -> None:
    found = mapped(place, tmp_path / "maps", runs=relabelled(place, tmp_path / "runs"))
    (arm,) = found.arms
    first = arm.noise[0]
    assert (first.id, first.label, first.suggested, first.scored) == ("p04", "red", "grey", "test")
    assert first.agreeing < 0.5
    assert first.value < 0
    near = [row for row in arm.neighbours if row.image == "p04"]
    assert [row.rank for row in near] == [1, 2, 3, 4]
    run = next(one for one in map(read_run, find_runs([place.runs])) if one.record.fold == near[0].fold)
    assert not {row.id for row in near} & {row.id for row in run.predictions}
    assert [row.similarity for row in near] == sorted((row.similarity for row in near), reverse=True)
    assert float(np.mean([row.actual == "red" for row in near])) == pytest.approx(first.agreeing)


def test_images_that_no_fold_tests_are_scored_by_inner_cross_validation(place: Place, tmp_path: Path) -> None:
    one = shutil.copytree(find_runs([place.runs])[0], tmp_path / "runs" / "1")
    (arm,) = mapped(place, tmp_path / "maps", runs=one).arms
    tested = {row.id for row in read_run(one).predictions}
    assert {point.id for point in arm.points if point.fold} == tested
    assert len(arm.points) == 24
    assert all(point.predicted for point in arm.points)
    groups = {point.id: point.group for point in arm.points}
    assert all(groups[row.image] != groups[row.id] for row in arm.neighbours)


def test_what_cannot_be_mapped_is_refused(place: Place, tmp_path: Path) -> None:
    lines = place.manifest.read_text().splitlines()
    short = tmp_path / "short.csv"
    short.write_text("\n".join(line.replace("p", f"{place.manifest.parent}/p", 1) if number else line
                               for number, line in enumerate(lines[:-1])) + "\n")  # fmt: skip
    with pytest.raises(ManifestError, match="lacks 1 of 24 images of the runs"):
        mapped(place, tmp_path / "maps", manifest=short, allow_outside=True)
    with pytest.raises(RunError):
        mapped(place, tmp_path / "maps", runs=place.final.path)
    run = read_run(find_runs([place.runs])[0])
    old = write_run(
        tmp_path / "old",
        run.record,
        run.predictions,
        {},
        {"model.skops": (run.path / "model.skops").read_bytes()},
    )
    with pytest.raises(RunError, match="does not list its training images"):
        mapped(place, tmp_path / "maps", runs=old.path)
    assert not (tmp_path / "maps").exists()


def test_the_value_of_a_label_is_negative_for_another_class() -> None:
    row = Prediction("a", "1", "a", "b", {"a": 0.5, "b": 0.25, "c": -1.0})
    assert label_value(row.scores, "b") == -0.25
    assert label_value({"red": -2.0}, "grey") == 2.0
