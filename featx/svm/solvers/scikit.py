"""Estimators of scikit-learn as solvers, and the Gram matrix solver as an estimator of scikit-learn."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from featx.svm.problems import MEASURES, Curve, Decision, FitProblem, Floats, Ints, Matrix, balanced_weights
from featx.svm.scaling import Scaler, fit_scaler
from featx.svm.settings import SvmSettings
from featx.svm.solvers.gram import Path, hinge_path, squared_hinge_path, violation
from featx.svm.solvers.linalg import in_threads, one_blas_thread

__all__ = ["LinearSVM", "ScikitSolver"]


# Ten times the default of scikit-learn, at which liblinear does not converge for a large C.
_MAX_ITERATIONS = 10_000


class ScikitSolver:
    """Fits ``LinearSVC`` or ``SVC(kernel="linear")`` for each split and C.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    """

    def __init__(self, features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self.measure, self.tolerance = MEASURES[settings.loss]
        if settings.loss == "squared_hinge":
            # The tolerance of liblinear bounds the gradient; the duality gap is then about this.
            self.tolerance = 1e-3

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every problem for every C."""
        return in_threads(lambda job: self._curve(job, costs), jobs, self._workers)

    def _curve(self, job: FitProblem, costs: Sequence[float]) -> Curve:
        decisions = [self.fit(job.train, job.labels, cost) for cost in costs]
        test = self._features[job.test]
        scores = [one.scaler.scores(test, one.weights[:, None]) + one.intercept for one in decisions]
        residuals = np.array([one.residual for one in decisions])
        return Curve(np.hstack(scores), residuals, np.array([one.iterations for one in decisions]))

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem.

        Parameters
        ----------
        train : ndarray of int64, shape (m,)
            Row indices.
        labels : ndarray of float64, shape (m,)
            -1 or 1, both present.
        """
        scaler = fit_scaler(self._scaling, self._features[train])
        rows = scaler.apply(self._features[train])
        costs = cost * balanced_weights(labels, self._settings.class_weight)
        solve = _libsvm if self._settings.solver == "libsvm" else _liblinear
        return solve(scaler, rows, labels, costs, cost)


def _liblinear(scaler: Scaler, rows: Floats, labels: Floats, costs: Floats, cost: float) -> Decision:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    machine = LinearSVC(C=1.0, dual="auto", max_iter=_MAX_ITERATIONS, random_state=0)
    with warnings.catch_warnings():
        # The convergence of every fit is measured below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        machine.fit(rows, labels, sample_weight=costs)
    weights, bias = machine.coef_[0], float(machine.intercept_[0])
    slack = np.maximum(0.0, 1.0 - labels * (rows @ weights + bias))
    pull = rows.T @ (2.0 * costs * slack * labels)
    loss = float(costs @ slack**2)
    primal = 0.5 * float(weights @ weights) + 0.5 * bias**2 + loss
    bent = 0.5 * float(pull @ pull) + 0.5 * float((2.0 * costs * slack) @ labels) ** 2
    gap = (primal - 2.0 * float(costs @ slack) + bent + loss) / primal
    return Decision(scaler, weights, bias, cost, gap, int(machine.n_iter_))


def _libsvm(scaler: Scaler, rows: Floats, labels: Floats, costs: Floats, cost: float) -> Decision:
    from sklearn.svm import SVC

    machine = SVC(C=1.0, kernel="linear").fit(rows, labels, sample_weight=costs)
    beta = np.zeros(len(labels))
    beta[machine.support_] = machine.dual_coef_[0]
    weights = machine.coef_[0]
    residual = violation(rows @ weights, labels, costs, beta)
    return Decision(scaler, weights, float(machine.intercept_[0]), cost, residual, int(machine.n_iter_[0]))


_LOSSES = ("squared_hinge", "hinge")


class LinearSVM(LinearClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear support vector machine, one-vs-rest, solved on the Gram matrix of the rows.

    With squared hinge the objective is that of `sklearn.svm.LinearSVC`, solved exactly for every C. With hinge it is
    that of ``sklearn.svm.SVC(kernel="linear")``, solved by the same libsvm.

    Parameters
    ----------
    penalise_bias : bool
        Regularise the intercept, as ``LinearSVC`` does. With hinge the intercept is never regularised.
    tol : float
        Tolerance of libsvm, for hinge. Squared hinge has no tolerance.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Classes, sorted.
    coef_ : ndarray of float64, shape (1, d) or (k, d)
        Weights: of the second class if there are two classes, else of each class.
    intercept_ : ndarray of float64, shape (1,) or (k,)
        Intercepts.
    n_iter_ : int
        Largest number of steps of a fit.
    residual_ : float
        Largest distance of a fit from its optimum: duality gap over objective, or for hinge the largest violation of
        an optimality condition.

    Examples
    --------
    >>> machine = LinearSVM(C=10.0, class_weight="balanced").fit([[0.0], [1.0], [3.0]], ["a", "a", "b"])
    >>> machine.predict([[0.5], [2.9]]).tolist()
    ['a', 'b']
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        loss: str = "squared_hinge",
        class_weight: Any = None,
        penalise_bias: bool = True,
        tol: float = 1e-3,
    ) -> None:
        self.C = C
        self.loss = loss
        self.class_weight = class_weight
        self.penalise_bias = penalise_bias
        self.tol = tol

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LinearSVM:
        """Fit the SVM.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        sample_weight : array_like of shape (n,), optional
            Factor of C of each row.
        """
        if self.loss not in _LOSSES:
            raise ValueError(
                f"The 'loss' parameter of LinearSVM must be one of {_LOSSES}. Got {self.loss!r} instead."
            )
        if not self.C > 0:
            raise ValueError(f"The 'C' parameter of LinearSVM must be above 0. Got {self.C!r} instead.")
        rows, targets = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(targets)
        weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
        weights = weights * compute_sample_weight(self.class_weight, targets)
        self.classes_ = np.unique(targets)
        present = np.unique(targets[weights > 0])
        if len(present) < 2:
            raise ValueError(
                f"LinearSVM needs rows of at least 2 classes, got {len(present)} class: {present.tolist()}. Add rows of "
                "another class"
            )
        columns = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        with one_blas_thread():  # several threads take longer for small systems, and far longer on busy cores
            gram = rows @ rows.T
            labels = [np.where(targets == self.classes_[k], 1.0, -1.0) for k in columns]
            paths = [self._path(gram, one, weights) for one in labels]
            self.coef_ = np.stack([rows.T @ path.coefficients[:, 0] for path in paths])
        self.intercept_ = np.array([path.intercepts[0] for path in paths])
        self.n_iter_ = int(max(path.iterations[0] for path in paths))
        self.residual_ = float(max(path.residuals[0] for path in paths))
        return self

    def _path(self, gram: npt.NDArray[np.float64], labels: npt.NDArray[np.float64], weights: Any) -> Path:
        grid = np.array([float(self.C)])
        if self.loss == "hinge":
            return hinge_path(gram, labels, weights, grid, tolerance=self.tol)
        return squared_hinge_path(gram, labels, weights, grid, penalise_bias=self.penalise_bias)
