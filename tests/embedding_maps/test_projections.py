"""Projections to two dimensions."""

from __future__ import annotations

import numpy as np
import pytest

from featx.embedding_maps.projections import pca_projection, umap_projection


def clouds(count: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(centre, 0.1, (count, 8)) for centre in (np.eye(8)[0], np.eye(8)[1])])


def test_pca_keeps_the_ratio_of_the_axes_and_fixes_signs() -> None:
    rows = clouds()
    found = pca_projection(rows)
    assert np.ptp(found.points, axis=0).max() == 1.0
    assert found.points.min(axis=0).tolist() == [0.0, 0.0]
    assert (pca_projection(rows[:, ::-1]).points == found.points).mean() > 0.9
    assert found.method.startswith("PCA: the first two principal components")
    spreads = np.ptp(found.points, axis=0)
    scores = np.linalg.svd(rows - rows.mean(axis=0))[2][:2] @ (rows - rows.mean(axis=0)).T
    assert spreads[1] / spreads[0] == pytest.approx(np.ptp(scores[1]) / np.ptp(scores[0]), abs=1e-4)


def test_equal_rows_and_single_columns_have_points() -> None:
    assert pca_projection(np.ones((3, 4))).points.tolist() == [[0.0, 0.0]] * 3
    assert pca_projection(np.array([[1.0], [3.0]])).points[:, 1].tolist() == [0.0, 0.0]


@pytest.mark.slow
def test_umap_repeats_itself_and_parts_the_clouds() -> None:
    pytest.importorskip("numba")
    rows = clouds()
    one, two = umap_projection(rows, seed=3), umap_projection(rows, seed=3)
    assert (one.points == two.points).all()
    assert "seed 3" in one.method
    first, second = one.points[:40], one.points[40:]
    apart = np.linalg.norm(first.mean(axis=0) - second.mean(axis=0))
    assert apart > 2 * max(first.std(), second.std())
    assert umap_projection(rows[:5]).parameters["method"] == "pca"
