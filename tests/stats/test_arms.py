"""Scores of arms on folds: order, counts, sizes, summary, strata."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from featx.errors import InputError
from featx.stats.arms import (
    count_images,
    fold_aucs,
    fold_scores,
    partition_warnings,
    pool_folds,
    select_rows,
    size_ratio,
    summarise_arm,
    two_fold_repeats,
)
from featx.stats.auc import macro_auc, roc_auc
from featx.stats.intervals import delong_interval, summarise_folds


def test_rows_are_sorted_by_id() -> None:
    fold = fold_scores("1", ["c", "a", "b"], [1, 0, 1], [0.3, 0.1, 0.2], groups=["z", "x", "y"])
    assert (fold.ids, fold.groups) == (("a", "b", "c"), ("x", "y", "z"))
    assert (fold.actual.tolist(), fold.scores.tolist(), fold.binary) == ([0, 1, 1], [0.1, 0.2, 0.3], True)


def test_without_groups_every_image_is_one() -> None:
    assert fold_scores("1", ["b", "a"], [1, 0], [0.3, 0.1]).groups == ("a", "b")


def test_areas_of_two_and_of_several_classes() -> None:
    rng = np.random.default_rng(0)
    actual, scores = np.tile([0, 1, 2], 4), rng.normal(size=(12, 3))
    ids = [f"{row:02}" for row in range(12)]
    assert fold_aucs([fold_scores("1", ids, actual, scores)])[0] == macro_auc(actual, scores)
    two = fold_scores("1", ids, actual == 1, scores[:, :1])
    assert fold_aucs([two])[0] == roc_auc(actual == 1, scores[:, 0])
    assert count_images([two]) == (12, 4)
    assert count_images([fold_scores("1", ids, actual, scores)]) == (12, None)


def test_sizes_of_the_parts() -> None:
    parts = [
        fold_scores(str(part), [f"{part}{row}" for row in range(4)], [0, 1, 0, 1], range(4))
        for part in range(5)
    ]
    assert size_ratio(parts) == 0.25
    assert size_ratio([fold_scores("1", ["a"], [1], [0.1], train_size=4)]) == 0.25
    assert size_ratio(parts[:1]) is None


def test_repeats_need_both_directions() -> None:
    folds = [fold_scores(name, ["a"], [1], [0.1]) for name in ("10x2", "2x1", "2x2", "10x1", "3x1")]
    assert two_fold_repeats(folds) == [(1, 2), (3, 0)]
    assert two_fold_repeats([*folds, fold_scores("holdout", ["a"], [1], [0.1])]) is None
    assert two_fold_repeats(folds[4:]) is None


def test_repeated_test_parts_are_named() -> None:
    folds = [fold_scores(str(name), [image], [1], [0.1]) for name, image in enumerate("abcab")]
    assert partition_warnings(folds) == ("repeated test sets: 3 = 0, 4 = 1",)
    assert partition_warnings(folds[:3]) == ()


def test_one_fold_is_summarised_by_delong() -> None:
    rng = np.random.default_rng(0)
    actual, scores = np.tile([0, 1], 20), rng.normal(size=40)
    ids = [f"{row:02}" for row in range(40)]
    summary = summarise_arm([fold_scores("holdout", ids, actual, scores)])
    exact = delong_interval(actual, scores, scale="logit")
    assert (summary.mean, summary.low, summary.high, summary.n) == (exact.estimate, exact.low, exact.high, 1)
    groups = [f"lesion {row // 4}" for row in range(40)]
    grouped = summarise_arm([fold_scores("holdout", ids, actual, scores, groups=groups)])
    assert grouped.method == "DeLong by groups (Obuchowski), logit"
    assert grouped.low == delong_interval(actual, scores, groups=groups, scale="logit").low


def test_several_folds_are_summarised_by_the_corrected_interval() -> None:
    rng = np.random.default_rng(0)
    folds = [
        fold_scores(str(part), [f"{part}{row}" for row in range(8)], np.tile([0, 1], 4), rng.normal(size=8))
        for part in range(5)
    ]
    found = summarise_arm(folds)
    assert found == summarise_folds(fold_aucs(folds), ratio=0.25, scale="logit")
    assert found.method == "corrected resampled t, logit"


def test_intervals_of_areas_stay_between_zero_and_one() -> None:
    areas = ([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4])
    folds = [
        fold_scores(str(part), [f"{part}{row}" for row in range(4)], [0, 0, 1, 1], areas[part % 2])
        for part in range(5)
    ]
    summary = summarise_arm(folds)
    assert summary.mean < summary.high < 1.0
    assert summarise_folds(fold_aucs(folds), ratio=0.25).high > 1


def test_strata_keep_their_rows_and_lose_undefined_folds_openly() -> None:
    rng = np.random.default_rng(0)
    folds = [
        fold_scores(str(part), [f"{part}{row}" for row in range(6)], [0, 1, 0, 1, 0, 0], rng.normal(size=6))
        for part in range(5)
    ]
    easy = {image for fold in folds for image in fold.ids[:2]} | {"05"}
    kept = select_rows(folds, easy)
    assert [fold.ids for fold in kept] == [
        ("00", "01", "05"),
        ("10", "11"),
        ("20", "21"),
        ("30", "31"),
        ("40", "41"),
    ]
    np.testing.assert_array_equal(kept[0].scores, folds[0].scores[[0, 1, 5]])
    summary = summarise_arm(select_rows(folds, {"00", "01", "10"}), ratio=size_ratio(folds))
    assert (summary.n, summary.undefined) == (1, 1)
    assert select_rows(folds, {"nothing"}) == []


def test_few_groups_of_the_smaller_class_are_warned_of() -> None:
    """Five positive patients of ten images each are five, on one test set and over folds."""
    rng = np.random.default_rng(0)
    groups = [f"p{row // 10:02}" for row in range(400)]
    actual = (np.arange(400) < 50).astype(int)
    scores = rng.normal(size=400) + actual
    ids = [f"{row:03}" for row in range(400)]
    (few,) = summarise_arm([fold_scores("holdout", ids, actual, scores, groups=groups)]).warnings
    assert few == "only 5 groups in the smaller class: the normal approximation is poor"
    whole = fold_scores("1", ids, actual, scores, groups=groups)
    # Whole patients, dealt in turn.
    folds = [
        replace(
            select_rows([whole], {ids[row] for row in range(400) if row // 10 % 5 == part})[0], name=str(part)
        )
        for part in range(5)
    ]
    summary = summarise_arm(folds)
    assert summary.warnings == ("only 5 groups in the smaller class: the estimate is imprecise",)
    alone = [replace(fold, groups=fold.ids) for fold in folds]
    assert summarise_arm(alone).warnings == ()


def test_pooled_folds_have_one_area_with_its_caveat() -> None:
    rng = np.random.default_rng(0)
    folds = [
        fold_scores(
            f"p{part:02}", [f"{part:02}{row}" for row in range(4)], [part % 2] * 4, rng.normal(size=4)
        )
        for part in range(24)
    ]
    folds = [replace(fold, groups=(fold.name,) * 4, train_size=92) for fold in folds]
    assert np.isnan(fold_aucs(folds)).all()
    pooled = pool_folds(folds)
    assert (pooled.name, pooled.models, len(pooled.ids), pooled.train_size) == ("pooled", 24, 96, 92)
    summary = summarise_arm([pooled])
    exact = delong_interval(pooled.actual, pooled.scores, groups=pooled.groups, scale="logit")
    assert (summary.mean, summary.low, summary.high) == (exact.estimate, exact.low, exact.high)
    assert summary.warnings[-1] == (
        "decision values of 24 models are pooled for one AUC, assuming that their scales agree"
    )
    assert pool_folds(folds[::-1]).scores.tolist() == pooled.scores.tolist()


def test_folds_that_share_images_are_not_pooled() -> None:
    fold = fold_scores("1", ["a", "b"], [0, 1], [0.1, 0.2])
    with pytest.raises(InputError, match="unique image ids"):
        pool_folds([fold, fold])
    with pytest.raises(InputError, match="at least one fold"):
        pool_folds([])


def test_one_undefined_fold_is_counted() -> None:
    summary = summarise_arm([fold_scores("holdout", ["a", "b"], [1, 1], [0.1, 0.2])])
    assert (summary.n, summary.undefined) == (0, 1)
    assert np.isnan(summary.mean)


def test_bad_folds_are_refused() -> None:
    with pytest.raises(InputError, match=r"fold '1' needs one group .* Got 2 ids \(1 distinct\)"):
        fold_scores("1", ["a", "a"], [0, 1], [0.1, 0.2])
    with pytest.raises(InputError, match="1 groups and 2 scores"):
        fold_scores("1", ["a", "b"], [0, 1], [0.1, 0.2], groups=["x"])
    with pytest.raises(InputError, match="finite"):
        fold_scores("1", ["a", "b"], [0, 1], [0.1, np.nan])
    with pytest.raises(InputError, match="at least one fold"):
        summarise_arm([])
