"""External test sets of training: what is scored, what is refused, and that the runs themselves do not change."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import read_manifest
from featx.errors import (
    ConfigError,
    LeakError,
    MissingFeaturesError,
    RunError,
    StaleStoreError,
    TaskError,
)
from featx.external import EXTERNAL, ExternalScores, external_scores
from featx.features.store import TRAINED_ON, FeatureStore
from featx.files import write_json
from featx.images import content_keys
from featx.progress import Silent
from featx.runs import Run
from featx.svm import external_sets, load_model, run_auc
from featx.svm.settings import TrainSvmSettings, external_source
from featx.svm.train import train_svm

from .conftest import Make, recipe

TASK = "sick:healthy"
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


class Arm:
    """A training manifest with features of 80 images, and external manifests with features in the same store."""

    def __init__(self, folder: Path, features: np.ndarray, positive: np.ndarray, make: Make) -> None:
        self.folder = folder
        self.features, self.labels = features, ["sick" if one else "healthy" for one in positive]
        groups = [f"p{row // 2}" for row in range(80)]
        self.manifest, self.store = make(features[:80], self.labels[:80], groups)

    def external(
        self,
        name: str = "clinic",
        rows: Sequence[int] = tuple(range(80, 120)),
        labels: dict[str, str] | None = None,
        group: str = "q{}",
        image: str = "e{}.png",
        content: str = "external {}",
        store: Path | None = None,
    ) -> Path:
        """Write a manifest whose images have these rows of features."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        table = [["image", "label", "group", "sex"]]
        for row in rows:
            path = folder / image.format(row)
            path.write_text(content.format(row))
            label = (labels or {}).get(self.labels[row], self.labels[row])
            table.append([str(path), label, group.format(row), "female" if row % 2 else "male"])
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(table)
        keys = content_keys([row[0] for row in table[1:]]).keys
        opened = FeatureStore(store or self.store)
        new = {key: row for key, row in zip(keys.values(), rows, strict=True) if opened.missing([key])}
        if new:
            opened.write_block(list(new), np.ascontiguousarray(self.features[list(new.values()), None]))
        return folder / f"{name}.csv"

    def train(self, *tests: Any, **more: Any) -> tuple[Run, ...]:
        places = {"output": self.folder / "runs", "cache": self.folder / "cache"}
        options = {"task": TASK, "protocol": "kfold:2", "features": [self.store], "costs": (0.1, 1.0)}
        return train_svm(self.manifest, **{**places, **options, "test": tests, **more})

    def scored(self, *tests: Any, **more: Any) -> list[ExternalScores]:
        return [one for run in self.train(*tests, **more) for one in external_scores(run)]


@pytest.fixture
def arm(tmp_path: Path, make: Make, relu_features: Draw) -> Arm:
    return Arm(tmp_path, *relu_features(120, 30, signal=6.0), make)


def files(folder: Path) -> dict[str, bytes]:
    """Files of a folder of runs that do not vary between equal runs."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if f"/{EXTERNAL}/" not in name and path.name not in ("environment.json", "complete.json")
    }


def test_every_model_scores_every_external_image(arm: Arm) -> None:
    runs = arm.train(arm.external())
    assert len(runs) == 2
    for run in runs:
        (found,) = external_scores(run)
        assert found.record.name == "clinic"
        assert [row.id for row in found.predictions] == sorted(f"e{row}" for row in range(80, 120))
        assert found.record.counts["classes"] == {
            name: arm.labels[80:].count(name) for name in ("healthy", "sick")
        }
        assert {row.strata["sex"] for row in found.predictions} == {"male", "female"}
        rows = [int(row.id[1:]) for row in found.predictions]
        wanted = load_model(run.path).scores(arm.features[rows], FeatureStore(arm.store).digest)
        assert [row.scores["sick"] for row in found.predictions] == pytest.approx(wanted[:, 0].tolist())
        assert run_auc(Run(run.path, run.record, found.predictions)) > 0.6


def test_runs_are_byte_identical_with_and_without_external_sets(arm: Arm) -> None:
    arm.train(calibrate="sigmoid")
    plain = files(arm.folder / "runs")
    shutil.rmtree(arm.folder / "runs")
    runs = arm.train(arm.external(), calibrate="sigmoid")
    assert files(arm.folder / "runs") == plain
    (found,) = external_scores(runs[0])
    assert all(0 < row.probabilities["sick"] < 1 for row in found.predictions)


def test_finished_runs_are_scored_without_being_trained_again(arm: Arm) -> None:
    before = [run.path.stat().st_ino for run in arm.train()]
    external = arm.external()
    runs = arm.train(external)
    assert [run.path.stat().st_ino for run in runs] == before
    marks = [one.path.stat().st_ino for run in runs for one in external_scores(run)]
    assert [one.path.stat().st_ino for one in arm.scored(external)] == marks


def test_a_run_that_is_trained_again_is_scored_again(arm: Arm) -> None:
    external = arm.external()
    arm.train(external)
    runs = arm.train(external, overwrite=True)
    assert [len(external_scores(run)) for run in runs] == [1, 1]
    assert arm.train(overwrite=True)
    assert [external_scores(run) for run in arm.train()] == [(), ()]


def test_another_manifest_of_the_same_name_is_refused(arm: Arm) -> None:
    arm.train(arm.external())
    smaller = arm.external(rows=range(80, 100))
    with pytest.raises(RunError, match="external scores with other inputs exist here"):
        arm.train(smaller)
    assert [one.record.name for one in arm.scored(f"half={smaller}")] == ["clinic", "half"] * 2


def test_another_manifest_of_the_same_name_is_refused_before_a_fold_is_trained(arm: Arm) -> None:
    (first,) = arm.train(arm.external(), folds=["2"])
    with pytest.raises(RunError, match="external scores with other inputs exist here"):
        arm.train(arm.external(rows=range(80, 100)))
    assert [path.name for path in first.path.parent.iterdir() if path.is_dir()] == ["2"]


def test_several_sets_have_several_names(arm: Arm) -> None:
    one, two = arm.external("one", range(80, 100)), arm.external("two", range(100, 120))
    found = arm.scored(one, {"manifest": str(two), "name": "b"})
    assert [scores.record.name for scores in found] == ["b", "one"] * 2


@pytest.mark.parametrize("other", ["x y", "x-y"])
def test_sets_of_one_folder_are_refused_before_an_image_is_read(
    arm: Arm, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    one, two = arm.external("one", range(80, 100)), arm.external("two", range(100, 120))
    monkeypatch.setattr(external_sets, "content_keys", None)
    with pytest.raises(
        ConfigError, match=rf"once. Got 'x y', '{other}', whose scores would be in one folder"
    ):
        arm.train(f"x y={one}", f"{other}={two}")


def test_a_manifest_that_has_been_read_is_taken(arm: Arm) -> None:
    assert len(arm.scored(read_manifest(arm.external(), allow_outside=True))) == 2


def test_a_patient_of_the_training_data_is_refused_or_left_out(arm: Arm) -> None:
    shared = arm.external(group="p{}", rows=[*range(30, 38), *range(90, 110)])
    with pytest.raises(
        LeakError, match=r"8 of 28 images of the external test set 'clinic' overlap.*8 same group"
    ) as caught:
        arm.train(shared)
    assert "e30 in" in str(caught.value)
    assert not (arm.folder / "runs").exists() or not external_scores(arm.train()[0])
    found = arm.scored(shared, overlap="drop")
    assert [len(one.predictions) for one in found] == [20, 20]
    assert found[0].record.overlap["kinds"] == {"group": 8}
    assert found[0].record.overlap["left_out"]["e30"] == ["group"]
    kept = arm.scored(f"theirs={shared}", own_names=True)
    assert [len(one.predictions) for one in kept if one.record.name == "theirs"] == [28, 28]


def test_byte_identical_images_under_other_names_are_refused(arm: Arm) -> None:
    same = arm.external(rows=[5, 6, *range(90, 110)], content="image {}")
    with pytest.raises(LeakError, match=r"2 byte-identical to a training image \(e5 in .* = i0005"):
        arm.train(same)
    assert [len(one.predictions) for one in arm.scored(same, overlap="drop")] == [20, 20]


def test_a_set_that_overlaps_wholly_has_nothing_to_score(arm: Arm) -> None:
    same = arm.external(rows=range(10), content="image {}")
    with pytest.raises(TaskError, match="all 10 images of the external test set 'clinic' overlap"):
        arm.train(same, overlap="drop")


def test_the_training_manifest_is_no_external_set(arm: Arm) -> None:
    with pytest.raises(LeakError, match="80 of 80 images of the external test set"):
        arm.train(arm.manifest)


def test_images_that_the_network_was_trained_on_overlap(arm: Arm) -> None:
    external = arm.external()
    (key,) = content_keys([str(arm.folder / "clinic" / "e85.png")]).keys.values()
    write_json(arm.store / TRAINED_ON, {"train_keys": [key]})
    with pytest.raises(LeakError, match="1 byte-identical to an image that the network was trained on"):
        arm.train(external)


def test_missing_features_are_named_with_the_command_that_extracts_them(arm: Arm) -> None:
    external = arm.external()
    (arm.folder / "clinic" / "e90.png").write_text("changed")
    with pytest.raises(MissingFeaturesError, match=r"external test set 'clinic'.*1 of 40 images") as caught:
        arm.train(external)
    said = str(caught.value)
    assert "(e90)" in said
    where = f"{external} --cache {arm.folder / 'cache'}"
    assert (
        f"run `featx extract {where} --backbone tiny --pool avg --image-size 64 --preparation resize" in said
    )
    assert "--layer 'global pool' --weights WEIGHTS_SOURCE`" in said
    found = arm.scored(external, missing="leave-out")
    assert [len(one.predictions) for one in found] == [39, 39]
    assert found[0].record.counts["left_out"] == 1
    assert "1 images have no features and were left out" in found[0].record.warnings


def test_networks_of_folds_are_named_by_their_folder(arm: Arm, tmp_path: Path) -> None:
    stores = []
    for fold in ("1", "2"):
        source = str(tmp_path / "tuned" / fold)
        made = FeatureStore.create(
            tmp_path / f"store{fold}",
            recipe(weights=fold * 4, weights_source=source, trained_on={"fold": fold}, layer=f"layer{fold}"),
        )
        keys = content_keys([str(path) for path in sorted((arm.folder / "images").iterdir())]).keys
        made.write_block(list(keys.values()), np.ascontiguousarray(arm.features[:80, None]))
        write_json(made.path / TRAINED_ON, {"train_keys": []})
        stores.append(made.path)
    external = arm.external()
    with pytest.raises(
        MissingFeaturesError, match=rf"--layer layer1 --layer layer2 --weights {tmp_path}/tuned`"
    ):
        arm.train(external, features=stores)
    for store in stores:
        arm.external(store=store)
    found = arm.scored(external, features=stores)
    assert [one.record.features for one in found] == [FeatureStore(store).digest for store in stores]


def test_features_may_be_in_another_store_of_the_same_recipe(arm: Arm, tmp_path: Path) -> None:
    other = FeatureStore.create(tmp_path / "theirs", recipe())
    external = arm.external(store=other.path)
    with pytest.raises(MissingFeaturesError):
        arm.train(external)
    assert len(arm.scored(external, test_features=[other.path])) == 2


def test_a_store_of_another_recipe_is_refused(arm: Arm, tmp_path: Path) -> None:
    other = FeatureStore.create(tmp_path / "theirs", recipe(image_size=96))
    with pytest.raises(StaleStoreError, match="no store has the recipe of"):
        arm.train(arm.external(), test_features=[other.path])


def test_labels_without_a_class_are_named_and_left_out(arm: Arm) -> None:
    arm.labels[80:90] = ["unsure"] * 10
    (first, _) = arm.scored(arm.external())
    assert first.record.counts["excluded"] == 10
    assert any("'unsure' (10 images)" in text for text in first.record.warnings)


def test_no_common_class_is_an_error(arm: Arm) -> None:
    external = arm.external(labels={"sick": "a", "healthy": "b"})
    with pytest.raises(TaskError, match="no image of this external test set has a class of the task"):
        arm.train(external)


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def test_one_class_alone_has_no_auc_and_is_no_error(arm: Arm) -> None:
    sick = [row for row in range(80, 120) if arm.labels[row] == "sick"]
    said = Said()
    (run, _) = arm.train(arm.external(rows=sick), progress=said)
    (found,) = external_scores(run)
    assert found.record.counts["classes"] == {"healthy": 0, "sick": len(sick)}
    assert np.isnan(run_auc(Run(run.path, run.record, found.predictions)))
    assert (
        "fold 1, external test set clinic: no AUC, because a class is missing in the test set" in said.lines
    )


def test_group_scores_are_those_of_external_groups(arm: Arm) -> None:
    external = arm.external(group="q{}", rows=range(80, 120))
    table = external.read_text()
    for row in range(81, 120, 2):
        table = table.replace(f",q{row},", f",q{row - 1},")
    external.write_text(table)
    found = arm.scored(external, group_scores="mean")
    assert {row.id for row in found[0].predictions} == {f"q{row}" for row in range(80, 120, 2)}


def test_all_images_train_and_the_external_set_tests(arm: Arm) -> None:
    (run,) = arm.train(arm.external(), protocol="none")
    assert run.predictions == ()
    assert len(external_scores(run)[0].predictions) == 40


def test_items_of_the_option() -> None:
    assert external_source("a=b.csv").name == "a"
    made = TrainSvmSettings.make({"arm": "x", "test": ["a.csv"], "test_root": "images"})
    assert [(str(one.manifest), one.name, str(one.root)) for one in made.sources] == [
        ("a.csv", None, "images")
    ]
    for odd in ("=b.csv", "a=", {"name": "a"}, {"manifest": "a", "images": "b"}):
        with pytest.raises(ConfigError, match="'test' parameter"):
            TrainSvmSettings.make({"arm": "x", "test": [odd]})
