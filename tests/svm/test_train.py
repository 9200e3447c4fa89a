"""Training runs: what stands in them, what is refused, and that nothing but the training part decides."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data import training_set
from featx.errors import (
    ConfigError,
    LeakError,
    MissingFeaturesError,
    ProtocolError,
    RunError,
    StaleStoreError,
    StoreError,
    TaskError,
)
from featx.features import arm_file
from featx.features.store import TRAINED_ON, FeatureStore
from featx.files import write_json
from featx.images import content, content_keys, write_keys
from featx.reporting import collect
from featx.reporting.summary import summarise
from featx.runs import inner_scores
from featx.svm.fused import fold_work
from featx.svm.model import load_model
from featx.svm.problems import pool_scores
from featx.svm.train import run_auc, train_svm

Make = Callable[..., tuple[Path, Path]]
Draw = Callable[..., tuple[np.ndarray, np.ndarray]]


def _labels(positive: np.ndarray) -> list[str]:
    return ["sick" if value else "healthy" for value in positive]


TASK = "sick:healthy"


@pytest.fixture
def small(make: Make, relu_features: Draw) -> tuple[Path, Path]:
    features, positive = relu_features(120, 40, signal=6.0)
    return make(features, _labels(positive))


def test_a_run_states_what_went_in_and_what_came_out(small: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, store = small
    runs = train_svm(
        manifest, features=[store], task=TASK, output=tmp_path / "runs", cache=tmp_path / "cache"
    )
    assert [run.record.fold for run in runs] == [f"{i}x{j}" for i in range(1, 6) for j in (1, 2)]
    record = runs[0].record
    assert record.arm == "tiny-random0"
    assert (record.kind, record.classes, record.scored) == ("svm", ("healthy", "sick"), ("sick",))
    assert record.settings["loss"] == "squared_hinge"
    assert record.settings["bias"] == "penalised"
    assert record.lineage == ("random",)
    curve = record.search["classes"]["sick"]["curve"]
    assert np.shape(curve["auc"]) == (10, len(curve["C"]))
    assert record.convergence["fits"] == 10 * len(curve["C"]) + 5 + 1
    assert record.convergence["not_converged"] == 0
    assert record.convergence["worst_residual"] < 1e-9
    assert (tmp_path / "runs" / "tiny-random0" / "sick-healthy" / "5x2" / "folds.json").is_file()
    assert np.mean([run_auc(run) for run in runs]) > 0.75
    assert {row.id for run in runs[:2] for row in run.predictions} == {f"i{i:04}" for i in range(120)}
    assert runs[0].predictions[0].strata == {"difficulty": "low"}


def test_the_chosen_cost_is_the_curves_best(small: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, store = small
    (run,) = train_svm(
        manifest,
        features=[store],
        task=TASK,
        folds=["1x1"],
        output=tmp_path / "runs",
        cache=tmp_path / "cache",
    )
    found = run.record.search["classes"]["sick"]
    mean = np.mean(found["curve"]["auc"], axis=0)
    assert found["C"] == found["curve"]["C"][int(np.flatnonzero(mean >= mean.max() - 1e-12)[0])]
    assert found["curve"]["mean"] == pytest.approx(mean.tolist(), abs=1e-15)


def test_finished_runs_are_kept_and_other_inputs_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, store = small
    told: list[str] = []

    class Listener:
        def start(self, task: str, total: int, unit: str = "images") -> None: ...
        def advance(self, count: int = 1) -> None: ...
        def say(self, message: str) -> None:
            told.append(message)

        def finish(self) -> None: ...

    options = {"features": [store], "task": TASK, "output": tmp_path / "runs", "cache": tmp_path / "cache"}
    first = train_svm(manifest, protocol="kfold:2", **options)
    times = [(run.path / "environment.json").stat().st_mtime_ns for run in first]
    second = train_svm(manifest, protocol="kfold:2", progress=Listener(), **options)
    assert [(run.path / "environment.json").stat().st_mtime_ns for run in second] == times
    (warning,) = [line for line in told if "finished before" not in line]
    assert warning.startswith("warning: the manifest has no column 'group'")
    with pytest.raises(RunError, match=r"settings.loss"):
        train_svm(manifest, protocol="kfold:2", preset="paper", **options)
    with pytest.raises(ProtocolError, match="other folds"):
        train_svm(manifest, protocol="kfold:2", seed=1, **options)
    third = train_svm(manifest, protocol="kfold:2", preset="paper", overwrite=True, **options)
    assert third[0].record.settings["loss"] == "hinge"


def test_arms_of_one_task_meet_whatever_it_is_called(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(60, 10, signal=6.0)
    manifest, store = make(features, ["melanoma" if value else "nevus" for value in positive])
    for task in ("melanoma:rest", "melanoma-vs-rest", "Melanoma:rest"):
        given = {"protocol": "1x2", "arm": f"arm {task}", "output": tmp_path / "runs"}
        train_svm(manifest, features=[store], task=task, cache=tmp_path / "cache", **given)
    series, _ = collect([tmp_path / "runs"])
    assert {(item.task, item.classes) for item in series} == {("Melanoma:rest", ("rest", "Melanoma"))}
    assert len(series) == 3
    assert len({row.scores["Melanoma"] for item in series for row in item.runs[0].predictions[:1]}) == 1


@pytest.mark.parametrize(
    ("sick", "options", "message"),
    [
        (2, {}, "fold 1x2: no validation set can be taken from its training set, .* healthy 1, sick 1"),
        (3, {"calibrate": "sigmoid"}, "fold 1x1: .* two groups of every class .* healthy 1, sick 2"),
    ],
)
def test_no_fold_is_written_where_another_cannot_be_done(
    make: Make, relu_features: Draw, tmp_path: Path, sick: int, options: dict[str, Any], message: str
) -> None:
    """In both cases the other fold could be trained."""
    labels = ["healthy"] * 3 + ["sick"] * sick
    features, _ = relu_features(len(labels), 5)
    manifest, store = make(features, labels)
    given = {"features": [store], "protocol": "1x2", "cache": tmp_path / "cache", **options}
    with pytest.raises(ProtocolError, match=message):
        train_svm(manifest, output=tmp_path / "runs", **given)
    assert not (tmp_path / "runs").exists()


def test_missing_groups_and_doubtful_labels_stand_in_the_record(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(60, 10, signal=6.0)
    manifest, store = make(features, ["sic" if n == 0 else name for n, name in enumerate(_labels(positive))])
    options = {"features": [store], "task": "sick:rest", "protocol": "1x2", "cache": tmp_path / "cache"}
    for run in train_svm(manifest, output=tmp_path / "runs", **options):
        groups, near = run.record.warnings[:2]
        assert groups.startswith("the manifest has no column 'group'")
        assert near.startswith(
            "labels similar to a named class count as 'rest': 'sic' (1 image, similar to 'sick')"
        )
    told = [line for line in summarise([tmp_path / "runs"]).warnings if ", all folds: " in line]
    assert [line.partition(", all folds: ")[2] for line in told[:2]] == [groups, near]
    with pytest.raises(TaskError, match="'sic'"):
        train_svm(manifest, output=tmp_path / "strict", strict_labels=True, **options)
    assert not (tmp_path / "strict").exists()


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_same_bytes_for_any_number_of_workers(small: tuple[Path, Path], tmp_path: Path, preset: str) -> None:
    manifest, store = small
    for workers in (1, 2, 5):
        train_svm(
            manifest,
            features=[store],
            task=TASK,
            folds=["1x1", "3x2"],
            preset=preset,
            workers=workers,
            output=tmp_path / f"runs{workers}",
            cache=tmp_path / "cache",
        )
    for path in sorted((tmp_path / "runs1").rglob("*")):
        if path.name in {"run.json", "predictions.csv", "model.skops", "folds.json"}:
            for other in ("runs2", "runs5"):
                assert (
                    tmp_path / other / path.relative_to(tmp_path / "runs1")
                ).read_bytes() == path.read_bytes()


def test_the_test_part_decides_nothing(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    """Other features and labels of test images change neither the search nor the model."""
    features, positive = relu_features(100, 30)
    splits = ["train"] * 60 + ["test"] * 40
    labels = _labels(positive)
    manifest, store = make(features, labels, splits=splits)
    options = {
        "task": TASK,
        "protocol": "holdout",
        "cache": tmp_path / "cache",
        "scaling": ["zscore", "l2", "whiten"],
    }
    (first,) = train_svm(manifest, features=[store], output=tmp_path / "a", **options)
    changed = features.copy()
    changed[60:] = np.random.default_rng(1).normal(size=changed[60:].shape) * 1e3
    swapped = labels[:60] + labels[60:][::-1]
    manifest, store = make(changed, swapped, splits=splits, store="other")
    (second,) = train_svm(manifest, features=[store], output=tmp_path / "b", **options)
    assert first.record.search == second.record.search
    assert (first.path / "model.skops").read_bytes() == (second.path / "model.skops").read_bytes()
    assert [row.scores for row in first.predictions] != [row.scores for row in second.predictions]


def test_the_saved_model_gives_the_predictions_and_refuses_other_recipes(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, path = small
    (run,) = train_svm(
        manifest,
        features=[path],
        task=TASK,
        folds=["1x1"],
        output=tmp_path / "runs",
        cache=tmp_path / "cache",
    )
    store = FeatureStore(path)
    model = load_model(run.path)
    features = store.read_images(manifest, [row.id for row in run.predictions])
    assert model.scores(features, store.digest)[:, 0].tolist() == [
        row.scores["sick"] for row in run.predictions
    ]
    with pytest.raises(StaleStoreError, match="trained on features of recipe"):
        model.scores(features, "0" * 64)


def test_several_classes_have_a_score_and_a_cost_each(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, _ = relu_features(150, 30)
    labels = np.array(["a", "b", "c"])[np.argmax(features[:, :3] + 0.1, axis=1)]
    manifest, store = make(features, labels)
    options = {"features": [store], "protocol": "kfold:2", "cache": tmp_path / "cache"}
    (own, _) = train_svm(manifest, output=tmp_path / "own", **options)
    assert own.record.scored == ("a", "b", "c")
    assert set(own.predictions[0].scores) == {"a", "b", "c"}
    assert run_auc(own) > 0.7
    (shared, _) = train_svm(manifest, output=tmp_path / "shared", shared_cost=True, **options)
    assert len({one["C"] for one in shared.record.search["classes"].values()}) == 1


def test_missing_features_are_refused_or_left_out(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(80, 20)
    manifest, store = make(features, _labels(positive), skip=[3, 50])
    options = {"features": [store], "task": TASK, "cache": tmp_path / "cache", "output": tmp_path / "runs"}
    with pytest.raises(MissingFeaturesError, match=r"2 of 80 images have no features \(i0003, i0050\)"):
        train_svm(manifest, **options)
    lost = tmp_path / "images" / "i0003.png"
    (store / "failures.csv").write_text(f"id,path,reason\ni0003,{lost},not an image\n")
    runs = train_svm(manifest, missing="leave-out", **options)
    tested = {row.id for run in runs[:2] for row in run.predictions}
    assert tested == {f"i{i:04}" for i in range(80)} - {"i0003", "i0050"}
    assert runs[0].record.counts["left_out"] == 2
    assert any("2 images have no features" in line for line in runs[0].record.warnings)
    flow = runs[0].record.counts["flow"]
    assert flow["listed"]["images"] == flow["task"]["images"] == 80
    assert (flow["no_features"]["images"], flow["no_features"]["failed"], flow["no_class"]["images"]) == (
        2,
        1,
        0,
    )
    assert {image.strata["difficulty"] for image in training_set(runs[0])} == {"low"}


def test_images_changed_since_their_extraction_are_told_from_new_ones(
    make: Make, relu_features: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SETTLED_NS", 0)
    features, positive = relu_features(60, 10, signal=6.0)
    manifest, store = make(features, _labels(positive), skip=[3])
    content_keys(sorted((tmp_path / "images").iterdir()), cache=tmp_path / "cache")  # as an extraction does
    (tmp_path / "images" / "i0007.png").write_bytes(b"cropped")
    options = {"features": [store], "task": TASK, "cache": tmp_path / "cache", "output": tmp_path / "runs"}
    said = r"2 of 60 images have no features \(i0003, i0007\), 1 of them because their files were changed"
    with pytest.raises(
        MissingFeaturesError, match=said + r" after extraction \(i0007\); run `featx extract`"
    ):
        train_svm(manifest, **options)
    (run,) = train_svm(manifest, missing="leave-out", protocol="1x2", folds=["1x1"], **options)
    assert any("left out, 1 of them because their files were changed" in line for line in run.record.warnings)


def test_listed_keys_decide_which_features_are_used(
    make: Make, relu_features: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, positive = relu_features(60, 10, signal=6.0)
    manifest, store = make(features, _labels(positive))
    options = {"features": [store], "task": TASK, "protocol": "1x2", "folds": ["1x1"]}
    (plain,) = train_svm(manifest, output=tmp_path / "plain", cache=tmp_path / "cache", **options)
    images = sorted((tmp_path / "images").iterdir())
    keys = content_keys(images).keys
    write_keys(tmp_path / "keys.csv", keys)
    for image in images:
        image.write_bytes(b"changed since")

    def refuse(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr(content, "_hash", refuse)
    for number, given in enumerate((tmp_path / "keys.csv", keys)):
        output = tmp_path / f"listed{number}"
        (listed,) = train_svm(manifest, keys=given, output=output, cache=tmp_path / f"c{number}", **options)
        assert [row.scores for row in listed.predictions] == [row.scores for row in plain.predictions]
        assert listed.record == plain.record


def test_copies_of_an_image_never_straddle(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(60, 20)
    features[30:] = features[:30]
    contents = [f"image {i % 30}".encode() for i in range(60)]
    labels = _labels(np.tile(positive[:30], 2))
    manifest, store = make(features, labels, contents=contents)
    options = {"features": [store], "task": TASK, "cache": tmp_path / "cache"}
    for run in train_svm(manifest, output=tmp_path / "runs", **options):
        tested = {row.id for row in run.predictions}
        assert all((f"i{i:04}" in tested) == (f"i{i + 30:04}" in tested) for i in range(30))
    given = {
        "name": "1",
        "train": [f"i{i:04}" for i in range(10, 60)],
        "test": [f"i{i:04}" for i in range(10)],
    }
    write_json(tmp_path / "folds.json", {"protocol": "given", "seed": 0, "folds": [given]})
    (run,) = train_svm(manifest, protocol=tmp_path / "folds.json", output=tmp_path / "given", **options)
    assert sum(run.record.counts["train"].values()) == 40
    assert any("10 training images are byte-identical to test images" in line for line in run.record.warnings)


def _fine_tuned(
    make: Make, manifest: Path, fold: str, train: list[str], features: np.ndarray, labels: list[str]
) -> Path:
    """Make a store whose weights say that they were trained on some images."""
    trained_on = {"fold": fold, "folds_digest": "d", "train_keys_digest": fold}
    _, path = make(
        features,
        labels,
        store=f"store-{fold}",
        weights=f"w{fold}",
        weights_label=f"run-{fold}",
        trained_on=trained_on,
    )
    images = [str(manifest.parent / "images" / f"{name}.png") for name in train]
    write_json(path / TRAINED_ON, {**trained_on, "train_keys": sorted(content_keys(images).keys.values())})
    return path


def test_fine_tuned_stores_serve_their_own_fold_only(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(60, 20)
    labels = _labels(positive)
    manifest, plain = make(features, labels)
    options = {"task": TASK, "protocol": "kfold:2", "cache": tmp_path / "cache"}
    runs = train_svm(manifest, features=[plain], output=tmp_path / "plain", **options)
    tests = {run.record.fold: [row.id for row in run.predictions] for run in runs}
    stores = [
        _fine_tuned(make, manifest, fold, tests["2" if fold == "1" else "1"], features, labels)
        for fold in "12"
    ]
    runs = train_svm(manifest, features=stores, output=tmp_path / "tuned", **options)
    assert [run.record.arm for run in runs] == ["tiny-run", "tiny-run"]
    assert runs[0].record.features["digest"] != runs[1].record.features["digest"]
    with pytest.raises(StoreError, match="no feature store for fold 2"):
        train_svm(
            manifest,
            features=[stores[0], _fine_tuned(make, manifest, "3", [], features, labels)],
            arm="x",
            **options,
        )
    with pytest.raises(LeakError, match=r"trained on 30 images .* test set of fold 2"):
        train_svm(manifest, features=[stores[0]], output=tmp_path / "leak", **options)
    with pytest.raises(ConfigError, match="fold 1 has 2 feature stores"):
        train_svm(manifest, features=[plain, stores[0]], arm="x", output=tmp_path / "mixed", **options)


def test_features_are_found_by_arm_by_file_and_by_folder(
    small: tuple[Path, Path], tmp_path: Path, monkeypatch
) -> None:
    manifest, store = small
    cache = tmp_path / "cache"
    kept = cache / "features" / "one"
    shutil.copytree(store, kept)
    write_json(arm_file(cache, "tuned"), {"format": 1, "arm": "tuned", "stores": ["features/one"]})
    options = {"task": TASK, "protocol": "kfold:2", "costs": [1.0], "cache": cache}
    wanted = train_svm(manifest, features=kept, output=tmp_path / "store", **options)
    assert {run.record.arm for run in wanted} == {"tiny-random0"}
    for name, given, arm in [
        ("name", {"arm": "tuned"}, "tuned"),
        ("file", {"features": cache / "arms" / "tuned.json"}, "tuned"),
        ("renamed", {"features": str(cache / "arms" / "tuned.json"), "arm": "mine"}, "mine"),
        ("folder", {"features": [cache, kept]}, "tiny-random0"),
    ]:
        runs = train_svm(manifest, output=tmp_path / name, **given, **options)
        assert {run.record.arm for run in runs} == {arm}
        assert [run.predictions for run in runs] == [run.predictions for run in wanted]
        assert [run.record.features for run in runs] == [run.record.features for run in wanted]
    with pytest.raises(StoreError, match=r"no features of an arm 'tune'; did you mean 'tuned'"):
        train_svm(manifest, arm="tune", **options)
    with pytest.raises(ConfigError, match="Neither features nor an arm was given"):
        train_svm(manifest, **options)


def test_weights_that_saw_the_group_of_a_test_image_are_refused(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(40, 10)
    labels = _labels(np.repeat(positive[:20], 2))
    groups = np.repeat(np.arange(20), 2)
    make(features, labels, groups=groups)
    manifest = tmp_path / "manifest.csv"
    text = manifest.read_text()
    store = _fine_tuned(make, manifest, "1", ["i0000"], features, labels)
    manifest.write_text(text)
    with pytest.raises(LeakError, match="or their groups"):
        train_svm(manifest, features=[store], task=TASK, output=tmp_path / "r", cache=tmp_path / "cache")


def test_features_that_are_not_finite_name_their_images(
    make: Make, relu_features: Draw, tmp_path: Path, monkeypatch
) -> None:
    features, positive = relu_features(40, 10)
    manifest, store = make(features, _labels(positive))
    read = FeatureStore.read

    def broken(self: FeatureStore, keys: list[str]) -> np.ndarray:
        values = read(self, keys)
        values[keys.index(content_keys([str(tmp_path / "images" / "i0007.png")]).keys.popitem()[1])] = np.nan
        return values

    monkeypatch.setattr(FeatureStore, "read", broken)
    with pytest.raises(StoreError, match="i0007 are not finite"):
        train_svm(manifest, features=[store], task=TASK, output=tmp_path / "r", cache=tmp_path / "cache")


def test_views_are_averaged(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(60, 20)
    offsets = np.array([-1.0, 0.0, 1.0], dtype=np.float32)[None, :, None]
    manifest, viewed = make(features[:, None] + offsets, _labels(positive), store="viewed", view_pool="keep")
    _, plain = make(features, _labels(positive))
    options = {"task": TASK, "protocol": "kfold:2", "cache": tmp_path / "cache"}
    averaged = train_svm(manifest, features=[viewed], output=tmp_path / "viewed", **options)
    single = train_svm(manifest, features=[plain], output=tmp_path / "plain", **options)
    for one, other in zip(averaged, single, strict=True):
        assert [r.scores["sick"] for r in one.predictions] == pytest.approx(
            [r.scores["sick"] for r in other.predictions], abs=1e-4
        )


@pytest.mark.parametrize("pool", ["mean", "max", "extreme"])
def test_views_as_rows_pool_scores_and_keep_images_together(
    make: Make, relu_features: Draw, tmp_path: Path, pool: str
) -> None:
    features, positive = relu_features(60, 20)
    noise = np.random.default_rng(1).normal(scale=0.05, size=(60, 3, 20)).astype(np.float32)
    manifest, path = make(features[:, None] + noise, _labels(positive), view_pool="keep")
    options = {
        "task": TASK,
        "protocol": "kfold:2",
        "cache": tmp_path / "cache",
        "views": "rows",
        "pool": pool,
    }
    run, _ = train_svm(manifest, features=[path], output=tmp_path / "runs", **options)
    store, model = FeatureStore(path), load_model(run.path)
    values = store.read_images(manifest, [row.id for row in run.predictions])
    single = model.decisions[0]
    rows = single.scaler.scores(values.reshape(-1, 20), single.weights[:, None]) + single.intercept
    assert [row.scores["sick"] for row in run.predictions] == pool_scores(rows.reshape(-1, 3, 1), pool)[
        :, 0
    ].tolist()
    assert sum(run.record.counts["train"].values()) == 30


def test_views_that_are_copies_change_nothing_but_the_cost(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    """Three copies of each row are rows of three times the cost; no copy may sit on both sides of a split."""
    features, positive = relu_features(60, 100)
    manifest, tripled = make(
        np.repeat(features[:, None], 3, axis=1), _labels(positive), store="t", view_pool="keep"
    )
    _, plain = make(features, _labels(positive))
    options = {"task": TASK, "protocol": "kfold:2", "cache": tmp_path / "cache", "widen": False}
    costs = [1.0, 4.0, 16.0]
    (one, _) = train_svm(
        manifest,
        features=[tripled],
        output=tmp_path / "t",
        views="rows",
        costs=[c / 3 for c in costs],
        **options,
    )
    (other, _) = train_svm(manifest, features=[plain], output=tmp_path / "p", costs=costs, **options)
    curves = [run.record.search["classes"]["sick"]["curve"] for run in (one, other)]
    np.testing.assert_allclose(curves[0]["auc"], curves[1]["auc"], atol=1e-12)


def test_a_group_gets_one_prediction(make: Make, relu_features: Draw, tmp_path: Path) -> None:
    features, positive = relu_features(60, 20)
    groups = np.repeat(np.arange(20), 3)
    manifest, store = make(features, _labels(np.repeat(positive[::3], 3)), groups=groups)
    options = {"features": [store], "task": TASK, "protocol": "kfold:2", "cache": tmp_path / "cache"}
    (by_image, _) = train_svm(manifest, output=tmp_path / "image", **options)
    (by_group, _) = train_svm(manifest, output=tmp_path / "group", group_scores="max", **options)
    for row in by_group.predictions:
        assert row.scores["sick"] == max(
            one.scores["sick"] for one in by_image.predictions if one.group == row.id
        )
    assert len(by_group.predictions) == len({row.group for row in by_image.predictions})


def test_a_fold_run_alone_has_the_bytes_of_a_fold_run_with_others(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest, store = small
    options = {"features": [store], "task": TASK, "cache": tmp_path / "cache"}
    for name, folds in (("one", ["2x1"]), ("all", [])):
        train_svm(manifest, folds=folds, output=tmp_path / name, **options)
    place = Path("tiny-random0") / "sick-healthy" / "5x2" / "2x1"
    for file in ("run.json", "predictions.csv", "model.skops"):
        assert (tmp_path / "one" / place / file).read_bytes() == (
            tmp_path / "all" / place / file
        ).read_bytes()


def test_each_fold_chooses_among_layers_by_its_inner_splits(
    make: Make, relu_features: Draw, tmp_path: Path
) -> None:
    features, positive = relu_features(80, 30, signal=6.0)
    noise = np.random.default_rng(0).normal(size=(80, 10)).astype(np.float32)
    manifest, bad = make(noise, _labels(positive), store="bad", layer="conv1")
    _, good = make(features, _labels(positive), store="good", layer="fc2")
    options = {"task": TASK, "protocol": "kfold:2", "cache": tmp_path / "cache"}
    runs = train_svm(
        manifest, features=[bad, good], choose_features=True, output=tmp_path / "runs", **options
    )
    for run in runs:
        assert run.record.search["layer"] == "fc2"
        assert (
            run.record.search["features"] == FeatureStore(good).digest == load_model(run.path).recipe_digest
        )
        assert [one["recipe"]["layer"] for one in run.record.features["alternatives"]] == ["conv1", "fc2"]
        assert "layer" not in run.record.features["recipe"]
    with pytest.raises(ConfigError, match="--choose-features"):
        train_svm(manifest, features=[bad, good], output=tmp_path / "other", **options)


def test_inner_splits_follow_seed_size_and_groups(
    make: Make, relu_features: Draw, tmp_path: Path, monkeypatch
) -> None:
    """Images 0 and 3 are byte-identical, which joins their groups."""
    features, positive = relu_features(80, 10)
    features[3], joined = features[0], np.repeat(np.arange(40), 2)
    positive = np.repeat(positive[::2], 2)
    positive[:4] = positive[0]
    contents = [b"one" if place in (0, 3) else f"image {place}".encode() for place in range(80)]
    manifest, store = make(
        features, _labels(positive), joined, contents, splits=["train"] * 60 + ["test"] * 20
    )
    joined[2:4] = joined[0]
    given: list[Any] = []
    scored: list[list[str]] = []
    search = fold_work.search_cost

    def spy(*arguments: Any) -> Any:
        given.append(arguments[3])
        return search(*arguments)

    monkeypatch.setattr(fold_work, "search_cost", spy)

    def splits_of(**changes: Any) -> Any:
        options = {"task": TASK, "protocol": "holdout", "costs": [1.0], "cache": tmp_path / "cache"}
        options |= {"inner_splits": 7, "held_out": 0.4}
        output = tmp_path / f"{len(given)}"
        (run,) = train_svm(manifest, features=store, output=output, **options, **changes)
        scored.append([row.fold for row in inner_scores(run)])
        return [[part.tolist() for part in split] for split in given[-1]]

    grouped = splits_of()
    assert len(grouped) == 7
    for fit, validate in grouped:
        assert sorted(fit + validate) == list(range(60))
        assert not {*joined[fit]} & {*joined[validate]}
        assert len(validate) == pytest.approx(24, abs=4)
    assert grouped != splits_of(seed=1)
    separated = [{*joined[fit]} & {*joined[validate]} for fit, validate in splits_of(inner="stratified")]
    assert all(separated)
    assert scored[0] != scored[1], "the folds of the inner scores follow the seed too"
    assert scored[0] == scored[2], "and never ignore groups"


def test_record_survives_json(small: tuple[Path, Path], tmp_path: Path) -> None:
    manifest, store = small
    (run,) = train_svm(
        manifest,
        features=[store],
        task=TASK,
        folds=["2x1"],
        output=tmp_path / "runs",
        cache=tmp_path / "cache",
    )
    record = json.loads((run.path / "run.json").read_text())
    assert record["search"]["scaling"] == "l2"
    assert dataclasses.asdict(run.record)["fold"] == "2x1"
