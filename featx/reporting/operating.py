"""The table of other metrics: average precision, and sensitivity and specificity at chosen points."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from featx.stats.auc import average_precision
from featx.stats.intervals import summarise_folds
from featx.stats.operating import confusion_at, sensitivity_at_specificity, specificity_at_sensitivity

from .summary import Series, Summary
from .tables import Cell, Column, Score, Table

__all__ = ["operating"]

_Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
# Column, heading, metric of one fold.
_METRICS: Mapping[str, tuple[str, _Metric]] = {
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


def operating(summary: Summary) -> Table:
    """Fill the table of metrics beside the AUC.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table
        A row for each series and scored class, `Score` cells.
    """
    rows = [
        (series.task, series.arm, name, *_scores(series, name))
        for series in summary.series
        for name in series.scored
    ]
    columns = (
        *(
            Column("task", "Task", text=True),
            Column("arm", "Arm", text=True),
            Column("class", "Positive", text=True),
        ),
        *(Column(name, title) for name, (title, _) in _METRICS.items()),
    )
    note = (
        "Mean ± standard deviation over the folds (number of folds). Sensitivity, specificity and their mean, the "
        "balanced accuracy, at the SVM's own threshold, decision value 0; the two before it at the threshold of the "
        "test part that reaches 0.90. Average precision: chance level is the share of positives."
    )
    return Table("metrics", "Further metrics", note, columns, tuple(rows))


def _scores(series: Series, name: str) -> tuple[Cell, ...]:
    folds = [
        (
            np.array([row.actual == name for row in run.predictions]),
            np.array([row.scores[name] for row in run.predictions]),
        )
        for run in series.runs
    ]
    cells = []
    for _, metric in _METRICS.values():
        total = summarise_folds([metric(*fold) for fold in folds], ratio=None)
        cells.append(Score(total.mean, total.sd, total.n))
    return tuple(cells)
