"""Runs of one task meet in a report, whatever the task and its classes were called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from featx.errors import RunError
from featx.reporting.series import collect, one_name_a_task
from featx.reporting.summary import summarise
from featx.runs import Prediction, Run, finished_run

Write = Callable[..., Run]
OLD = {"name": "drawn", "digest": "ab" * 32}


def of_task(task: str, classes: tuple[str, ...], contents: str = "xy", **changes: Any) -> dict[str, Any]:
    """Fields of a run whose classes hold the images that `contents` stands for."""
    targets = dict(zip(classes, contents, strict=True))
    scored = classes[-1:] if len(classes) == 2 else classes
    return {
        "task": task,
        "classes": classes,
        "scored": scored,
        "manifest": OLD | {"targets": targets},
        "counts": {"train": dict.fromkeys(classes, 20), "groups": {"train": 40}},
        "search": {"classes": {name: {"C": 1.0, "edge": ""} for name in scored}, "scaling": "l2"},
        **changes,
    }


def rows(classes: tuple[str, ...], shift: float = 0.0) -> list[Prediction]:
    """Scores of six images, the first half of the first class."""
    scored = classes[-1:] if len(classes) == 2 else classes
    return [
        Prediction(
            f"i{n}",
            "1x1",
            f"g{n}",
            classes[n * len(classes) // 6],
            {name: n + shift * (n % 2) + k for k, name in enumerate(scored)},
            dict.fromkeys(scored, n / 6),
        )
        for n in range(6)
    ]


SPELLINGS = {
    "melanoma-vs-rest": ("rest", "melanoma"),
    "melanoma:rest": ("rest", "melanoma"),
    "Melanoma:rest": ("rest", "Melanoma"),
}


def test_three_spellings_are_one_task_whose_arms_are_compared(write: Write, tmp_path: Path) -> None:
    for number, (task, classes) in enumerate(SPELLINGS.items()):
        for fold in ("1x1", "1x2"):
            made = [replace(row, fold=fold, id=f"{fold}{row.id}") for row in rows(classes, number)]
            write(f"arm{number}", fold, made, **of_task(task, classes))
    series, _ = collect([tmp_path / "runs"])
    assert [(item.arm, item.task, item.classes, item.scored) for item in series] == [
        (f"arm{number}", "melanoma-vs-rest", ("rest", "melanoma"), ("melanoma",)) for number in range(3)
    ]
    third = series[2].runs[0]
    assert {row.actual for row in third.predictions} == {"rest", "melanoma"}
    assert set(third.predictions[0].scores) == set(third.predictions[0].probabilities) == {"melanoma"}
    assert third.record.counts == {"train": {"rest": 20, "melanoma": 20}, "groups": {"train": 40}}
    assert set(third.record.search["classes"]) == {"melanoma"}
    assert (third.own_name("melanoma"), third.own_name("rest")) == ("Melanoma", "rest")
    assert len({tuple(score.scores.tolist()) for score in (item.scores[0] for item in series)}) == 3
    assert len(summarise([tmp_path / "runs"]).overall) == 3


def test_other_classes_or_another_positive_class_are_another_task(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows(("rest", "melanoma")), **of_task("melanoma:rest", ("rest", "melanoma"), "xy"))
    write("B", "1x1", rows(("rest", "melanoma")), **of_task("melanoma-vs-rest", ("rest", "melanoma"), "xz"))
    write("C", "1x1", rows(("melanoma", "rest")), **of_task("rest:melanoma", ("melanoma", "rest"), "yx"))
    assert {item.task for item in collect([tmp_path / "runs"])[0]} == {
        "melanoma:rest",
        "melanoma-vs-rest",
        "rest:melanoma",
    }


def test_several_classes_meet_in_the_order_of_the_first(write: Write, tmp_path: Path) -> None:
    one, other = ("a", "b", "c"), ("third", "first", "second")
    write("A", "1x1", rows(one), **of_task("abc", one, "xyz"))
    write("B", "1x1", rows(other), **of_task("labels", other, "zxy"))
    first, second = collect([tmp_path / "runs"])[0]
    assert (second.task, second.classes, second.scored) == ("abc", one, one)
    assert [row.actual for row in second.runs[0].predictions] == ["c", "c", "a", "a", "b", "b"]
    assert second.runs[0].predictions[1].scores == {"c": 1, "a": 2, "b": 3}
    assert first.runs[0].names == {}


def test_runs_of_earlier_versions_meet_by_their_names(write: Write, tmp_path: Path) -> None:
    for arm, task in (("A", "Melanoma:rest"), ("B", "melanoma:rest"), ("C", "melanoma-vs-rest")):
        classes = SPELLINGS[task]
        old = {} if arm == "B" else {"manifest": OLD}
        write(arm, "1x1", rows(classes), **of_task(task, classes, **old))
    found = {item.arm: (item.task, item.classes) for item in collect([tmp_path / "runs"])[0]}
    assert found["A"] == found["B"] == ("melanoma:rest", ("rest", "melanoma"))
    assert found["C"] == ("melanoma-vs-rest", ("rest", "melanoma"))


def test_a_run_made_under_two_spellings_counts_once(write: Write, tmp_path: Path) -> None:
    for task, classes in SPELLINGS.items():
        write("A", "1x1", rows(classes), **of_task(task, classes))
    (item,) = collect([tmp_path / "runs"])[0]
    assert len(item.runs) == 1
    write(
        "A",
        "1x1",
        rows(("rest", "melanoma")),
        "more",
        **of_task("melanoma:rest", ("rest", "melanoma"), seed=1),
    )
    with pytest.raises(RunError, match="two runs"):
        collect([tmp_path / "runs", tmp_path / "more"])


def test_names_of_task_and_classes_decide_no_run(write: Write) -> None:
    classes = ("rest", "melanoma")
    run = write("A", "1x1", rows(classes), **of_task("melanoma:rest", classes))
    other = replace(run.record, **of_task("Melanoma:rest", ("rest", "Melanoma")))
    assert finished_run(run.path, other) == run
    assert other.id == run.record.id == one_name_a_task([run])[0].record.id
    with pytest.raises(RunError, match="classes"):
        finished_run(run.path, replace(run.record, **of_task("melanoma:rest", classes, "xz")))


def test_a_run_of_an_earlier_version_is_not_made_again(write: Write) -> None:
    classes = ("rest", "melanoma")
    run = write("A", "1x1", rows(classes), **of_task("melanoma:rest", classes, manifest=OLD))
    assert finished_run(run.path, replace(run.record, **of_task("melanoma:rest", classes))) == run
    with pytest.raises(RunError, match="task"):
        finished_run(run.path, replace(run.record, **of_task("nevus:rest", classes)))


def test_the_name_of_a_fine_tuning_may_decide_its_class_weights(write: Write) -> None:
    fields = of_task("melanoma:rest", ("rest", "melanoma"), kind="finetune")
    run = write("A", "1x1", rows(("rest", "melanoma")), **fields)
    assert replace(run.record, task="melanoma-vs-rest").id != run.record.id


def test_svms_without_a_test_set_say_so(write: Write, tmp_path: Path) -> None:
    write("A", "1", [], protocol="none")
    with pytest.raises(
        RunError, match="none of the 1 runs has a test set of its own, because their protocol trains on all"
    ):
        collect([tmp_path / "runs"])
