"""Tables of further metrics: decisions at thresholds, confusion matrices, calibration, scores of groups.

Thresholds are fixed on inner scores of the training set. A threshold that is chosen on the test set which it is then
applied to gives estimates that are too optimistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from featx.reporting.series import Series
from featx.reporting.summary import MACRO, Summary
from featx.reporting.tables import Cell, Column, Filled, Score
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
    pool_by_group,
    pool_fold,
    predictive_values,
    proportion,
    summarise_arm,
    summarise_folds,
)

from .columns import CLASS, PLACE, SPREAD, bounded, place, spread

__all__ = [
    "CALIBRATION",
    "DECISIONS",
    "METRICS",
    "THRESHOLD",
    "ScoredRows",
    "arm_cuts",
    "calibration",
    "calibration_cells",
    "confusions",
    "decision_cells",
    "decisions",
    "fixed_cuts",
    "groups",
    "metrics",
    "missing_thresholds",
    "predictive",
    "scored_rows",
    "thresholds",
]

_Metric = Callable[[NDArray[np.bool_], NDArray[np.float64]], float]

# Column name to heading and metric of one fold.
METRICS: Mapping[str, tuple[str, _Metric]] = {
    "average precision": ("Average precision", average_precision),
    "sensitivity": ("Sensitivity", lambda a, s: confusion_at(a, s).sensitivity),
    "specificity": ("Specificity", lambda a, s: confusion_at(a, s).specificity),
    "balanced accuracy": ("Balanced accuracy", lambda a, s: confusion_at(a, s).balanced_accuracy),
}


def metrics(summary: Summary) -> Filled:
    """Fill the table of metrics beside the AUC: a row for each arm and scored class, and one for several together."""
    rows: list[tuple[Cell, ...]] = []
    for series in summary.series:
        if len(series.scored) > 1:
            accuracy = _over_folds([balanced_accuracy(matrix) for matrix in _matrices(series)])
            rows.append((*place(series), MACRO, *(None,) * (len(METRICS) - 1), accuracy))
        rows += [(*place(series), name, *_decisions(series, name)) for name in series.scored]
    several = any(len(series.scored) > 1 for series in summary.series)
    more = (
        f"{MACRO.capitalize()}: the predicted class is that of the highest score; balanced accuracy is the mean over "
        "the classes of the fraction of images that are predicted correctly."
    ) * several
    return Filled((*PLACE, CLASS, *(Column(name, title) for name, (title, _) in METRICS.items())), rows, more)


def _over_folds(values: list[float]) -> Score:
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
    return tuple(_over_folds([metric(*fold) for fold in folds]) for _, metric in METRICS.values())


def _matrices(series: Series) -> list[NDArray[np.int64]]:
    """Count each fold's predicted classes: that of the highest score; of two, the positive one from 0."""
    matrices = []
    for rows in series.parts:
        scores = np.array([[row.scores[name] for name in series.scored] for row in rows])
        names = series.scored if len(series.scored) > 1 else series.classes
        called = scores.argmax(axis=1) if len(series.scored) > 1 else (scores[:, 0] >= 0).astype(np.int64)
        actual = [names.index(row.actual) for row in rows]
        matrices.append(confusion_matrix(actual, called, len(names)))
    return matrices


def confusions(summary: Summary, setting: tuple[str, str]) -> Filled:
    """Fill a task's confusion matrix: a row for each arm and true class, a column for each predicted class."""
    several = [series for series in summary.series if series.setting == setting]
    names = several[0].scored if len(several[0].scored) > 1 else several[0].classes
    rows: list[tuple[Cell, ...]] = [
        (series.arm, name, *map(int, counts), int(counts.sum()))
        for series in several
        for name, counts in zip(names, np.sum(_matrices(series), axis=0), strict=True)
    ]
    columns = (
        *(Column("arm", "Arm", text=True), Column("actual", "True class", text=True)),
        *(Column(f"called {name}", f"Predicted {name}") for name in names),
        Column("images", "Images"),
    )
    how = (
        "The predicted class is that of the highest score."
        if len(several[0].scored) > 1
        else f"Images with a decision value of at least 0, the SVM's default threshold, are predicted {names[-1]}."
    )
    return Filled(columns, rows, how)


_DEFAULT = "default, 0"
_COUNTS = (
    ("true positive", "TP"),
    ("false negative", "FN"),
    ("false positive", "FP"),
    ("true negative", "TN"),
)


def fixed_cuts(rows: Sequence[Prediction], name: str, pooling: str | None = None) -> dict[str, float]:
    """Fix the threshold of each rule of `featx.stats.THRESHOLD_RULES` on a run's inner scores; NaN without inner scores."""
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
    """Say which arms have runs without inner scores, hence without fixed thresholds, and why."""
    reasons: dict[str, list[str]] = {}
    for series in summary.series:
        for run, rows in zip(series.runs, series.inner, strict=True):
            if not rows:
                reasons.setdefault(_why(run.record.kind, run.record.format), []).append(series.arm)
    return " ".join(
        f"No fixed thresholds for {', '.join(dict.fromkeys(arms))}: {why}." for why, arms in reasons.items()
    )


def _why(kind: str, layout: int) -> str:
    if kind != "svm":
        return "a fine-tuned network's own head has no inner scores of the training set"
    if layout < 2:
        return "runs of an earlier version have no inner scores; train them again with --overwrite"
    return "a class has too few groups in the training set for inner folds"


@dataclass(frozen=True, eq=False)
class ScoredRows:
    """The test images of all folds, concatenated, for one scored class.

    Attributes
    ----------
    folds, images, groups : ndarray of int64, shape (n,)
        Numbers of each row's fold, image and group.
    actual : ndarray of bool, shape (n,)
        Whether the image is of the class.
    scores : ndarray of float64, shape (n,)
        Decision value of the class.
    """

    folds: NDArray[np.int64]
    actual: NDArray[np.bool_]
    scores: NDArray[np.float64]
    images: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Decisions:
    """Decisions at the threshold of each fold; folds without a threshold are None and left out of the rates."""

    folds: tuple[Confusion | None, ...]
    sensitivity: Estimate
    specificity: Estimate

    @property
    def counts(self) -> tuple[int | None, ...]:
        """TP, FN, FP and TN over the folds; None where no fold has a threshold."""
        known = [astuple(one) for one in self.folds if one is not None]
        return tuple(map(sum, zip(*known, strict=True))) if known else (None,) * len(_COUNTS)


def scored_rows(series: Series, name: str) -> ScoredRows:
    """Concatenate the test images of all folds of an arm, in the order of its runs."""
    rows = [row for run in series.runs for row in run.predictions]
    folds, images, groups = series.row_codes
    return ScoredRows(
        folds,
        np.array([row.actual == name for row in rows]),
        np.array([row.scores[name] for row in rows]),
        images,
        groups,
    )


def _decide(rows: ScoredRows, fixed: Sequence[float]) -> _Decisions:
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


# Thresholds of each run of an arm, and decisions at them, which several tables of one summary need.
_CUTS: WeakKeyDictionary[Summary, dict[tuple[int, str], list[dict[str, float]]]] = WeakKeyDictionary()


def arm_cuts(summary: Summary, series: Series, name: str) -> list[dict[str, float]]:
    """Fix the thresholds of each run of an arm of a summary."""
    known = _CUTS.setdefault(summary, {})
    key = (id(series), name)
    if key not in known:
        known[key] = [fixed_cuts(inner, name) for inner in series.inner]
    return known[key]


# The tables of thresholds, of predictive values and of external test sets have the decisions of one summary in common.
_DECIDED: WeakKeyDictionary[Summary, dict[int, list[_Case]]] = WeakKeyDictionary()


def _cases(summary: Summary) -> list[_Case]:
    """Decide for each arm and scored class at the default threshold, and at each fixed one."""
    return [case for series in summary.series for case in decisions(summary, series)]


def decisions(summary: Summary, series: Series) -> list[_Case]:
    """Decide for each scored class of an arm of a summary at the default threshold, and at each fixed one."""
    decided = _DECIDED.setdefault(summary, {})
    if id(series) not in decided:
        made: list[_Case] = []
        for name in series.scored:
            rows = scored_rows(series, name)
            fixed = [{_DEFAULT: 0.0, **cuts} for cuts in arm_cuts(summary, series, name)]
            made += [(series, name, rule, _decide(rows, [cut[rule] for cut in fixed])) for rule in fixed[0]]
        decided[id(series)] = made
    return decided[id(series)]


THRESHOLD = Column("threshold", "Threshold", text=True)
DECISIONS = (
    *bounded("sensitivity", "Sensitivity"),
    *bounded("specificity", "Specificity"),
    *(Column(name, title) for name, title in _COUNTS),
)
_WHICH = (*PLACE, CLASS, THRESHOLD)


def thresholds(summary: Summary) -> Filled:
    """Fill the table of what thresholds that were fixed on the training set give on the test set."""
    rows = [
        (*place(series), name, rule, *decision_cells(series, found))
        for series, name, rule, found in _cases(summary)
    ]
    return Filled((*_WHICH, *DECISIONS), rows, missing_thresholds(summary))


def decision_cells(series: Series, found: _Decisions) -> tuple[Cell, ...]:
    """Fill `DECISIONS`."""
    cells: list[Cell] = []
    for rate in ("sensitivity", "specificity"):
        # A fold without a threshold has no rate.
        folds = [getattr(one, rate, float("nan")) for one in found.folds]
        pooled: Estimate = getattr(found, rate)
        # The mean over folds of one group each would mean little.
        cells += [_over_folds([pooled[0]] if series.pooled else folds), *pooled[1:]]
    return (*cells, *found.counts)


def predictive(summary: Summary) -> Filled:
    """Fill the table of predictive values at these thresholds, by Bayes' rule from sensitivity and specificity."""
    rows: list[tuple[Cell, ...]] = []
    for series, name, rule, found in _cases(summary):
        prevalence = summary.prevalence or _trained(series, name)
        tested = float(np.mean([row.actual == name for run in series.runs for row in run.predictions]))
        cells: tuple[Cell, ...] = (None,) * 6
        if 0 < prevalence < 1:
            positive, negative = predictive_values(found.sensitivity, found.specificity, prevalence)
            cells = (*positive, *negative)
        rows.append((*place(series), name, rule, prevalence, tested, *cells))
    columns = (
        *_WHICH,
        *(Column("prevalence", "Prevalence"), Column("test prevalence", "Prevalence in the test set")),
        *(*bounded("positive predictive value", "PPV"), *bounded("negative predictive value", "NPV")),
    )
    return Filled(columns, rows)


def _trained(series: Series, name: str) -> float:
    """Compute the prevalence in the training sets: of the inner scores, else of the images counted."""
    shares = []
    for run, rows in zip(series.runs, series.inner, strict=True):
        counts = run.record.counts.get("train", {})
        if rows:
            shares.append(np.mean([row.actual == name for row in rows]))
        elif sum(counts.values()):
            shares.append(counts.get(name, 0) / sum(counts.values()))
    return float(np.mean(shares)) if shares else float("nan")


CALIBRATION = (
    Column("brier score", "Brier score"),
    *bounded("slope", "Calibration slope"),
    *bounded("intercept", "Calibration intercept"),
    *bounded("observed to expected", "O:E"),
)


def calibration(summary: Summary) -> Filled:
    """Fill the table of calibration: a row for each calibrated arm and scored class."""
    found = [
        (series, name, *calibration_cells(series, name))
        for series in summary.series
        if series.calibrated
        for name in series.scored
    ]
    more = " ".join(f"{one.arm}, {name}: {text}." for one, name, _, texts in found for text in texts)
    rows = [(*place(series), name, *cells) for series, name, cells, _ in found]
    return Filled((*PLACE, CLASS, *CALIBRATION), rows, more)


def _recalibrated(series: Series, name: str) -> Recalibration:
    actual, values, _, groups = series.probabilities(name)
    return fit_recalibration(actual, values, groups=groups)


def calibration_cells(series: Series, name: str) -> tuple[tuple[Cell, ...], tuple[str, ...]]:
    """Fill `CALIBRATION` for a class of a calibrated arm, and give the warnings."""
    found = _recalibrated(series, name)
    brier = [
        brier_score(
            [row.actual == name for row in run.predictions],
            [row.probabilities[name] for row in run.predictions],
        )
        for run in series.runs
    ]
    cells = (_over_folds(brier), *found.slope, *found.intercept, *found.observed_expected)
    return cells, found.warnings


# Fixed thresholds in the table of groups.
_RULES = ("0.90 sensitivity", "0.90 specificity")


def groups(summary: Summary) -> Filled:
    """Fill the table of metrics by group: a row for each arm, scored class and pooling, if groups have several images."""
    rows = [
        _group_row(series, name, pooling)
        for series in summary.series
        if any(len(set(fold.groups)) < len(fold.ids) for fold in series.scores)
        for name in series.scored
        for pooling in POOLINGS
    ]
    columns = (
        *(*PLACE, CLASS, Column("pooling", "Pooling", text=True), *SPREAD),
        *(Column("groups", "Groups"), Column("positives", "Positive groups")),
        *(Column(name, title) for name, (title, _) in METRICS.items()),
        *(
            Column(f"{rate} at fixed {rule}", f"{rate.capitalize()[:4]}. at the threshold for {rule}")
            for rule in _RULES
            for rate in ("sensitivity", "specificity")
        ),
    )
    return Filled(columns, rows, missing_thresholds(summary) if rows else "")


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
    return _over_folds([METRICS[name][1](fold.actual == 1, fold.scores) for fold in folds])


def _fixed(series: Series, folds: list[FoldScores], name: str, pooling: str) -> list[Score]:
    """Compute the rates at thresholds that were fixed on the training set's scores, pooled in the same way."""
    fixed = [fixed_cuts(rows, name, pooling) for rows in series.inner]
    cells = []
    for rule in _RULES:
        limits = _limits(series, folds, [cut[rule] for cut in fixed])
        found = [_decided(fold, limit) for fold, limit in zip(folds, limits, strict=True)]
        for rate in ("sensitivity", "specificity"):
            cells.append(_over_folds([getattr(one, rate, float("nan")) for one in found]))
    return cells


def _limits(series: Series, folds: list[FoldScores], fixed: list[float]) -> list[NDArray[np.float64]]:
    """Look up, for each group of each fold, the threshold of the run that scored it."""
    if not series.pooled:
        return [np.full(len(fold.ids), cut) for fold, cut in zip(folds, fixed, strict=True)]
    own = {row.group: cut for cut, run in zip(fixed, series.runs, strict=True) for row in run.predictions}
    return [np.array([own[name] for name in fold.ids]) for fold in folds]


def _decided(fold: FoldScores, limits: NDArray[np.float64]) -> Confusion | None:
    known = ~np.isnan(limits)
    if not known.any():
        return None
    return confusion(fold.actual[known] == 1, fold.scores[known] >= limits[known])
