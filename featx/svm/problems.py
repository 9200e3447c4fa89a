"""Inputs and outputs of the solvers: problems, results along a grid of C, fitted SVMs, pooled scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from featx.errors import TaskError
from featx.runs import Prediction
from featx.stats import pool_rows
from featx.svm.scaling import Scaler

__all__ = [
    "MEASURES",
    "Curve",
    "Decision",
    "FitProblem",
    "Solver",
    "balanced_weights",
    "pool_groups",
    "pool_scores",
    "rows_of",
    "view_rows",
]


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Matrix = npt.NDArray[np.floating[Any]]


# libsvm stops at 1e-3, measured on its kernel in single precision; in double precision the value is slightly larger.
MEASURES = {
    "hinge": ("largest violation of an optimality condition", 2e-3),
    "squared_hinge": ("duality gap over objective", 1e-6),
}


@dataclass(frozen=True)
class FitProblem:
    """One inner split of one two-class problem.

    Attributes
    ----------
    train, test : ndarray of int64
        Row indices.
    labels : ndarray of float64, shape (rows of train,)
        -1 or 1, both present.
    """

    train: Ints
    test: Ints
    labels: Floats


@dataclass(frozen=True)
class Curve:
    """Decision values and convergence of one problem along the grid of C.

    Attributes
    ----------
    scores : ndarray of float64, shape (rows of test, c)
        Decision values.
    residuals : ndarray of float64, shape (c,)
        Distance from the optimum, by the solver's measure.
    iterations : ndarray of int64, shape (c,)
        Steps taken.
    """

    scores: Floats
    residuals: Floats
    iterations: Ints


@dataclass(frozen=True)
class Decision:
    """One fitted SVM and its scaling.

    Attributes
    ----------
    scaler : Scaler
        Scaling, fitted on the training rows.
    weights : ndarray of float64, shape (k,)
        Weights of the scaled features.
    intercept : float
        Intercept.
    cost : float
        C.
    residual : float
        Distance from the optimum, by the solver's measure.
    iterations : int
        Steps taken.
    """

    scaler: Scaler
    weights: Floats
    intercept: float
    cost: float
    residual: float
    iterations: int


class Solver(Protocol):
    """Interface of solvers, which fit SVMs on rows of one feature matrix.

    Attributes
    ----------
    measure : str
        Name of the measure of the distance from the optimum.
    tolerance : float
        A fit whose measure is larger has not converged.
    """

    measure: str
    tolerance: float

    def curves(self, jobs: Sequence[FitProblem], costs: Sequence[float]) -> list[Curve]:
        """Solve every job for every C."""

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem and return its weights."""


def balanced_weights(labels: Floats, class_weight: str) -> Floats:
    """Compute row weights from class frequencies, as scikit-learn's ``class_weight="balanced"`` does.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
        -1 or 1, both present.

    Returns
    -------
    ndarray of float64, shape (n,)
        ``n / (2 * rows of the class)``, or ones.

    Examples
    --------
    >>> balanced_weights(np.array([-1.0, -1.0, -1.0, 1.0]), "balanced").round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    if class_weight == "none":
        return np.ones(len(labels))
    positive = labels > 0
    count = int(positive.sum())
    return np.where(positive, len(labels) / (2.0 * count), len(labels) / (2.0 * (len(labels) - count)))


def rows_of(jobs: Sequence[FitProblem]) -> Ints:
    """Return the indices of all rows that the problems use, ascending.

    Returns
    -------
    ndarray of int64, shape (m,)
        Row indices, each once.

    Examples
    --------
    >>> rows_of([FitProblem(np.array([3, 1]), np.array([2]), np.array([-1.0, 1.0]))]).tolist()
    [1, 2, 3]
    """
    return np.unique(np.concatenate([part for job in jobs for part in (job.train, job.test)]))


def pool_scores(scores: npt.NDArray[np.floating[Any]], pool: str) -> npt.NDArray[Any]:
    """Pool scores over their second axis.

    Parameters
    ----------
    scores : ndarray of float, shape (n, views, c)
        Decision values.

    Returns
    -------
    ndarray of float, shape (n, c)
        One score for each row and column.

    Examples
    --------
    >>> pool_scores(np.array([[[-3.0], [1.0], [2.0]]]), "extreme").tolist()
    [[-3.0]]
    """
    count, views, columns = scores.shape
    return pool_rows(scores.reshape(-1, columns), np.arange(0, count * views, views), pool)


def pool_groups(
    predictions: Sequence[Prediction], pool: str, positive: str | None = None
) -> list[Prediction]:
    """Pool predictions of images to one prediction for each group.

    Returns
    -------
    list of Prediction
        One prediction for each group, sorted by the name of the group. A stratum is empty if the images of the group
        differ in it.

    Examples
    --------
    >>> from featx.runs import Prediction
    >>> rows = [Prediction(name, "1", "p1", "melanoma", {"melanoma": score}) for name, score in (("a", 0.2), ("b", 0.6))]
    >>> [(one.id, round(one.scores["melanoma"], 2)) for one in pool_groups(rows, "mean")]
    [('p1', 0.4)]
    """
    groups: dict[str, list[Prediction]] = {}
    for row in predictions:
        groups.setdefault(row.group, []).append(row)
    return [_pooled(name, groups[name], pool, positive) for name in sorted(groups)]


def _pooled(name: str, rows: list[Prediction], pool: str, positive: str | None) -> Prediction:
    classes = sorted({row.actual for row in rows})
    if len(classes) > 1 and positive not in classes:
        raise TaskError(
            f"group {name} holds images of several classes ({', '.join(classes)}); a group needs one class. Score images "
            "with --group-scores none, or correct the groups"
        )
    actual = classes[0] if len(classes) == 1 else str(positive)
    scores = np.array([list(row.scores.values()) for row in rows])
    pooled = pool_scores(scores[None], pool)[0]
    strata = {key: {row.strata[key] for row in rows} for key in rows[0].strata}
    return Prediction(
        id=name,
        fold=rows[0].fold,
        group=name,
        actual=actual,
        scores=dict(zip(rows[0].scores, pooled.tolist(), strict=True)),
        strata={key: values.pop() if len(values) == 1 else "" for key, values in strata.items()},
    )


def view_rows(images: Ints, views: int) -> Ints:
    """Return the row indices of images; each image has consecutive rows, one for each view.

    Parameters
    ----------
    images : ndarray of int64, shape (m,)
        Indices of images.

    Returns
    -------
    ndarray of int64, shape (m * views,)
        Row indices.

    Examples
    --------
    >>> view_rows(np.array([0, 2]), 3).tolist()
    [0, 1, 2, 6, 7, 8]
    """
    return np.asarray((images[:, None] * views + np.arange(views)).ravel())
