"""Pooled scores of views and of groups, and row weights."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import TaskError
from featx.runs import Prediction
from featx.stats import pool_by_group
from featx.svm.problems import pool_groups, pool_scores


@pytest.mark.parametrize(
    ("pool", "wanted"), [("mean", [0.0, -1.0]), ("max", [2.0, 1.0]), ("extreme", [-3.0, -3.0])]
)
def test_views_are_pooled_each_way(pool: str, wanted: list[float]) -> None:
    scores = np.array([[[1.0], [2.0], [-3.0]], [[1.0], [-3.0], [-1.0]]])
    assert pool_scores(scores, pool)[:, 0].tolist() == wanted


@pytest.mark.parametrize("pool", ["mean", "max", "extreme"])
def test_one_view_is_its_own_pool(pool: str) -> None:
    scores = np.random.default_rng(0).normal(size=(5, 1, 3))
    assert np.array_equal(pool_scores(scores, pool), scores[:, 0])


def _row(name: str, group: str, actual: str, score: float, level: str = "low") -> Prediction:
    return Prediction(name, "1x1", group, actual, {"sick": score}, {}, {"level": level, "site": "arm"})


def test_a_group_gets_one_score_and_keeps_what_its_images_share() -> None:
    rows = [
        _row("a", "g2", "sick", 1.0),
        _row("b", "g1", "healthy", -2.0),
        _row("c", "g1", "healthy", 1.0, "high"),
    ]
    first, second = pool_groups(rows, "extreme", "sick")
    assert (first.id, first.group, first.actual, first.scores) == ("g1", "g1", "healthy", {"sick": -2.0})
    assert first.strata == {"level": "", "site": "arm"}
    assert (second.id, second.scores) == ("g2", {"sick": 1.0})


def test_a_group_with_a_positive_image_is_positive_and_others_must_agree() -> None:
    rows = [_row("a", "g", "healthy", 0.0), _row("b", "g", "sick", 1.0)]
    assert pool_groups(rows, "mean", "sick")[0].actual == "sick"
    with pytest.raises(TaskError, match=r"group g holds images of several classes \(healthy, sick\)"):
        pool_groups(rows, "mean")


@pytest.mark.parametrize("tied", [[-2.0, 2.0], [2.0, -2.0], [1.0, -2.0, 2.0, -1.0]])
def test_of_values_equally_far_from_0_the_positive_one_is_taken_everywhere(tied: list[float]) -> None:
    assert pool_scores(np.array(tied).reshape(1, -1, 1), "extreme").tolist() == [[2.0]]
    rows = [_row(str(place), "g", "sick", score) for place, score in enumerate(tied)]
    assert pool_groups(rows, "extreme", "sick")[0].scores == {"sick": 2.0}
    grouped = pool_by_group([1] * len(tied), tied, ["g"] * len(tied), pooling="extreme")
    assert grouped.scores.tolist() == [2.0]
