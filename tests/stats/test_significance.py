"""Tests on one test set against pROC's published results, statsmodels, brute force and each other."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from mlxtend.evaluate import combined_ftest_5x2cv, paired_ttest_5x2cv
from scipy.stats import rankdata, ttest_1samp
from sklearn.metrics import average_precision_score
from statsmodels.stats.contingency_tables import mcnemar

from featx.errors import ConfigError, InputError
from featx.stats.auc import average_precision, roc_auc
from featx.stats.significance import (
    bootstrap_test,
    combined_f,
    corrected_t,
    delong_test,
    dietterich_t,
    mcnemar_test,
    permutation_test,
)

PROC = [
    ("wfns", "s100b", 2.20898359144091, 0.0271757822291882, 0.0104061769564846, 0.174214419249478),
    ("wfns", "ndka", 2.79777591868904, 0.00514557970691098, 0.0634011709339876, 0.3600405634833566),
    ("ndka", "s100b", -1.39077002573558, 0.164295175223054, -0.2876917446341914, 0.0488706064228094),
]


@pytest.mark.parametrize(("a", "b", "z", "p", "low", "high"), PROC)
def test_delong_equals_proc_on_its_example(
    asah: dict[str, np.ndarray], a: str, b: str, z: float, p: float, low: float, high: float
) -> None:
    found = delong_test(asah["poor"], asah[a], asah[b])
    np.testing.assert_allclose(
        [found.statistic, found.p, found.low, found.high], [z, p, low, high], rtol=1e-9
    )
    assert (found.n, found.positives, found.test, found.warnings) == (113, 41, "DeLong 1988", ())


def test_bootstrap_agrees_with_delong(asah: dict[str, np.ndarray]) -> None:
    exact = delong_test(asah["poor"], asah["wfns"], asah["s100b"])
    found = bootstrap_test(asah["poor"], asah["wfns"], asah["s100b"])
    assert found.estimate == pytest.approx(exact.estimate)
    assert found.statistic == pytest.approx(exact.statistic, rel=0.1)
    assert bootstrap_test(asah["poor"], asah["wfns"], asah["s100b"]) == found
    assert bootstrap_test(asah["poor"], asah["wfns"], asah["s100b"], seed=1) != found


def test_group_bootstrap_agrees_with_the_grouped_delong() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 3)
    actual = np.repeat(rng.integers(0, 2, 60), 3)
    case = np.repeat(rng.normal(size=60), 3)
    a, b = (case + rng.normal(size=180) * 0.5 + actual * shift for shift in (1.0, 0.5))
    exact = delong_test(actual, a, b, groups=groups)
    found = bootstrap_test(actual, a, b, groups=groups)
    assert found.statistic == pytest.approx(exact.statistic, rel=0.1)
    assert found.correction == "resampling of 60 groups"


def test_bootstrap_takes_any_metric() -> None:
    rng = np.random.default_rng(0)
    actual, a, b = rng.integers(0, 2, 60), rng.normal(size=60), rng.normal(size=60)
    found = bootstrap_test(actual, a, b, metric=average_precision, resamples=200)
    expected = average_precision_score(actual, a) - average_precision_score(actual, b)
    assert found.estimate == pytest.approx(expected)
    assert 0 < found.p <= 1
    slow = bootstrap_test(actual, a, b, metric=roc_auc, resamples=200)
    assert slow.p == pytest.approx(bootstrap_test(actual, a, b, resamples=200).p)


@pytest.mark.parametrize("grouped", [False, True])
def test_permutation_equals_brute_force(grouped: bool) -> None:
    rng = np.random.default_rng(3)
    actual = np.array([0, 0, 1, 1, 0, 1, 0, 1])
    a, b = rng.normal(size=8) + actual, rng.normal(size=8)
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 3]) if grouped else np.arange(8)
    ranks = np.stack([rankdata(a), rankdata(b)])
    observed = roc_auc(actual, a) - roc_auc(actual, b)
    tried = []
    for swap in product([False, True], repeat=groups.max() + 1):
        mask = np.array(swap)[groups]
        one, other = np.where(mask, ranks[::-1], ranks)
        tried.append(roc_auc(actual, one) - roc_auc(actual, other))
    either = min(np.mean(np.array(tried) >= observed - 1e-12), np.mean(np.array(tried) <= observed + 1e-12))
    found = permutation_test(actual, a, b, groups=groups if grouped else None)
    assert found.p == pytest.approx(min(1.0, 2 * either))
    assert found.estimate == pytest.approx(observed)


def test_permutation_does_not_depend_on_the_scale(asah: dict[str, np.ndarray]) -> None:
    one = permutation_test(asah["poor"], asah["wfns"], asah["s100b"], resamples=500)
    other = permutation_test(asah["poor"], np.exp(asah["wfns"]), asah["s100b"] - 1000, resamples=500)
    assert one == other
    assert 0.01 < one.p < 0.08


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_equals_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual, a, b = rng.integers(0, 2, (3, 50))
    right, also = a == actual, b == actual
    table = [[np.sum(right & also), np.sum(right & ~also)], [np.sum(~right & also), np.sum(~right & ~also)]]
    found = mcnemar_test(actual, a, b)
    assert found.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert found.estimate == pytest.approx(right.mean() - also.mean())
    assert found.warnings == ()


def test_mcnemar_warns_of_groups() -> None:
    assert mcnemar_test([0, 1], [0, 1], [1, 1], groups=["a", "a"]).warnings
    assert not mcnemar_test([0, 1], [0, 1], [1, 1], groups=["a", "b"]).warnings


def test_an_arm_equals_itself(asah: dict[str, np.ndarray]) -> None:
    for found in (
        delong_test(asah["poor"], asah["wfns"], asah["wfns"]),
        bootstrap_test(asah["poor"], asah["wfns"], asah["wfns"] * 2, resamples=99),
        permutation_test(asah["poor"], asah["wfns"], asah["wfns"], resamples=99),
        mcnemar_test(asah["poor"], asah["poor"], asah["poor"]),
    ):
        assert (found.p, found.estimate) == (1.0, 0.0)


@pytest.mark.parametrize("test", [delong_test, bootstrap_test, permutation_test])
@pytest.mark.parametrize("actual", [[1, 1, 1], [0, 0, 0]])
def test_one_class_allows_no_test(test: object, actual: list[int]) -> None:
    found = test(actual, [1, 2, 3], [3, 1, 2])  # type: ignore[operator]
    assert np.isnan(found.p)
    assert found.warnings


def test_bad_rows_are_refused() -> None:
    for test in (delong_test, permutation_test):
        with pytest.raises(InputError, match="only 0 and 1"):
            test([0, 2], [1, 2], [2, 1])
    with pytest.raises(InputError, match="Use confusion_at for scores"):
        mcnemar_test([0, 1], [0.3, 1], [0, 1])


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
    assert found.warnings == ("only 3 repeats: the 5x2cv tests are designed for five",)  # type: ignore[attr-defined]


def test_few_folds_are_named() -> None:
    assert corrected_t([0.1, 0.2, 0.4], ratio=0.5).warnings == ("only 3 folds: the test has little power",)


def test_no_difference_at_all_means_p_of_one() -> None:
    for found in (
        dietterich_t(np.zeros((5, 2))),
        combined_f(np.zeros((5, 2))),
        corrected_t(np.zeros(5), 0.25),
    ):
        assert (found.p, found.statistic) == (1.0, 0.0)
        assert found.warnings == ("both arms have the same value in every fold",)


def test_differences_that_do_not_vary_allow_no_test() -> None:
    same = np.full((5, 2), 0.02)
    for found in (dietterich_t(same), combined_f(same), corrected_t(same.ravel(), 0.25)):
        assert np.isnan(found.p)
        assert found.warnings == ("the differences do not vary: no test is possible",)


def test_bad_differences_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(repeats, 2\)\. Got shape \(10,\)"):
        combined_f(np.ones(10))
    with pytest.raises(InputError, match="with 1 values that are not finite"):
        dietterich_t([[0.1, np.nan]])
    with pytest.raises(InputError, match="at least two finite numbers"):
        corrected_t([0.1], 0.25)
    with pytest.raises(ConfigError, match="'ratio' parameter must be positive"):
        corrected_t([0.1, 0.2], 0.0)
