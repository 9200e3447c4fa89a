"""Inner scores: decision values of the training set by inner cross-validation.

Thresholds and calibrations are fitted on them. The test set is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Task, deal
from featx.errors import TrainingError
from featx.runs import Prediction
from featx.stats import Calibration, fit_calibration, fixed_thresholds
from featx.svm.calibration_records import calibration_record
from featx.svm.problems import FitProblem, Solver, pool_scores, view_rows

__all__ = [
    "InnerScores",
    "calibration_summary",
    "fit_on_inner",
    "inner_parts",
    "score_parts",
]


Floats = npt.NDArray[np.float64]


Ints = npt.NDArray[np.int64]


Bools = npt.NDArray[np.bool_]


_FOLDS = 5


@dataclass(frozen=True, eq=False)
class InnerScores:
    """Decision values of a training set by inner cross-validation.

    Attributes
    ----------
    rows : tuple of Prediction
        One for each image or group; ``fold`` is the number of the inner fold.
    folds : int
        Number of inner folds.
    residuals : ndarray of float64
        Distance of each fit from its optimum, by the solver's measure.
    steps : int
        Total steps of the fits.
    """

    rows: tuple[Prediction, ...]
    folds: int
    residuals: Floats
    steps: int

    def thresholds(self, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Determine thresholds for each scored class.

        Returns
        -------
        dict
            For each class, the threshold of each rule in `featx.stats.THRESHOLD_RULES`; None if the threshold would
            call no image positive.
        """
        found = {}
        for name in names:
            actual = [row.actual == name for row in self.rows]
            fixed = fixed_thresholds(actual, [row.scores[name] for row in self.rows])
            found[name] = {rule: value if np.isfinite(value) else None for rule, value in fixed.items()}
        return found


def inner_parts(groups: npt.NDArray[np.str_], kinds: npt.NDArray[Any], seed: int) -> Ints:
    """Split a training set into inner folds that share no group, stratified by class where possible.

    Parameters
    ----------
    groups : ndarray of str, shape (m,)
        Group of each image.
    kinds : ndarray, shape (m,)
        Class of each image; the inner folds are stratified by it.

    Returns
    -------
    ndarray of int64, shape (m,)
        Inner fold of each image: five folds, or as many as the rarest class has groups.

    Examples
    --------
    >>> inner_parts(np.array(["a", "a", "b", "c", "d"]), np.array([0, 0, 0, 1, 1]), seed=0).max()
    np.int64(1)
    """
    fewest = min(len(np.unique(groups[kinds == kind])) for kind in np.unique(kinds))
    count = min(_FOLDS, fewest)
    if count < 2:
        raise TrainingError(
            "the training set needs two groups of every class for inner cross-validation; a class has one group. Add "
            "images of it"
        )
    parts = deal(kinds, groups, (1.0 / count,) * count, np.random.default_rng((seed, count)))
    for part, kind in ((part, kind) for part in np.unique(parts) for kind in np.unique(kinds)):
        if not (kinds[parts != part] == kind).any():
            raise TrainingError(
                f"all groups of a class are in inner fold {part} of the training set, so the other inner folds lack the "
                "class; add groups of this class, or correct groups that hold several classes"
            )
    return np.unique(parts, return_inverse=True)[1]


def score_parts(
    solver: Solver,
    train: Ints,
    targets: Bools,
    costs: Sequence[float],
    parts: Ints,
    *,
    views: int,
    pool: str,
    predictions: Callable[[Ints, Floats], list[Prediction]],
) -> InnerScores:
    """Score each inner fold by SVMs trained on the other inner folds.

    Parameters
    ----------
    train : ndarray of int64, shape (m,)
        Indices of the images of the training set; no other image is used.
    targets : ndarray of bool, shape (n, k)
        Whether each image belongs to each scored class.
    parts : ndarray of int64, shape (m,)
        Inner fold of each image, from `inner_parts`.
    """
    count = int(parts.max()) + 1
    scores = np.empty((len(train), targets.shape[1]))
    residuals, steps = [], 0
    for column, cost in enumerate(costs):
        fits = [_job(train, targets[train, column], parts, part, views) for part in range(count)]
        for part, curve in zip(range(count), solver.curves(fits, [cost]), strict=True):
            scores[parts == part, column] = pool_scores(curve.scores.reshape(-1, views, 1), pool)[:, 0]
            residuals.append(curve.residuals)
            steps += int(curve.iterations.sum())
    return InnerScores(tuple(predictions(parts, scores)), count, np.concatenate(residuals), steps)


def _job(train: Ints, positive: Bools, parts: Ints, part: int, views: int) -> FitProblem:
    fit, score = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
    labels = np.repeat(np.where(positive[fit], 1.0, -1.0), views)
    return FitProblem(view_rows(train[fit], views), view_rows(train[score], views), labels)


def fit_on_inner(inner: InnerScores, task: Task, method: str) -> Calibration:
    """Fit a calibration on the inner scores of a training set."""
    return fit_calibration(
        np.array([task.classes.index(row.actual) for row in inner.rows]),
        np.array([[row.scores[name] for name in task.scored] for row in inner.rows]),
        method=method,
        folds=[row.fold for row in inner.rows],
        groups=[row.group for row in inner.rows],
    )


def calibration_summary(calibration: Calibration, names: Sequence[str], folds: int) -> dict[str, Any]:
    """Return method, inner folds and curves of a calibration in JSON types, for `run.json`.

    Returns
    -------
    dict
        ``method``, ``folds``, ``n``, and the curve and number of positives of each class.
    """
    stated = calibration_record(calibration)
    classes = zip(names, stated["curves"], stated["positives"], strict=True)
    return {
        "method": stated["method"],
        "folds": folds,
        "n": stated["n"],
        "classes": {name: {"positives": count, **curve} for name, curve, count in classes},
    }
