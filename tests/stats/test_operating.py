"""Confusion counts and operating points against scikit-learn, pROC and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from featx.errors import ConfigError, InputError
from featx.stats.operating import (
    Confusion,
    balanced_accuracy,
    confusion,
    confusion_at,
    confusion_matrix,
    one_vs_rest,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
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
    for index in range(classes):
        assert one_vs_rest(matrix, index) == confusion(targets == index, predicted == index)


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
    with pytest.raises(InputError, match="use confusion_at for scores"):
        confusion([0, 1], [0.2, 0.8])
    with pytest.raises(InputError, match=r"class indices must be 0 to 1\. Got 2 instead"):
        confusion_matrix([0, 2], [0, 1], 2)
    with pytest.raises(InputError, match="of one length"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(ConfigError, match="'specificity' parameter must be between 0 and 1"):
        sensitivity_at_specificity([0, 1], [0, 1], 90)
