"""The fusion of decision values: standardised means, and logistic regressions whose scores are out of fold."""

from __future__ import annotations

import numpy as np
import pytest

from featx.stats import roc_auc
from featx.svm.fused.fusion import fit_fusion


@pytest.fixture
def scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of two members, of which the second has more noise and another scale; classes; inner folds."""
    rng = np.random.default_rng(0)
    positive = rng.random((200, 2)) < 0.4
    good = positive + 0.6 * rng.normal(size=(200, 2))
    poor = 50 + 20 * (positive + 2.0 * rng.normal(size=(200, 2)))
    return np.stack([good, poor]), positive, np.arange(200) % 5


def test_the_mean_is_of_scores_of_mean_0_and_sd_1(scores):
    values, positive, parts = scores
    fusion, held_out = fit_fusion("mean-score", values, positive, parts, "balanced")
    standard = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    np.testing.assert_allclose(held_out, standard.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(fusion.apply(values[:, :3]), held_out[:3], atol=1e-12)


def test_a_member_that_says_the_same_of_all_adds_nothing(scores):
    values, positive, parts = scores
    values[1] = 7.0
    for method in ("mean-score", "stack"):
        fusion, held_out = fit_fusion(method, values, positive, parts, "none")
        assert np.isfinite(held_out).all()
        assert roc_auc(positive[:, 0], fusion.apply(values)[:, 0]) == pytest.approx(
            roc_auc(positive[:, 0], values[0, :, 0])
        )


@pytest.mark.parametrize("class_weight", ["balanced", "none"])
def test_the_regression_is_scikit_learn_s_and_trusts_the_better_member(scores, class_weight):
    from sklearn.linear_model import LogisticRegression

    values, positive, parts = scores
    fusion, held_out = fit_fusion("stack", values, positive, parts, class_weight)
    assert (fusion.weights[0] > fusion.weights[1]).all()
    standard = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)
    weight = None if class_weight == "none" else class_weight
    for column in range(2):
        rows, labels = standard[:, :, column].T, positive[:, column]
        whole = LogisticRegression(class_weight=weight, tol=1e-10).fit(rows, labels)
        np.testing.assert_allclose(fusion.apply(values)[:, column], whole.decision_function(rows), atol=1e-5)
        part = LogisticRegression(class_weight=weight, tol=1e-10).fit(rows[parts != 3], labels[parts != 3])
        np.testing.assert_allclose(
            held_out[parts == 3, column], part.decision_function(rows[parts == 3]), atol=1e-5
        )


def test_the_labels_of_an_inner_fold_do_not_reach_its_own_scores(scores):
    values, positive, parts = scores
    _, before = fit_fusion("stack", values, positive, parts, "none")
    changed = positive.copy()
    changed[parts == 2] = ~changed[parts == 2]
    _, after = fit_fusion("stack", values, changed, parts, "none")
    np.testing.assert_array_equal(after[parts == 2], before[parts == 2])
    assert (after[parts != 2] != before[parts != 2]).all()
