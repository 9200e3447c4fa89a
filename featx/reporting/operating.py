"""The table of other metrics: average precision, and decisions at the SVM's own threshold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from featx.stats import average_precision, balanced_accuracy, confusion_at, confusion_matrix, summarise_folds

from .columns import PLACE, place
from .names import heading, slugs
from .series import Series
from .summary import MACRO, Summary
from .tables import Cell, Column, Score, Table

__all__ = ["METRICS", "confusion_tables", "operating", "over_folds"]

_Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]
# Column, heading, metric of one fold.
METRICS: Mapping[str, tuple[str, _Metric]] = {
    "average precision": ("Average precision", average_precision),
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
        A row for each series and scored class, `Score` cells; with several classes a row for all of them too.
    """
    rows: list[tuple[Cell, ...]] = []
    for series in summary.series:
        if len(series.scored) > 1:
            accuracy = over_folds([balanced_accuracy(matrix) for matrix in _matrices(series)])
            rows.append((*place(series), MACRO, *(None,) * (len(METRICS) - 1), accuracy))
        rows += [(*place(series), name, *_decisions(series, name)) for name in series.scored]
    columns = (
        *PLACE,
        Column("class", "Positive", text=True),
        *(Column(name, title) for name, (title, _) in METRICS.items()),
    )
    note = (
        "Mean ± standard deviation over the folds (number of folds). Sensitivity, specificity and their mean, the "
        "balanced accuracy, at the SVM's own threshold, decision value 0. Average precision: chance level is the share "
        "of positives."
    )
    if any(len(series.scored) > 1 for series in summary.series):
        note += (
            f" {MACRO.capitalize()}: each image is called the class of its highest score; balanced accuracy is the mean "
            "over the classes of the share that is called right."
        )
    return Table("metrics", "Further metrics", note, columns, tuple(rows))


def over_folds(values: list[float]) -> Score:
    """Summarise a metric's values, one a fold, as a cell.

    Parameters
    ----------
    values : list of float
        NaN where it does not exist.

    Returns
    -------
    Score
        Mean, standard deviation and number of folds in which it exists.
    """
    total = summarise_folds(values, ratio=None)
    return Score(total.mean, total.sd, total.n)


def _decisions(series: Series, name: str) -> tuple[Score, ...]:
    folds = [
        (
            np.array([row.actual == name for row in rows]),
            np.array([row.scores[name] for row in rows]),
        )
        for rows in series.parts
    ]
    return tuple(over_folds([metric(*fold) for fold in folds]) for _, metric in METRICS.values())


def _matrices(series: Series) -> list[NDArray[np.int64]]:
    """Count each fold's decisions: the class of the highest score; of two classes the positive one from 0 on."""
    matrices = []
    for rows in series.parts:
        scores = np.array([[row.scores[name] for name in series.scored] for row in rows])
        names = series.scored if len(series.scored) > 1 else series.classes
        called = scores.argmax(axis=1) if len(series.scored) > 1 else (scores[:, 0] >= 0).astype(np.int64)
        actual = [names.index(row.actual) for row in rows]
        matrices.append(confusion_matrix(actual, called, len(names)))
    return matrices


def confusion_tables(summary: Summary) -> tuple[Table, ...]:
    """Fill a confusion matrix for each task.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    tuple of Table
        One a task and protocol: a row for each arm and actual class, a column for each class that images are called.
    """
    made = []
    for setting, slug in slugs(summary).items():
        several = [series for series in summary.series if series.setting == setting]
        names = several[0].scored if len(several[0].scored) > 1 else several[0].classes
        rows: list[tuple[Cell, ...]] = [
            (series.arm, name, *map(int, counts), int(counts.sum()))
            for series in several
            for name, counts in zip(names, np.sum(_matrices(series), axis=0), strict=True)
        ]
        columns = (
            *(Column("arm", "Arm", text=True), Column("actual", "Actual class", text=True)),
            *(Column(f"called {name}", f"Called {name}") for name in names),
            Column("images", "Images"),
        )
        how = (
            "Each image is called the class of its highest score."
            if len(several[0].scored) > 1
            else f"An image is called {names[-1]} from decision value 0 on, the SVM's own threshold."
        )
        note = f"{how} Counts are summed over the folds; an image that is tested in several counts each time."
        made.append(
            Table(
                f"confusion-{slug}",
                f"Confusion matrix: {heading(summary, setting)}",
                note,
                columns,
                tuple(rows),
            )
        )
    return tuple(made)
