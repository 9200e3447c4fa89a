"""Products with rows against dense products."""

from __future__ import annotations

import numpy as np

from featx.svm.scaling import row_lengths
from featx.svm.solvers import rows
from featx.svm.solvers.rows import InnerProducts, Rows


def test_rows_multiply_as_matrices_do(relu_features) -> None:
    features, _ = relu_features(600, 25)
    lengths = row_lengths(features)
    scaled = np.column_stack([features / lengths[:, None], np.ones(600)])
    some = Rows(features, lengths, 2)
    rng = np.random.default_rng(0)
    columns, sums = rng.normal(size=(26, 3)), rng.normal(size=(600, 3))
    np.testing.assert_allclose(some.times(columns), scaled @ columns, atol=1e-12)
    np.testing.assert_allclose(some.summed(sums), scaled.T @ sums, atol=1e-12)
    weights = rng.uniform(size=600) * (rng.random(600) < 0.5)
    gram = some.weighted_gram(weights)
    np.testing.assert_allclose(np.tril(gram), np.tril((scaled.T * weights) @ scaled), rtol=1e-4, atol=1e-4)


def test_inner_products_follow_a_changing_set_of_rows(relu_features, monkeypatch) -> None:
    monkeypatch.setattr(rows, "_BAND", 16)
    features, _ = relu_features(120, 20)
    lengths = row_lengths(features)
    wanted = (features / lengths[:, None]) @ (features / lengths[:, None]).T
    products = InnerProducts(Rows(features, lengths, 2))
    rng = np.random.default_rng(4)
    numbers = np.arange(0, 60)
    for _ in range(6):
        products.cover(numbers)
        some = rng.permutation(numbers)[:40]
        order, piece = products.piece(some, np.empty(2000))
        assert sorted(order) == sorted(some)
        piece.add_diagonal(np.ones(40))
        right = rng.normal(size=(40, 2))
        solved = np.linalg.solve(wanted[np.ix_(order, order)] + np.eye(40), right)
        np.testing.assert_allclose(piece.solve(right), solved, atol=1e-6)
        # A tenth of the rows leave, others come; at the end more than there is room for.
        numbers = np.union1d(
            rng.permutation(numbers)[:54], rng.integers(0, 120, 5 if len(numbers) < 62 else 60)
        )


def test_memory_of_the_copy_is_given_back_without_a_change(relu_features) -> None:
    features, _ = relu_features(100, 10)
    some = np.arange(0, 100, 3)
    part = Rows(features, row_lengths(features), numbers=some)
    columns = np.random.default_rng(0).normal(size=(11, 2))
    before = part.times(columns)
    part.gather()
    assert np.array_equal(part.times(columns), before)
    part.release()
    assert np.array_equal(part.times(columns), before)
    np.testing.assert_allclose(before, Rows(features[some], row_lengths(features)[some]).times(columns))
