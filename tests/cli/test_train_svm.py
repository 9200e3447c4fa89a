"""`featx train-svm` from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from featx.features import FeatureStore
from featx.features.feature_recipe import Recipe
from featx.images import content_keys
from featx_cli.main import run


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 8)).astype(np.float32)
    paths = []
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label"])
        for index, row in enumerate(features):
            paths.append(str(tmp_path / f"{index:02}.png"))
            Path(paths[-1]).write_text(f"image {index}")
            writer.writerow([paths[-1], "sick" if row[0] + row[1] > 0 else "healthy"])
    recipe = Recipe("tiny", "ab", "global pool", "avg", 64, {"name": "resize"}, 1, weights_label="random0")
    store = FeatureStore.create(tmp_path / "store", recipe)
    keys = content_keys(paths).keys
    store.write_block([keys[path] for path in paths], features[:, None])
    return tmp_path / "manifest.csv", store.path


def _arguments(data: tuple[Path, Path], tmp_path: Path, *more: str) -> list[str]:
    manifest, store = data
    places = ["--output", str(tmp_path / "runs"), "--cache", str(tmp_path / "cache")]
    return ["train-svm", str(manifest), "--features", str(store), "--task", "sick:healthy", *places, *more]


def test_folders_go_to_stdout_and_aucs_to_stderr(data, tmp_path, capsys) -> None:
    assert run(_arguments(data, tmp_path, "--protocol", "kfold:2")) == 0
    out, err = capsys.readouterr()
    folders = [Path(line) for line in out.splitlines()]
    assert [folder.name for folder in folders] == ["1", "2"]
    assert all((folder / "complete.json").is_file() for folder in folders)
    assert "fold 1: AUC 0." in err
    assert "tiny-random0: mean AUC 0." in err
    assert run(_arguments(data, tmp_path, "--protocol", "kfold:2")) == 0
    assert "finished before" in capsys.readouterr().err


def test_leaving_one_group_out_is_said_before_training_and_summed_up_pooled(data, tmp_path, capsys) -> None:
    # Without groups every image is one: no fold has both classes.
    assert run(_arguments(data, tmp_path, "--protocol", "leave-one-group-out", "--costs", "1")) == 0
    err = capsys.readouterr().err
    said = "60 of 60 folds have a test set that lacks a class, so they have no AUC of their own"
    assert said in err
    assert err.index(said) < err.index("no AUC, because a class is missing")
    assert "of the pooled decision function values of 60 folds" in err.splitlines()[-1]


def test_options_reach_the_run(data, tmp_path, capsys) -> None:
    options = [
        "--preset",
        "paper",
        "--fold",
        "1x2",
        "--costs",
        "0.1,1",
        "--scaling",
        "l2",
        "--scaling",
        "zscore",
    ]
    assert run(_arguments(data, tmp_path, *options, "--inner-splits", "3", "--arm", "mine", "--json")) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["fold"] == "1x2"
    assert row["not_converged"] == 0
    settings = json.loads((Path(row["path"]) / "run.json").read_text())["settings"]
    assert settings["loss"] == "hinge"
    assert settings["costs"] == [0.1, 1.0]
    assert settings["scaling"] == ["l2", "zscore"]
    assert settings["inner_splits"] == 3
    assert "mine" in Path(row["path"]).parts


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--costs", "1,x"], 2, "Invalid value for '--costs': '1,x' is not a list of numbers"),
        (["--costs", "1,0.1"], 2, "ascending"),
        (["--fold", "9x9"], 2, "no fold 9x9"),
        (["--protocol", "sixfold"], 2, "no protocol 'sixfold'"),
        (["--loss", "log"], 2, "log"),
        (["--solver", "gpu"], 2, "Invalid value for '--solver': 'gpu' was removed; use auto"),
        (["--features", "nowhere"], 2, "nowhere: no such file or folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(data, tmp_path, capsys, options, code, message) -> None:
    assert run(_arguments(data, tmp_path, *options)) == code
    assert message in capsys.readouterr().err


@pytest.fixture
def clinic(data: tuple[Path, Path], tmp_path: Path) -> Path:
    """An external manifest of 20 images with features in the same store."""
    rng = np.random.default_rng(1)
    features = rng.normal(size=(20, 8)).astype(np.float32)
    folder = tmp_path / "clinic"
    folder.mkdir()
    lines = ["image,label"]
    for index, row in enumerate(features):
        (folder / f"c{index:02}.png").write_text(f"external {index}")
        lines.append(f"c{index:02}.png,{'sick' if row[0] + row[1] > 0 else 'healthy'}")
    (folder / "clinic.csv").write_text("\n".join(lines))
    keys = content_keys(sorted(folder.glob("*.png"))).keys
    FeatureStore(data[1]).write_block(list(keys.values()), features[:, None])
    return folder / "clinic.csv"


def test_external_test_sets_are_scored_and_summed_up(data, clinic, tmp_path, capsys) -> None:
    command = _arguments(data, tmp_path, "--protocol", "kfold:2", "--test", f"ph2={clinic}", "--json")
    assert run(command) == 0
    out, err = capsys.readouterr()
    aucs = [one["external"]["ph2"] for one in json.loads(out)]
    assert len(aucs) == 2
    assert "fold 1, external test set ph2: AUC 0." in err
    assert f"tiny-random0, external test set ph2: mean AUC {np.mean(aucs):.4f} over 2 models" in err


def test_an_overlap_ends_with_the_exit_code_of_bad_input(data, clinic, tmp_path, capsys) -> None:
    (clinic.parent / "c03.png").write_text("image 7")
    assert run(_arguments(data, tmp_path, "--test", str(clinic))) == 2
    err = capsys.readouterr().err
    assert "1 of 20 images of the external test set 'clinic' overlap with the training data" in err
    assert "c03.png = 07" in err
    assert run(_arguments(data, tmp_path, "--test", str(clinic), "--overlap", "drop", "--fold", "1x1")) == 0
    assert "1 of 20 images of the external test set 'clinic' overlap" in capsys.readouterr().err


def test_arms_are_fused_and_their_members_named(data, tmp_path, capsys) -> None:
    store = data[1]
    first = FeatureStore(store)
    keys = sorted(first.keys())
    recipe = Recipe("tiny", "cd", "global pool", "avg", 64, {"name": "resize"}, 1, weights_label="random1")
    second = FeatureStore.create(tmp_path / "second", recipe)
    second.write_block(keys, first.read(keys)[:, :, ::-1])
    more = ["--features", str(second.path), "--member", "near", "--member", "far", "--protocol", "kfold:2"]
    assert run(_arguments(data, tmp_path, *more, "--fuse", "stack", "--costs", "1", "--json")) == 0
    out, err = capsys.readouterr()
    assert "near + far (stack): mean AUC" in err
    assert set(json.loads(out)[0]["C"]) == {"near sick", "far sick"}
    assert run(_arguments(data, tmp_path, "--fuse", "stack")) == 2
    assert "two members or more" in capsys.readouterr().err


def test_a_learning_curve_is_summed_up_by_size(data, tmp_path, capsys) -> None:
    given = ["--protocol", "kfold:2", "--costs", "1", "--inner-splits", "2", "--train-fraction", "0.5,1"]
    assert run(_arguments(data, tmp_path, *given, "--train-seeds", "2", "--json")) == 0
    out, err = capsys.readouterr()
    assert [row.get("subset") for row in json.loads(out)] == [
        None,
        None,
        *({"fraction": 0.5, "seed": seed} for seed in (0, 0, 1, 1)),
    ]
    assert "fold 2, fraction 0.5, seed 1: AUC 0." in err
    drawn, whole = err.splitlines()[-2:]
    assert drawn.startswith("tiny-random0, 50 % (16 training images, 2 draws): mean AUC 0.")
    assert whole.startswith("tiny-random0: mean AUC 0.")
