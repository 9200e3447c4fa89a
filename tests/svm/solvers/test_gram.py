"""Solvers on a Gram matrix: squared hinge against liblinear and its optimality conditions, hinge against libsvm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import SVC, LinearSVC

from featx.errors import TrainingError
from featx.svm.problems import balanced_weights
from featx.svm.solvers.gram import hinge_path, squared_hinge_path

GRID = 10.0 ** np.arange(-3, 5)


def _problem(
    draw: Callable[..., tuple[np.ndarray, np.ndarray]], count: int, width: int
) -> tuple[np.ndarray, ...]:
    features, positive = draw(count, width)
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.where(positive, 1.0, -1.0)


@pytest.mark.parametrize(("count", "width"), [(90, 300), (200, 40)])
def test_decisions_agree_with_liblinear_for_every_cost(relu_features, count: int, width: int) -> None:
    rows, labels = _problem(relu_features, count, width)
    train, test = rows[::2], rows[1::2]
    path = squared_hinge_path(train @ train.T, labels[::2], balanced_weights(labels[::2], "balanced"), GRID)
    scores = test @ (train.T @ path.coefficients) + path.intercepts
    assert np.abs(path.residuals).max() < 1e-10
    for column, cost in enumerate(GRID):
        # liblinear's dual is the quicker to converge with few rows, its primal with many.
        reference = LinearSVC(
            C=cost, tol=1e-10, class_weight="balanced", dual=width > count, max_iter=1_000_000
        )
        wanted = reference.fit(train, labels[::2]).decision_function(test)
        assert np.abs(scores[:, column] - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("penalise_bias", [True, False])
def test_the_gradient_vanishes(relu_features, penalise_bias: bool) -> None:
    rows, labels = _problem(relu_features, 100, 150)
    path = squared_hinge_path(rows @ rows.T, labels, np.ones(100), GRID, penalise_bias=penalise_bias)
    for column, cost in enumerate(GRID):
        weights, bias = rows.T @ path.coefficients[:, column], path.intercepts[column]
        slack = np.maximum(0, 1 - labels * (rows @ weights + bias))
        pull = 2 * cost * labels * slack
        scale = np.abs(pull).sum()
        assert np.abs(weights - rows.T @ pull).max() < 1e-9 * scale
        assert abs((bias if penalise_bias else 0.0) - pull.sum()) < 1e-9 * scale


@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 6), st.booleans())
def test_converges_on_anything_small(seed: int, count: int, width: int, penalise_bias: bool) -> None:
    """Ties, copies, zero rows, constant columns, separable and hopeless classes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(count, width)).astype(np.float64)
    labels = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    labels[:2] = -1.0, 1.0
    path = squared_hinge_path(
        rows @ rows.T, labels, rng.uniform(0.1, 2.0, count), GRID, penalise_bias=penalise_bias
    )
    assert np.isfinite(path.coefficients).all()
    assert path.residuals.max() < 1e-8


def test_squared_hinge_ignores_rows_with_weight_0(relu_features) -> None:
    rows, labels = _problem(relu_features, 60, 20)
    weights = np.where(np.arange(60) < 40, 1.0, 0.0)
    whole = squared_hinge_path(rows @ rows.T, labels, weights, GRID)
    part = squared_hinge_path(rows[:40] @ rows[:40].T, labels[:40], np.ones(40), GRID)
    np.testing.assert_allclose(
        rows.T @ whole.coefficients, rows[:40].T @ part.coefficients, rtol=1e-8, atol=1e-10
    )


def test_a_matrix_that_is_no_gram_matrix_is_refused() -> None:
    with pytest.raises(TrainingError, match="not positive definite"):
        squared_hinge_path(-10.0 * np.eye(3), np.array([-1.0, 1.0, 1.0]), np.ones(3), np.array([1.0]))


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


def test_hinge_ignores_rows_with_weight_0(relu_features) -> None:
    features, positive = relu_features(60, 100)
    gram = features.astype(np.float64) @ features.T.astype(np.float64)
    labels = np.where(positive, 1.0, -1.0)
    weights = np.where(np.arange(60) % 3 == 0, 0.0, 1.0)
    kept = np.flatnonzero(weights)
    whole = hinge_path(gram, labels, weights, np.array([0.1]), tolerance=1e-8)
    part = hinge_path(gram[np.ix_(kept, kept)], labels[kept], np.ones(40), np.array([0.1]), tolerance=1e-8)
    np.testing.assert_array_equal(whole.coefficients[kept], part.coefficients)
    assert not whole.coefficients[weights == 0.0].any()
