"""Options that commands share: what a configuration file may say."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

import featx_cli.main as command_line
from featx.errors import ConfigError
from featx_cli.synonyms import commands_below

CONFIGURED = {
    name: command
    for name, command in commands_below(command_line.featx)
    if any(param.name == "config" for param in command.params)
}
LONG = [
    (name, flag)
    for name, command in CONFIGURED.items()
    for param in command.params
    if isinstance(param, click.Option) and param.name != "config"
    for flag in (*param.opts, *param.secondary_opts)
    if flag.startswith("--")
]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run a command with a configuration file, and return what it would have worked with."""

    def call(name: str, text: str, *arguments: str) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        command = CONFIGURED[name]
        monkeypatch.setattr(command, "callback", lambda **values: seen.update(values))
        path = tmp_path / "featx.toml"
        path.write_text(text)
        command.main(
            [*arguments, "--config", str(path)],
            name.split()[-1],
            standalone_mode=False,
            help_option_names=["-h", "--help"],
        )
        return seen

    return call


def _inside(kind: Any) -> str:
    """Give a number within the bounds of a type that is not a likely default."""
    low, high = (getattr(kind, name, None) for name in ("min", "max"))
    if high is not None and high < 7:
        return str(high - (high - (low or 0)) / 2)
    return str(max(low or 0, 7))


def sample(param: click.Option) -> Any:
    """Give a value that an option takes, as TOML writes it."""
    if param.is_flag:
        return "true"
    if isinstance(param.type, click.Choice):
        return repr(next(iter(param.type.choices)))
    numeric = isinstance(param.type, click.types.IntParamType | click.types.FloatParamType)
    value = _inside(param.type) if numeric else "'7'"
    return f"[{', '.join([value] * param.nargs)}]" if param.nargs > 1 else value


@pytest.mark.parametrize(("name", "flag"), LONG, ids=[" ".join(pair) for pair in LONG])
def test_every_long_option_is_a_key(name: str, flag: str, given: Callable[..., dict[str, Any]]) -> None:
    command = CONFIGURED[name]
    param = next(param for param in command.params if flag in (*param.opts, *param.secondary_opts))
    assert isinstance(param, click.Option)
    needed = [
        word
        for other in command.params
        if other.required and other is not param
        for word in ([other.opts[0], "x"] if isinstance(other, click.Option) else ["x"])
    ]
    without = given(name, "", *needed, *([param.opts[0], "x"] if param.required else []))
    for key in {flag[2:], flag[2:].replace("-", "_")}:
        found = given(name, f"{key} = {sample(param)}", *needed)
        assert str(found[param.name]) != str(without[param.name]) or sample(param).strip("'") in str(
            without[param.name]
        )


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("train-svm", 'features = "a"\nfold = ["1x1", "1x2"]', {"folds": ("1x1", "1x2")}),
        ("train-svm", 'features = "a"\nfold = "10"', {"folds": ("10",)}),
        (
            "train-svm",
            'features = ["a"]\nno-widen = true\nown-cost = true',
            {"widen": False, "shared_cost": False},
        ),
        ("train-svm", 'features = ["a"]\nwiden = false\njson = true', {"widen": False, "as_json": True}),
        ("extract", 'backbone = "tiny"\nlayer = "fc2"\njson = true', {"layers": ("fc2",), "as_json": True}),
        ("report", 'stratum = "age"\nformat = "csv"', {"strata": ("age",), "form": "csv"}),
        ("report", 'compare = ["A", "B"]', {"compare": ("A", "B")}),
        ("protocol make", 'output = "f.json"\nnames_only = true', {"names_only": True}),
    ],
)
def test_keys_are_worth_what_their_options_are(
    name: str, text: str, wanted: dict[str, Any], given: Callable[..., dict[str, Any]]
) -> None:
    found = given(name, text, "x")
    assert {key: found[key] for key in wanted} == wanted


def test_arguments_may_stand_in_the_file_too(given: Callable[..., dict[str, Any]]) -> None:
    assert given("extract", 'manifest = "a.csv"\nbackbone = "tiny"')["manifest"] == Path("a.csv")


@pytest.mark.parametrize("key", ["folds", "as_json", "config", "sede"])
def test_other_keys_are_refused(key: str, given: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=rf"unknown key {key.replace('_', '-')}; known: .*fold, .*seed"):
        given("train-svm", f"{key} = 3", "x")


COMMANDS = dict(commands_below(command_line.featx))
HELP: Any = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
# Options of one name that say different things, with the reason why they do.
UNLIKE = {
    "--list": "each command says what it lists",
    "--output": "each command says which file or folder it writes",
    "--images": "of `data import` a folder, of `data preview` a number; kept from version 0.1.0",
    "--pool": "of feature maps in `extract`, of decision function values in `train-svm`; kept from version 0.1.0",
    "--memory": "of `finetune` for decoded images, of `cluster` for a worker",
    "--image": "of `saliency` an image of the manifest, of `cluster kubernetes` a container image",
    "--name": "of `cache import` that of a network, of `cluster` the beginning of all names",
    "--runs": "of `finalize` the folds of its arm, of `cache prune` a folder to tidy",
    "--views": "their number in `extract`, their use in `train-svm`; kept from version 0.1.0",
}
# Options of one meaning whose values differ.
OTHER_VALUES = {
    "--manifest": "of a study it names the source or target as well: NAME=PATH",
}


def flags_of(command: click.Command) -> dict[str, tuple[tuple[str, ...], str, str]]:
    """Long option to its short forms, the type of its values, and its meaning: the help up to a punctuation mark."""
    found = {}
    for param in command.params:
        if isinstance(param, click.Option):
            short = tuple(name for name in param.opts if not name.startswith("--"))
            kind = re.sub("Choice|String", "Text", type(param.type).__name__).replace("RangeRange", "Range")
            kind = kind.replace("ParamType", "").replace("Range", "")
            meaning = re.split(r"[.:;,(]|  \[", param.help or "")[0].split(" that ")[0]
            for name in (*param.opts, *param.secondary_opts):
                if name.startswith("--"):
                    found[name] = (short, kind, meaning)
    return found


@pytest.mark.parametrize(
    ("one", "two"), list(itertools.combinations(COMMANDS, 2)), ids=lambda name: name.replace(" ", "-")
)
def test_an_option_has_one_name_short_form_and_meaning_in_two_commands(one: str, two: str) -> None:
    first, second = flags_of(COMMANDS[one]), flags_of(COMMANDS[two])
    for name in first.keys() & second.keys():
        (short, kind, meaning), (other_short, other_kind, other_meaning) = first[name], second[name]
        assert short == other_short, name
        if name not in UNLIKE:
            assert meaning == other_meaning, name
            assert kind == other_kind or name in OTHER_VALUES, name
    owners: dict[str, set[str]] = {}
    for name, (letters, _, _) in first.items():
        for letter in letters:
            owners.setdefault(letter, set()).add(name)
    for name, (letters, _, _) in second.items():
        for letter in letters:
            assert letter not in owners or owners[letter] & second.keys(), (letter, name)


def test_exceptions_are_needed() -> None:
    meanings: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for name, (_, kind, meaning) in flags_of(command).items():
            meanings.setdefault(name, set()).add(meaning)
            kinds.setdefault(name, set()).add(kind)
    assert all(len(meanings[name]) > 1 for name in UNLIKE)
    assert all(len(kinds[name]) > 1 for name in OTHER_VALUES)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_ends_with_an_example_that_the_command_takes(name: str) -> None:
    context = click.Context(COMMANDS[name], info_name=name, **HELP)
    *_, head, line = COMMANDS[name].get_help(context).splitlines()
    assert head.strip() == "Example:"
    program, *words = shlex.split(line)
    assert [program, *words[: len(name.split())]] == ["featx", *name.split()]
    with COMMANDS[name].make_context(name, words[len(name.split()) :], **HELP) as parsed:
        assert parsed.params


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("extrakt", "`featx extract`"),
        ("raport", "`featx report`"),
        ("study rnu", "`featx study run`"),
        ("extract m.csv --bakbone x", "--backbone"),
        ("train-svm m.csv --featurs x", "--features"),
        ("report runs --strata site", "--stratum"),
    ],
)
def test_the_nearest_command_or_option_is_suggested(
    line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.run(line.split()) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"featx: error: No such (command|option) .*did you mean .*{re.escape(meant)}", told)
