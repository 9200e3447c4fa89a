"""Scores pooled by patient."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import ConfigError, InputError
from featx.stats.arms import fold_aucs, fold_scores, size_ratio
from featx.stats.grouping import pool_by_group, pool_fold

ACTUAL = [0, 1, 0, 0, 1]
SCORES = [-3.0, 0.5, 2.0, -1.0, 0.2]
GROUPS = ["b", "a", "b", "c", "a"]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [0.35, -0.5, -1.0]), ("max", [0.5, 2.0, -1.0]), ("extreme", [0.5, -3.0, -1.0])],
)
def test_pooling_by_hand(pooling: str, expected: list[float]) -> None:
    pooled = pool_by_group(ACTUAL, SCORES, GROUPS, pooling=pooling)
    assert pooled.groups == ("a", "b", "c")
    assert (pooled.actual.tolist(), pooled.sizes.tolist(), pooled.mixed) == ([1, 0, 0], [2, 2, 1], ())
    np.testing.assert_allclose(pooled.scores, expected)


def test_a_patient_with_one_positive_image_is_positive_and_named() -> None:
    pooled = pool_by_group([0, 1, 0], [0, 0, 0], ["a", "a", "b"])
    assert (pooled.actual.tolist(), pooled.mixed) == ([1, 0], ("a",))


def test_extreme_prefers_the_higher_of_two_that_are_equally_far() -> None:
    assert pool_by_group([0, 0], [-1, 1], ["a", "a"], pooling="extreme").scores.tolist() == [1]


def test_several_classes_are_pooled_each_by_itself() -> None:
    pooled = pool_by_group([2, 2, 0], [[1, 2, 3], [3, 2, -5], [0, 0, 0]], ["a", "a", "b"], pooling="extreme")
    np.testing.assert_array_equal(pooled.scores, [[3, 2, -5], [0, 0, 0]])
    assert pool_by_group([2, 2, 0], [[1, 2, 3], [3, 2, 1], [0, 0, 0]], ["a", "a", "b"]).scores[
        0
    ].tolist() == [2, 2, 2]
    with pytest.raises(InputError, match=r"with three or more classes\. Groups with several classes: a"):
        pool_by_group([2, 1], np.zeros((2, 3)), ["a", "a"])


def test_groups_of_one_image_change_nothing() -> None:
    rng = np.random.default_rng(0)
    actual, scores = np.tile([0, 1], 10), rng.normal(size=20)
    fold = fold_scores("1", [f"{row:02}" for row in range(20)], actual, scores, train_size=80)
    for pooling in ("mean", "max", "extreme"):
        pooled = pool_fold(fold, pooling=pooling)
        np.testing.assert_array_equal(pooled.scores, fold.scores)
        assert (pooled.ids, pooled.train_size) == (fold.ids, 80)


def test_pooled_folds_go_on_as_folds() -> None:
    rng = np.random.default_rng(0)
    actual = np.repeat(np.tile([0, 1], 10), 3)
    groups = np.repeat([f"lesion {row}" for row in range(20)], 3)
    scores = actual + rng.normal(size=60)
    fold = fold_scores(
        "1", [f"{row:02}" for row in range(60)], actual, scores, groups=list(groups), train_size=240
    )
    pooled = pool_fold(fold)
    assert len(pooled.ids) == 20
    assert size_ratio([pooled]) == size_ratio([fold]) == 0.25
    assert fold_aucs([pooled])[0] > fold_aucs([fold])[0]


def test_the_training_groups_of_a_fold_are_kept_where_they_are_known() -> None:
    """Patients of the test part have two images each, those of the training part ten."""
    groups = [f"patient {row // 2}" for row in range(20)]
    fold = fold_scores(
        "1",
        [f"{row:02}" for row in range(20)],
        np.repeat([0, 1], 10),
        np.arange(20.0),
        groups=groups,
        train_size=400,
        train_groups=40,
    )
    assert size_ratio([fold]) == 0.05
    assert size_ratio([pool_fold(fold)]) == 0.25


def test_bad_pooling_is_refused() -> None:
    with pytest.raises(ConfigError, match="'pooling' parameter must be one of"):
        pool_by_group(ACTUAL, SCORES, GROUPS, pooling="median")
    with pytest.raises(InputError, match="groups must contain one name for each of the 5 rows"):
        pool_by_group(ACTUAL, SCORES, GROUPS[:-1])
    with pytest.raises(InputError, match="the same length, at least 1"):
        pool_by_group([], [], [])
