"""scikit-learn's own estimators behind the interface of our solvers, to check and to compare."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from .hinge import violation
from .problems import MEASURES, Curve, Decision, FitProblem, Floats, Ints, Matrix, balanced_weights
from .scaling import Scaler, fit_scaler
from .settings import SvmSettings
from .threads import in_threads

__all__ = ["ScikitSolver"]

# Ten times scikit-learn's: at its own, liblinear stops short of a large C.
_MAX_ITERATIONS = 10_000


class ScikitSolver:
    """Fits ``LinearSVC`` or ``SVC(kernel="linear")`` anew for each split and C.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    scaling : str
        Name of the scaling.
    settings : Settings
        ``solver`` says which estimator.
    workers : int
        Threads.
    """

    def __init__(self, features: Matrix, scaling: str, settings: SvmSettings, workers: int = 1) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self.measure, self.tolerance = MEASURES[settings.loss]
        if settings.loss == "squared_hinge":
            # liblinear's tolerance is on the gradient; the gap that it leaves is about this.
            self.tolerance = 1e-3

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every job for every C.

        Parameters
        ----------
        jobs : sequence of Job
            Splits.
        costs : sequence of float
            Values of C.

        Returns
        -------
        list of Curve
            One for each job.
        """
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
            Row numbers.
        labels : ndarray of float64, shape (m,)
            -1 or 1, both present.
        cost : float
            C.

        Returns
        -------
        Decision
            The SVM.
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
        # What this warning says is measured below, for every fit.
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
