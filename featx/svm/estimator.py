"""The solvers as an estimator of scikit-learn's kind, for pipelines and searches of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, validate_data

from .hinge import hinge_path
from .newton import Path, squared_hinge_path

__all__ = ["LinearSVM"]

_LOSSES = ("squared_hinge", "hinge")


class LinearSVM(LinearClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear support vector machine, one against the rest, solved on the Gram matrix of the rows.

    With squared hinge the objective is that of `sklearn.svm.LinearSVC`, solved exactly whatever C; with hinge it is
    that of ``sklearn.svm.SVC(kernel="linear")``, solved by the same libsvm.

    Parameters
    ----------
    C : float
        Cost of the loss against the norm, above 0.
    loss : str
        ``"squared_hinge"`` or ``"hinge"``.
    class_weight : dict, ``"balanced"`` or None
        Factors of C for each class.
    penalise_bias : bool
        Count the intercept in the norm, as ``LinearSVC`` does. Hinge does not, whatever is given.
    tol : float
        libsvm's tolerance, for hinge. Squared hinge needs none.

    Attributes
    ----------
    classes_ : ndarray of shape (k,)
        Classes, sorted.
    coef_ : ndarray of float64, shape (1, d) or (k, d)
        Weights: of the second class with two, else of each.
    intercept_ : ndarray of float64, shape (1,) or (k,)
        Intercepts.
    n_iter_ : int
        The most steps of any of the fits.
    residual_ : float
        How far the worst fit is from its optimum: duality gap over objective, or for hinge the largest violation of
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
        """Fit.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Features.
        y : array_like of shape (n,)
            Classes.
        sample_weight : array_like of shape (n,), optional
            Factors of C for each row.

        Returns
        -------
        LinearSVM
            Itself.

        Raises
        ------
        ValueError
            For one class only, or a parameter out of range.
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
                f"LinearSVM needs rows of at least 2 classes, got {len(present)} class: {present.tolist()}"
            )
        columns = [1] if len(self.classes_) == 2 else range(len(self.classes_))
        gram = rows @ rows.T
        paths = [self._path(gram, np.where(targets == self.classes_[k], 1.0, -1.0), weights) for k in columns]
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
