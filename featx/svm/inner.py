"""Inner scores: decision values of a training part's images by SVMs that were not trained on them.

Thresholds and calibrations are fitted on them, so that nothing of the test part enters either.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Task, deal
from featx.errors import TrainingError
from featx.runs import Prediction
from featx.stats import Calibration, IsotonicCurve, Sigmoid, fit_calibration, fixed_thresholds
from featx.svm.problems import FitProblem, Solver, pool_scores, view_rows

__all__ = [
    "InnerScores",
    "calibration_from",
    "calibration_record",
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
    """A training part as SVMs saw it that were trained on the rest of it.

    Attributes
    ----------
    rows : tuple of Prediction
        One for each image, or group; its fold is the number of the part.
    folds : int
        Parts.
    residuals : ndarray of float64
        How far each of the fits is from its optimum, by the solver's measure.
    steps : int
        Their steps.
    """

    rows: tuple[Prediction, ...]
    folds: int
    residuals: Floats
    steps: int

    def thresholds(self, names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Fix thresholds for each scored class.

        Returns
        -------
        dict
            Class to the name of each of `featx.stats.THRESHOLD_RULES` to its threshold; None where it would call
            nothing positive.
        """
        found = {}
        for name in names:
            actual = [row.actual == name for row in self.rows]
            fixed = fixed_thresholds(actual, [row.scores[name] for row in self.rows])
            found[name] = {rule: value if np.isfinite(value) else None for rule, value in fixed.items()}
        return found


def inner_parts(groups: npt.NDArray[np.str_], kinds: npt.NDArray[Any], seed: int) -> Ints:
    """Deal a training part into parts that share no group, each class in every part if it can be.

    Parameters
    ----------
    groups : ndarray of str, shape (m,)
        Group of each image.
    kinds : ndarray, shape (m,)
        Class of each, by which the parts are stratified.

    Returns
    -------
    ndarray of int64, shape (m,)
        Number of each image's part: five parts, or as many as the rarest class has groups.

    Examples
    --------
    >>> inner_parts(np.array(["a", "a", "b", "c", "d"]), np.array([0, 0, 0, 1, 1]), seed=0).max()
    np.int64(1)
    """
    fewest = min(len(np.unique(groups[kinds == kind])) for kind in np.unique(kinds))
    count = min(_FOLDS, fewest)
    if count < 2:
        raise TrainingError(
            "two groups of every class are needed in the training part, to score each by an SVM that has not seen it; "
            "got one"
        )
    parts = deal(kinds, groups, (1.0 / count,) * count, np.random.default_rng((seed, count)))
    for part, kind in ((part, kind) for part in np.unique(parts) for kind in np.unique(kinds)):
        if not (kinds[parts != part] == kind).any():
            raise TrainingError(
                f"all groups of a class are in part {part} of the training part, so that no SVM can be trained without "
                "it; groups hold several classes"
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
    """Score each part of a training part by SVMs trained on the others.

    Parameters
    ----------
    train : ndarray of int64, shape (m,)
        Numbers of the images of the training part; nothing else is looked at.
    targets : ndarray of bool, shape (n, k)
        For each image and each scored class whether the image is of it.
    parts : ndarray of int64, shape (m,)
        From `inner_parts`.
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
    """Fit a calibration on the inner scores of a training part."""
    return fit_calibration(
        np.array([task.classes.index(row.actual) for row in inner.rows]),
        np.array([[row.scores[name] for name in task.scored] for row in inner.rows]),
        method=method,
        folds=[row.fold for row in inner.rows],
        groups=[row.group for row in inner.rows],
    )


def calibration_summary(calibration: Calibration, names: Sequence[str], folds: int) -> dict[str, Any]:
    """State method, folds and curves in JSON types, for a run's record.

    Returns
    -------
    dict
        ``method``, ``folds``, ``n``, and for each class its curve and number of positives.
    """
    stated = calibration_record(calibration)
    classes = zip(names, stated["curves"], stated["positives"], strict=True)
    return {
        "method": stated["method"],
        "folds": folds,
        "n": stated["n"],
        "classes": {name: {"positives": count, **curve} for name, curve, count in classes},
    }


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """Write a calibration in JSON types.

    Examples
    --------
    >>> calibration_record(Calibration("sigmoid", (Sigmoid(1.0, 0.5),), 9, (4,)))["curves"]
    [{'slope': 1.0, 'intercept': 0.5}]
    """
    stated = dataclasses.asdict(calibration)
    curves = [{name: _plain(value) for name, value in curve.items()} for curve in stated["curves"]]
    return {**stated, "curves": curves, "positives": list(calibration.positives)}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def calibration_from(stated: dict[str, Any]) -> Calibration:
    """Read a calibration from JSON types.

    Examples
    --------
    >>> one = Calibration("isotonic", (IsotonicCurve((0.0, 1.0), (0.2, 0.8)),), 9, (4,))
    >>> calibration_from(calibration_record(one)) == one
    True
    """
    curves = tuple(_curve(stated["method"], curve) for curve in stated["curves"])
    return Calibration(stated["method"], curves, stated["n"], tuple(stated["positives"]))


def _curve(method: str, stated: dict[str, Any]) -> Sigmoid | IsotonicCurve:
    if method == "sigmoid":
        return Sigmoid(stated["slope"], stated["intercept"])
    return IsotonicCurve(tuple(stated["scores"]), tuple(stated["probabilities"]))
