from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from featx.reporting.sections.statements import findings
from featx.reporting.summary import summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run

from .conftest import single

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
    assert "It is not statistically significant." in finding.lead


def test_arms_of_other_folds_are_not_compared(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows(GOOD))
    write("B", "1x1", rows(BAD), folds_digest="0" * 64)
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead == (
        "A has the highest mean: AUC 1.000 on one test set. That is 0.333 above B, the second best, but the difference is "
        "untested: scored on different folds."
    )


def test_equal_arms_share_the_highest_value(write: Write, tmp_path: Path) -> None:
    for arm in ("A", "B", "C"):
        write(arm, "1x1", rows(BAD if arm == "C" else GOOD))
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead.startswith("A and B share the highest mean: AUC")


def test_a_task_without_any_auc_says_so(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", [replace(row, actual="benign") for row in rows(GOOD)])
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead == "No arm has an AUC: every test set has one class only."


def test_a_single_test_set_is_called_one(write: Write, tmp_path: Path) -> None:
    write("A", "holdout", rows(BAD), protocol="holdout")
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert "on one test set" in finding.lead


def several(
    write: Write, folds: Sequence[str], scores: Sequence[Sequence[float]], arm: str, **changes: object
) -> None:
    """Write the runs of an arm, each fold with images of its own."""
    for fold, one in zip(folds, scores, strict=True):
        made = [replace(row, id=f"{fold}{row.id}", group=f"{fold}{row.group}") for row in rows(list(one))]
        write(arm, fold, made, **changes)


# Four negatives and four positives in turn: AUC 1, .875, .75, .625 and .5.
PERFECT, GREAT, FAIR, POOR, CHANCE = (
    [0, 4, 1, 5, 2, 6, 3, 7],
    [0, 4, 1, 5, 2, 6, 4.5, 2.5],
    [0, 2.5, 1, 5, 2, 1.5, 3, 7],
    [4.5, 4, 1, 5, 2, 6, 3, 0],
    [4.5, 4, 1, 5, 6.5, 6, 3, 0.5],
)


def test_the_words_rank_and_quote_what_was_compared(write: Write, tmp_path: Path) -> None:
    """An arm with one lucky fold has the highest mean of its own, and is behind where the two can be compared."""
    folds = [f"{repeat}x{direction}" for repeat in (1, 2, 3) for direction in (1, 2)]
    several(write, folds, [PERFECT, FAIR, POOR, FAIR, POOR, FAIR], "A")
    several(write, folds, [GREAT, POOR, CHANCE, POOR, CHANCE, POOR], "B")
    several(write, folds[:1], [GREAT], "C")
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead.startswith("A is best of the 2 ranked arms: AUC 0.")
    assert "The difference to B, the second best, is +0." in finding.lead
    assert "6 folds, 48 test cases, 24 of them positive" in finding.lead
    (line,) = (text for text in finding.details if text.startswith("C is not ranked"))
    assert "over its own 1 fold" in line
    assert "one test set, 8 test cases, 4 of them positive" in line


def test_untested_arms_are_named_and_no_one_is_above_them(write: Write, tmp_path: Path) -> None:
    several(write, ["1x1"], [PERFECT], "A")
    several(write, ["1x1"], [CHANCE], "B")
    several(write, ["1x1"], [CHANCE], "C", folds_digest="0" * 64)
    (finding,) = findings(summarise([tmp_path / "runs"]))
    text = " ".join((finding.lead, *finding.details))
    assert "Untested against A: C (scored on different folds)." in text
    assert "Untested pairs: A and C, B and C; the table of pairs gives the reasons." in text
    assert "told apart" not in text
    assert "Every other arm" not in text


def test_on_one_test_set_two_trained_models_are_compared(write: Write, tmp_path: Path) -> None:
    several(write, ["holdout"], [GREAT], "A", protocol="holdout")
    several(write, ["holdout"], [POOR], "B", protocol="holdout")
    (finding,) = findings(summarise([tmp_path / "runs"]))
    assert finding.lead.endswith(
        "A single test set compares these two trained models, not two ways of training."
    )


def test_interval_and_p_are_corrected_alike(study: Path) -> None:
    summary = summarise([study])
    (finding,), (found,) = findings(summary), summary.comparisons.values()
    (pair,) = (pair for pair in found.pairs if set(pair.arms) == {"source", "source + fine-tuned"})
    assert pair.adjusted_low < pair.finding.low < pair.finding.high < pair.adjusted_high
    interval = (
        f"simultaneous 95 % confidence interval {-pair.adjusted_high:+.3f} to {-pair.adjusted_low:+.3f}"
    )
    assert (
        f"{interval}; adjusted p = {pair.adjusted_p:.3f}, Holm over 3 comparisons".replace("-", "−")
        in finding.lead
    )


def test_the_words_and_the_table_have_one_detectable_difference(study: Path) -> None:
    summary = summarise([study])
    (finding,), table = findings(summary), single("power", summary)
    assert table is not None
    (row,) = (row for row in records(table) if (row["a"], row["b"]) == ("source", "source + fine-tuned"))
    assert any(
        text.startswith("Minimum detectable difference") and text.endswith(f": {row['smallest']:.3f}.")
        for text in finding.details
    )


def test_no_difference_is_detectable_that_is_not_possible(write: Write, tmp_path: Path) -> None:
    several(write, ["1x1", "1x2"], [PERFECT, CHANCE], "A")
    several(write, ["1x1", "1x2"], [FAIR, GREAT], "B")
    summary = summarise([tmp_path / "runs"])
    table = single("power", summary)
    assert table is not None
    (row,) = records(table)
    assert row["smallest"] is None
    assert "the power for the largest possible difference" in str(row["warnings"])
    (finding,) = findings(summary)
    assert "Minimum detectable" not in " ".join(finding.details)


def test_planned_comparisons_are_stated_first(study: Path) -> None:
    summary = summarise([study], planned=["source:random", ("source + fine-tuned", "gone")])
    (finding,) = findings(summary)
    assert finding.lead.startswith(
        "Planned comparisons: source minus random +0.171 (simultaneous 95 % confidence interval"
    )
    assert "Holm over 2 planned comparisons" in finding.lead
    assert "source + fine-tuned minus gone: untested, no scores of gone." in finding.lead
    assert "All other comparisons are exploratory. source + fine-tuned is best" in finding.lead
    assert "Holm over 2 exploratory comparisons" in finding.lead
