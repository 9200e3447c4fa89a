"""Scalings: against scikit-learn, and on rows and columns that have nothing to scale."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from featx.errors import ConfigError
from featx.svm.scaling import fit_scaler, prepare_rows, row_lengths


@pytest.fixture(params=[(40, 10), (30, 60)], ids=["tall", "wide"])
def rows(request: pytest.FixtureRequest) -> np.ndarray:
    rng = np.random.default_rng(0)
    count, width = request.param
    return (rng.normal(size=(count, width)) * 0.9 ** np.arange(width) + 2).astype(np.float32)


def test_rows_and_columns_are_scaled_as_scikit_learn_does(rows: np.ndarray) -> None:
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(fit_scaler("l2", rows).apply(rows), normalize(exact), rtol=1e-12)
    np.testing.assert_allclose(
        fit_scaler("zscore", rows).apply(rows), StandardScaler().fit_transform(exact), rtol=1e-9, atol=1e-9
    )


def test_components_span_what_scikit_learn_finds(rows: np.ndarray) -> None:
    reference = PCA(n_components=0.99, svd_solver="full").fit(rows.astype(np.float64))
    ours = fit_scaler("pca", rows).apply(rows)
    assert ours.shape[1] == reference.n_components_
    np.testing.assert_allclose(np.abs(ours), np.abs(reference.transform(rows.astype(np.float64))), atol=1e-8)
    white = fit_scaler("whiten", rows).apply(rows)
    np.testing.assert_allclose(white.T @ white / len(rows), np.eye(white.shape[1]), atol=1e-8)


def test_roots_of_rows_have_the_inner_products_of_the_hellinger_kernel() -> None:
    rows = np.random.default_rng(3).random((6, 9), np.float32)
    shares = rows / rows.sum(axis=1, keepdims=True)
    kernel = np.sqrt(shares[:, None] * shares[None]).sum(axis=2)
    scaled = fit_scaler("root", rows).apply(rows)
    np.testing.assert_allclose(scaled @ scaled.T, kernel, rtol=1e-6)
    np.testing.assert_array_equal(fit_scaler("root", rows).apply(-rows), -scaled)


def test_roots_that_do_not_fit_into_memory_are_refused(
    rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.machine.available_memory", lambda: rows.nbytes - 1)
    with pytest.raises(ConfigError, match=r"square roots of .* rows need .*use the scaling l2"):
        prepare_rows("root", rows)
    prepare_rows("l2", rows)


@pytest.mark.parametrize("name", ["l2", "root", "none", "zscore", "pca", "whiten"])
def test_nothing_to_scale_gives_finite_numbers(name: str) -> None:
    for rows in (np.zeros((5, 3), np.float32), np.full((5, 3), 0.1, np.float32), np.ones((1, 3), np.float32)):
        scaler = fit_scaler(name, rows)
        scaled = scaler.apply(rows)
        assert np.isfinite(scaled).all()
        assert scaler.scores(rows, np.ones((scaled.shape[1], 1))).shape == (len(rows), 1)


def test_zscore_drops_constant_columns_in_new_rows_too() -> None:
    rows = np.array([[1.0, 0.1], [2.0, 0.1], [4.0, 0.1]], np.float32)
    assert fit_scaler("zscore", rows).apply(np.array([[1.0, 99.0]], np.float32))[0, 1] == 0.0


def test_powers_of_two_scale_lengths_exactly(rows: np.ndarray) -> None:
    assert np.array_equal(row_lengths(rows * np.float32(8.0)), 8.0 * row_lengths(rows))


@pytest.mark.parametrize("name", ["l2", "root", "zscore", "whiten"])
def test_products_without_scaled_rows_agree(rows: np.ndarray, name: str) -> None:
    scaler = fit_scaler(name, rows)
    scaled = scaler.apply(rows)
    weights = np.random.default_rng(1).normal(size=(scaled.shape[1], 2))
    np.testing.assert_allclose(scaler.scores(rows, weights), scaled @ weights, atol=1e-12)
    sums = np.random.default_rng(2).normal(size=(len(rows), 2))
    np.testing.assert_allclose(
        scaler.pull_back(rows, np.arange(len(rows)), sums), scaled.T @ sums, atol=1e-12
    )
