"""The table of calibration: whether the probabilities of calibrated arms are right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from featx.stats import Recalibration, brier_score, fit_recalibration

from .columns import PLACE, place
from .operating import over_folds
from .series import Series
from .summary import Summary
from .tables import Cell, Column, Table

__all__ = ["Chances", "calibrated", "calibration_table", "chances"]

Chances = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_], NDArray[np.str_]]


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


def chances(series: Series, name: str) -> Chances:
    """Gather the probabilities of all folds.

    Parameters
    ----------
    series : Series
        A calibrated arm.
    name : str
        Scored class.

    Returns
    -------
    tuple of ndarray, shape (n,)
        Whether each test image is of the class, its probability, its id and its group; an image that several folds
        test stands there several times.
    """
    rows = [row for run in series.runs for row in run.predictions]
    return (
        np.array([row.actual == name for row in rows]),
        np.array([row.probabilities[name] for row in rows]),
        np.array([row.id for row in rows]),
        np.array([row.group for row in rows]),
    )


def calibration_table(summary: Summary) -> Table | None:
    """Fill the table of calibration.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each calibrated series and scored class; None where there is none.
    """
    found = [
        (series, name, _recalibrated(series, name))
        for series in summary.series
        if calibrated(series)
        for name in series.scored
    ]
    if not found:
        return None
    rows = [_row(*one) for one in found]
    ends = [
        (Column(name, title), Column(f"{name} low", "95 % low"), Column(f"{name} high", "95 % high"))
        for name, title in (
            ("slope", "Calibration slope"),
            ("intercept", "Calibration intercept"),
            ("observed to expected", "O:E"),
        )
    ]
    columns = (
        *(*PLACE, Column("class", "Positive", text=True), Column("brier score", "Brier score")),
        *(column for three in ends for column in three),
    )
    note = (
        "Brier score of the calibrated probability: mean ± standard deviation over the folds (number of folds), 0 is "
        "best. Slope of the logistic recalibration: 1 is right, below 1 probabilities are too extreme. Intercept with the "
        "slope fixed at 1 (calibration in the large): 0 is right, below 0 probabilities are too high. O:E: positives over "
        "the sum of the probabilities. All folds together; intervals take images that are tested several times, and images "
        "of a group, as dependent (Van Calster et al. 2019)."
    )
    note += "".join(
        f" {series.arm}, {name}: {text}." for series, name, checked in found for text in checked.warnings
    )
    return Table("calibration", "Calibration", note, columns, tuple(rows))


def _recalibrated(series: Series, name: str) -> Recalibration:
    actual, values, _, groups = chances(series, name)
    return fit_recalibration(actual, values, groups=groups)


def _row(series: Series, name: str, found: Recalibration) -> tuple[Cell, ...]:
    brier = [
        brier_score(
            [row.actual == name for row in run.predictions],
            [row.probabilities[name] for row in run.predictions],
        )
        for run in series.runs
    ]
    return (*place(series), name, over_folds(brier), *found.slope, *found.intercept, *found.observed_expected)
