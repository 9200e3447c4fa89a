"""scikit-learn's estimators as solvers: the same optimum as ours, and an honest measure of how far they are."""

from __future__ import annotations

import numpy as np
import pytest

from featx.svm.problems import FitProblem
from featx.svm.settings import SvmSettings
from featx.svm.solving import make_solver


@pytest.mark.parametrize(("solver", "loss"), [("liblinear", "squared_hinge"), ("libsvm", "hinge")])
@pytest.mark.parametrize("scaling", ["l2", "zscore"])
def test_both_find_the_same_optimum(relu_features, solver: str, loss: str, scaling: str) -> None:
    features, positive = relu_features(120, 150)
    train, test = np.arange(80), np.arange(80, 120)
    jobs = [FitProblem(train, test, np.where(positive[train], 1.0, -1.0))]
    costs = [0.01, 0.1, 1.0]
    ours = make_solver(features, scaling, SvmSettings.make({"loss": loss}))
    theirs = make_solver(features, scaling, SvmSettings.make({"loss": loss, "solver": solver}))
    (one,), (other,) = ours.curves(jobs, costs), theirs.curves(jobs, costs)
    assert (np.abs(one.scores - other.scores).max(axis=0) < 1e-2 * np.abs(one.scores).max(axis=0)).all()
    assert other.residuals.max() <= theirs.tolerance
    np.testing.assert_allclose(
        theirs.fit(train, jobs[0].labels, 0.1).weights,
        ours.fit(train, jobs[0].labels, 0.1).weights,
        atol=1e-2,
    )
