"""What a report is made of: the AUC of every arm in every fold and subgroup, and the comparisons of arms.

A fold whose test set lacks a class has no AUC: it is NaN, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from featx.data import Manifest, natural
from featx.errors import ConfigError, RunError, listing
from featx.progress import Progress
from featx.runs import FINAL, Run
from featx.stats import (
    Comparison,
    Comparisons,
    FoldScores,
    FoldSummary,
    Power,
    compare_many,
    detectable,
    fold_aucs,
    select_rows,
    summarise_arm,
    summarise_models,
)

from .embedding_files import EmbeddedArm
from .series import (
    ExternalArm,
    Series,
    apart,
    choose,
    collect,
    comparability,
    external_arms,
    mixed_sizes,
    subset_warnings,
)
from .subgroup_columns import SubgroupColumn, find_strata

__all__ = [
    "LEVEL",
    "MACRO",
    "POWER",
    "Measure",
    "Summary",
    "against",
    "ahead",
    "by_level",
    "compare",
    "main_class",
    "measure",
    "resolve",
    "restricted",
    "significant",
    "smallest",
    "summarise",
]

# Differences with a smaller adjusted p are statistically significant.
LEVEL = 0.05

# Probability with which a test finds the minimum detectable difference.
POWER = 0.8


def resolve(planned: Sequence[str | tuple[str, str]], arms: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Find the two arms that each planned comparison names.

    Examples
    --------
    >>> resolve(["tuned:random:0", ("a", "b")], ["random:0", "tuned"])
    (('tuned', 'random:0'), ('a', 'b'))
    """
    return tuple(_split(one, arms) if isinstance(one, str) else (one[0], one[1]) for one in planned)


def _split(text: str, arms: Sequence[str]) -> tuple[str, str]:
    places = [place for place, letter in enumerate(text) if letter == ":"]
    found = [
        (text[:place], text[place + 1 :])
        for place in places
        if text[:place] in arms and text[place + 1 :] in arms
    ]
    if not found:
        raise RunError(
            f"Planned comparison {text!r} does not name two arms as A:B; arms of these runs: {', '.join(arms)}"
        )
    if len(found) > 1:
        ways = " or ".join(f"{a!r} against {b!r}" for a, b in found)
        raise ConfigError(
            f"Planned comparison {text!r} can be read as {ways}. Write it in a study file, or as a pair of names in "
            "Python"
        )
    return found[0]


def compare(
    series: Sequence[Series], planned: Sequence[tuple[str, str]] = ()
) -> dict[tuple[str, str], Comparisons]:
    """Compare every pair of arms of every task, on the folds and images that both have.

    Returns
    -------
    dict
        Task and protocol to the comparisons; tasks with one arm are left out, unless a comparison was planned.
    """
    found = {}
    for setting in dict.fromkeys(one.setting for one in series):
        arms = {one.arm: one for one in series if one.setting == setting}
        if len(arms) < 2 and not planned:
            continue
        records = {name: one.runs[0].record for name, one in arms.items()}
        reasons = {(a, b): why for a, b in combinations(arms, 2) if (why := apart(records[a], records[b]))}
        found[setting] = compare_many(
            {name: one.scores for name, one in arms.items()},
            protocol=setting[1],
            planned=planned,
            apart=reasons,
        )
    return found


def against(comparisons: Comparisons, arm: str) -> dict[str, Comparison]:
    """Pick the comparisons of one arm.

    Returns
    -------
    dict of str to Comparison
        By the name of the other arm; differences remain first minus second of ``Comparison.arms``.
    """
    return {
        pair.arms[1] if pair.arms[0] == arm else pair.arms[0]: pair
        for pair in comparisons.pairs
        if arm in pair.arms
    }


def ahead(pair: Comparison, arm: str) -> float:
    """Return an arm's AUC minus that of the other arm of a pair."""
    difference = pair.values[0] - pair.values[1]
    return difference if pair.arms[0] == arm else -difference


def significant(pair: Comparison) -> bool:
    """Tell whether a difference is statistically significant."""
    return pair.adjusted_p < LEVEL


def smallest(pair: Comparison) -> Power:
    """Compute a pair's minimum detectable difference, with `POWER` at `LEVEL` over the number of comparisons."""
    return detectable(pair.finding, auc=pair.values, power=POWER, level=1 - LEVEL / pair.family)


MACRO = "mean of classes"


@dataclass(frozen=True)
class Measure:
    """AUC of an arm in every fold, for one scored class, over all images or one level of a column.

    Attributes
    ----------
    series : Series
        The arm on its task.
    scored : str
        The positive class, or `MACRO`: the mean over all classes.
    stratum, level : str
        Column and level that the images are restricted to; empty for all images.
    scores : tuple of FoldScores
        Scores of each fold; a fold may have no image of the level.
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
        """The AUC of each fold; NaN where the fold lacks a class."""
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
        """Number of test images and of positive ones; an image that several folds test counts once."""
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
        """Mean, standard deviation and 95 % interval over the folds; for a single test set DeLong's interval."""
        return summarise_arm(self.scores, ratio=self.series.ratio)

    @cached_property
    def over_models(self) -> FoldSummary:
        """Mean and 95 % interval over models that scored the same images, as those of an external test set."""
        return summarise_models(self.scores)


@dataclass(frozen=True, eq=False)
class Summary:
    """What a report is made of.

    Attributes
    ----------
    series : tuple of Series
        Sorted by task, protocol and arm.
    overall : tuple of Measure
        For each series the AUC over all test images.
    classes : tuple of Measure
        For each series and class of tasks with several scored classes.
    strata : tuple of Measure
        For each series, column and level.
    training : tuple of Run
        Fine-tuning runs, which have no scores.
    comparisons : mapping of (str, str) to Comparisons
        Task and protocol to the comparisons of every pair of its arms, untested ones included; absent if there is one
        arm and no comparison was planned.
    warnings : tuple of str
        Warnings.
    prevalence : float or None
        Prevalence for predictive values; None for that of each training set.
    external : tuple of ExternalArm
        Arms on external test sets.
    columns, subgroups : tuple of SubgroupColumn
        Columns that AUCs are broken down by, and those whose levels are compared.
    embedding : tuple of EmbeddedArm
        Embedding maps of arms.
    manifest : Manifest or None
        The manifest of the runs, for what they did not record of its columns.
    ignored : tuple of str
        Codes of method checks that do not apply.
    """

    series: tuple[Series, ...]
    overall: tuple[Measure, ...]
    classes: tuple[Measure, ...]
    strata: tuple[Measure, ...]
    training: tuple[Run, ...]
    comparisons: Mapping[tuple[str, str], Comparisons]
    warnings: tuple[str, ...]
    prevalence: float | None = None
    external: tuple[ExternalArm, ...] = ()
    columns: tuple[SubgroupColumn, ...] = ()
    subgroups: tuple[SubgroupColumn, ...] = ()
    embedding: tuple[EmbeddedArm, ...] = ()
    manifest: Manifest | None = None
    ignored: tuple[str, ...] = ()

    @property
    def maps(self) -> tuple[tuple[Series, EmbeddedArm], ...]:
        """Arms that have an embedding map, with it."""
        found = {(one.task, one.protocol, one.arm): one for one in self.embedding}
        return tuple((one, found[key]) for one in self.series if (key := (*one.setting, one.arm)) in found)

    @cached_property
    def external_measures(self) -> tuple[tuple[ExternalArm, Measure, Measure], ...]:
        """Internal and external AUC of each arm, external test set and class; the main class first."""
        known = {(id(item.series), item.scored): item for item in (*self.overall, *self.classes)}
        return tuple(
            (arm, known[id(arm.internal), name], measure(arm.tested, name))
            for arm in self.external
            for name in dict.fromkeys((main_class(arm.internal), *arm.internal.scored))
        )

    @cached_property
    def settings(self) -> tuple[tuple[str, str], ...]:
        """Tasks with their protocols, in order."""
        return tuple(dict.fromkeys(series.setting for series in self.series))

    def heading(self, setting: tuple[str, str]) -> str:
        """Name a task in a heading, with its protocol if there are several."""
        alone = len({protocol for _, protocol in self.settings}) == 1
        return setting[0] if alone else f"{setting[0]}, {setting[1]}"

    @cached_property
    def slugs(self) -> dict[tuple[str, str], str]:
        """Each task's name in file names: letters, digits, dots and hyphens, all different."""
        names: dict[tuple[str, str], str] = {}
        protocols = {protocol for _, protocol in self.settings}
        for task, protocol in self.settings:
            text = task if len(protocols) == 1 else f"{task}-{protocol}"
            words = "".join(char if char.isalnum() or char in "._" else " " for char in text).split()
            base = "-".join(words) or "task"
            name, number = base, 2
            while name.casefold() in {other.casefold() for other in names.values()}:
                name, number = f"{base}-{number}", number + 1
            names[task, protocol] = name
        return names

    def of_task(self, setting: tuple[str, str]) -> tuple[Measure, ...]:
        """Select the AUCs of a task's arms, over all test images."""
        return tuple(item for item in self.overall if item.series.setting == setting)

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Arms, in natural order."""
        return tuple(sorted({series.arm for series in self.series}, key=natural))

    @property
    def runs(self) -> tuple[Run, ...]:
        """Scored runs, in order of the series and folds."""
        return tuple(run for series in self.series for run in series.runs)


def measure(series: Series, scored: str) -> Measure:
    """Compute an arm's AUC in every fold.

    Parameters
    ----------
    series : Series
        An arm on a task.
    scored : str
        A scored class, or `MACRO`.

    Returns
    -------
    Measure
        The AUC of each fold over all test images.
    """
    return Measure(series, scored, "", "", series.scores if scored == MACRO else series.against_rest(scored))


def by_level(series: Series, column: SubgroupColumn) -> list[Measure]:
    """Compute an arm's AUC at each level of a column that has images."""
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
    """Keep some images of a fold, possibly none."""
    nothing = replace(fold, ids=(), groups=(), actual=fold.actual[:0], scores=fold.scores[:0])
    return next(iter(select_rows([fold], images)), nothing)


def restricted(item: Measure, folds: Sequence[str]) -> Measure:
    """Restrict an arm's AUC to some folds, such as those that several arms share."""
    known = {fold for fold, auc in zip(item.folds, item.auc, strict=True) if np.isfinite(auc)}
    if known == set(folds):
        return item
    return replace(item, scores=tuple(fold for fold in item.scores if fold.name in folds))


def summarise(
    paths: Iterable[Path | str],
    strata: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    planned: Sequence[str | tuple[str, str]] = (),
    subgroups: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Read runs and compute every AUC of a report."""
    series, unscored = collect(paths, progress)
    final = [run for run in unscored if run.record.protocol == FINAL]
    training = tuple(run for run in unscored if run.record.protocol != FINAL)
    pairs = resolve(planned, sorted({item.arm for item in series}, key=natural))
    if arms is not None:
        series = choose(series, arms)
    warnings = comparability([(item.arm, item.runs) for item in series])
    overall = tuple(measure(item, main_class(item)) for item in series)
    classes = tuple(measure(item, name) for item in series if len(item.scored) > 1 for name in item.scored)
    every = [run for one in series for run in one.runs]
    columns, notes = find_strata(every, strata)
    by_stratum = tuple(found for column in columns for item in series for found in by_level(item, column))
    # The folds of one training have the same warnings.
    said = dict.fromkeys(f"{run.record.arm}: {text}" for run in training for text in _texts(run))
    mixed = tuple(text for item in series if (text := mixed_sizes(item)))
    external, odd = external_arms(series)
    told = (*_said(series), *(text for item in series for text in subset_warnings(item)), *said)
    texts = (*warnings, *_doubts(overall), *mixed, *notes, *told, *odd, *_left_out(final))
    return Summary(
        *(series, overall, classes, by_stratum, training, compare(series, pairs), texts),
        external=external,
        columns=columns,
        subgroups=columns if subgroups is None else find_strata(every, subgroups)[0],
    )


def main_class(series: Series) -> str:
    """Name the positive class of an arm in the main table.

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
    """Collect the warnings about AUCs; equal ones of several arms of a task are one line."""
    arms: dict[tuple[str, str, str], list[str]] = {}
    for item in overall:
        for text in item.spread.warnings:
            arms.setdefault((*item.series.setting, text), []).append(item.series.arm)
    return [f"{', '.join(names)}, {task}, AUC: {text}." for (task, _, text), names in arms.items()]


def _left_out(final: Sequence[Run]) -> list[str]:
    if not final:
        return []
    names = listing(sorted({f"{run.record.arm} on {run.record.task}" for run in final}))
    return [f"Final models of `featx finalize` have no test set and are not in this report: {names}."]


def _texts(run: Run) -> list[str]:
    return [" ".join(text.split()) for text in run.record.warnings]


def _said(series: Sequence[Series]) -> list[str]:
    """Collect the warnings that runs recorded; equal ones of an arm are one line."""
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
