"""The tables of decisions at fixed thresholds: what they give on the test part, and predictive values.

A threshold is fixed on inner scores of the training part. One that is read off the test part which it then decides
promises more than it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from featx.reporting.sections.labels import HOW, INTERVALS, PLACE, SPREAD, heading, place, slugs, spread
from featx.reporting.series import Series
from featx.reporting.summary import MACRO, Summary
from featx.reporting.tables import Cell, Column, Score, Table
from featx.runs import Prediction
from featx.stats import (
    POOLINGS,
    THRESHOLD_RULES,
    Confusion,
    Estimate,
    FoldScores,
    Recalibration,
    average_precision,
    balanced_accuracy,
    brier_score,
    confusion,
    confusion_at,
    confusion_matrix,
    fit_recalibration,
    fixed_thresholds,
    group_codes,
    pool_by_group,
    pool_fold,
    predictive_values,
    proportion,
    summarise_arm,
    summarise_folds,
)

__all__ = [
    "METRICS",
    "Chances",
    "calibrated",
    "calibration_table",
    "chances",
    "confusion_tables",
    "cuts",
    "group_table",
    "missing_thresholds",
    "operating",
    "over_folds",
    "threshold_tables",
]


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
    """Summarise a metric's values, one a fold, as a cell."""
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


_OWN = "the SVM's own, 0"


_COUNTS = (
    ("true positive", "TP"),
    ("false negative", "FN"),
    ("false positive", "FP"),
    ("true negative", "TN"),
)


def cuts(rows: Sequence[Prediction], name: str, pooling: str | None = None) -> dict[str, float]:
    """Fix thresholds on the inner scores of a run.

    Returns
    -------
    dict of str to float
        Each of `featx.stats.operating.THRESHOLD_RULES` to its threshold; NaN without inner scores.
    """
    if not rows:
        return dict.fromkeys(THRESHOLD_RULES, float("nan"))
    actual, scores = (
        np.array([row.actual == name for row in rows]),
        np.array([row.scores[name] for row in rows]),
    )
    if pooling is not None:
        pooled = pool_by_group(actual, scores, [row.group for row in rows], pooling=pooling)
        actual, scores = pooled.actual == 1, pooled.scores
    return fixed_thresholds(actual, scores)


def missing_thresholds(summary: Summary) -> str:
    """Say which arms have no thresholds that were fixed on the training part, and why.

    Returns
    -------
    str
        A sentence for each reason, with a space before it; empty where every run has them.
    """
    reasons: dict[str, list[str]] = {}
    for series in summary.series:
        for run, rows in zip(series.runs, series.inner, strict=True):
            if not rows:
                reasons.setdefault(_why(run.record.kind, run.record.format), []).append(series.arm)
    return "".join(
        f" No fixed thresholds for {', '.join(dict.fromkeys(arms))}: {why}." for why, arms in reasons.items()
    )


def _why(kind: str, layout: int) -> str:
    if kind != "svm":
        return "scores of a fine-tuned network's own head on its training part are not kept"
    if layout < 2:
        return "the runs are of an earlier version; train them again with --overwrite"
    return "a class has too few groups in the training part to score it by inner folds"


@dataclass(frozen=True, eq=False)
class _Rows:
    """The test images of all folds for one scored class, one fold behind the other."""

    folds: NDArray[np.int64]
    actual: NDArray[np.bool_]
    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Decisions:
    """What a threshold of each fold says of its test images; folds without one are None, and left out of the rates."""

    folds: tuple[Confusion | None, ...]
    sensitivity: Estimate
    specificity: Estimate

    @property
    def counts(self) -> tuple[int | None, ...]:
        """TP, FN, FP and TN over the folds; None where no fold has a threshold."""
        known = [astuple(one) for one in self.folds if one is not None]
        return tuple(map(sum, zip(*known, strict=True))) if known else (None,) * len(_COUNTS)


def _rows(series: Series, name: str) -> _Rows:
    rows = [(fold, row) for fold, run in enumerate(series.runs) for row in run.predictions]
    return _Rows(
        np.array([fold for fold, _ in rows]),
        np.array([row.actual == name for _, row in rows]),
        np.array([row.scores[name] for _, row in rows]),
        *(
            group_codes(names, len(rows))
            for names in ([row.id for _, row in rows], [row.group for _, row in rows])
        ),
    )


def _decide(rows: _Rows, fixed: Sequence[float]) -> _Decisions:
    limits = np.array(fixed)
    known, called = ~np.isnan(limits), rows.scores >= limits[rows.folds]
    folds = [
        confusion(rows.actual[rows.folds == fold], called[rows.folds == fold]) if known[fold] else None
        for fold in range(len(fixed))
    ]
    rates = []
    for positive in (True, False):
        kept = (rows.actual == positive) & known[rows.folds]
        rates.append(proportion(called[kept] == positive, rows.images[kept], rows.groups[kept]))
    return _Decisions(tuple(folds), *rates)


_Case = tuple[Series, str, str, _Decisions]


def _cases(summary: Summary) -> list[_Case]:
    """Decide for each series and scored class by the SVM's own threshold, and by each fixed one."""
    made: list[_Case] = []
    for series in summary.series:
        for name in series.scored:
            rows = _rows(series, name)
            fixed = [{_OWN: 0.0, **cuts(inner, name)} for inner in series.inner]
            made += [(series, name, rule, _decide(rows, [cut[rule] for cut in fixed])) for rule in fixed[0]]
    return made


def threshold_tables(summary: Summary) -> tuple[Table, Table]:
    """Fill the tables of what thresholds that were fixed on the training part give on the test part.

    Returns
    -------
    rates, predictive : Table
        A row for each series, scored class and threshold; no values where a run has no inner scores.
    """
    cases = _cases(summary)
    return _rates(summary, cases), _predictive(summary, cases)


_WHICH = (*PLACE, Column("class", "Positive", text=True), Column("threshold", "Threshold", text=True))


def _bounded(name: str, title: str) -> tuple[Column, ...]:
    return Column(name, title), Column(f"{name} low", "95 % low"), Column(f"{name} high", "95 % high")


def _rates(summary: Summary, cases: Sequence[_Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for series, name, rule, found in cases:
        cells: list[Cell] = []
        for rate in ("sensitivity", "specificity"):
            # A fold without a threshold has no rate.
            folds = [getattr(one, rate, float("nan")) for one in found.folds]
            pooled: Estimate = getattr(found, rate)
            # Folds of one group each have no rates worth a mean.
            cells += [over_folds([pooled[0]] if series.pooled else folds), *pooled[1:]]
        rows.append((*place(series), name, rule, *cells, *found.counts))
    columns = (
        *_WHICH,
        *_bounded("sensitivity", "Sensitivity"),
        *_bounded("specificity", "Specificity"),
        *(Column(name, title) for name, title in _COUNTS),
    )
    note = (
        "Thresholds for 0.90 sensitivity, for 0.90 specificity and for the largest Youden index are fixed on the training "
        "part, on decision values of SVMs that were not trained on the image; the table says what they give on the test "
        "part. Mean ± standard deviation over the folds (number of folds). Intervals: Wilson's, of all folds together; "
        "images that are tested several times, and images of a group, do not count as independent. TP, FN, FP and TN are "
        "summed over the folds; an image that is tested in several counts each time."
        + missing_thresholds(summary)
    )
    return Table("thresholds", "Decisions at fixed thresholds", note, columns, tuple(rows))


def _predictive(summary: Summary, cases: Sequence[_Case]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for series, name, rule, found in cases:
        share = summary.prevalence or _trained(series, name)
        tested = float(np.mean([row.actual == name for run in series.runs for row in run.predictions]))
        cells: tuple[Cell, ...] = (None,) * 6
        if 0 < share < 1:
            positive, negative = predictive_values(found.sensitivity, found.specificity, share)
            cells = (*positive, *negative)
        rows.append((*place(series), name, rule, share, tested, *cells))
    columns = (
        *_WHICH,
        *(Column("prevalence", "Prevalence"), Column("test prevalence", "In the test part")),
        *_bounded("positive predictive value", "PPV"),
        *_bounded("negative predictive value", "NPV"),
    )
    stated = "as given" if summary.prevalence else "the share of positives in the training part"
    note = (
        f"Positive and negative predictive value (PPV, NPV) by Bayes' rule from the sensitivity and specificity of the "
        f"table of fixed thresholds, all folds together, at the prevalence of the column: {stated}. Another one is stated "
        "by --prevalence. Intervals follow from those of sensitivity and specificity (Donner & Zou 2012)."
    )
    return Table("predictive-values", "Predictive values", note, columns, tuple(rows))


def _trained(series: Series, name: str) -> float:
    """Share of positives in the training parts: of what thresholds were fixed on, else of the images counted."""
    shares = []
    for run, rows in zip(series.runs, series.inner, strict=True):
        counts = run.record.counts.get("train", {})
        if rows:
            shares.append(np.mean([row.actual == name for row in rows]))
        elif sum(counts.values()):
            shares.append(counts.get(name, 0) / sum(counts.values()))
    return float(np.mean(shares)) if shares else float("nan")


Chances = tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_], NDArray[np.str_]]


def calibrated(series: Series) -> bool:
    """Tell whether an arm has probabilities of every scored class."""
    needed = set(series.scored)
    return all(needed <= row.probabilities.keys() for run in series.runs for row in run.predictions)


def chances(series: Series, name: str) -> Chances:
    """Gather the probabilities of all folds.

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


# Thresholds fixed on the training part whose results the table holds.
_RULES = ("0.90 sensitivity", "0.90 specificity")


def group_table(summary: Summary) -> Table | None:
    """Fill the table of metrics by group.

    Returns
    -------
    Table or None
        A row for each series, scored class and way to one score a group; None where every group has one image.
    """
    rows = [
        _group_row(series, name, pooling)
        for series in summary.series
        if any(len(set(fold.groups)) < len(fold.ids) for fold in series.scores)
        for name in series.scored
        for pooling in POOLINGS
    ]
    if not rows:
        return None
    columns = (
        *PLACE,
        *(Column("class", "Positive", text=True), Column("pooling", "Score of a group", text=True)),
        *SPREAD,
        *(Column("groups", "Groups"), Column("positives", "Positive groups")),
        *(Column(name, title) for name, (title, _) in METRICS.items()),
        *(
            Column(f"{rate} at fixed {rule}", f"{rate.capitalize()[:4]}. at the threshold for {rule}")
            for rule in _RULES
            for rate in ("sensitivity", "specificity")
        ),
    )
    note = (
        "A patient's, case's or lesion's images give one score: their mean, their highest decision value, or the one "
        "farthest from 0 (extreme). A group is positive if one of its images is. Groups are summed over the folds. "
        f"{HOW}{INTERVALS} Other metrics as in the table of further metrics; thresholds as in the table of fixed "
        f"thresholds, on scores pooled in the same way.{missing_thresholds(summary)}"
    )
    return Table("groups", "One score for each group", note, columns, tuple(rows))


def _group_row(series: Series, name: str, pooling: str) -> tuple[Cell, ...]:
    folds = [pool_fold(fold, pooling=pooling) for fold in series.against_rest(name)]
    total = summarise_arm(folds)
    return (
        *place(series),
        *(name, pooling),
        *spread(total),
        *(sum(len(fold.ids) for fold in folds), int(sum(fold.actual.sum() for fold in folds))),
        *(_metric(folds, column) for column in METRICS),
        *_fixed(series, folds, name, pooling),
    )


def _metric(folds: list[FoldScores], name: str) -> Score:
    return over_folds([METRICS[name][1](fold.actual == 1, fold.scores) for fold in folds])


def _fixed(series: Series, folds: list[FoldScores], name: str, pooling: str) -> list[Score]:
    """Say what thresholds give that were fixed on the training part, its scores pooled in the same way."""
    fixed = [cuts(rows, name, pooling) for rows in series.inner]
    cells = []
    for rule in _RULES:
        limits = _limits(series, folds, [cut[rule] for cut in fixed])
        found = [_decided(fold, limit) for fold, limit in zip(folds, limits, strict=True)]
        for rate in ("sensitivity", "specificity"):
            cells.append(over_folds([getattr(one, rate, float("nan")) for one in found]))
    return cells


def _limits(series: Series, folds: list[FoldScores], fixed: list[float]) -> list[NDArray[np.float64]]:
    """Give each group of each fold the threshold of the run that scored it; pooled folds have those of several."""
    if not series.pooled:
        return [np.full(len(fold.ids), cut) for fold, cut in zip(folds, fixed, strict=True)]
    own = {row.group: cut for cut, run in zip(fixed, series.runs, strict=True) for row in run.predictions}
    return [np.array([own[name] for name in fold.ids]) for fold in folds]


def _decided(fold: FoldScores, limits: NDArray[np.float64]) -> Confusion | None:
    known = ~np.isnan(limits)
    if not known.any():
        return None
    return confusion(fold.actual[known] == 1, fold.scores[known] >= limits[known])
