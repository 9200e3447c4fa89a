"""Solvers: what fits the SVMs of a search, over many splits and values of C at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from .hinge import hinge_path
from .newton import Path, squared_hinge_path
from .scaling import ROWWISE, Scaler, fit_scaler, row_lengths
from .settings import Settings

__all__ = ["Curve", "Decision", "GramSolver", "Job", "Solver", "balanced_weights", "one_blas_thread"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BLOCK = 512
# libsvm stops at 1e-3 by its own single precision kernel; measured in double precision it is a little more.
_MEASURES = {
    "hinge": ("largest violation of an optimality condition", 2e-3),
    "squared_hinge": ("duality gap over objective", 1e-6),
}


@dataclass(frozen=True)
class Job:
    """One split of one two-class problem.

    Attributes
    ----------
    train, test : ndarray of int64
        Row numbers.
    labels : ndarray of float64, shape (rows of train,)
        -1 or 1, both present.
    """

    train: Ints
    test: Ints
    labels: Floats


@dataclass(frozen=True)
class Curve:
    """What a job's SVMs say along the grid of C.

    Attributes
    ----------
    scores : ndarray of float64, shape (rows of test, c)
        Decision values.
    residuals : ndarray of float64, shape (c,)
        How far from the optimum, by the solver's measure.
    iterations : ndarray of int64, shape (c,)
        Steps taken.
    """

    scores: Floats
    residuals: Floats
    iterations: Ints


@dataclass(frozen=True)
class Decision:
    """One fitted SVM with the scaling in front of it.

    Attributes
    ----------
    scaler : Scaler
        Fitted on the training rows.
    weights : ndarray of float64, shape (k,)
        Of the scaled features.
    intercept : float
        Bias.
    cost : float
        C.
    residual : float
        How far from the optimum, by the solver's measure.
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
    """Fits SVMs on rows of one feature matrix.

    Attributes
    ----------
    measure : str
        What tells how far a fit is from its optimum.
    tolerance : float
        A fit with more than this has not converged.
    """

    measure: str
    tolerance: float

    def curves(self, jobs: Sequence[Job], costs: Sequence[float]) -> list[Curve]:
        """Solve every job for every C."""

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem and return its weights."""


def balanced_weights(labels: Floats, class_weight: str) -> Floats:
    """Weigh rows by their class, as scikit-learn's ``class_weight="balanced"`` does.

    Parameters
    ----------
    labels : ndarray of float64, shape (n,)
        -1 or 1, both present.
    class_weight : str
        ``"balanced"`` or ``"none"``.

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


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep linear algebra on one thread a call: our own threads do the rest, and sums keep their order."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> list[_Result]:
    """Map over items in threads, in order; what is computed does not depend on how many."""
    from joblib import Parallel, delayed

    jobs = list(items)
    if workers == 1 or len(jobs) < 2:
        return [work(item) for item in jobs]
    return list(Parallel(n_jobs=workers, backend="threading")(delayed(work)(item) for item in jobs))


class GramSolver:
    """Solves on Gram matrices: hinge by libsvm, squared hinge by exact Newton steps.

    A row-wise scaling needs one Gram matrix for the whole data set, of which every training part is a piece;
    others are fitted on each training part and need one each.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        All rows, unscaled.
    scaling : str
        Name of the scaling.
    settings : Settings
        Loss, bias and class weights.
    workers : int
        Threads.
    """

    def __init__(
        self, features: npt.NDArray[np.floating[Any]], scaling: str, settings: Settings, workers: int = 1
    ) -> None:
        self._features = features
        self._scaling = scaling
        self._settings = settings
        self._workers = workers
        self.measure, self.tolerance = _MEASURES[settings.loss]
        self._shared = _gram(features, scaling, workers) if scaling in ROWWISE else None

    def curves(self, jobs: Sequence[Job], costs: Sequence[float]) -> list[Curve]:
        """Solve every job for every C.

        Parameters
        ----------
        jobs : sequence of Job
            Splits.
        costs : sequence of float
            Values of C, ascending.

        Returns
        -------
        list of Curve
            One for each job.
        """
        grid = np.asarray(costs, dtype=np.float64)
        return in_threads(lambda job: self._curve(job, grid), jobs, self._workers)

    def _curve(self, job: Job, grid: Floats) -> Curve:
        if self._shared is not None:
            gram = self._shared[np.ix_(job.train, job.train)]
            cross = self._shared[np.ix_(job.test, job.train)]
        else:
            scaler = fit_scaler(self._scaling, self._features[job.train])
            train, test = (scaler.apply(self._features[rows]) for rows in (job.train, job.test))
            gram, cross = train @ train.T, test @ train.T
        path = self._path(gram, job.labels, grid)
        return Curve(cross @ path.coefficients + path.intercepts, path.residuals, path.iterations)

    def _path(self, gram: Floats, labels: Floats, grid: Floats) -> Path:
        weights = balanced_weights(labels, self._settings.class_weight)
        if self._settings.loss == "hinge":
            return hinge_path(gram, labels, weights, grid)
        return squared_hinge_path(
            gram, labels, weights, grid, penalise_bias=self._settings.bias == "penalised"
        )

    def fit(self, train: Ints, labels: Floats, cost: float) -> Decision:
        """Solve one problem and return its weights.

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
        rows = self._features[train]
        scaler = fit_scaler(self._scaling, rows)
        if self._shared is not None:
            gram = self._shared[np.ix_(train, train)]
        else:
            scaled = scaler.apply(rows)
            gram = scaled @ scaled.T
        path = self._path(gram, labels, np.array([cost]))
        weights = scaler.pull_back(rows, path.coefficients)[:, 0]
        return Decision(
            scaler,
            weights,
            float(path.intercepts[0]),
            cost,
            float(path.residuals[0]),
            int(path.iterations[0]),
        )


def _gram(features: npt.NDArray[np.floating[Any]], scaling: str, workers: int) -> Floats:
    """Compute all inner products, in blocks of a fixed size: equal bytes for any number of threads."""
    count = len(features)
    gram = np.empty((count, count))
    lengths = row_lengths(features) if scaling == "l2" else np.ones(count)
    starts = range(0, count, _BLOCK)

    def fill(pair: tuple[int, int]) -> None:
        first, second = (slice(start, start + _BLOCK) for start in pair)
        left, right = (features[part].astype(np.float64) for part in (first, second))
        gram[first, second] = (left @ right.T) / np.outer(lengths[first], lengths[second])
        if first != second:
            gram[second, first] = gram[first, second].T

    in_threads(fill, itertools.combinations_with_replacement(starts, 2), workers)
    return gram
