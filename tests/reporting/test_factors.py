from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from featx.reporting.arm_facts import Lineage, lineage_of, origin
from featx.reporting.sections.comparisons import analyse, factors_of
from featx.reporting.sections.statements import findings
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run
from featx.zoo import published_weights

from .conftest import filled

Write = Callable[..., Run]
SETTING = ("malignant-vs-benign", "5x2")
FOLDS = ("1x1", "1x2", "2x1", "2x2")


def rows(wrong: int) -> list[Prediction]:
    """Ten positives and ten negatives, of which so many pairs are in the wrong order: AUC 1 - wrong / 100."""
    made = []
    for index in range(20):
        positive = index >= 10
        score = float(index)
        if index == 10:
            score = 9.5 - wrong  # beats all but `wrong` negatives
        made.append(
            Prediction(
                f"i{index:02d}", "", f"g{index}", "malignant" if positive else "benign", {"malignant": score}
            )
        )
    return made


def write_arms(write: Write, folder: Path, arms: dict[tuple[str, str, str], int]) -> Summary:
    """Backbone, start and layer of each arm, and how many pairs it has wrong."""
    for (backbone, start, layer), wrong in arms.items():
        for number, fold in enumerate(FOLDS):
            recipe = {"backbone": backbone, "layer": layer}
            write(
                f"{backbone} {start} {layer}",
                fold,
                rows(wrong + number % 2),
                lineage=(start,),
                features={"digest": "d", "recipe": recipe},
            )
    return summarise([folder / "runs"])


def test_effects_are_those_that_the_arms_were_given(write: Write, tmp_path: Path) -> None:
    arms = {("vgg16", "random:0", "fc2"): 6, ("vgg16", "imagenet", "fc2"): 2}
    arms |= {("tiny", "random:0", "pool"): 8, ("tiny", "imagenet", "pool"): 4}
    summary = write_arms(write, tmp_path, arms)
    found = analyse(summary, SETTING)
    assert found is not None
    # The layer goes with the backbone: nothing can tell the two apart.
    assert (list(found.levels), found.confounded) == (["backbone", "starting weights"], ("layer",))
    squares = {one.name: one.sum_of_squares for one in found.anova.effects}
    # Means differ by .02 and .04 over 16 folds, so 16 times the square of half of that; folds by .01.
    assert squares == pytest.approx(
        {
            "backbone": 16 * 0.01**2,
            "starting weights": 16 * 0.02**2,
            "backbone × starting weights": 0,
            "fold": 16 * 0.005**2,
        },
        abs=1e-12,
    )
    (table,) = filled("anova-{slug}", summary)
    assert [row["effect"] for row in records(table)] == [*squares, "residual"]
    assert "change together: layer" in table.note
    # Folds of one data set share images: shares, but neither F nor p.
    assert not {"F", "p"} & {column.name for column in table.columns}
    (said,) = findings(summary)
    assert any("starting weights 76 %, backbone 19 %" in text for text in said.details)


def test_arms_that_do_not_cross_their_factors_have_main_effects_alone(write: Write, tmp_path: Path) -> None:
    arms = {("vgg16", "random:0", "fc2"): 6, ("vgg16", "imagenet", "fc2"): 2, ("tiny", "imagenet", "fc2"): 4}
    found = analyse(write_arms(write, tmp_path, arms), SETTING)
    assert found is not None
    assert [one.name for one in found.anova.effects] == ["backbone", "starting weights", "fold"]


def test_two_arms_or_equal_ones_are_no_design(write: Write, tmp_path: Path) -> None:
    summary = write_arms(write, tmp_path, {("vgg16", "random:0", "fc2"): 6, ("tiny", "random:0", "fc2"): 2})
    assert analyse(summary, SETTING) is None
    for fold in FOLDS:
        write("a third, as the first", fold, rows(6), lineage=("random:0",), features={"digest": "d"})
        write("vgg16 random:0 fc2", fold, rows(6), lineage=("random:0",), features={"digest": "d"})
        write("tiny random:0 fc2", fold, rows(6), lineage=("random:0",), features={"digest": "d"})
    assert filled("anova-{slug}", summarise([tmp_path / "runs"])) == ()


def test_a_lineage_is_taken_apart(write: Write) -> None:
    run, weights = write("A", "1x2"), published_weights("vgg16")
    assert weights is not None
    for lineage, expected, text in (
        ((), Lineage("", (), False), ""),
        (("random:7",), Lineage("random", (), False), "random"),
        ((weights.file, "retina"), Lineage("imagenet", ("retina",), False), "imagenet → retina"),
        (
            ("mine.h5", "retina", "atlas, fold 1x2"),
            Lineage("mine.h5", ("retina",), True),
            "mine.h5 → retina → fine-tuned",
        ),
        # Tuned on another data set's fold: a source like any other.
        (
            ("random:0", "atlas, fold all"),
            Lineage("random", ("atlas, fold all",), False),
            "random → atlas, fold all",
        ),
    ):
        one = replace(run.record, lineage=lineage)
        assert (lineage_of(one), origin(one)) == (expected, text)


def test_factors_are_what_all_runs_of_an_arm_share(study: Path) -> None:
    first, second, third = summarise([study]).series
    assert factors_of(first)["sources"] == "none"
    assert factors_of(second)["SVM scaling"] == "l2"
    assert [factors_of(one)["fine-tuning"] for one in (first, second, third)] == ["no", "no", "yes"]
