"""The table of other metrics: average precision, and sensitivity and specificity at chosen points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from featx.stats.auc import average_precision
from featx.stats.calibration import brier_score, expected_calibration_error
from featx.stats.intervals import summarise_folds
from featx.stats.operating import confusion_at, sensitivity_at_specificity, specificity_at_sensitivity

from .columns import PLACE
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Score, Table

__all__ = ["METRICS", "calibrated", "operating"]

_Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
# Column, heading, metric of one fold.
METRICS: Mapping[str, tuple[str, _Metric]] = {
    "average precision": ("Average precision", average_precision),
    "sensitivity at 0.90 specificity": (
        "Sens. at 0.90 spec.",
        lambda a, s: sensitivity_at_specificity(a, s, 0.9).sensitivity,
    ),
    "specificity at 0.90 sensitivity": (
        "Spec. at 0.90 sens.",
        lambda a, s: specificity_at_sensitivity(a, s, 0.9).specificity,
    ),
    "sensitivity": ("Sensitivity", lambda a, s: confusion_at(a, s).sensitivity),
    "specificity": ("Specificity", lambda a, s: confusion_at(a, s).specificity),
    "balanced accuracy": ("Balanced accuracy", lambda a, s: confusion_at(a, s).balanced_accuracy),
}


# The same for metrics of probabilities, shown where an arm is calibrated.
_CALIBRATION: Mapping[str, tuple[str, _Metric]] = {
    "brier score": ("Brier score", brier_score),
    "calibration error": ("Calibration error", expected_calibration_error),
}


def calibrated(series: Series) -> bool:
    """Tell whether an arm has probabilities of every scored class.

    Parameters
    ----------
    series : Series
        An arm on a task.

    Returns
    -------
    bool
        True if every test image of every fold has them.
    """
    needed = set(series.scored)
    return all(needed <= row.probabilities.keys() for run in series.runs for row in run.predictions)


def operating(summary: Summary) -> Table:
    """Fill the table of metrics beside the AUC.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table
        A row for each series and scored class, `Score` cells; Brier score and calibration error where an arm is
        calibrated.
    """
    with_probabilities = any(calibrated(series) for series in summary.series)
    further = _CALIBRATION if with_probabilities else {}
    rows = [
        (
            series.task,
            series.protocol,
            series.arm,
            name,
            *_decisions(series, name),
            *_chances(series, name, further),
        )
        for series in summary.series
        for name in series.scored
    ]
    columns = (
        *PLACE,
        Column("class", "Positive", text=True),
        *(Column(name, title) for name, (title, _) in {**METRICS, **further}.items()),
    )
    note = (
        "Mean ± standard deviation over the folds (number of folds). Sensitivity, specificity and their mean, the "
        "balanced accuracy, at the SVM's own threshold, decision value 0; the two before it at the threshold of the "
        "test part that reaches 0.90. Average precision: chance level is the share of positives."
    )
    if with_probabilities:
        note += (
            " Brier score and expected calibration error (ten bins) of the calibrated probability: 0 is best."
        )
    return Table("metrics", "Further metrics", note, columns, tuple(rows))


def _decisions(series: Series, name: str) -> tuple[Cell, ...]:
    values = [[row.scores[name] for row in run.predictions] for run in series.runs]
    return tuple(_over_folds(metric, series, name, values) for _, metric in METRICS.values())


def _chances(series: Series, name: str, metrics: Mapping[str, tuple[str, _Metric]]) -> tuple[Cell, ...]:
    if not calibrated(series):
        return (None,) * len(metrics)
    values = [[row.probabilities[name] for row in run.predictions] for run in series.runs]
    return tuple(_over_folds(metric, series, name, values) for _, metric in metrics.values())


def _over_folds(metric: _Metric, series: Series, name: str, values: list[list[float]]) -> Score:
    actual = [np.array([row.actual == name for row in run.predictions]) for run in series.runs]
    folds = [metric(*fold) for fold in zip(actual, map(np.array, values), strict=True)]
    total = summarise_folds(folds, ratio=None)
    return Score(total.mean, total.sd, total.n)
