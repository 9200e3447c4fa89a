"""Confusion counts and operating points against scikit-learn, pROC and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from featx.errors import ConfigError, InputError
from featx.stats.operating import (
    Confusion,
    Estimate,
    balanced_accuracy,
    confusion,
    confusion_at,
    confusion_matrix,
    predictive_values,
    proportion,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
    wilson,
    youden_point,
)

bits = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=4, max_size=40)


@given(bits)
def test_rates_equal_scikit_learn(rows: list[tuple[int, int]]) -> None:
    actual, predicted = np.array([(0, 0), (0, 1), (1, 0), (1, 1), *rows]).T
    found = confusion(actual, predicted)
    negative, positive = metrics.confusion_matrix(actual, predicted)
    assert (found.true_negative, found.false_positive) == tuple(negative)
    assert (found.false_negative, found.true_positive) == tuple(positive)
    assert found.sensitivity == pytest.approx(metrics.recall_score(actual, predicted))
    assert found.specificity == pytest.approx(metrics.recall_score(actual, predicted, pos_label=0))
    assert found.positive_predictive_value == pytest.approx(metrics.precision_score(actual, predicted))
    assert found.negative_predictive_value == pytest.approx(
        metrics.precision_score(1 - actual, 1 - predicted)
    )
    assert found.accuracy == pytest.approx(metrics.accuracy_score(actual, predicted))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(actual, predicted))
    assert found.youden == pytest.approx(metrics.balanced_accuracy_score(actual, predicted, adjusted=True))


def test_sensitivity_is_no_predictive_value() -> None:
    found = Confusion(true_positive=8, false_negative=2, false_positive=24, true_negative=66)
    assert (found.sensitivity, found.positive_predictive_value) == (0.8, 0.25)
    assert (found.specificity, found.negative_predictive_value) == (66 / 90, 66 / 68)
    assert (found.n, found.positives, found.negatives) == (100, 10, 90)


def test_a_share_of_nothing_is_undefined() -> None:
    found = confusion([0, 0], [0, 0])
    assert np.isnan([found.sensitivity, found.positive_predictive_value, found.balanced_accuracy]).all()
    assert found.specificity == 1


def test_threshold_belongs_to_the_positives() -> None:
    assert confusion_at([0, 1, 1], [-0.1, 0.0, 0.3]) == Confusion(2, 0, 0, 1)
    assert confusion_at([0, 1, 1], [-0.1, 0.0, 0.3], threshold=0.1).sensitivity == 0.5


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_matrix_equals_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    targets = np.concatenate([np.arange(classes), rng.integers(0, classes, 50)])
    predicted = rng.integers(0, classes, len(targets))
    matrix = confusion_matrix(targets, predicted, classes)
    np.testing.assert_array_equal(matrix, metrics.confusion_matrix(targets, predicted, labels=range(classes)))
    assert balanced_accuracy(matrix) == pytest.approx(metrics.balanced_accuracy_score(targets, predicted))


def test_balanced_accuracy_of_a_missing_class_is_undefined() -> None:
    assert np.isnan(balanced_accuracy([[3, 1], [0, 0]]))


def test_youden_point_equals_proc_on_its_example(asah: dict[str, np.ndarray]) -> None:
    """pROC's coords(roc(outcome, s100b), "best"): specificity 0.8055556, sensitivity 0.6341463."""
    best = youden_point(asah["poor"], asah["s100b"])
    assert (best.specificity, best.sensitivity) == pytest.approx((0.8055556, 0.6341463), abs=1e-7)


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
def test_points_are_the_best_of_all_thresholds(seed: int, floor: float) -> None:
    rng = np.random.default_rng(seed)
    actual = rng.permutation([0] * 8 + [1] * 7)
    scores = rng.integers(0, 9, 15) / 8
    tried = [confusion_at(actual, scores, threshold) for threshold in [*np.unique(scores), np.inf]]
    best = youden_point(actual, scores)
    assert best.sensitivity + best.specificity - 1 == pytest.approx(max(one.youden for one in tried))
    assert confusion_at(actual, scores, best.threshold).sensitivity == pytest.approx(best.sensitivity)
    sensitive = sensitivity_at_specificity(actual, scores, floor)
    assert sensitive.sensitivity == pytest.approx(
        max(one.sensitivity for one in tried if one.specificity >= floor)
    )
    assert sensitive.specificity >= floor
    specific = specificity_at_sensitivity(actual, scores, floor)
    assert specific.specificity == pytest.approx(
        max(one.specificity for one in tried if one.sensitivity >= floor)
    )
    assert specific.sensitivity >= floor


def test_a_rate_that_equals_the_floor_meets_it() -> None:
    actual = [0] * 20 + [1]
    scores = [*range(20), 18.5]
    assert sensitivity_at_specificity(actual, scores, 0.95).sensitivity == 1.0


def test_points_with_one_class_are_undefined() -> None:
    for point in (youden_point([1, 1], [0, 1]), sensitivity_at_specificity([0, 0], [0, 1], 0.9)):
        assert np.isnan([point.threshold, point.sensitivity, point.specificity]).all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="Use confusion_at for scores"):
        confusion([0, 1], [0.2, 0.8])
    with pytest.raises(InputError, match=r"class indices must be from 0 to 1\. Got 2 instead"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(InputError, match="the same length"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ConfigError, match="'specificity' parameter must be between 0 and 1"):
        sensitivity_at_specificity([0, 1], [0, 1], 90)


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (3, 20), (20, 20), (118, 400)])
def test_independent_rows_have_wilsons_interval(hits: int, count: int) -> None:
    rows = np.arange(count) < hits
    wanted = proportion_confint(hits, count, method="wilson")
    assert proportion(rows)[1:] == pytest.approx(wanted, abs=1e-12)
    assert proportion(rows, groups=np.arange(count), images=np.arange(count))[1:] == pytest.approx(wanted)


@given(st.lists(st.booleans(), min_size=3, max_size=30), st.integers(2, 5))
def test_testing_an_image_again_is_no_new_evidence(hits: list[bool], times: int) -> None:
    once, often = proportion(hits), proportion(hits * times, images=list(range(len(hits))) * times)
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low >= (once.high - once.low) * (1 - 1e-9)


def test_groups_that_agree_have_the_interval_of_their_number() -> None:
    found = proportion(np.ones(30), groups=np.repeat(np.arange(6), 5))
    assert found[1:] == pytest.approx(tuple(float(end[0]) for end in wilson([1.0], [6])))


def test_no_rows_have_no_proportion() -> None:
    assert np.isnan(proportion([])).all()


@pytest.mark.parametrize("repeats", [1, 5])
@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_intervals_of_rows_in_groups_hold_the_truth(repeats: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    trials, held, naive = 600, 0, 0
    groups = np.repeat(np.arange(40), 4)
    for _ in range(trials):
        # Beta-binomial: images of a patient are alike; tests of an image, too.
        chance = rng.beta(2 * rate, 2 * (1 - rate), size=40)[groups]
        lean = chance + rng.normal(scale=0.05, size=len(groups))
        hits = rng.uniform(size=len(groups)) < lean
        rows = np.tile(np.arange(len(groups)), repeats)
        flips = rng.uniform(size=len(rows)) < 0.1 * (repeats > 1)
        seen = np.where(flips, rng.uniform(size=len(rows)) < rate, hits[rows])
        found = proportion(seen, images=rows, groups=groups[rows])
        held += found.low <= rate <= found.high
        plain = proportion(seen)
        naive += plain.low <= rate <= plain.high
    assert 0.91 <= held / trials <= 0.99
    assert naive / trials < held / trials - 0.04


def test_predictive_values_follow_bayes_and_their_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    sensitivity, specificity, prevalence = 0.85, 0.8, 0.1
    caught, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    truth = caught / (caught + false)
    other = specificity * (1 - prevalence)
    negative_truth = other / (other + (1 - sensitivity) * prevalence)
    held = np.zeros(2)
    for _ in range(1000):
        parts = [proportion(rng.uniform(size=60) < rate) for rate in (sensitivity, specificity)]
        positive, negative = predictive_values(*parts, prevalence)
        for place, (found, wanted) in enumerate(((positive, truth), (negative, negative_truth))):
            assert found.low <= found.value <= found.high
            held[place] += found.low <= wanted <= found.high
    assert ((held / 1000 >= 0.93) & (held / 1000 <= 0.98)).all()


def test_predictive_values_at_the_edges() -> None:
    all_right = proportion(np.ones(20))
    positive, negative = predictive_values(all_right, all_right, 0.2)
    assert positive.value == negative.value == 1.0
    assert 0.2 < positive.low < 1.0 == positive.high
    nobody = proportion(np.zeros(20))
    assert np.isnan(predictive_values(nobody, all_right, 0.2)[0].value)
    assert np.isnan(predictive_values(Estimate(np.nan, np.nan, np.nan), all_right, 0.2)[0]).all()
    with pytest.raises(ConfigError, match="prevalence"):
        predictive_values(all_right, all_right, 1.0)
