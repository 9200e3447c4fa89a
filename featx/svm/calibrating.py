"""Calibration inside a training part: decision values of images that the scoring SVM was not trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data.splitting import deal
from featx.data.tasks import Task
from featx.errors import TrainingError
from featx.runs import Prediction
from featx.stats.calibration import Calibration, Sigmoid, Steps, fit_calibration

from .pooling import pool_scores
from .problems import Job, Solver
from .search import view_rows
from .settings import Settings

__all__ = ["OutOfFold", "calibration_from", "calibration_record", "fit_on_folds"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """A calibration and the fits behind it.

    Attributes
    ----------
    calibration : Calibration
        Curves from decision values to probabilities.
    folds : int
        Parts of the training part, each scored by SVMs trained on the others.
    residuals : ndarray of float64
        How far each of these fits is from its optimum, by the solver's measure.
    steps : int
        Their steps.
    """

    calibration: Calibration
    folds: int
    residuals: Floats
    steps: int

    def record(self, names: Sequence[str]) -> dict[str, Any]:
        """Return method, folds and curves in JSON types.

        Parameters
        ----------
        names : sequence of str
            Scored classes.

        Returns
        -------
        dict
            ``method``, ``folds``, ``n``, and for each class its curve and number of positives.
        """
        stated = calibration_record(self.calibration)
        classes = zip(names, stated["curves"], stated["positives"], strict=True)
        return {
            "method": stated["method"],
            "folds": self.folds,
            "n": stated["n"],
            "classes": {name: {"positives": count, **curve} for name, curve, count in classes},
        }


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """Write a calibration in JSON types.

    Parameters
    ----------
    calibration : Calibration
        From `featx.stats.calibration.fit_calibration`.

    Returns
    -------
    dict
        For `calibration_from`.

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

    Parameters
    ----------
    stated : dict
        From `calibration_record`.

    Returns
    -------
    Calibration
        The same calibration.

    Raises
    ------
    KeyError, TypeError
        If a part is missing.

    Examples
    --------
    >>> one = Calibration("isotonic", (Steps((0.0, 1.0), (0.2, 0.8)),), 9, (4,))
    >>> calibration_from(calibration_record(one)) == one
    True
    """
    curves = tuple(_curve(stated["method"], curve) for curve in stated["curves"])
    return Calibration(stated["method"], curves, stated["n"], tuple(stated["positives"]))


def _curve(method: str, stated: dict[str, Any]) -> Sigmoid | Steps:
    if method == "sigmoid":
        return Sigmoid(stated["slope"], stated["intercept"])
    return Steps(tuple(stated["scores"]), tuple(stated["probabilities"]))


def fit_on_folds(
    solver: Solver,
    settings: Settings,
    train: Ints,
    targets: Bools,
    costs: Sequence[float],
    views: int,
    *,
    groups: npt.NDArray[np.str_],
    kinds: npt.NDArray[Any],
    seed: int,
    task: Task,
    predictions: Callable[[Ints, Floats], list[Prediction]],
) -> OutOfFold:
    """Fit a calibration on parts of a training part that share no group.

    Parameters
    ----------
    solver : Solver
        Fits on the rows of the feature matrix.
    settings : Settings
        Method of calibration, pooling of views.
    train : ndarray of int64, shape (m,)
        Numbers of the images of the training part; nothing else is looked at.
    targets : ndarray of bool, shape (n, k)
        For each image and each scored class whether the image is of it.
    costs : sequence of float
        C of each class, as chosen.
    views : int
        Rows of the feature matrix for each image.
    groups : ndarray of str, shape (m,)
        Group of each image of the training part.
    kinds : ndarray, shape (m,)
        Class of each, by which the parts are stratified.
    seed : int
        Seed of the parts.
    task : Task
        Its classes and those scored.
    predictions : callable
        Takes the part and the scores (shape (m, k)) of each image, gives what is to be calibrated: predictions of
        images, or of groups; the name of the part is their fold.

    Returns
    -------
    OutOfFold
        The calibration.

    Raises
    ------
    TrainingError
        If a class has fewer than two groups.
    """
    parts = _parts(groups, kinds, seed)
    count = int(parts.max()) + 1
    scores = np.empty((len(train), targets.shape[1]))
    residuals, steps = [], 0
    for column, cost in enumerate(costs):
        fits = [_job(train, targets[train, column], parts, part, views) for part in range(count)]
        for part, curve in zip(range(count), solver.curves(fits, [cost]), strict=True):
            pooled = pool_scores(curve.scores.reshape(-1, views, 1), settings.pool)
            scores[parts == part, column] = pooled[:, 0]
            residuals.append(curve.residuals)
            steps += int(curve.iterations.sum())
    rows = predictions(parts, scores)
    calibration = fit_calibration(
        np.array([task.classes.index(row.actual) for row in rows]),
        np.array([[row.scores[name] for name in task.scored] for row in rows]),
        method=settings.calibrate,
        folds=[row.fold for row in rows],
        groups=[row.group for row in rows],
    )
    return OutOfFold(calibration, count, np.concatenate(residuals), steps)


def _parts(groups: npt.NDArray[np.str_], kinds: npt.NDArray[Any], seed: int) -> Ints:
    """Deal the images into parts that share no group, each class in every part if it can be."""
    fewest = min(len(np.unique(groups[kinds == kind])) for kind in np.unique(kinds))
    count = min(FOLDS, fewest)
    if count < 2:
        raise TrainingError(
            "a calibration needs two groups of every class in the training part, to score each by an SVM that has not "
            "seen it; got one. Train without --calibrate"
        )
    parts = deal(kinds, groups, (1.0 / count,) * count, np.random.default_rng((seed, count)))
    for part, kind in ((part, kind) for part in np.unique(parts) for kind in np.unique(kinds)):
        if not (kinds[parts != part] == kind).any():
            raise TrainingError(
                f"all groups of a class are in part {part} of the training part, so that no SVM can be trained without "
                "it to be calibrated; groups hold several classes. Train without --calibrate"
            )
    return np.unique(parts, return_inverse=True)[1]


def _job(train: Ints, positive: Bools, parts: Ints, part: int, views: int) -> Job:
    fit, score = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
    labels = np.repeat(np.where(positive[fit], 1.0, -1.0), views)
    return Job(view_rows(train[fit], views), view_rows(train[score], views), labels)
