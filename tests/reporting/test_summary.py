"""AUC of arms in folds and subgroups, warnings, and columns that results are broken down by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.errors import RunError
from featx.natural_order import natural
from featx.reporting.sections.statements import findings
from featx.reporting.series import collect
from featx.reporting.subgroup_columns import MOST_LEVELS, SubgroupColumn, find_strata, levels
from featx.reporting.summary import MACRO, summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run
from featx.stats.auc import roc_auc
from featx.stats.intervals import delong_interval

from .conftest import single

Write = Callable[..., Run]


def rows(actual: str, scores: list[float], level: str = "low") -> list[Prediction]:
    """One letter an image: p positive, n negative."""
    names = {"p": "malignant", "n": "benign"}
    return [
        Prediction(
            f"i{index}", "1x1", f"g{index}", names[letter], {"malignant": score}, {}, {"difficulty": level}
        )
        for index, (letter, score) in enumerate(zip(actual, scores, strict=True))
    ]


def test_each_fold_has_its_auc_and_the_mean_is_over_the_folds(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows("nnpp", [1, 2, 3, 4]))
    write("A", "1x2", rows("nnpp", [1, 3, 2, 4]))
    (item,) = summarise([tmp_path / "runs"]).overall
    assert item.auc == (1.0, 0.75)
    assert (item.spread.mean, item.spread.n, item.images, item.positives) == (0.875, 2, (4, 4), (2, 2))
    assert item.spread.sd == pytest.approx(np.std([1, 0.75], ddof=1))
    assert (item.spread.high < 1, item.spread.method) == (True, "corrected resampled t, logit")


def test_a_fold_of_one_class_is_counted_and_said_not_averaged(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows("nnpp", [1, 2, 3, 4]))
    write("A", "1x2", rows("nnnn", [1, 3, 2, 4]))
    summary = summarise([tmp_path / "runs"])
    (item,) = summary.overall
    assert (item.spread.mean, item.spread.n, item.spread.undefined) == (1.0, 1, 1)
    assert (
        "A, malignant-vs-benign, AUC: the metric is undefined in 1 of 2 folds (1x2); mean and standard deviation are "
        "over the other 1."
    ) in summary.warnings


def test_one_class_everywhere_leaves_no_mean(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows("nnnn", [1, 2, 3, 4]))
    (item,) = summarise([tmp_path / "runs"]).overall
    assert np.isnan(item.spread.mean)


def test_a_single_test_set_has_the_interval_of_delong(write: Write, tmp_path: Path) -> None:
    write("A", "holdout", rows("nnnppp", [1, 2, 4, 3, 5, 6]), protocol="holdout")
    (item,) = summarise([tmp_path / "runs"]).overall
    assert "DeLong" in item.spread.method
    assert 0 < item.spread.low < item.spread.mean < item.spread.high < 1


def test_strata_have_their_own_auc_and_counts(write: Write, tmp_path: Path) -> None:
    easy = rows("nnpp", [1, 2, 3, 4], "low")
    hard = [replace(row, id=f"{row.id}h") for row in rows("nnp", [1, 3, 2], "high")]
    write("A", "1x1", easy + hard)
    found = {item.level: item for item in summarise([tmp_path / "runs"]).strata}
    assert list(found) == ["low", "high"]
    assert (found["low"].auc, found["high"].auc) == ((1.0,), (0.5,))
    assert (found["high"].images, found["high"].positives) == ((3,), (1,))


def test_a_stratum_of_one_class_has_no_auc(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", [*rows("nnpp", [1, 2, 3, 4]), replace(rows("p", [9], "high")[0], id="x")])
    found = {item.level: item for item in summarise([tmp_path / "runs"]).strata}
    assert np.isnan(found["high"].auc[0])


def with_column(name: str, values: Sequence[str], fold: str = "1x1") -> list[Prediction]:
    """Negatives and positives in turn, with a value each."""
    made = rows("np" * (len(values) // 2), list(map(float, range(len(values)))))
    return [replace(row, strata={name: value}) for row, value in zip(made, values, strict=True)]


def test_a_column_of_many_names_is_left_out_and_said(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", with_column("site", [f"site {index}" for index in range(20)]))
    summary = summarise([tmp_path / "runs"])
    assert summary.strata == ()
    assert any("'site' has 20 values" in text for text in summary.warnings)
    assert len(summarise([tmp_path / "runs"], ["site"]).strata) == 20


def test_ages_are_binned_by_decade_and_alike_for_all_arms(write: Write, tmp_path: Path) -> None:
    ages = [str(31 + index) for index in range(30)]
    made = with_column("age", ["", "nan", *ages])
    write("A", "1x1", made)
    write("B", "1x1", made[:18])  # 31 to 46: alone these would be binned at their quartiles
    summary = summarise([tmp_path / "runs"])
    found = [(item.series.arm, item.level, item.images) for item in summary.strata]
    assert found == [
        ("A", "30 to 39", (9,)),
        ("A", "40 to 49", (10,)),
        ("A", "50 to 59", (10,)),
        ("A", "60 to 69", (1,)),
        ("B", "30 to 39", (9,)),
        ("B", "40 to 49", (7,)),
    ]
    assert not any("'age'" in text for text in summary.warnings)
    assert [item.level for item in summarise([tmp_path / "runs"], ["age"]).strata] == [
        one[1] for one in found
    ]


def test_images_of_a_stratum_are_counted_once(write: Write, tmp_path: Path) -> None:
    made = [
        *rows("nnpp", [1, 2, 3, 4], "low"),
        *(replace(r, id=f"{r.id}h") for r in rows("npp", [1, 2, 3], "high")),
    ]
    for fold in ("1x1", "1x2", "2x1"):
        write("A", fold, made)
    summary = summarise([tmp_path / "runs"])
    assert {item.level: item.distinct for item in summary.strata} == {"low": (4, 2), "high": (3, 2)}
    table = single("strata", summary)
    assert table is not None
    assert [(row["level"], row["images"], row["positives"]) for row in records(table)] == [
        ("low", 4, 2),
        ("high", 3, 2),
    ]


def patients(shift: float, seed: int) -> dict[str, list[Prediction]]:
    """24 patients of three images, two of whom have both classes."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[Prediction]] = {}
    for number in range(24):
        name = f"p{number:02}"
        classes = (
            ("benign", "benign", "malignant") if number < 2 else (("benign", "malignant")[number % 2],) * 3
        )
        made[name] = [
            Prediction(
                f"{name}-{i}",
                name,
                name,
                actual,
                {"malignant": rng.normal() + shift * (actual == "malignant")},
            )
            for i, actual in enumerate(classes)
        ]
    return made


def test_folds_that_leave_one_group_out_are_pooled_to_one_auc(write: Write, tmp_path: Path) -> None:
    for arm, shift in (("A", 1.5), ("B", 0.5)):
        for name, made in patients(shift, 0 if arm == "A" else 1).items():
            write(arm, name, made, protocol="leave-one-group-out")
    summary = summarise([tmp_path / "runs"])
    first, second = summary.overall
    made = [row for several in patients(1.5, 0).values() for row in several]
    actual, scores = [row.actual == "malignant" for row in made], [row.scores["malignant"] for row in made]
    exact = delong_interval(actual, scores, groups=[row.group for row in made], scale="logit")
    assert first.auc == (roc_auc(actual, scores),)
    assert (first.spread.low, first.spread.high) == pytest.approx((exact.low, exact.high))
    assert (first.series.folds, first.images, first.series.scores[0].models) == (("pooled",), (72,), 24)
    caveat = "decision values of 24 models are pooled for one AUC, assuming that their scales agree"
    assert f"A, B, malignant-vs-benign, AUC: {caveat}." in summary.warnings
    (pair,) = summary.comparisons["malignant-vs-benign", "leave-one-group-out"].pairs
    assert pair.finding.test == "DeLong by groups (Obuchowski 1997)"
    assert pair.finding.estimate == pytest.approx(first.auc[0] - second.auc[0])
    assert any(
        "decision values of 24 models" in str(row["warnings"]) for row in records(single("auc", summary))
    )
    (said,) = findings(summary)
    assert "pooled decision values of 24 models" in said.lead


def test_folds_of_one_group_each_are_pooled_whatever_the_protocol_is_called(
    write: Write, tmp_path: Path
) -> None:
    for name, made in patients(1.0, 0).items():
        write("A", name, made, protocol="my folds")
    assert summarise([tmp_path / "runs"]).overall[0].series.pooled


def test_groups_with_all_classes_keep_an_auc_each(write: Write, tmp_path: Path) -> None:
    for name, made in list(patients(1.0, 0).items())[:2]:
        write("A", name, made, protocol="leave-one-group-out")
    (item,) = summarise([tmp_path / "runs"]).overall
    assert (item.series.pooled, item.series.folds) == (False, ("p00", "p01"))
    # Another arm shows that this protocol has test sets without a class: neither has a mean of two folds then.
    for name, made in patients(1.0, 1).items():
        write("B", name, made, protocol="leave-one-group-out")
    assert [item.series.pooled for item in summarise([tmp_path / "runs"]).overall] == [True, True]


def test_warnings_of_an_arm_reach_the_table_and_the_list(write: Write, tmp_path: Path) -> None:
    """Five positive patients of ten images each."""
    rng = np.random.default_rng(0)
    made = [
        replace(row, group=f"g{index // 10}")
        for index, row in enumerate(rows("p" * 50 + "n" * 200, rng.normal(size=250).tolist()))
    ]
    write("A", "holdout", made, protocol="holdout")
    summary = summarise([tmp_path / "runs"])
    text = "only 5 groups in the smaller class: the normal approximation is poor"
    assert f"A, malignant-vs-benign, AUC: {text}." in summary.warnings
    assert [row["warnings"] for row in records(single("auc", summary))] == [text]


def test_an_arm_without_an_auc_leaves_the_others_theirs(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows("nnnn", [1, 2, 3, 4]), folds_digest="0" * 64)
    write("B", "1x1", rows("nnpp", [1, 3, 2, 4]))
    write("C", "1x1", rows("nnpp", [1, 2, 3, 4]))
    cells = [row[1] for row in single("auc-by-arm", summarise([tmp_path / "runs"])).rows]
    assert [cell and (cell.mean, cell.best) for cell in cells] == [None, (0.75, False), (1.0, True)]  # type: ignore[union-attr]


def test_an_unknown_stratum_is_named(study: Path) -> None:
    with pytest.raises(
        RunError,
        match=r"No run has the column 'site' to break results down by; columns of these runs: difficulty",
    ):
        summarise([study], ["site"])


def test_several_classes_have_an_auc_each_and_their_mean(write: Write, tmp_path: Path) -> None:
    classes = ("a", "b", "c")
    made = [
        Prediction(f"i{n}", "1x1", "", name, {other: float(other == name) + 0.1 * n for other in classes})
        for n, name in enumerate("aabbcc")
    ]
    write("A", "1x1", made, task="three", classes=classes, scored=classes)
    summary = summarise([tmp_path / "runs"])
    single = [item.auc[0] for item in summary.classes]
    assert [item.scored for item in summary.classes] == list(classes)
    assert (summary.overall[0].scored, summary.overall[0].auc[0]) == (MACRO, pytest.approx(np.mean(single)))
    assert single[0] == roc_auc([row.actual == "a" for row in made], [row.scores["a"] for row in made])


def test_a_missing_class_leaves_no_mean_of_classes(write: Write, tmp_path: Path) -> None:
    classes = ("a", "b", "c")
    made = [
        Prediction(f"i{n}", "1x1", "", name, dict.fromkeys(classes, float(n)))
        for n, name in enumerate("aabb")
    ]
    write("A", "1x1", made, task="three", classes=classes, scored=classes)
    summary = summarise([tmp_path / "runs"])
    assert np.isnan(summary.overall[0].auc[0])
    assert [bool(np.isfinite(item.auc[0])) for item in summary.classes] == [True, True, False]


def test_folds_and_arms_stand_in_natural_order(write: Write, tmp_path: Path) -> None:
    for arm in ("arm10", "arm2"):
        for fold in ("10", "9"):
            write(arm, fold, protocol="kfold:10")
    series, _ = collect([tmp_path / "runs"])
    assert [(item.arm, item.folds) for item in series] == [("arm2", ("9", "10")), ("arm10", ("9", "10"))]


def test_a_fold_that_stands_twice_is_an_error_naming_both(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    write("A", "1x1", folder="more")
    with pytest.raises(
        RunError, match=r"arm 'A'.*fold '1x1': found two runs, .*more.* and .*runs.*Give only one"
    ) as caught:
        summarise([tmp_path / "runs", tmp_path / "more"])
    assert "\n" not in str(caught.value)


def test_a_folder_given_twice_counts_once(study: Path) -> None:
    once, twice = summarise([study]), summarise([study, study / "random"])
    assert [item.auc for item in once.overall] == [item.auc for item in twice.overall]


@pytest.mark.parametrize(
    "change", [{"folds_digest": "0" * 64}, {"manifest": {"name": "n", "digest": "0" * 64}}]
)
def test_an_arm_mixed_of_other_folds_or_manifests_is_an_error(
    write: Write, tmp_path: Path, change: dict[str, object]
) -> None:
    write("A", "1x1")
    write("A", "1x2", **change)
    with pytest.raises(RunError, match="differ"):
        summarise([tmp_path / "runs"])


def test_arms_of_other_folds_are_warned_of(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    write("B", "1x1", folds_digest="0" * 64)
    assert any("scored on different folds" in text for text in summarise([tmp_path / "runs"]).warnings)


def test_arms_of_unequal_folds_are_warned_of(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    write("A", "1x2")
    write("B", "1x1")
    assert any("only A has 1x2" in text for text in summarise([tmp_path / "runs"]).warnings)


def test_arms_of_other_images_are_warned_of(write: Write, tmp_path: Path) -> None:
    write("A", "1x1", rows("nnpp", [1, 2, 3, 4]))
    write("B", "1x1", rows("nnp", [1, 2, 3]))
    assert any(
        "fold 1x1 was scored on different images" in text for text in summarise([tmp_path / "runs"]).warnings
    )


def test_other_settings_within_an_arm_are_warned_of(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    write("A", "1x2", settings={"scaling": "none"})
    assert any(
        "different settings" in text and "scaling" in text for text in summarise([tmp_path / "runs"]).warnings
    )


def test_one_task_of_two_meanings_is_an_error(write: Write, tmp_path: Path) -> None:
    write("A", "1x1")
    made = [
        replace(row, actual="x" if row.actual == "benign" else row.actual)
        for row in rows("nnpp", [1, 2, 3, 4])
    ]
    write("B", "1x1", made, classes=("x", "malignant"))
    with pytest.raises(RunError, match="has the classes x, malignant in arm 'B'"):
        summarise([tmp_path / "runs"])


def test_the_runs_own_warnings_are_gathered(write: Write, tmp_path: Path) -> None:
    for fold in ("1x1", "1x2"):
        write("A", fold, warnings=("grid too\nsmall",))
    write("B", "1x1", warnings=("odd",))
    write("B", "1x2")
    texts = summarise([tmp_path / "runs"]).warnings
    assert "A, malignant-vs-benign, all folds: grid too small" in texts
    assert "B, malignant-vs-benign, fold 1x1: odd" in texts


def test_a_network_own_head_stands_beside_the_svm(write: Write, tmp_path: Path) -> None:
    write("E", "1x1")
    write("E", "1x1", folder="tuned", kind="softmax")
    assert [item.arm for item in collect([tmp_path])[0]] == ["E", "E (softmax)"]


def test_fine_tuning_alone_has_nothing_to_report(write: Write, tmp_path: Path) -> None:
    write("E", "1x1", [], kind="finetune")
    with pytest.raises(RunError, match="none of the 1 runs has predictions"):
        summarise([tmp_path / "runs"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"scores": {"malignant": float("nan")}}, "image 'i0' has the score nan"),
        ({"actual": "carcinoma"}, "image 'i0' has the class 'carcinoma'"),
        ({"id": "i1"}, "has the image 'i1' twice"),
    ],
)
def test_odd_predictions_are_refused(
    write: Write, tmp_path: Path, change: dict[str, object], text: str
) -> None:
    given = rows("nnpp", [1, 2, 3, 4])
    write("A", "1x1", [replace(given[0], **change), *given[1:]])  # type: ignore[arg-type]
    with pytest.raises(RunError, match=text):
        summarise([tmp_path / "runs"])


@given(st.lists(st.integers(0, 10**9), min_size=2, unique=True))
def test_numbers_sort_as_numbers(numbers: list[int]) -> None:
    names = [f"fold{number}" for number in numbers]
    assert sorted(names, key=natural) == [f"fold{number}" for number in sorted(numbers)]


def stratum(write: Write, folder: Path, values: list[str]) -> SubgroupColumn:
    """What is made of a column with these values, each image tested in two folds."""
    for fold in ("1x1", "2x1"):
        made = [
            Prediction(
                f"i{n}", fold, "", ("benign", "malignant")[n % 2], {"malignant": 0.0}, {}, {"x": value}
            )
            for n, value in enumerate(values)
        ]
        write("A", fold, made)
    (found,), _ = find_strata(collect([folder / "runs"])[0][0].runs, ["x"])
    return found


def test_known_scales_stand_in_their_order() -> None:
    assert levels(["High", "low"]) == ["low", "High"]
    assert levels(["high", "low", "unknown"]) == ["high", "low", "unknown"]


def test_few_numbers_are_taken_as_they_are(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, ["10", "9", "nan", ""] * 3)
    assert (found.labels, found.edges) == (("9", "10"), ())
    assert [found.level(text) for text in ("9", "nan", " ")] == ["9", "", ""]


def test_other_numbers_are_binned_at_quartiles_of_distinct_images(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, [f"{index / 10}" for index in range(1, 21)])
    assert found.labels == ("≤ 0.5", "> 0.5 to 1", "> 1 to 1.5", "> 1.5")
    assert [found.level(text) for text in ("0.1", "0.5", "0.6", "1.5", "2.0", "nan", "")] == [
        *("≤ 0.5", "≤ 0.5", "> 0.5 to 1", "> 1 to 1.5", "> 1.5"),
        *("", ""),
    ]


def test_a_column_that_is_mostly_one_number_still_has_two_bins(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, ["20.5"] * 90 + [f"{index}" for index in range(20)])
    assert found.labels == ("≤ 19", "> 19")


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ([str(n) for n in range(18, 90)], "10 to 19"),
        ([f"{n}.0" for n in range(0, 90, 5)], "0 to 9"),
        ([str(n) for n in range(1900, 1990)], "≤ 1922"),  # years
        ([str(n - 5) for n in range(60)], "≤ 9"),
        ([str(n) for n in range(20)], "≤ 4"),
    ],
)
def test_whole_numbers_like_ages_are_binned_by_tens(
    write: Write, tmp_path: Path, values: list[str], label: str
) -> None:
    assert stratum(write, tmp_path, values).labels[0] == label


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=MOST_LEVELS + 1, unique=True))
def test_every_number_has_a_bin_and_every_bin_a_number(numbers: list[float]) -> None:
    from featx.reporting.summary import _bins

    edges, labels = _bins(np.array(numbers))
    found = {
        SubgroupColumn("x", edges, tuple(map(str, range(len(labels))))).level(repr(value))
        for value in numbers
    }
    if len(labels) <= 4:  # decades may be empty, quartiles are not
        assert found == set(map(str, range(len(labels))))
    assert len(labels) == len(edges) + 1 <= MOST_LEVELS
