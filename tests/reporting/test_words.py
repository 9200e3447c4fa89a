from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from featx.reporting.summary import summarise
from featx.reporting.words import findings
from featx.runs import Prediction, Run

Write = Callable[..., Run]


def rows(scores: list[float]) -> list[Prediction]:
    return [
        Prediction(
            f"i{index}", "1x1", f"g{index}", "malignant" if index % 2 else "benign", {"malignant": score}
        )
        for index, score in enumerate(scores)
    ]


GOOD, BAD = [0, 3, 1, 4, 2, 5], [0, 3, 4, 1, 2, 5]


def test_one_arm_alone_is_not_called_best(write: Write, tmp_path: Path) -> None:
    for fold in ("1x1", "1x2"):
        write("A", fold, rows(BAD))
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead.startswith("A reaches AUC 0.")
    assert "best" not in finding.lead


def test_a_difference_within_the_folds_variation_is_said_to_be_unproven(write: Write, tmp_path: Path) -> None:
    for fold, first, second in (("1x1", GOOD, BAD), ("1x2", BAD, GOOD), ("2x1", GOOD, BAD)):
        write("A", fold, rows(first))
        write("B", fold, rows(second))
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert "A is best" in finding.lead
    assert "The difference is not statistically significant." in finding.lead


def test_arms_of_other_folds_are_not_compared(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows(GOOD))
    write("B", "1x1", rows(BAD), folds_digest="0" * 64)
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead == (
        "A has the highest mean: AUC 1.000 on one test set. That is 0.333 above B, the next, but untested: scored on "
        "different folds."
    )


def test_equal_arms_share_the_highest_value(write: Write, tmp_path: Path) -> None:
    for arm in ("A", "B", "C"):
        write(arm, "1x1", rows(BAD if arm == "C" else GOOD))
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead.startswith("A and B share the highest value: AUC")


def test_a_task_without_any_auc_says_so(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", [replace(row, actual="benign") for row in rows(GOOD)])
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead == "No arm has an AUC: every test part holds one class only."


def test_a_single_test_set_is_called_one(write: Write, tmp_path: Path) -> None:
    write("A", "holdout", rows(BAD), protocol="holdout")
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert "on one test set" in finding.lead
