"""Tables that compare arms: pairs, p values, ranks, detectable differences, and factors of the study."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from featx.errors import ConfigError, InputError, RunError
from featx.reporting.arm_facts import Lineage, lineage_of, origin
from featx.reporting.sections.comparisons import analyse, factors_of
from featx.reporting.sections.statements import findings
from featx.reporting.summary import Summary, against, ahead, resolve, summarise
from featx.reporting.tables import Score, records
from featx.runs import Prediction, Run
from featx.stats import Comparison, Comparisons, compare_many
from featx.stats.compare import compare_pair
from featx.stats.power import detectable
from featx.zoo import published_weights

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


@pytest.fixture(scope="module")
def summary(study: Path) -> Summary:
    return summarise([study])


def test_pairs_say_what_the_stats_say(summary: Summary) -> None:
    (table,) = filled("pairs-{slug}", summary)
    wanted = compare_many({one.arm: one.scores for one in summary.series}, protocol="5x2").pairs
    rows = records(table)
    assert [(row["a"], row["b"]) for row in rows] == [pair.arms for pair in wanted]
    assert [row["adjusted_p"] for row in rows] == [pair.adjusted_p for pair in wanted]
    assert [row["others"].count(", p = ") for row in rows] == [2] * 3  # type: ignore[union-attr]
    assert [row["difference"] for row in rows] == pytest.approx(
        [row["mean_a"] - row["mean_b"] for row in rows]
    )  # type: ignore[operator]


def test_what_the_data_could_show_is_what_the_stats_say(summary: Summary) -> None:
    table = single("power", summary)
    assert table is not None
    folds = {one.arm: one.scores for one in summary.series}
    for row in records(table):
        a, b = folds[str(row["a"])], folds[str(row["b"])]
        found = compare_pair(a, b, level=1 - 0.05 / 3)
        assert row["smallest"] == detectable(found.finding, auc=found.values, level=1 - 0.05 / 3).difference
        assert row["comparisons"] == 3


def test_ranks_stand_with_their_test(summary: Summary) -> None:
    (table,) = filled("ranks-{slug}", summary)
    rows = records(table)
    assert [(row["arm"], row["rank"]) for row in rows] == [
        ("source + fine-tuned", 1.0),
        ("source", 2.0),
        ("random", 3.0),
    ]
    assert "Friedman" in table.note
    assert "share images" in table.note


def test_the_matrix_is_symmetric_and_has_no_p_of_an_arm_with_itself(summary: Summary) -> None:
    (table,) = filled("p-{slug}", summary)
    rows = records(table)
    matrix = [[row[f"p against {other['arm']}"] for other in rows] for row in rows]
    assert [matrix[index][index] for index in range(3)] == [None] * 3
    assert matrix[0][1] == matrix[1][0]


def test_the_best_is_bold_and_arms_told_apart_from_it_are_marked(summary: Summary) -> None:
    cells = {row[0]: row[1] for row in single("auc-by-arm", summary).rows}
    (found,) = summary.comparisons.values()
    for arm, pair in against(found, "source + fine-tuned").items():
        cell = cells[arm]
        assert isinstance(cell, Score)
        assert (cell.best, cell.mark) == (False, "†" if pair.adjusted_p < 0.05 else "")
    best = cells["source + fine-tuned"]
    assert isinstance(best, Score)
    assert (best.best, best.mark) == (True, "")


def rows(fold: str, scores: list[float]) -> list[Prediction]:
    return [
        Prediction(f"{fold}{n}", fold, "", "malignant" if n % 2 else "benign", {"malignant": score})
        for n, score in enumerate(scores)
    ]


def test_pairs_are_made_over_the_folds_that_both_arms_have(write: Write, tmp_path: Path) -> None:
    for fold in ("1x1", "1x2", "2x1"):
        write("A", fold, rows(fold, [0, 1, 2, 3, 1, 2]))
        if fold != "2x1":
            write("B", fold, rows(fold, [0, 1, 2, 1, 1, 0]))
    found = summarise([tmp_path / "runs"])
    (pair,) = found.comparisons["malignant-vs-benign", "5x2"].pairs
    assert pair.folds == ("1x1", "1x2")
    assert len(pair.differences) == pair.finding.folds == 2


def test_arms_without_common_folds_are_untested(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    write("B", "1x1", folds_digest="0" * 64)
    found = summarise([tmp_path / "runs"])
    (table,) = filled("pairs-{slug}", found)
    (row,) = records(table)
    assert (row["p"], row["test"], row["folds"]) == (None, "untested", 0)
    assert row["warnings"] == "scored on different folds"
    assert single("power", found) is None
    assert filled("p-{slug}", found) == ()


def test_arms_of_another_partition_do_not_spoil_the_others(write: Write, tmp_path: Path) -> None:
    for fold in ("1x1", "1x2"):
        write("A", fold)
        write("B", fold)
        write("C", fold, folds_digest="0" * 64)
    (found,) = summarise([tmp_path / "runs"]).comparisons.values()
    assert found.ranked == ("A", "B")
    assert [pair.arms for pair in found.pairs if pair.folds] == [("A", "B")]


def test_differences_leave_out_a_fold_where_a_fold_has_one_class(write: Write, tmp_path: Path) -> None:
    for arm in "AB":
        write(arm, "1x1", rows("1x1", [0, 1, 2, 3]))
        write(arm, "1x2", [row for row in rows("1x2", [0, 1, 2, 3]) if row.actual == "benign"])
    (found,) = summarise([tmp_path / "runs"]).comparisons.values()
    assert (found.pairs[0].folds, found.pairs[0].differences) == (("1x1",), (0.0,))


FOLDS = ("1x1", "1x2", "2x1", "2x2")


def rows_with_auc(wrong: int) -> list[Prediction]:
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
                rows_with_auc(wrong + number % 2),
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
        write(
            "a third, as the first",
            fold,
            rows_with_auc(6),
            lineage=("random:0",),
            features={"digest": "d"},
        )
        write("vgg16 random:0 fc2", fold, rows_with_auc(6), lineage=("random:0",), features={"digest": "d"})
        write("tiny random:0 fc2", fold, rows_with_auc(6), lineage=("random:0",), features={"digest": "d"})
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
