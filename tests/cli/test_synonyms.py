"""Words of other tools get the option or the command that is meant, and one that exists."""

from __future__ import annotations

import re

import click
import pytest

import featx_cli.main as command_line
from featx_cli.main import COMMANDS, run
from featx_cli.synonyms import COMMAND_WORDS, OPTION_WORDS, commands_below, explained

ROOT = click.Context(command_line.featx)
ALL = dict(commands_below(command_line.featx))


def spelled(path: str) -> set[str]:
    """Name what a command takes: long options, and arguments in capitals."""
    params = ALL[path].params
    options = {flag for param in params for flag in (*param.opts, *param.secondary_opts)}
    return options | {str(param.name).upper() for param in params if isinstance(param, click.Argument)}


def told(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(line) == 2
    return next(text for text in capsys.readouterr().err.splitlines() if text.startswith("featx: error: "))


@pytest.mark.parametrize("row", OPTION_WORDS, ids=lambda row: row.words[0])
def test_every_option_that_is_suggested_exists_on_its_command(row) -> None:
    names = {text.split()[0] for text in row.meant}
    holders = {path for path in ALL if names & spelled(path)}
    assert {name for path in holders for name in names & spelled(path)} == names, (
        "an option of the row is nowhere"
    )
    for path in ALL:
        for word in row.words:
            if f"--{word}" in spelled(path):
                continue
            error = click.NoSuchOption(f"--{word}", ctx=click.Context(ALL[path], ROOT))
            text = explained(error).message
            assert text.startswith(f"No such option --{word}; ")
            _, _, said = text.partition("; ")
            elsewhere = re.findall(r"`featx ([a-z -]+)` has (--[a-z0-9-]+)", said)
            assert all(flag in spelled(other) for other, flag in elsewhere)
            here = re.search(r"did you mean (?!the command)(.*)\?$", said)
            if here and not elsewhere:
                meant = re.findall(r"--[a-z0-9-]+|(?<=argument )[A-Z]+", here[1])
                assert meant
                assert set(meant) <= spelled(path)
            if path in holders:
                assert here, f"{path} has what {word} means"


@pytest.mark.parametrize("row", COMMAND_WORDS, ids=lambda row: row.words[0])
def test_every_command_that_is_suggested_exists(row, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(row.meant) <= set(ALL)
    for word in row.words:
        assert word not in COMMANDS
        text = told([word], capsys)
        assert text.startswith(f"featx: error: No such command '{word}'; did you mean `featx ")
        assert set(re.findall(r"`featx ([^`]+)`", text)) <= set(ALL)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("extract --model vgg16", "No such option --model; did you mean --backbone?"),
        ("extract --modle vgg16", "No such option --modle; did you mean --backbone?"),
        ("finetune --lr 1e-4", "No such option --lr; did you mean --learning-rate?"),
        ("train-svm --C 1", "No such option --C; did you mean --costs?"),
        ("extract --cuda", "No such option --cuda; did you mean --device gpu?"),
        ("train-svm --cuda", "No such option --cuda; a GPU that the backend of Keras sees is used"),
        ("finetune --cuda", "No such option --cuda; did you mean --device gpu?"),
        ("extract --batch_size 8", "No such option --batch_size; did you mean --batch-size?"),
        ("extract --epochs 8", "No such option --epochs; `featx finetune` has --epochs"),
        ("train-svm --cv 5", "No such option --cv; did you mean --protocol kfold:5 or --fold?"),
        ("train-svm --n_jobs 4", "No such option --n_jobs; did you mean --workers?"),
        ("study run --n-jobs 4", "No such option --n-jobs; did you mean --workers?"),
        ("report --out here", "No such option --out; did you mean --output?"),
        ("train-svm --test-size .2", "No such option --test-size; did you mean --protocol holdout?"),
        ("extract --fit", "No such option --fit; did you mean the command `featx train-svm`?"),
        ("extract --data x.csv", "No such option --data; did you mean the argument MANIFEST, without an option?"),
        ("train-svm --presett paper", "No such option --presett; did you mean --preset?"),
        ("report --zzzz", "No such option --zzzz; this command has no similar option"),
        ("infer", "No such command 'infer'; did you mean `featx predict`? (for images with labels, --test of train-svm"),
        ("onnx", "No such command 'onnx'; did you mean `featx export`?"),
        ("model-card", "No such command 'model-card'; did you mean `featx card`?"),
        ("train", "No such command 'train'; did you mean `featx train-svm` or `featx study run`?"),
        ("svm", "No such command 'svm'; did you mean `featx train-svm`"),
        ("fit", "No such command 'fit'; did you mean `featx train-svm`"),
        ("train_svm", "No such command 'train_svm'; did you mean `featx train-svm`?"),
        ("extrct", "No such command 'extrct'; did you mean `featx extract`"),
        ("plan", "No such command 'plan'; did you mean `featx study plan`?"),
        ("study start", "No such command 'start'; did you mean `featx study run`?"),
        ("study repot", "No such command 'repot'; did you mean `featx study report`?"),
        ("data validate", "No such command 'validate'; did you mean `featx data check`?"),
        ("data zzzz", "No such command 'zzzz'; there is no similar command"),
    ],
)  # fmt: skip
def test_what_users_of_other_tools_type(line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(line.split(), capsys).startswith(f"featx: error: {message}")
