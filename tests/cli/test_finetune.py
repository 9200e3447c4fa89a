"""`featx finetune` on the command line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from featx.finetuning import TrainingRecipe, read_recipe
from featx_cli.main import run


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command hands to the library."""
    given: dict[str, Any] = {}

    def finetune(manifest: Path, **options: Any) -> tuple[()]:
        given.update(options, manifest=manifest)
        return ()

    monkeypatch.setattr("featx.finetuning.finetune", finetune)
    return given


def test_flags_reach_the_library(called: dict[str, Any]) -> None:
    line = (
        "finetune m.csv --backbone tiny --fold 1x1 --fold 1x2 -b 8 --final-weights 1,3 --no-flip --memory 2"
    )
    assert run(line.split()) == 0
    wanted = {
        "backbone": "tiny",
        "folds": ("1x1", "1x2"),
        "batch_size": 8,
        "final_weights": (1.0, 3.0),
        "flip": False,
        "memory_gib": 2.0,
    }
    assert {name: called[name] for name in wanted} == wanted
    assert "epochs" not in called


def test_every_field_of_the_recipe_is_a_flag_that_the_recipe_takes(called: dict[str, Any]) -> None:
    arguments = ["finetune", "m.csv", "--backbone", "tiny"]
    for item in dataclasses.fields(TrainingRecipe):
        flag, default = "--" + item.name.replace("_", "-"), item.default
        if item.name == "name":
            continue
        if isinstance(default, bool) or item.name == "jit":
            arguments.append(flag)
        else:
            arguments += [flag, {"image_size": "64", "final_weights": "1,2"}.get(item.name, str(default))]
    assert run(arguments) == 0
    fields = {
        item.name: called[item.name] for item in dataclasses.fields(TrainingRecipe) if item.name in called
    }
    unlike = {"image_size": None, "final_weights": (), "jit": None}
    assert read_recipe("modern", fields).with_values(unlike) == TrainingRecipe()
    assert len(fields) == len(dataclasses.fields(TrainingRecipe)) - 1


def test_a_configuration_file_gives_fields_and_flags_win(called: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        '[finetune]\nbackbone = "tiny"\nepochs = 5\nbatch-size = 4\nfold = ["1"]\nfinal-weights = [1, 2]\n'
    )
    assert run(["finetune", "m.csv", "--config", str(config), "--epochs", "6"]) == 0
    assert (called["epochs"], called["batch_size"], called["folds"]) == (6, 4, ("1",))
    assert called["final_weights"] == (1.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--final-weights", "a"], "not a list of numbers"),
        (["--optimizer", "adam"], "'adamw', 'sgd'"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_bad_values_exit_with_2(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finetune", "m.csv", "--backbone", "tiny", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_missing_manifest_exits_with_2_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["finetune", str(tmp_path / "none.csv"), "--backbone", "tiny"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from featx_cli.main import run; run(['finetune', '--help']);"
        "print([name for name in ('keras', 'tensorflow', 'sklearn', 'pandas') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"
    assert "--first-layer-share" in shown
