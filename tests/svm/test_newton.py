"""Squared hinge by Newton steps against liblinear, and against its own optimality conditions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.svm import LinearSVC

from featx.errors import TrainingError
from featx.svm.problems import balanced_weights
from featx.svm.solvers.gram import squared_hinge_path

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


def test_rows_of_no_weight_do_not_count(relu_features) -> None:
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
