"""The gradient of decision values against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import ConfigError
from featx.saliency_maps.maps import decision_gradient
from featx.svm import SvmModel
from featx.svm.problems import Decision
from featx.svm.scaling import fit_scaler

WIDTH = 6


def model(scaling: str, classes: tuple[str, ...] = ("benign", "malignant")) -> SvmModel:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(20, WIDTH)) * np.arange(1, WIDTH + 1)
    scaler = fit_scaler(scaling, rows)
    scored = classes[-1:] if len(classes) == 2 else classes
    width = scaler.apply(rows[:1]).shape[1]
    decisions = tuple(Decision(scaler, rng.normal(size=width), 0.7, 1.0, 0.0, 1) for _ in scored)
    return SvmModel("ab", classes, scored, decisions)


@pytest.mark.parametrize("scaling", ["l2", "root", "none", "zscore", "pca", "whiten"])
def test_gradient_is_that_of_finite_differences(scaling):
    svm, feature = model(scaling), np.random.default_rng(5).normal(size=WIDTH)
    value, gradient = decision_gradient(svm, feature, "malignant")
    assert value == pytest.approx(svm.scores(feature[None], "ab")[0, 0])
    steps = 1e-6 * np.eye(WIDTH)
    differences = (svm.scores(feature + steps, "ab") - svm.scores(feature - steps, "ab"))[:, 0] / 2e-6
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)
    if scaling in ("l2", "root"):
        assert gradient @ feature == pytest.approx(0, abs=1e-12)  # length decides nothing


def test_the_other_class_has_the_other_sign():
    feature = np.random.default_rng(5).normal(size=WIDTH)
    for_it, against_it = (decision_gradient(model("l2"), feature, name) for name in ("malignant", "benign"))
    assert against_it[0] == -for_it[0]
    np.testing.assert_array_equal(against_it[1], -for_it[1])


def test_of_several_classes_each_has_its_own_decision_value():
    svm, feature = model("none", ("a", "b", "c")), np.ones(WIDTH)
    assert [decision_gradient(svm, feature, name)[0] for name in "abc"] == pytest.approx(
        list(svm.scores(feature[None], "ab")[0])
    )
    np.testing.assert_array_equal(decision_gradient(svm, feature, "b")[1], svm.decisions[1].weights)
    with pytest.raises(ConfigError, match="no class 'd' in this run; its classes: a, b, c"):
        decision_gradient(svm, feature, "d")


@pytest.mark.parametrize("scaling", ["l2", "root"])
def test_a_feature_of_zeros_has_a_finite_gradient(scaling):
    assert np.isfinite(decision_gradient(model(scaling), np.zeros(WIDTH), "malignant")[1]).all()
