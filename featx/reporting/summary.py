"""The AUC of every fold of every series, over all images and over strata.

Nothing is averaged away: a fold whose test part holds one class only has no AUC, stands as NaN and is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from featx.errors import RunError
from featx.runs import Prediction, Run
from featx.stats.arms import FoldScores, fold_scores, summarise_arm
from featx.stats.auc import one_vs_rest_auc, roc_auc
from featx.stats.compare import Comparisons
from featx.stats.intervals import FoldSummary, summarise_folds

from .checks import comparability
from .pairs import compare
from .series import Series, choose, collect, natural
from .sizes import clusters

__all__ = [
    "MACRO",
    "MOST_LEVELS",
    "Measure",
    "Summary",
    "levels",
    "measure",
    "summarise",
]

MACRO = "mean of classes"
MOST_LEVELS = 12
_SCALES = (("low", "medium", "high"), ("easy", "medium", "hard"), ("small", "medium", "large"))


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
    prevalence : float or None
        Share of positives at which predictive values are stated; None for that of each training part.
    """

    series: tuple[Series, ...]
    overall: tuple[Measure, ...]
    classes: tuple[Measure, ...]
    strata: tuple[Measure, ...]
    training: tuple[Run, ...]
    comparisons: Mapping[tuple[str, str], Comparisons]
    warnings: tuple[str, ...]
    prevalence: float | None = None

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
        series = choose(series, arms)
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
    # Folds of one training say the same: once is enough.
    said = dict.fromkeys(f"{run.record.arm}: {text}" for run in training for text in _texts(run))
    mixed = tuple(text for item in series if (text := _mixed_sizes(item)))
    texts = (*warnings, *undefined, *mixed, *notes, *_said(series), *said)
    return Summary(series, overall, classes, by_stratum, training, compare(series), texts)


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


def _mixed_sizes(series: Series) -> str:
    parts = clusters(series.scores)
    if len(parts) < 2:
        return ""
    low, high = (part[0].train_size for part in (parts[0], parts[-1]))
    return (
        f"{series.arm}, {series.task}: the folds' training parts hold from {low} to {high} images and more, and the mean is "
        "over all of them; see the table by training-set size."
    )


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
