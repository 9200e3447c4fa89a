from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from featx.reporting.summary import Summary, against, summarise
from featx.reporting.tables import Score, records
from featx.runs import Prediction, Run
from featx.stats import compare_many
from featx.stats.compare import compare_pair
from featx.stats.power import detectable

from .conftest import filled, single

Write = Callable[..., Run]


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
