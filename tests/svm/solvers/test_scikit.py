"""Estimators of scikit-learn as solvers, and the solver as an estimator of scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.svm.problems import FitProblem
from featx.svm.settings import SvmSettings
from featx.svm.solvers.scikit import LinearSVM
from featx.svm.solvers.solving import make_solver


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


def _to_tolerance(estimator: LinearSVM) -> dict[str, str]:
    """scikit-learn itself excepts SVC here: libsvm's solutions are equal to its tolerance, not to 1e-7."""
    return (
        {"check_sample_weight_equivalence_on_dense_data": "to tolerance"} if estimator.loss == "hinge" else {}
    )


@parametrize_with_checks(
    [LinearSVM(), LinearSVM(loss="hinge"), LinearSVM(penalise_bias=False)],
    expected_failed_checks=_to_tolerance,
)
def test_scikit_learns_checks_pass(estimator: LinearSVM, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_the_solution_is_scikit_learns(relu_features, loss: str) -> None:
    features, positive = relu_features(80, 30)
    rows = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    ours = LinearSVM(C=3.0, loss=loss, class_weight="balanced", tol=1e-8).fit(rows, positive)
    if loss == "hinge":
        theirs = SVC(kernel="linear", C=3.0, class_weight="balanced", tol=1e-8).fit(rows, positive)
    else:
        theirs = LinearSVC(C=3.0, class_weight="balanced", tol=1e-10, max_iter=10**6).fit(rows, positive)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(rows), theirs.decision_function(rows), atol=1e-5)
    assert ours.coef_.shape == (1, 30)


def test_three_classes_are_one_against_the_rest(relu_features) -> None:
    features, _ = relu_features(90, 20)
    targets = np.argmax(features[:, :3], axis=1)
    ours = LinearSVM(C=0.5).fit(features, targets)
    theirs = LinearSVC(C=0.5, tol=1e-10, max_iter=10**6).fit(features.astype(np.float64), targets)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_array_equal(ours.predict(features), theirs.predict(features))


@pytest.mark.parametrize(("options", "message"), [({"C": 0.0}, "'C'"), ({"loss": "log"}, "'loss'")])
def test_bad_parameters_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearSVM(**options).fit([[0.0], [1.0]], [0, 1])


def test_fitting_uses_one_blas_thread_and_then_those_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    def blas() -> set[int]:
        return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}

    seen, path = [], LinearSVM._path
    monkeypatch.setattr(LinearSVM, "_path", lambda self, *given: seen.append(blas()) or path(self, *given))
    with threadpool_limits(limits=2, user_api="blas"):
        LinearSVM().fit([[0.0], [1.0]], [0, 1])
        assert blas() == {2}
    assert seen == [{1}]
