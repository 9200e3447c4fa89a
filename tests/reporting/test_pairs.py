"""Which folds a pair is compared on, in which unit, and which pairs were planned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.errors import ConfigError, InputError, RunError
from featx.reporting.summary import against, ahead, resolve, summarise
from featx.reporting.tables import Score, records
from featx.runs import Prediction, Run
from featx.stats import Comparison, Comparisons

from .conftest import filled, single

Write = Callable[..., Run]
SETTING = ("malignant-vs-benign", "5x2")
HALVES = tuple(f"{repeat}x{direction}" for repeat in range(1, 4) for direction in (1, 2))


def scored(
    fold: str, seed: int, shift: float, patients: int = 40, by_group: bool = False
) -> list[Prediction]:
    """Predictions of a fold of five images a patient; both directions of a repeat test different patients."""
    rng = np.random.default_rng(seed)
    repeat, cross, _ = fold.partition("x")
    half = np.random.default_rng(int(repeat) if cross else 0).permutation(patients)
    place, parts = int(fold[-1]) - 1, 2 if cross else 5
    made = []
    for patient in sorted(np.array_split(half, parts)[place]):
        for image in range(1 if by_group else 5):
            positive = patient % 2 == 0
            name = f"p{patient:02}" if by_group else f"p{patient:02}-{image}"
            score = float(rng.normal() + shift * positive)
            made.append(
                Prediction(
                    name, fold, f"p{patient:02}", "malignant" if positive else "benign", {"malignant": score}
                )
            )
    return made


def arm(write: Write, name: str, shift: float, folds: tuple[str, ...] = HALVES, **changes: object) -> None:
    """Write the runs of an arm that scores by image."""
    for number, fold in enumerate(folds):
        write(name, fold, scored(fold, hash_of(name) + number, shift), **changes)


def hash_of(name: str) -> int:
    return 1000 * sum(map(ord, name))


def found(tmp_path: Path, planned: list[str | tuple[str, str]] | None = None) -> Comparisons:
    return summarise([tmp_path / "runs"], planned=planned or []).comparisons[SETTING]


def pair_of(comparisons: Comparisons, *arms: str) -> Comparison:
    (pair,) = (pair for pair in comparisons.pairs if set(pair.arms) == set(arms))
    return pair


@pytest.mark.parametrize(
    ("protocol", "folds", "train", "ratio"),
    [("5x2", HALVES, 20, 1.0), ("kfold:5", tuple("12345"), 32, 0.25)],
)
def test_patients_that_are_scored_once_are_trained_on_as_patients(
    write: Write, tmp_path: Path, protocol: str, folds: tuple[str, ...], train: int, ratio: float
) -> None:
    counts = {
        "train": {"benign": 5 * train // 2, "malignant": 5 * train // 2},
        "groups": {"train": train, "test": 40 - train},
    }
    for name in "AB":
        for number, fold in enumerate(folds):
            rows = scored(fold, hash_of(name) + number, 1.0, by_group=True)
            write(name, fold, rows, protocol=protocol, counts=counts, settings={"group_scores": "mean"})
    summary = summarise([tmp_path / "runs"])
    assert summary.series[0].ratio == ratio
    (pair,) = summary.comparisons["malignant-vs-benign", protocol].pairs
    assert pair.finding.correction.startswith(f"variance x (1/{len(folds)} + {ratio:g}) ")


def test_a_record_without_the_number_of_groups_does_not_count_images_for_it(
    write: Write, tmp_path: Path
) -> None:
    for name in "AB":
        for number, fold in enumerate(HALVES):
            rows = scored(fold, number, 1.0, by_group=True)
            write(
                name,
                fold,
                rows,
                counts={"train": {"benign": 50, "malignant": 50}},
                settings={"group_scores": "max"},
            )
    assert summarise([tmp_path / "runs"]).series[0].ratio == 1.0


def test_an_arm_under_way_changes_no_other_comparison(write: Write, tmp_path: Path) -> None:
    arm(write, "A", 1.5)
    arm(write, "B", 1.0)
    alone = pair_of(found(tmp_path), "A", "B")
    arm(write, "C", 1.2, HALVES[:1])
    now = found(tmp_path)
    pair, other = pair_of(now, "A", "B"), pair_of(now, "A", "C")
    assert (pair.finding, pair.folds) == (alone.finding, HALVES)
    assert (other.folds, other.finding.n, other.finding.positives) == (("1x1",), 100, other.finding.positives)
    assert other.finding.test.startswith("DeLong")
    assert other.finding.warnings[-1] == "over the 1 common fold, of 6 of A and 1 of C"
    assert (now.ranked, now.folds) == (("A", "B"), HALVES)
    (table,) = filled("pairs-{slug}", summarise([tmp_path / "runs"]))
    assert [(row["folds"], row["images"]) for row in records(table)] == [(6, 200), (1, 100), (1, 100)]
    compares = [row["compares"] for row in records(table)]
    assert compares == ["two ways of training", *["these two trained models on this test set"] * 2]


def test_arms_scored_by_group_leave_the_others_alone(write: Write, tmp_path: Path) -> None:
    arm(write, "A", 1.5)
    arm(write, "B", 1.0)
    alone = pair_of(found(tmp_path), "A", "B")
    for number, fold in enumerate(HALVES):
        write("C", fold, scored(fold, number, 1.0, by_group=True), settings={"group_scores": "mean"})
    summary = summarise([tmp_path / "runs"])
    now = summary.comparisons[SETTING]
    assert pair_of(now, "A", "B").finding == alone.finding
    lost = pair_of(now, "A", "C")
    assert (lost.tested, lost.finding.warnings) == (False, ("one is scored by group, the other by image",))
    assert any("A and C" in text and "one is scored by group" in text for text in summary.warnings)


def test_scoring_by_group_changes_nothing_where_every_image_is_a_group(write: Write, tmp_path: Path) -> None:
    counts = {"train": {"benign": 50, "malignant": 50}, "groups": {"train": 100}}
    arm(write, "A", 1.5, counts=counts)
    arm(write, "B", 1.0, counts=counts, settings={"group_scores": "mean"})
    assert pair_of(found(tmp_path), "A", "B").folds == HALVES


def test_other_manifests_are_untested(write: Write, tmp_path: Path) -> None:
    arm(write, "A", 1.5)
    arm(write, "B", 1.0, manifest={"name": "other", "digest": "00" * 32})
    assert pair_of(found(tmp_path), "A", "B").finding.warnings == ("scored on different manifests",)


def test_folds_of_other_images_are_left_out_of_that_pair_alone(write: Write, tmp_path: Path) -> None:
    arm(write, "A", 1.5)
    arm(write, "B", 1.0)
    arm(write, "C", 1.0, HALVES[1:])
    write("C", "1x1", scored("1x1", 5, 1.0)[1:])
    now = found(tmp_path)
    assert pair_of(now, "A", "B").folds == HALVES
    assert pair_of(now, "A", "C").folds == HALVES[1:]
    assert (
        "folds excluded, since the arms scored different images: 1x1"
        in pair_of(now, "A", "C").finding.warnings
    )


def test_counts_are_of_the_folds_that_entered(write: Write, tmp_path: Path) -> None:
    for name in "AB":
        for number, fold in enumerate(("1", "2", "3")):
            rows = scored(fold, hash_of(name) + number, 1.0)
            kept = rows if fold != "2" else [row for row in rows if row.actual == "benign"]
            write(name, fold, kept, protocol="kfold:5")
    summary = summarise([tmp_path / "runs"])
    (pair,) = summary.comparisons["malignant-vs-benign", "kfold:5"].pairs
    sizes = [len(scored(fold, 0, 1.0)) for fold in "13"]
    positives = [sum(row.actual == "malignant" for row in scored(fold, 0, 1.0)) for fold in "13"]
    assert (pair.finding.n, pair.finding.positives, pair.folds) == (sum(sizes), sum(positives), ("1", "3"))
    power = single("power", summary)
    assert power is not None
    (row,) = records(power)
    assert (row["images"], row["positives"], row["folds"]) == (sum(sizes), sum(positives), 2)


def test_ranks_are_over_what_the_ranked_arms_share(write: Write, tmp_path: Path) -> None:
    for name, shift, folds in (
        ("A", 1.0, HALVES),
        ("B", 2.0, HALVES),
        ("C", 1.5, HALVES),
        ("D", 3.0, HALVES[:2]),
    ):
        arm(write, name, shift, folds)
    summary = summarise([tmp_path / "runs"])
    now = summary.comparisons[SETTING]
    assert now.ranked == ("B", "C", "A")
    assert now.ranking is not None
    assert now.ranking.finding.folds == 6
    (table,) = filled("ranks-{slug}", summary)
    assert [row["arm"] for row in records(table)] == ["B", "C", "A"]
    assert "p: D" in [column.title for column in filled("p-{slug}", summary)[0].columns]


def test_an_arm_ahead_on_its_own_folds_alone_marks_no_one_as_below_it(write: Write, tmp_path: Path) -> None:
    for fold in HALVES:
        for name, score in (("A", 1.0), ("B", 1.2)):
            rng = np.random.default_rng(int(fold[0]) * 2 + int(fold[2]))
            rows = scored(fold, 1, 0.0)
            noise = rng.normal(size=len(rows))
            made = [
                Prediction(
                    row.id,
                    fold,
                    row.group,
                    row.actual,
                    {"malignant": float(z + score * (row.actual == "malignant"))},
                )
                for row, z in zip(rows, noise, strict=True)
            ]
            if name == "B" or fold != "1x1":
                write(name, fold, made)
    summary = summarise([tmp_path / "runs"])
    pair = pair_of(summary.comparisons[SETTING], "A", "B")
    assert ahead(pair, "B") > 0
    cells = {row[0]: row[1] for row in single("auc-by-arm", summary).rows}
    for name in "AB":
        cell = cells[name]
        assert isinstance(cell, Score)
        assert not cell.mark or ahead(pair, name) < 0


def test_planned_comparisons_are_corrected_among_themselves_and_stand_first(
    write: Write, tmp_path: Path
) -> None:
    for name, shift in zip("ABCDE", (0.8, 0.9, 1.0, 1.3, 1.6), strict=True):
        arm(write, name, shift)
    planned = found(tmp_path, [("D", "A"), "E:D"])
    assert [pair.arms for pair in planned.pairs[:2]] == [("D", "A"), ("E", "D")]
    assert [pair.planned for pair in planned.pairs] == [True] * 2 + [False] * 8
    assert planned.pairs[0].adjustment == "Holm over 2 planned comparisons"
    assert planned.pairs[2].adjustment == "Holm over 8 exploratory comparisons"
    assert pair_of(found(tmp_path), "A", "D").adjusted_p > planned.pairs[0].adjusted_p
    (table,) = filled("pairs-{slug}", summarise([tmp_path / "runs"], planned=["D:A"]))
    rows = records(table)
    assert [row["kind"] for row in rows] == ["planned"] + ["exploratory"] * 9
    assert "Planned comparisons are adjusted among themselves" in table.note
    first = rows[0]
    assert first["difference"] == pytest.approx(first["mean_a"] - first["mean_b"])  # type: ignore[operator]
    assert (first["a"], first["b"]) == ("D", "A")


def test_a_planned_arm_without_runs_is_untested_and_counts(write: Write, tmp_path: Path) -> None:
    arm(write, "A", 1.0)
    arm(write, "D", 1.6)
    now = found(tmp_path, [("D", "A"), ("E", "D")])
    done, missing = now.pairs
    assert (missing.tested, missing.finding.warnings) == (False, ("no scores of E",))
    assert done.adjusted_p == pytest.approx(min(1.0, 2 * done.finding.p))
    assert against(now, "D").keys() == {"A", "E"}


def test_the_text_of_a_planned_comparison_is_split_where_arms_stand() -> None:
    assert resolve(["random:0:tuned:1"], ["random:0", "tuned:1"]) == (("random:0", "tuned:1"),)
    with pytest.raises(RunError, match=r"'D:Q' does not name two arms as A:B; arms of these runs: A, D"):
        resolve(["D:Q"], ["A", "D"])
    with pytest.raises(ConfigError, match="can be read as 'a' against 'b:c' or 'a:b' against 'c'"):
        resolve(["a:b:c"], ["a", "b:c", "a:b", "c"])


@pytest.mark.parametrize("planned", [[("A", "A")], [("A", "B"), ("B", "A")]])
def test_planned_pairs_are_of_two_arms_and_stand_once(
    write: Write, tmp_path: Path, planned: list[tuple[str, str]]
) -> None:
    for name in "AB":
        write(name, "1x1")
    with pytest.raises(InputError, match="must not be repeated"):
        summarise([tmp_path / "runs"], planned=planned)
