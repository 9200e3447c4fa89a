"""Fused arms: members of different information, the fusion inside the training set, and its use afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import ConfigError, MissingFeaturesError, TrainingError
from featx.external import external_scores
from featx.features import FeatureStore, arm_file
from featx.files import write_json
from featx.images import content_keys
from featx.reporting import collect
from featx.reporting.arm_facts import cost_of, origin
from featx.reporting.sections.comparisons import factors_of
from featx.runs import Run, inner_scores
from featx.svm import FusedModel, load_model, run_auc
from featx.svm.train import train_svm

Make = Callable[..., tuple[Path, Path]]
COUNT = 160
LATE = ("mean-score", "stack")


@pytest.fixture
def stores(make: Make) -> tuple[Path, Path, Path]:
    """Two stores of other widths and scales, of which each sees half of what decides the class."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(COUNT, 2))
    score = causes.sum(axis=1)
    labels = np.array(["low", "mid", "high"])[np.digitize(score, np.quantile(score, [0.4, 0.75]))]
    first = np.c_[causes[:, :1] + 0.3 * rng.normal(size=(COUNT, 4)), rng.normal(size=(COUNT, 6))]
    second = 40 * np.c_[causes[:, 1:] + 0.3 * rng.normal(size=(COUNT, 3)), rng.normal(size=(COUNT, 2))]
    groups = [f"g{number // 2}" for number in range(COUNT)]
    manifest, one = make(first.astype(np.float32), labels.tolist(), groups=groups, store="one")
    _, other = make(
        second.astype(np.float32),
        labels.tolist(),
        groups=groups,
        store="other",
        weights="cd34",
        weights_label="other",
    )
    return manifest, one, other


@pytest.fixture
def train(stores: tuple[Path, Path, Path], tmp_path: Path) -> Callable[..., tuple[Run, ...]]:
    manifest, one, other = stores

    def call(name: str, **more: Any) -> tuple[Run, ...]:
        given = {
            "features": [one, other],
            "task": "high:low+mid",
            "protocol": "kfold:2",
            "arm": name,
            "costs": [0.01, 1.0],
            "inner_splits": 3,
            "output": tmp_path / "runs",
            "cache": tmp_path / "cache",
        }
        return train_svm(manifest, **{**given, **more})

    return call


@pytest.mark.parametrize("method", ["concat", *LATE])
def test_a_fused_arm_is_better_than_its_members(
    train: Callable[..., tuple[Run, ...]], stores: Any, method: str
) -> None:
    single = [
        np.mean([run_auc(run) for run in train(f"s{place}", features=[store])])
        for place, store in enumerate(stores[1:])
    ]
    fused = np.mean([run_auc(run) for run in train("fused", fuse=method)])
    assert fused > max(single) + 0.05


@pytest.mark.parametrize("method", LATE)
def test_scores_are_the_fusion_of_those_of_the_members(
    train: Callable[..., tuple[Run, ...]], stores: Any, method: str
) -> None:
    (run, _) = train("fused", fuse=method)
    singles = [train(f"s{place}", features=[store])[0] for place, store in enumerate(stores[1:])]
    held_out = [np.array([row.scores["high"] for row in inner_scores(one)]) for one in singles]
    test = [np.array([row.scores["high"] for row in one.predictions]) for one in singles]
    standard = [(values - known.mean()) / known.std() for values, known in zip(test, held_out, strict=True)]
    found = np.array([row.scores["high"] for row in run.predictions])
    fusion = run.record.search["fusion"]
    if method == "mean-score":
        expected = np.mean(standard, axis=0)
    else:
        expected = np.array(fusion["weights"])[:, 0] @ standard + fusion["intercepts"][0]
        assert all(weight > 0 for (weight,) in fusion["weights"])
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert fusion["mean"] == [[pytest.approx(known.mean(), abs=1e-12)] for known in held_out]
    members = [run.record.search["members"][name] for name in ("tiny-random0", "tiny-other")]
    assert [one["classes"]["high"]["C"] for one in members] == [
        one.record.search["classes"]["high"]["C"] for one in singles
    ]


@pytest.mark.parametrize("method", ["concat", *LATE])
@pytest.mark.parametrize("task", ["high:low+mid", "labels"])
def test_the_model_scores_the_joined_features(
    train: Callable[..., tuple[Run, ...]], stores: Any, method: str, task: str
) -> None:
    (run, _) = train("fused", fuse=method, task=task, calibrate="sigmoid")
    model = load_model(run.path)
    keys = sorted(FeatureStore(stores[1]).keys())
    parts = [FeatureStore(store).read(keys) for store in stores[1:]]
    if method == "concat":
        parts = [part / np.linalg.norm(part, axis=2, keepdims=True) for part in parts]
    else:
        assert isinstance(model, FusedModel)
        assert model.widths == (10, 5)
    scores = model.scores(np.concatenate(parts, axis=2), model.recipe_digest)
    assert scores.shape == (COUNT, 3 if task == "labels" else 1)
    known = sorted(tuple(row.scores[name] for name in model.scored) for row in run.predictions)
    every = {tuple(np.round(line, 5)) for line in scores}
    assert {tuple(np.round(line, 5)) for line in known} <= every
    chances = model.probabilities(
        np.array([[row.scores[name] for name in model.scored] for row in run.predictions])
    )
    np.testing.assert_allclose(
        chances, [[row.probabilities[name] for name in model.scored] for row in run.predictions], atol=1e-12
    )


@pytest.mark.parametrize("method", LATE)
def test_nothing_of_the_test_set_reaches_the_model(
    train: Callable[..., tuple[Run, ...]], stores: Any, tmp_path: Path, method: str
) -> None:
    (run, _) = train("before", fuse=method, calibrate="sigmoid")
    _, *folders = stores
    tested = {row.id for row in run.predictions}
    paths = {path.stem: path for path in (tmp_path / "images").iterdir()}
    keys = content_keys(paths.values()).keys
    wrong = {keys[str(paths[name])] for name in tested}
    for folder in folders:
        store = FeatureStore(folder)
        every = sorted(store.keys())
        rows = store.read(every)
        noise = np.random.default_rng(1).normal(size=rows.shape).astype(np.float32)
        hidden = np.array([key in wrong for key in every])
        rows[hidden] = 1000 * noise[hidden]
        store.discard(every)
        FeatureStore(folder).write_block(every, rows)
    (after, _) = train("after", fuse=method, calibrate="sigmoid")
    assert (after.path / "model.skops").read_bytes() == (run.path / "model.skops").read_bytes()
    assert (after.path / "inner_scores.csv").read_bytes() == (run.path / "inner_scores.csv").read_bytes()
    assert after.record.search == run.record.search
    assert after.predictions != run.predictions


@pytest.mark.parametrize("method", ["concat", *LATE])
def test_equal_inputs_give_equal_bytes_and_finished_runs_are_kept(
    train: Callable[..., tuple[Run, ...]], tmp_path: Path, method: str
) -> None:
    runs = train("fused", fuse=method)
    again = train("fused", fuse=method, output=tmp_path / "again", workers=1)
    for one, other in zip(runs, again, strict=True):
        for name in ("run.json", "predictions.csv", "inner_scores.csv", "model.skops"):
            assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
    before = (runs[0].path / "environment.json").stat().st_mtime_ns
    assert train("fused", fuse=method)[0].record.id == runs[0].record.id
    assert (runs[0].path / "environment.json").stat().st_mtime_ns == before


def test_inner_folds_keep_groups_together_and_give_the_thresholds(
    train: Callable[..., tuple[Run, ...]],
) -> None:
    (run, _) = train("fused", fuse="stack")
    rows = inner_scores(run)
    folds: dict[str, set[str]] = {}
    for row in rows:
        folds.setdefault(row.group, set()).add(row.fold)
    assert all(len(found) == 1 for found in folds.values())
    assert len({row.fold for row in rows}) == run.record.search["inner_folds"] == 5
    threshold = run.record.search["thresholds"]["high"]["0.90 sensitivity"]
    positive = [row.scores["high"] for row in rows if row.actual == "high"]
    assert np.mean(np.array(positive) >= threshold) >= 0.9


def test_records_and_reports_name_the_members(
    train: Callable[..., tuple[Run, ...]], stores: Any, tmp_path: Path
) -> None:
    for store, cost in zip(stores[1:], (10, 32), strict=True):
        FeatureStore(store).write_cost(
            {
                "parameters": cost,
                "multiply_adds": 2 * cost,
                "images_per_second": 3.0,
                "device": "cpu",
                "engine": "keras",
                "networks": 1,
            }
        )
    runs = train("fused", fuse="mean-score", member=["near", "far"])
    record = runs[0].record
    assert set(record.search["members"]) == {"near", "far"}
    assert [one["name"] for one in record.features["recipe"]["members"]] == ["near", "far"]
    assert origin(record) == "mean-score of near, far"
    (series,), _ = collect(run.path for run in runs)
    assert (cost_of(series).parameters, cost_of(series).multiply_adds) == (42, 84)
    assert factors_of(series)["classifier"] == "svm"
    stated = json.loads((runs[0].path / "run.json").read_text())
    assert "fuse" not in stated["settings"]


def test_arms_are_named_by_their_files_or_by_member(
    train: Callable[..., tuple[Run, ...]], stores: Any, tmp_path: Path
) -> None:
    for name, store in zip(("a", "b"), stores[1:], strict=True):
        (tmp_path / "cache" / "features").mkdir(parents=True, exist_ok=True)
        store.rename(tmp_path / "cache" / "features" / name)
        write_json(
            arm_file(tmp_path / "cache", name), {"format": 1, "arm": name, "stores": [f"features/{name}"]}
        )
    runs = train(None, features=[], member=["a", "b"], fuse="concat")
    assert runs[0].record.arm == "a + b (concat)"
    files = [arm_file(tmp_path / "cache", name) for name in ("a", "b")]
    assert train(None, features=files, fuse="concat")[0].path == runs[0].path


def test_stores_of_single_folds_are_one_member(
    train: Callable[..., tuple[Run, ...]], stores: Any, make: Make, tmp_path: Path
) -> None:
    manifest, one, _ = stores
    labels = [line.split(",")[2] for line in manifest.read_text().splitlines()[1:]]
    made = [
        make(
            np.random.default_rng(number).normal(size=(COUNT, 3)).astype(np.float32),
            labels,
            groups=[f"g{place // 2}" for place in range(COUNT)],
            store=f"tuned-{fold}",
            weights=f"ef{number}",
            weights_label=f"tuned-{fold}",
            trained_on={"fold": fold},
        )[1]
        for number, fold in enumerate(("1", "2"))
    ]
    for store in made:
        (store / "trained-on.json").write_text('{"train_keys": []}')
    runs = train("fused", fuse="mean-score", features=[one, *made], protocol="kfold:2")
    digests = [[item["digest"] for item in run.record.features["recipe"]["members"]] for run in runs]
    assert digests == [[FeatureStore(one).digest, FeatureStore(store).digest] for store in made]


def test_members_that_cannot_be_fused_are_refused(train: Callable[..., tuple[Run, ...]], stores: Any) -> None:
    _, one, other = stores
    with pytest.raises(ConfigError, match="two members or more"):
        train("fused", fuse="stack", features=[one])
    with pytest.raises(ConfigError, match="Got 2 members and the names a;"):
        train("fused", fuse="stack", member=["a"])
    with pytest.raises(ConfigError, match="give one of both"):
        train("fused", fuse="stack", choose_features=True)
    with pytest.raises(ConfigError, match="give 'fuse' too"):
        train("fused", member=["a", "b"])
    with pytest.raises(ConfigError, match="needs the arms to fuse"):
        train("fused", fuse="stack", features=[])
    store = FeatureStore(other)
    store.discard(sorted(store.keys())[:3])
    with pytest.raises(MissingFeaturesError, match="other: 3 of 160 images"):
        train("fused", fuse="stack")
    (run, _) = train("fused", fuse="stack", missing="leave-out")
    assert run.record.counts["left_out"] == 3


def test_copied_features_under_two_names_are_refused(
    train: Callable[..., tuple[Run, ...]], stores: Any, tmp_path: Path
) -> None:
    shutil.copytree(stores[1], tmp_path / "copy")
    with pytest.raises(ConfigError, match="have the same features"):
        train("fused", fuse="stack", features=[stores[1], tmp_path / "copy"])


def test_a_class_of_one_group_cannot_be_fused_late(make: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 4)).astype(np.float32)
    labels = ["a"] * 8 + ["b"] * 32
    groups = ["p"] * 4 + ["q"] * 4 + [f"n{place}" for place in range(32)]
    splits = (["train"] * 4 + ["test"] * 4) + ["train", "test"] * 16
    manifest, one = make(rows, labels, groups=groups, splits=splits, store="one")
    _, other = make(rows + 1, labels, groups=groups, splits=splits, store="other", weights="cd34")
    given = {
        "features": [one, other],
        "task": "a:b",
        "protocol": "holdout",
        "inner": "stratified",
        "output": tmp_path / "runs",
        "cache": tmp_path / "cache",
        "arm": "fused",
    }
    with pytest.raises(TrainingError, match=r"fusion is not possible: .*--fuse concat"):
        train_svm(manifest, fuse="stack", **given)
    assert train_svm(manifest, fuse="concat", **given)


@pytest.mark.parametrize("apart", [False, True], ids=["the arm's stores", "stores of their own"])
@pytest.mark.parametrize("method", ["concat", *LATE])
def test_external_test_sets_are_scored_by_the_fused_model(
    train: Callable[..., tuple[Run, ...]], stores: Any, tmp_path: Path, method: str, apart: bool
) -> None:
    rng = np.random.default_rng(5)
    clinic = tmp_path / "clinic"
    clinic.mkdir()
    lines = ["image,label,group"]
    for number in range(30):
        (clinic / f"e{number}.png").write_text(f"external {number}")
        lines.append(f"e{number}.png,{('low', 'high')[number % 2]},q{number}")
    (clinic / "manifest.csv").write_text("\n".join(lines) + "\n")
    found = content_keys([str(clinic / f"e{number}.png") for number in range(30)]).keys
    keys = [found[str(clinic / f"e{number}.png")] for number in range(30)]
    drawn = [rng.normal(size=(30, 1, width)).astype(np.float32) for width in (10, 5)]
    holding = [FeatureStore(store) for store in stores[1:]]
    if apart:
        holding = [FeatureStore.create(tmp_path / "far" / one.path.name, one.recipe) for one in holding]
    for store, rows in zip(holding, drawn, strict=True):
        store.write_block(keys, rows)
    more = {"test_features": [one.path for one in holding]} if apart else {}
    for run in train("fused", fuse=method, test=[clinic / "manifest.csv"], **more):
        (scored,) = external_scores(run)
        place = {row.id: row.scores["high"] for row in scored.predictions}
        model = load_model(run.path)
        parts = [FeatureStore(one.path).read(keys) for one in holding]
        if method == "concat":
            parts = [part / np.linalg.norm(part, axis=2, keepdims=True) for part in parts]
        wanted = model.scores(np.concatenate(parts, axis=2), model.recipe_digest)[:, 0]
        np.testing.assert_allclose(
            [place[f"e{number}"] for number in range(30)], wanted, rtol=1e-5, atol=1e-6
        )


def test_missing_external_features_of_a_fused_arm_are_named_with_commands_that_work(
    train: Callable[..., tuple[Run, ...]], tmp_path: Path
) -> None:
    (tmp_path / "clinic").mkdir()
    (tmp_path / "clinic" / "e.png").write_text("external")
    (tmp_path / "clinic" / "manifest.csv").write_text("image,label\ne.png,high\n")
    with pytest.raises(MissingFeaturesError) as caught:
        train("fused", fuse="stack", test=[tmp_path / "clinic" / "manifest.csv"])
    command = str(caught.value).split("`")[1]
    assert "--backbone tiny" in command
    assert " + " not in command
