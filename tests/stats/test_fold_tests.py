"""Tests over folds against mlxtend, scipy and their own limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mlxtend.evaluate import combined_ftest_5x2cv, paired_ttest_5x2cv
from scipy.stats import ttest_1samp

from featx.errors import ConfigError, InputError
from featx.stats.fold_tests import combined_f, corrected_t, dietterich_t


class Fitted:
    """An estimator for mlxtend that is nothing but its name."""

    def __init__(self, arm: int) -> None:
        self.arm = arm

    def fit(self, images: np.ndarray, classes: np.ndarray) -> Fitted:
        return self


def through_mlxtend(test: Callable[..., tuple[float, float]], scores: np.ndarray) -> tuple[float, float]:
    """Let mlxtend split and 'fit', and hand it our scores of each arm in the order of its calls."""
    waiting = {arm: iter(scores[..., arm].ravel()) for arm in (0, 1)}
    images, classes = np.zeros((20, 1)), np.tile([0, 1], 10)
    return test(
        Fitted(0),
        Fitted(1),
        images,
        classes,
        scoring=lambda fitted, x, y: next(waiting[fitted.arm]),
        random_seed=1,
    )


@pytest.mark.parametrize("seed", range(5))
def test_5x2_tests_equal_mlxtend(seed: int) -> None:
    scores = np.random.default_rng(seed).normal(0.8, 0.03, (5, 2, 2))
    differences = scores[..., 0] - scores[..., 1]
    for ours, theirs in ((dietterich_t, paired_ttest_5x2cv), (combined_f, combined_ftest_5x2cv)):
        statistic, p = through_mlxtend(theirs, scores)
        found = ours(differences)
        assert found.statistic == pytest.approx(statistic, rel=1e-9)
        assert found.p == pytest.approx(p, rel=1e-9)
        assert found.estimate == pytest.approx(differences.mean())


def test_corrected_t_is_the_plain_t_shrunk() -> None:
    differences = np.random.default_rng(0).normal(0.01, 0.02, 10)
    plain = ttest_1samp(differences, 0)
    found = corrected_t(differences, ratio=1 / 9)
    assert found.statistic == pytest.approx(plain.statistic * np.sqrt(0.1 / (0.1 + 1 / 9)))
    assert found.freedom == (plain.df,)
    assert found.p > plain.pvalue
    vanishing = corrected_t(differences, ratio=1e-12)
    assert vanishing.p == pytest.approx(plain.pvalue)
    assert (vanishing.low, vanishing.high) == pytest.approx(tuple(plain.confidence_interval()))


def test_interval_and_p_agree() -> None:
    for seed in range(20):
        found = corrected_t(np.random.default_rng(seed).normal(0.02, 0.02, 10), ratio=0.25)
        assert (found.low > 0 or found.high < 0) == (found.p < 0.05)


@pytest.mark.parametrize("test", [dietterich_t, combined_f])
def test_fewer_than_five_repeats_are_named(test: Callable[..., object]) -> None:
    found = test(np.random.default_rng(0).normal(size=(3, 2)))
    assert found.warnings == ("only 3 of the five repeats that the 5x2cv tests were made for",)  # type: ignore[attr-defined]


def test_few_folds_are_named() -> None:
    assert corrected_t([0.1, 0.2, 0.4], ratio=0.5).warnings == (
        "only 3 folds: the test can hardly show anything",
    )


def test_no_difference_at_all_means_p_of_one() -> None:
    for found in (
        dietterich_t(np.zeros((5, 2))),
        combined_f(np.zeros((5, 2))),
        corrected_t(np.zeros(5), 0.25),
    ):
        assert (found.p, found.statistic) == (1.0, 0.0)
        assert found.warnings == ("both arms score the same on every fold",)


def test_differences_that_do_not_vary_allow_no_test() -> None:
    same = np.full((5, 2), 0.02)
    for found in (dietterich_t(same), combined_f(same), corrected_t(same.ravel(), 0.25)):
        assert np.isnan(found.p)
        assert found.warnings == ("the differences do not vary: no test is possible",)


def test_bad_differences_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(repeats, 2\)\. Got shape \(10,\)"):
        combined_f(np.ones(10))
    with pytest.raises(InputError, match="with 1 values that are not finite instead"):
        dietterich_t([[0.1, np.nan]])
    with pytest.raises(InputError, match="at least two finite numbers"):
        corrected_t([0.1], 0.25)
    with pytest.raises(ConfigError, match="'ratio' parameter must be positive"):
        corrected_t([0.1, 0.2], 0.0)
