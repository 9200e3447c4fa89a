"""Hinge on a Gram matrix against scikit-learn on the features."""

from __future__ import annotations

import numpy as np
from sklearn.svm import SVC

from featx.svm.problems import balanced_weights
from featx.svm.solvers.gram import hinge_path

GRID = 10.0 ** np.arange(-3, 5)


def test_decisions_agree_with_libsvm_on_the_features(relu_features) -> None:
    features, positive = relu_features(120, 200)
    rows = features / np.linalg.norm(features, axis=1, keepdims=True).astype(np.float64)
    labels = np.where(positive, 1.0, -1.0)
    train, test = rows[::2], rows[1::2]
    path = hinge_path(
        train @ train.T, labels[::2], balanced_weights(labels[::2], "balanced"), GRID, tolerance=1e-8
    )
    scores = test @ (train.T @ path.coefficients) + path.intercepts
    for column, cost in enumerate(GRID):
        wanted = SVC(kernel="linear", C=cost, class_weight="balanced", tol=1e-8).fit(train, labels[::2])
        expected = wanted.decision_function(test)
        assert np.abs(scores[:, column] - expected).max() <= 1e-5 * np.abs(expected).max()
    assert path.residuals.max() < 1e-5


def test_the_residual_shows_a_fit_that_stopped_early(relu_features) -> None:
    features, positive = relu_features(100, 50)
    gram = features.astype(np.float64) @ features.T.astype(np.float64)
    labels = np.where(positive, 1.0, -1.0)
    loose = hinge_path(gram, labels, np.ones(100), np.array([1.0]), tolerance=1.0)
    tight = hinge_path(gram, labels, np.ones(100), np.array([1.0]), tolerance=1e-6)
    assert 1e-2 < loose.residuals[0] <= 1.0
    assert tight.residuals[0] < 1e-5


def test_rows_of_no_weight_do_not_count(relu_features) -> None:
    features, positive = relu_features(60, 100)
    gram = features.astype(np.float64) @ features.T.astype(np.float64)
    labels = np.where(positive, 1.0, -1.0)
    weights = np.where(np.arange(60) % 3 == 0, 0.0, 1.0)
    kept = np.flatnonzero(weights)
    whole = hinge_path(gram, labels, weights, np.array([0.1]), tolerance=1e-8)
    part = hinge_path(gram[np.ix_(kept, kept)], labels[kept], np.ones(40), np.array([0.1]), tolerance=1e-8)
    np.testing.assert_array_equal(whole.coefficients[kept], part.coefficients)
    assert not whole.coefficients[weights == 0.0].any()
