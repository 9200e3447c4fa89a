"""The AUC of every fold of every series, over all images and over strata.

Nothing is averaged away: a fold whose test part holds one class only has no AUC, stands as NaN and is counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from featx.runs import Run
from featx.stats import Comparisons, FoldScores, FoldSummary, fold_aucs, select_rows, summarise_arm

from .checks import comparability
from .pairs import compare, resolve
from .series import Series, choose, collect, natural
from .sizes import clusters
from .strata import SubgroupColumn, find_strata

__all__ = [
    "MACRO",
    "Measure",
    "Summary",
    "main_class",
    "measure",
    "restricted",
    "summarise",
]

MACRO = "mean of classes"


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
    scores : tuple of FoldScores
        What enters of each fold; a fold may hold no image of the level.
    """

    series: Series
    scored: str
    stratum: str
    level: str
    scores: tuple[FoldScores, ...]

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds."""
        return tuple(fold.name for fold in self.scores)

    @cached_property
    def auc(self) -> tuple[float, ...]:
        """One AUC a fold; NaN where the fold lacks a class."""
        return tuple(fold_aucs(self.scores).tolist())

    @property
    def images(self) -> tuple[int, ...]:
        """Test images of each fold."""
        return tuple(len(fold.ids) for fold in self.scores)

    @property
    def positives(self) -> tuple[int, ...]:
        """Positive test images of each fold; for `MACRO` those of the rarest class."""
        return tuple(self._positive(fold.actual.tolist()) for fold in self.scores)

    @cached_property
    def distinct(self) -> tuple[int, int]:
        """Test images, and positive ones, an image that several folds test counted once."""
        actual = {
            image: index
            for fold in self.scores
            for image, index in zip(fold.ids, fold.actual.tolist(), strict=True)
        }
        return len(actual), self._positive(list(actual.values()))

    def _positive(self, actual: Sequence[int]) -> int:
        if self.scored != MACRO:
            return sum(actual)
        return min(actual.count(index) for index in range(len(self.series.scored)))

    @cached_property
    def spread(self) -> FoldSummary:
        """Mean, standard deviation and 95 % interval over the folds; of a single test set DeLong's interval."""
        return summarise_arm(self.scores, ratio=self.series.ratio)


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
        Task and protocol to the tests of every pair of its arms, those that cannot be compared included; absent
        where there is one arm and nothing was planned.
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


def measure(series: Series, scored: str) -> Measure:
    """Compute a series' AUC in every fold.

    Parameters
    ----------
    series : Series
        An arm on a task.
    scored : str
        A scored class, or `MACRO`.

    Returns
    -------
    Measure
        One AUC a fold, by `featx.stats.auc`, over all test images.
    """
    return Measure(series, scored, "", "", series.scores if scored == MACRO else series.against_rest(scored))


def _by_level(series: Series, column: SubgroupColumn) -> list[Measure]:
    """Compute a series' AUC at each level of a column that it has images of."""
    images: dict[str, set[str]] = {}
    for row in (row for rows in series.parts for row in rows):
        images.setdefault(column.level(row.strata.get(column.name, "")), set()).add(row.id)
    whole = measure(series, main_class(series))
    return [
        replace(
            whole,
            stratum=column.name,
            level=level,
            scores=tuple(_only(fold, images[level]) for fold in whole.scores),
        )
        for level in column.labels
        if level in images
    ]


def _only(fold: FoldScores, images: set[str]) -> FoldScores:
    """Keep some images of a fold, or none."""
    nothing = replace(fold, ids=(), groups=(), actual=fold.actual[:0], scores=fold.scores[:0])
    return next(iter(select_rows([fold], images)), nothing)


def restricted(item: Measure, folds: Sequence[str]) -> Measure:
    """Limit a measure to some folds, so that arms are quoted on what they share.

    Parameters
    ----------
    item : Measure
        AUC of a series in every fold.
    folds : sequence of str
        Folds to keep.

    Returns
    -------
    Measure
        The measure itself where it has an AUC in these folds alone.
    """
    known = {fold for fold, auc in zip(item.folds, item.auc, strict=True) if np.isfinite(auc)}
    if known == set(folds):
        return item
    return replace(item, scores=tuple(fold for fold in item.scores if fold.name in folds))


def summarise(
    paths: Iterable[Path | str],
    strata: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    planned: Sequence[str | tuple[str, str]] = (),
) -> Summary:
    """Read runs and compute every AUC of a report.

    Parameters
    ----------
    paths : iterable of Path or str
        Run folders, or folders that hold some.
    strata : sequence of str, optional
        Columns to break down by; by default all that `find_strata` finds fit.
    arms : sequence of str, optional
        Arms to keep; all if left out.
    planned : sequence of (str, str) or str
        Planned comparisons, as `featx.reporting.make_report.report` takes them.

    Returns
    -------
    Summary
        Series, measures and warnings.

    Raises
    ------
    RunError
        As `collect`, or if a stratum or an arm is in no run.
    ConfigError
        If the text of a planned comparison can be read in several ways.
    InputError
        If a planned comparison is of an arm with itself, or stands twice.
    """
    series, training = collect(paths)
    pairs = resolve(planned, sorted({item.arm for item in series}, key=natural))
    if arms is not None:
        series = choose(series, arms)
    warnings = comparability([(item.arm, item.runs) for item in series])
    overall = tuple(measure(item, main_class(item)) for item in series)
    classes = tuple(measure(item, name) for item in series if len(item.scored) > 1 for name in item.scored)
    columns, notes = find_strata(series, strata)
    by_stratum = tuple(found for column in columns for item in series for found in _by_level(item, column))
    # Folds of one training say the same: once is enough.
    said = dict.fromkeys(f"{run.record.arm}: {text}" for run in training for text in _texts(run))
    mixed = tuple(text for item in series if (text := _mixed_sizes(item)))
    texts = (*warnings, *_doubts(overall), *mixed, *notes, *_said(series), *said)
    return Summary(series, overall, classes, by_stratum, training, compare(series, pairs), texts)


def main_class(series: Series) -> str:
    """Name what the main table of a series scores.

    Parameters
    ----------
    series : Series
        An arm on a task.

    Returns
    -------
    str
        The positive class of a two-class task, else `MACRO`.
    """
    return series.scored[0] if len(series.scored) == 1 else MACRO


def _doubts(overall: Sequence[Measure]) -> list[str]:
    """Collect what is doubtful about the AUC of arms, the same of several arms of a task in one line."""
    arms: dict[tuple[str, str, str], list[str]] = {}
    for item in overall:
        for text in item.spread.warnings:
            arms.setdefault((*item.series.setting, text), []).append(item.series.arm)
    return [f"{', '.join(names)}, {task}, AUC: {text}." for (task, _, text), names in arms.items()]


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
