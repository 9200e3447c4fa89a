"""From runs to series (an arm on a task, a run a fold) and the AUC of every fold.

Nothing is averaged away: a fold whose test part holds one class only has no AUC, stands as NaN and is counted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from featx.errors import RunError
from featx.runs import Prediction, Run, find_runs, read_run
from featx.stats.arms import FoldScores, fold_scores, size_ratio, summarise_arm
from featx.stats.auc import one_vs_rest_auc, roc_auc
from featx.stats.compare import Comparisons
from featx.stats.intervals import FoldSummary, summarise_folds

from .checks import check_series, comparability
from .pairs import compare
from .records import train_size

__all__ = [
    "MACRO",
    "MOST_LEVELS",
    "Measure",
    "Series",
    "Summary",
    "collect",
    "levels",
    "measure",
    "natural",
    "summarise",
]

MACRO = "mean of classes"
MOST_LEVELS = 12
_SCALES = (("low", "medium", "high"), ("easy", "medium", "hard"), ("small", "medium", "large"))


@dataclass(frozen=True)
class Series:
    """One arm on one task and protocol: a row of the main table.

    Attributes
    ----------
    arm : str
        Name to show; a fine-tuned network's own head has " (softmax)" behind it.
    task, protocol : str
        As in the records.
    runs : tuple of Run
        One a fold, in natural order of the folds' names.
    """

    arm: str
    task: str
    protocol: str
    runs: tuple[Run, ...]

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(run.record.fold for run in self.runs)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the task, in a two-class task the positive one last."""
        return self.runs[0].record.classes

    @property
    def scored(self) -> tuple[str, ...]:
        """Classes with a score."""
        return self.runs[0].record.scored

    @property
    def setting(self) -> tuple[str, str]:
        """Task and protocol: series that share them can be compared."""
        return self.task, self.protocol

    @cached_property
    def scores(self) -> tuple[FoldScores, ...]:
        """The predictions of each fold as arrays."""
        return tuple(_fold_scores(run) for run in self.runs)

    @property
    def ratio(self) -> float | None:
        """Size of the test parts over that of the training parts; None where unknown."""
        return size_ratio(self.scores)


@dataclass(frozen=True)
class Measure:
    """AUC of a series in every fold, for one scored class, over all images or one level of a stratum.

    Attributes
    ----------
    series : Series
        The arm on its task.
    scored : str
        Class that counts as positive, or `MACRO`: the mean over all classes.
    stratum, level : str
        Column and value that the images are limited to; empty for all images.
    auc : tuple of float
        One a fold, in the order of ``series.folds``; NaN where the fold holds one class only.
    images, positives : tuple of int
        Test images of each fold, and how many of them are positive (for `MACRO`: of the rarest class).
    """

    series: Series
    scored: str
    stratum: str
    level: str
    auc: tuple[float, ...]
    images: tuple[int, ...]
    positives: tuple[int, ...]

    @property
    def undefined(self) -> tuple[str, ...]:
        """Names of the folds without an AUC."""
        return tuple(
            fold for fold, auc in zip(self.series.folds, self.auc, strict=True) if not np.isfinite(auc)
        )

    @cached_property
    def spread(self) -> FoldSummary:
        """Mean, standard deviation and 95 % interval over the folds; of a single test set DeLong's interval."""
        if len(self.auc) == 1 and self.scored != MACRO and self.images[0]:
            total = summarise_arm([self._only_fold()])
        else:
            total = summarise_folds(self.auc, ratio=self.series.ratio if len(self.auc) > 1 else None)
        # An area cannot lie outside 0 to 1, whatever a t interval says.
        return replace(total, low=_clip(total.low), high=_clip(total.high))

    def _only_fold(self) -> FoldScores:
        rows = self.rows(0)
        return fold_scores(
            self.series.folds[0],
            [row.id for row in rows],
            [int(row.actual == self.scored) for row in rows],
            [row.scores[self.scored] for row in rows],
            groups=[row.group for row in rows],
        )

    def rows(self, fold: int) -> tuple[Prediction, ...]:
        """Return the predictions of a fold that enter the measure.

        Parameters
        ----------
        fold : int
            Position of the fold in ``series.folds``.

        Returns
        -------
        tuple of Prediction
            All of them, or those of the level.
        """
        return _rows(self.series.runs[fold], self.stratum, self.level)


@dataclass(frozen=True)
class Summary:
    """What a report is made of.

    Attributes
    ----------
    series : tuple of Series
        Sorted by task, protocol and arm.
    overall : tuple of Measure
        One a series: AUC over all test images.
    classes : tuple of Measure
        Of tasks with several scored classes, one a series and class.
    strata : tuple of Measure
        One a series, stratum and level.
    training : tuple of Run
        Fine-tuning runs, which have no scores.
    comparisons : mapping of (str, str) to Comparisons
        Task and protocol to the tests of every pair of its arms; absent where no two arms can be paired.
    warnings : tuple of str
        What a reader has to know.
    """

    series: tuple[Series, ...]
    overall: tuple[Measure, ...]
    classes: tuple[Measure, ...]
    strata: tuple[Measure, ...]
    training: tuple[Run, ...]
    comparisons: Mapping[tuple[str, str], Comparisons]
    warnings: tuple[str, ...]

    @cached_property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Tasks with their protocols, in order."""
        return tuple(dict.fromkeys(series.setting for series in self.series))

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms, in natural order."""
        return tuple(sorted({series.arm for series in self.series}, key=natural))

    @property
    def runs(self) -> tuple[Run, ...]:
        """Scored runs, in order of the series and folds."""
        return tuple(run for series in self.series for run in series.runs)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Give a sorting key that puts fold 2 before fold 10.

    Parameters
    ----------
    name : str
        What to sort.

    Returns
    -------
    tuple
        Key; numbers compare as numbers and stand before text.

    Examples
    --------
    >>> sorted(["10", "2", "1x2", "1x1"], key=natural)
    ['1x1', '1x2', '2', '10']
    """
    parts = re.findall(r"\d+|\D+", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts)


def levels(values: Iterable[str]) -> list[str]:
    """Order the levels of a stratum: known scales as people say them, all others naturally.

    Parameters
    ----------
    values : iterable of str
        Levels, repeated or not; empty text (no value) is left out.

    Returns
    -------
    list of str
        Each level once.

    Examples
    --------
    >>> levels(["high", "low", "medium", "low", ""]), levels(["b", "a10", "a9"])
    (['low', 'medium', 'high'], ['a9', 'a10', 'b'])
    """
    found = {value for value in values if value}
    for scale in _SCALES:
        if {value.casefold() for value in found} <= set(scale):
            return sorted(found, key=lambda value: scale.index(value.casefold()))
    return sorted(found, key=natural)


def collect(paths: Iterable[Path | str]) -> tuple[tuple[Series, ...], tuple[Run, ...]]:
    """Read runs and sort them into series.

    Parameters
    ----------
    paths : iterable of Path or str
        Run folders, or folders that hold some.

    Returns
    -------
    series : tuple of Series
        Runs with predictions.
    training : tuple of Run
        Fine-tuning runs without predictions.

    Raises
    ------
    RunError
        If a folder holds no run, two runs stand for one arm, task and fold, or an arm is mixed from runs that
        do not belong together.
    """
    runs = [read_run(path) for path in find_runs([Path(path).resolve() for path in paths])]
    scored = [run for run in runs if run.predictions]
    if not scored:
        raise RunError(
            f"{runs[0].path}: none of the {len(runs)} runs has predictions (fine-tuning alone gives weights); "
            "extract their features, run `featx train-svm`, and report on those runs"
        )
    made: dict[tuple[str, str, str], list[Run]] = {}
    for run in scored:
        made.setdefault((run.record.task, run.record.protocol, _arm(run)), []).append(run)
    series = []
    for task, protocol, arm in sorted(made, key=lambda key: tuple(map(natural, key))):
        ordered = sorted(made[task, protocol, arm], key=lambda run: natural(run.record.fold))
        series.append(Series(arm, task, protocol, tuple(ordered)))
        check_series(arm, ordered)
    training = sorted(
        (run for run in runs if not run.predictions), key=lambda run: (natural(run.record.arm), run.path)
    )
    return tuple(series), tuple(training)


def _arm(run: Run) -> str:
    # A fine-tuned network's own head stands beside the SVM that was trained on its features.
    return f"{run.record.arm} (softmax)" if run.record.kind != "svm" else run.record.arm


def measure(series: Series, scored: str, stratum: str = "", level: str = "") -> Measure:
    """Compute a series' AUC in every fold.

    Parameters
    ----------
    series : Series
        An arm on a task.
    scored : str
        A scored class, or `MACRO`.
    stratum, level : str
        Limit the images to those with this value in this column.

    Returns
    -------
    Measure
        One AUC a fold, by `featx.stats.auc`.
    """
    parts = [_rows(run, stratum, level) for run in series.runs]
    counts = [Counter(row.actual for row in rows) for rows in parts]
    positives = [
        min(count[name] for name in series.classes) if scored == MACRO else count[scored] for count in counts
    ]
    areas = [_auc(rows, scored, series.scored) for rows in parts]
    return Measure(series, scored, stratum, level, tuple(areas), tuple(map(len, parts)), tuple(positives))


def _fold_scores(run: Run) -> FoldScores:
    """Gather a run's predictions; class 1 is the positive one in a two-class task."""
    names = run.record.scored if len(run.record.scored) > 1 else run.record.classes
    return fold_scores(
        run.record.fold,
        [row.id for row in run.predictions],
        [names.index(row.actual) for row in run.predictions],
        [[row.scores[name] for name in run.record.scored] for row in run.predictions],
        groups=[row.group for row in run.predictions],
        train_size=train_size(run.record),
    )


def _rows(run: Run, stratum: str, level: str) -> tuple[Prediction, ...]:
    if not stratum:
        return run.predictions
    return tuple(row for row in run.predictions if row.strata.get(stratum) == level)


def _clip(value: float) -> float:
    return float(np.clip(value, 0, 1))


def _auc(rows: Sequence[Prediction], scored: str, names: tuple[str, ...]) -> float:
    if not rows:
        return float("nan")
    if scored != MACRO:
        return roc_auc([row.actual == scored for row in rows], [row.scores[scored] for row in rows])
    targets = [names.index(row.actual) for row in rows]
    areas = one_vs_rest_auc(targets, [[row.scores[name] for name in names] for row in rows])
    # One missing class leaves no mean of all classes: NaN stays NaN.
    return float(areas.mean())


def summarise(
    paths: Iterable[Path | str], strata: Sequence[str] | None = None, arms: Sequence[str] | None = None
) -> Summary:
    """Read runs and compute every AUC of a report.

    Parameters
    ----------
    paths : iterable of Path or str
        Run folders, or folders that hold some.
    strata : sequence of str, optional
        Columns to break down by; by default all columns of 2 to `MOST_LEVELS` levels.
    arms : sequence of str, optional
        Arms to keep; all if left out.

    Returns
    -------
    Summary
        Series, measures and warnings.

    Raises
    ------
    RunError
        As `collect`, or if a stratum or an arm is in no run.
    """
    series, training = collect(paths)
    if arms is not None:
        series = _chosen(series, arms)
    warnings = comparability([(item.arm, item.runs) for item in series])
    overall = tuple(measure(item, _main(item)) for item in series)
    classes = tuple(measure(item, name) for item in series if len(item.scored) > 1 for name in item.scored)
    columns, notes = _columns(series, strata)
    by_stratum = tuple(
        measure(item, _main(item), column, level)
        for column in columns
        for item in series
        for level in levels(row.strata.get(column, "") for run in item.runs for row in run.predictions)
    )
    undefined = tuple(_undefined(item) for item in overall if item.undefined)
    said = tuple(_said(series)) + tuple(
        f"{run.record.arm}: {text}" for run in training for text in _texts(run)
    )
    texts = (*warnings, *undefined, *notes, *said)
    return Summary(series, overall, classes, by_stratum, training, compare(series), texts)


def _chosen(series: tuple[Series, ...], arms: Sequence[str]) -> tuple[Series, ...]:
    known = sorted({item.arm for item in series}, key=natural)
    for name in arms:
        if name not in known:
            raise RunError(f"no run has the arm {name!r}; arms of these runs: {', '.join(known)}")
    return tuple(item for item in series if item.arm in arms)


def _main(series: Series) -> str:
    return series.scored[0] if len(series.scored) == 1 else MACRO


def _columns(series: Sequence[Series], wanted: Sequence[str] | None) -> tuple[list[str], list[str]]:
    values: dict[str, set[str]] = {}
    for row in (row for item in series for run in item.runs for row in run.predictions):
        for name, value in row.strata.items():
            values.setdefault(name, set()).add(value)
    if wanted is not None:
        missing = sorted(set(wanted) - set(values))
        if missing:
            known = ", ".join(sorted(values)) or "none"
            raise RunError(f"no run has the stratum {missing[0]!r}; columns of these runs: {known}")
        return list(dict.fromkeys(wanted)), []
    counts = {
        name: len(found - {""}) for name, found in sorted(values.items(), key=lambda item: natural(item[0]))
    }
    notes = [
        f"Column {name!r} has {count} values: no breakdown is made of more than {MOST_LEVELS}."
        for name, count in counts.items()
        if count > MOST_LEVELS
    ]
    return [name for name, count in counts.items() if 2 <= count <= MOST_LEVELS], notes


def _undefined(item: Measure) -> str:
    folds, left = ", ".join(item.undefined), len(item.auc) - len(item.undefined)
    rest = f"mean and standard deviation are over the other {left}" if left else "there is no mean"
    return f"{item.series.arm}, {item.series.task}: no AUC in fold {folds}, whose test part lacks a class; {rest}."


def _texts(run: Run) -> list[str]:
    return [" ".join(text.split()) for text in run.record.warnings]


def _said(series: Sequence[Series]) -> list[str]:
    """Collect the runs' own warnings, equal ones of a series in one line."""
    lines = []
    for item in series:
        folds: dict[str, list[str]] = {}
        for run in item.runs:
            for text in dict.fromkeys(_texts(run)):
                folds.setdefault(text, []).append(run.record.fold)
        for text, names in folds.items():
            where = "all folds" if len(names) == len(item.runs) > 1 else f"fold {', '.join(names)}"
            lines.append(f"{item.arm}, {item.task}, {where}: {text}")
    return lines
