"""Leak detectors and invariances: what a search that cheats, or a solver that is not exact, would fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featx.data import deal, inner_splits
from featx.errors import FeatxError
from featx.stats.auc import roc_auc
from featx.svm.search import search_cost
from featx.svm.settings import SvmSettings
from featx.svm.solvers.solving import make_solver
from featx.svm.train import run_auc, train_svm

PERMUTATIONS = 50
# Half of the grid finds what the whole would: a search that looks at the test part is seen as surely.
COARSE = (1e-3, 1e-1, 1e1, 1e3)


def _nested(
    features: np.ndarray, positive: np.ndarray, groups: np.ndarray | None, settings: SvmSettings, seed: int
) -> list[float]:
    """Two outer folds with the whole search inside each, as train_svm does them."""
    outer = np.arange(len(features)) if groups is None else groups
    parts = deal(positive, outer, (0.5, 0.5), np.random.default_rng(seed))
    solver = make_solver(features, settings.scaling[0], settings, rows=len(features) // 2)
    targets = positive[:, None]
    found = []
    for part in (0, 1):
        train, test = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
        inner = None if groups is None or settings.inner == "stratified" else groups[train]
        splits = inner_splits(positive[train], inner, splits=settings.inner_splits, seed=seed)
        search = search_cost(solver, targets, train, splits, settings)
        one = solver.fit(train, np.where(positive[train], 1.0, -1.0), search.costs[0])
        scores = one.scaler.scores(features[test], one.weights[:, None])[:, 0] + one.intercept
        found.append(roc_auc(positive[test], scores))
    return found


def _is_chance(means: list[float]) -> bool:
    return abs(np.mean(means) - 0.5) < 3 * np.std(means, ddof=1) / np.sqrt(len(means))


@pytest.mark.parametrize("preset", ["default", pytest.param("paper", marks=pytest.mark.slow)])
def test_permuted_labels_score_as_chance(relu_features, preset: str) -> None:
    features, positive = relu_features(60, 40, signal=6.0)
    settings = SvmSettings.make({"preset": preset, "inner_splits": 3, "costs": COARSE})
    real = np.mean(_nested(features, positive, None, settings, 0))
    rng = np.random.default_rng(0)
    means = [
        float(np.mean(_nested(features, rng.permutation(positive), None, settings, seed)))
        for seed in range(PERMUTATIONS)
    ]
    assert real > np.mean(means) + 3 * np.std(means)
    assert _is_chance(means)


def test_a_search_that_looks_at_the_test_part_would_be_seen(relu_features) -> None:
    features, positive = relu_features(60, 40, signal=6.0)
    settings = SvmSettings.make({"costs": COARSE})
    solver = make_solver(features, settings.scaling[0], settings, rows=30)
    rng = np.random.default_rng(0)
    means = []
    for seed in range(PERMUTATIONS):
        permuted = rng.permutation(positive)
        parts = deal(permuted, np.arange(60), (0.5, 0.5), np.random.default_rng(seed))
        best = []
        for part in (0, 1):
            train, test = np.flatnonzero(parts == part), np.flatnonzero(parts != part)
            fits = [solver.fit(train, np.where(permuted[train], 1.0, -1.0), cost) for cost in COARSE]
            scores = [one.scaler.scores(features[test], one.weights[:, None])[:, 0] for one in fits]
            best.append(max(roc_auc(permuted[test], values) for values in scores))
        means.append(float(np.mean(best)))
    assert not _is_chance(means)


@pytest.mark.parametrize("preset", ["default", pytest.param("paper", marks=pytest.mark.slow)])
def test_groups_that_carry_the_label_score_as_chance(preset: str) -> None:
    """Rows of a group are near copies with one label by chance: known groups would be recognised, and must not be."""
    settings = SvmSettings.make({"preset": preset, "inner_splits": 3, "costs": COARSE})
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(24), 3)
    grouped, ungrouped = [], []
    for seed in range(PERMUTATIONS):
        features = (rng.normal(size=(24, 30))[groups] + 0.1 * rng.normal(size=(72, 30))).astype(np.float32)
        positive = rng.permutation(np.arange(24) % 2 == 0)[groups]
        grouped.append(float(np.mean(_nested(features, positive, groups, settings, seed))))
        if seed < 5:
            ungrouped.append(float(np.mean(_nested(features, positive, None, settings, seed))))
    assert np.mean(ungrouped) > 0.8
    assert _is_chance(grouped)


@pytest.mark.parametrize("preset", list(SvmSettings.presets))
@pytest.mark.parametrize("shape", [(80, 100), (240, 30)], ids=["wide", "tall"])
def test_rotations_powers_of_two_and_shuffles_change_no_decision(
    relu_features, preset: str, shape: tuple[int, int]
) -> None:
    features, positive = relu_features(*shape)
    settings = SvmSettings.make({"preset": preset})
    count, width = shape
    half = count // 2
    rng = np.random.default_rng(2)
    rotation, _ = np.linalg.qr(rng.normal(size=(width, width)))
    order = np.concatenate([rng.permutation(half), np.arange(half, count)])

    def scores(rows: np.ndarray, labels: np.ndarray, cost: float) -> np.ndarray:
        solver = make_solver(rows, "l2", settings, rows=half)
        one = solver.fit(np.arange(half), np.where(labels[:half], 1.0, -1.0), cost)
        return one.scaler.scores(rows[half:], one.weights[:, None])[:, 0] + one.intercept

    for cost in (1e-2, 1.0, 1e3):
        plain = scores(features, positive, cost)
        assert np.array_equal(scores(features * np.float32(2.0**-7), positive, cost), plain)
        near = (2e-2 if settings.loss == "hinge" else 1e-3) * np.abs(
            plain
        ).max()  # libsvm stops at its tolerance
        turned = features.astype(np.float64) @ rotation
        assert np.abs(scores(turned, positive, cost) - plain).max() < near
        assert np.abs(scores(features[order], positive[order], cost) - plain).max() < near


def _degenerate(kind: str) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(24, 6)).astype(np.float32)
    labels = ["sick" if index % 3 == 0 else "healthy" for index in range(24)]
    if kind == "constant columns":
        features[:, 2:] = 7.0
    elif kind == "zero rows":
        features[::5] = 0.0
    elif kind == "all equal":
        features[:] = 1.0
    elif kind == "two of a class":
        labels = ["sick" if index in (3, 17) else "healthy" for index in range(24)]
    return features, labels


@pytest.mark.parametrize("preset", list(SvmSettings.presets))
@pytest.mark.parametrize("scaling", ["l2", "root", "none", "zscore", "pca", "whiten"])
@pytest.mark.parametrize("kind", ["constant columns", "zero rows", "all equal", "two of a class"])
def test_degenerate_features_have_a_defined_result(
    make, tmp_path: Path, preset: str, scaling: str, kind: str
) -> None:
    features, labels = _degenerate(kind)
    manifest, store = make(features, labels)
    runs = train_svm(
        manifest,
        features=[store],
        task="sick:healthy",
        protocol="kfold:2",
        preset=preset,
        scaling=scaling,
        inner_splits=2,
        output=tmp_path / "runs",
        cache=tmp_path / "cache",
    )
    for run in runs:
        assert all(np.isfinite(row.scores["sick"]) for row in run.predictions)
        assert 0.0 <= run_auc(run) <= 1.0
        if kind == "all equal":
            assert run_auc(run) == 0.5
        if kind == "two of a class":
            assert any("C was not searched" in line for line in run.record.warnings)


@pytest.mark.parametrize(
    ("labels", "protocol", "message"),
    [
        (["sick", "healthy"], "kfold:2", "needs two groups of every class"),
        (["sick"] + ["healthy"] * 9, "kfold:2", "needs two groups of every class"),
        (["sick"] * 10, "kfold:2", "healthy"),
        (["sick", "healthy"] * 4, "kfold:9", "at least 9"),
    ],
    ids=["2 rows", "one positive", "one class", "fewer than folds"],
)
def test_too_little_to_learn_from_is_said(
    make, tmp_path: Path, labels: list[str], protocol: str, message: str
) -> None:
    features = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    manifest, store = make(features, labels)
    with pytest.raises(FeatxError, match=message):
        train_svm(
            manifest,
            features=[store],
            task="sick:healthy",
            protocol=protocol,
            output=tmp_path / "runs",
            cache=tmp_path / "cache",
        )
