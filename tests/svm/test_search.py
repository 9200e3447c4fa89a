"""The search: what is chosen from a curve, how a grid grows, and splits that lack a class."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.stats.auc import roc_auc
from featx.svm.problems import Curve, FitProblem
from featx.svm.search import Curves, Search, choose, roc_auc_columns, search_cost
from featx.svm.settings import SvmSettings
from featx.svm.solvers.solving import GramSolver


def _curves(aucs: Sequence[Sequence[float]]) -> Curves:
    values = np.asarray(aucs, dtype=np.float64)
    costs = 10.0 ** np.arange(values.shape[1])
    return Curves(costs, values, np.zeros_like(values), np.ones(values.shape, dtype=np.int64))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=30))
def test_columns_have_the_area_of_the_single_function(rows: list[tuple[bool, int, int]]) -> None:
    actual = np.array([row[0] for row in rows])
    scores = np.array([row[1:] for row in rows], dtype=np.float64)
    wanted = [roc_auc(actual, scores[:, column]) for column in range(2)]
    np.testing.assert_array_equal(roc_auc_columns(actual, scores), wanted)


def test_the_smallest_cost_wins_among_equals_whatever_the_order_of_the_sum() -> None:
    assert choose(_curves([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]])) == 0
    assert choose(_curves([[0.3, 0.1], [0.2, 0.2], [0.1, 0.3]])) == 0


def test_one_standard_error_takes_the_smallest_cost_within_it() -> None:
    curves = _curves([[0.5, 0.79, 0.9], [0.5, 0.77, 0.7]])
    assert choose(curves, "best") == 2
    assert choose(curves, "one-se") == 1


def test_splits_without_both_classes_do_not_count() -> None:
    curves = _curves([[np.nan, np.nan], [0.6, 0.7]])
    assert curves.used == 1
    assert choose(curves) == 1
    assert choose(_curves([[np.nan, np.nan]])) == 0
    partly = _curves([[np.nan, 0.9], [0.6, 0.7]])
    assert (partly.used, partly.mean().tolist()) == (1, [0.6, 0.7])


class _Peak:
    """A solver whose AUC is 1 at and around one C and smaller elsewhere."""

    measure, tolerance = "none", 1.0

    def __init__(self, peak: float) -> None:
        self.peak = peak
        self.asked: list[float] = []

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        self.asked += costs
        distance = np.abs(np.log10(np.asarray(costs)) - np.log10(self.peak))
        order = np.argsort(np.argsort(distance))
        scores = np.stack([np.where(np.arange(40) < 20 - place, 0.0, 1.0) for place in distance * 2], axis=1)
        assert len(order) == scores.shape[1]
        return [Curve(scores, np.zeros(len(costs)), np.ones(len(costs), dtype=np.int64)) for _ in jobs]


def _run(solver: _Peak, **options: object):
    targets = (np.arange(80) % 40 >= 20)[:, None]
    split = (np.arange(40), np.arange(40, 80))
    return search_cost(solver, targets, np.arange(80), [split, split], SvmSettings.make(options))


@pytest.mark.parametrize(
    ("peak", "cost", "edge"), [(10.0, 10.0, ""), (1e5, 1e5, ""), (1e9, 1e6, "upper"), (1e-4, 1e-4, "")]
)
def test_a_grid_is_widened_once(peak: float, cost: float, edge: str) -> None:
    search = _run(_Peak(peak))
    assert search.costs[0] == pytest.approx(cost)
    assert search.edges == (edge,)
    assert bool(search.warnings) == bool(edge)


def test_a_grid_that_must_not_grow_reports_the_edge() -> None:
    solver = _Peak(1e9)
    search = _run(solver, preset="paper")
    assert search.costs == (1e4,)
    assert max(solver.asked) == 1e4
    assert "upper boundary" in search.warnings[0]


def test_refinement_looks_between_the_neighbours() -> None:
    search = _run(_Peak(10**1.5), refine=1)
    assert search.costs[0] == pytest.approx(10**1.5)
    assert len(search.curves[0].costs) == 10
    assert np.all(np.diff(search.curves[0].costs) > 0)


def test_one_class_in_every_held_out_part_is_said() -> None:
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    settings = SvmSettings()
    targets = np.array([[True], *[[False]] * 11])
    splits = [(np.arange(8), np.arange(8, 12))]
    search = search_cost(GramSolver(features, "l2", settings), targets, np.arange(12), splits, settings)
    assert search.costs == (1.0,)
    assert "C was not searched" in search.warnings[0]
    assert np.isnan(search.score)


def test_the_standard_error_is_that_of_the_mean_over_splits() -> None:
    curves = _curves([[0.76, 0.7], [0.76, 0.9], [0.76, 0.7], [0.76, 0.9]])
    assert curves.deviation() == pytest.approx([0.0, np.std([0.7, 0.9, 0.7, 0.9], ddof=1)])
    assert choose(curves, "one-se") == 0
    assert _curves([[0.5, 0.6]]).deviation().tolist() == [0.0, 0.0]
    error = np.std([0.7, 0.9, 0.7, 0.9], ddof=1) / 2
    # A C with a mean below the error's limit is not taken; at the limit it is, whatever the rounding.
    assert choose(_curves([[0.73, 0.7], [0.73, 0.9]] * 2), "one-se") == 1
    limit = 0.8 - error - 1e-14
    assert choose(_curves([[limit, 0.7], [limit, 0.9]] * 2), "one-se") == 0


def test_a_split_whose_fitted_rows_lack_a_class_is_left_out() -> None:
    targets = (np.arange(80) % 40 >= 20)[:, None]
    whole, lacking = (np.arange(40), np.arange(40, 80)), (np.arange(20), np.arange(40, 80))
    search = search_cost(_Peak(1.0), targets, np.arange(80), [whole, lacking], SvmSettings())
    (curves,) = search.curves
    assert curves.used == curves.record()["splits"] == 1
    assert np.isnan(curves.aucs[1]).all()
    assert search.warnings == ("1 of 2 inner splits lack a class; they were left out of the inner AUC",)


def test_refinement_includes_the_lowest_neighbour() -> None:
    search = _run(_Peak(1e-2), refine=1, widen=False)
    assert search.curves[0].costs[1] == pytest.approx(10**-2.5)


class _TwoProblems:
    """A solver that errs on a number of positive images, which is a function of the problem and of C."""

    measure, tolerance = "none", 1.0

    def __init__(self, wrong: Callable[[bool, float], int]) -> None:
        self.wrong = wrong
        self.asked: list[float] = []

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        self.asked += costs
        found = []
        for job in jobs:
            first = bool(job.labels[0] > 0)
            positive = (np.arange(40) < 20) == first
            places = np.flatnonzero(positive)
            scores = np.stack([positive.astype(float)] * len(costs), axis=1)
            for column, cost in enumerate(costs):
                scores[places[: self.wrong(first, cost)], column] = 0.0
            found.append(Curve(scores, np.zeros(len(costs)), np.ones(len(costs), dtype=np.int64)))
        return found


def _two(wrong: Callable[[bool, float], int], **options: object) -> tuple[_TwoProblems, Search]:
    first = np.arange(80) % 40 < 20
    targets = np.stack([first, ~first], axis=1)
    split = (np.arange(40), np.arange(40, 80))
    solver = _TwoProblems(wrong)
    return solver, search_cost(solver, targets, np.arange(80), [split], SvmSettings.make(options))


@pytest.mark.parametrize(
    ("shared", "costs", "score"), [(True, (10.0, 10.0), 0.975), (False, (1.0, 10.0), 1.0)]
)
def test_a_shared_cost_has_the_highest_mean_over_classes(
    shared: bool, costs: tuple[float, ...], score: float
) -> None:
    wrong = {(True, 1.0): 0, (True, 10.0): 2, (False, 1.0): 10, (False, 10.0): 0}
    options = {"shared_cost": shared, "costs": [1.0, 10.0], "widen": False}
    _, search = _two(lambda first, cost: wrong[first, cost], **options)
    assert search.costs == costs
    assert search.score == pytest.approx(score)


def test_a_shared_cost_follows_the_rule() -> None:
    first = np.arange(80) % 40 < 20
    targets = np.stack([first, ~first], axis=1)
    calls = itertools.count()

    def wrong(_: bool, cost: float) -> int:
        return 4 if cost == 1.0 else (0, 3, 6)[next(calls) % 3]

    split = (np.arange(40), np.arange(40, 80))
    for rule, cost in (("best", 10.0), ("one-se", 1.0)):
        settings = SvmSettings.make({"shared_cost": True, "costs": [1.0, 10.0], "widen": False, "rule": rule})
        search = search_cost(_TwoProblems(wrong), targets, np.arange(80), [split] * 3, settings)
        assert search.costs == (cost, cost)


def test_a_grid_is_widened_for_a_class_whose_best_cost_is_at_its_boundary() -> None:
    wrong = {(True, 1.0): 0, (False, 1e4): 2, (False, 1e5): 0}
    solver, search = _two(lambda first, cost: wrong.get((first, cost), 5))
    assert max(solver.asked) == 1e6
    assert search.costs == (1.0, pytest.approx(1e5))


def test_a_single_cost_is_not_searched() -> None:
    solver = _Peak(1e9)
    search = _run(solver, costs=[1.0])
    assert solver.asked == [1.0]
    assert search.costs == (1.0,)


def test_a_search_without_scores_reports_no_boundary() -> None:
    targets = np.array([[True], *[[False]] * 11])
    splits = [(np.arange(8), np.arange(8, 12))]
    search = search_cost(
        _Peak(1.0), targets, np.arange(12), splits, SvmSettings(costs=(1.0, 10.0), widen=False)
    )
    assert search.costs == (1.0,)
    assert search.edges == ("",)


def test_values_of_views_are_pooled_as_the_settings_say() -> None:
    """The largest value of two views separates the classes; their mean does not."""

    class Views:
        measure, tolerance = "none", 1.0

        def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
            pairs = np.repeat([[3.0, -3.0], [1.0, 1.0]], [2, 2], axis=0)
            scores = np.repeat(pairs.reshape(-1, 1), len(costs), axis=1)
            counts = np.ones(len(costs), dtype=np.int64)
            return [Curve(scores, np.zeros(len(costs)), counts) for job in jobs if len(job.test) == 8]

    targets = np.array([[True], [True], [False], [False]] * 2)
    split = (np.arange(4), np.arange(4, 8))
    for pool, score in (("max", 1.0), ("mean", 0.0)):
        settings = SvmSettings.make({"pool": pool, "costs": [1.0]})
        assert search_cost(Views(), targets, np.arange(8), [split], settings, views=2).score == score
