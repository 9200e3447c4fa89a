"""Calibrations fitted on the inner scores of a training part, and their records."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from featx.data import Task
from featx.stats import Calibration, Sigmoid, Steps, fit_calibration

from .inner import InnerScores

__all__ = ["calibration_from", "calibration_record", "calibration_summary", "fit_on_inner"]


def fit_on_inner(inner: InnerScores, task: Task, method: str) -> Calibration:
    """Fit a calibration on the inner scores of a training part.

    Parameters
    ----------
    inner : InnerScores
        Decision values of images, or groups, that the SVMs which scored them had not seen.
    task : Task
        Its classes and those scored.
    method : str
        ``"sigmoid"`` or ``"isotonic"``.

    Returns
    -------
    Calibration
        The curves.
    """
    return fit_calibration(
        np.array([task.classes.index(row.actual) for row in inner.rows]),
        np.array([[row.scores[name] for name in task.scored] for row in inner.rows]),
        method=method,
        folds=[row.fold for row in inner.rows],
        groups=[row.group for row in inner.rows],
    )


def calibration_summary(calibration: Calibration, names: Sequence[str], folds: int) -> dict[str, Any]:
    """State method, folds and curves in JSON types, for a run's record.

    Parameters
    ----------
    calibration : Calibration
        From `fit_on_inner`.
    names : sequence of str
        Scored classes.
    folds : int
        Inner folds behind it.

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
