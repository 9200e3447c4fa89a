"""Options that are written once: types, bounds, presets, keywords and their description."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from featx.errors import ConfigError
from featx.options import (
    REQUIRED,
    DeviceOptions,
    FoldOptions,
    ImageOptions,
    Options,
    choice,
    choices,
    number,
    numbers,
    options_of,
    path,
    switch,
    text,
    texts,
    verb,
    whole,
)


@dataclass(frozen=True, kw_only=True)
class Inner(Options):
    steps: int = whole(10, "Number of steps.", low=1)
    rate: float = number(0.5, "Rate.", low=0, high=1, open=True)


@dataclass(frozen=True, kw_only=True)
class Walk(Inner):
    called: ClassVar[str] = "a walk"
    presets: ClassVar[dict[str, dict[str, Any]]] = {"slow": {}, "fast": {"rate": 0.9, "steps": 99}}

    name: str = text(REQUIRED, "Name.")
    preset: str = choice("slow", ("slow", "fast"), "Values to start from.")
    gait: str | None = choice(
        None,
        ("trot", "amble"),
        "Gait.",
        default_text="the animal's",
        removed={"hop": "'hop' was removed; use trot"},
    )
    gaits: tuple[str, ...] = choices((), ("trot", "amble"), "Gaits.")
    grid: tuple[float, ...] = numbers((), "Values to try.", low=0)
    where: Path | str = path(Path("here"), "Folder.")
    tags: tuple[str, ...] = texts((), "Tags.", flag="tag")
    pairs: tuple[Any, ...] = texts((), "Pairs.", types=(tuple, Path))
    loud: bool = switch(False, "Sing.")


@verb(Walk)
def walk(animal: str, options: Walk) -> tuple[str, Walk]:
    """Walk.

    Parameters
    ----------
    animal : str
        Which.
    {options}
    """
    return animal, options


def test_keywords_are_the_fields() -> None:
    animal, options = walk("ox", name="Bo", steps=3, grid=[1, 2.5], where="there", tags="a")
    assert animal == "ox"
    assert (options.steps, options.grid, options.where, options.tags) == (
        3,
        (1.0, 2.5),
        Path("there"),
        ("a",),
    )
    assert list(inspect.signature(walk).parameters) == [
        "animal",
        *(item.name for item in dataclasses.fields(Walk)),
    ]


def test_the_docstring_describes_every_option() -> None:
    assert walk.__doc__ is not None
    assert "{options}" not in walk.__doc__
    for name, option in options_of(Walk).items():
        assert f"    {name} : " in walk.__doc__
        assert option.help in walk.__doc__
    assert "Gait. Default: the animal's." in walk.__doc__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"steps": 0},
            "The 'steps' parameter of a walk must be a whole number of at least 1. Got 0 instead.",
        ),
        ({"steps": True}, "must be a whole number of at least 1. Got True"),
        ({"steps": 2.5}, "must be a whole number of at least 1. Got 2.5"),
        ({"rate": 1}, "must be a number between 0 and 1. Got 1.0 instead"),
        ({"rate": float("nan")}, "must be a number between 0 and 1. Got nan"),
        ({"gait": "run"}, "must be one of trot, amble. Got 'run' instead"),
        ({"gait": "hop"}, "Invalid value of the 'gait' parameter: 'hop' was removed; use trot"),
        ({"gaits": ("trot", "run")}, "must be some of trot, amble. Got"),
        ({"grid": (1, -1)}, "must be a list of numbers of at least 0. Got"),
        ({"where": 3}, "must be a path. Got 3"),
        ({"tags": 3}, "must be a list of texts. Got (3,)"),
        ({"pairs": ("A:B", 3)}, "must be a list of texts. Got ('A:B', 3)"),
        ({"name": ""}, "must be a text. Got ''"),
        ({"loud": "yes"}, "must be true or false. Got 'yes'"),
        ({"stps": 3}, "Unknown parameter 'stps' of a walk; did you mean 'steps'?"),
        ({"zzz": 3}, "Unknown parameter 'zzz' of a walk; known: steps, rate"),
        (
            {"preset": "lazy"},
            "The 'preset' parameter of a walk must be one of slow, fast. Got 'lazy' instead.",
        ),
    ],
)
def test_bad_values_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        walk("ox", **{"name": "Bo", **given})
    assert message in str(caught.value)


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"The 'name' parameter is required: Name\."):
        Walk.make({})


def test_what_is_given_takes_precedence_over_the_preset() -> None:
    options = Walk.make({"name": "Bo", "preset": "fast", "steps": 3})
    assert (options.rate, options.steps) == (0.9, 3)


def test_further_types_are_those_of_the_items() -> None:
    assert Walk.make({"name": "Bo", "pairs": ["A:B", ("a", "b")]}).pairs == ("A:B", ("a", "b"))
    assert Walk.make({"name": "Bo", "pairs": Path("x")}).pairs == (Path("x"),)


def test_part_gives_the_fields_of_another_class() -> None:
    assert Walk.make({"name": "Bo", "steps": 3}).part(Inner) == Inner(steps=3)


def test_none_stays_where_it_is_the_default_only() -> None:
    assert Walk.make({"name": "Bo", "gait": None}).gait is None
    with pytest.raises(ConfigError, match="Got None instead"):
        Walk.make({"name": "Bo", "steps": None})


@pytest.mark.parametrize("kind", [ImageOptions, FoldOptions, DeviceOptions])
def test_shared_options_have_a_help_text_that_ends_in_a_period(kind: type[Options]) -> None:
    assert all(option.help.endswith(".") for option in options_of(kind).values())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "tpu"}, "gpu:N or gpu:any. Got 'tpu'"),
        ({"device": "cpu", "wait_gpu": 100}, "are for GPUs"),
        ({"device": "cpu", "gpu_memory": 100}, "are for GPUs"),
        ({"wait_gpu": 0}, "at least 1"),
        ({"nice": 20}, "from 0 to 19"),
        ({"nice": -1}, "from 0 to 19"),
    ],
)
def test_devices_that_cannot_be_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        DeviceOptions(**given)


def test_a_verb_begins_with_its_niceness_and_the_defaults_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.setattr("featx.options.lower_priority", done.append)
    monkeypatch.setattr("featx.options.set_gpu_defaults", lambda: done.append("defaults"))
    DeviceOptions(nice=3).begin()
    assert done == [3, "defaults"]
