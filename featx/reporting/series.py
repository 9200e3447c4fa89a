"""Runs sorted into series: one arm on one task, one run for each fold, checked to belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.data import leaves_one_out, natural
from featx.digest import differing
from featx.errors import RunError, listing
from featx.external import ExternalRecord, external_scores
from featx.progress import Progress, Silent
from featx.runs import FINAL, Prediction, Run, RunRecord, find_runs, inner_scores, read_run, shown_as
from featx.stats import (
    FoldScores,
    fold_scores,
    group_codes,
    pool_folds,
    size_ratio,
)

__all__ = [
    "ExternalArm",
    "Series",
    "apart",
    "check_series",
    "choose",
    "clusters",
    "collect",
    "comparability",
    "external_arms",
    "mixed_sizes",
    "one_name_a_task",
    "scored_by_group",
    "subset_warnings",
    "train_groups",
    "train_size",
]

_Ints = NDArray[np.int64]


def train_size(record: RunRecord) -> int | None:
    """Read how many images a run was trained on."""
    part = record.counts.get("train")
    return sum(part.values()) if isinstance(part, Mapping) else None


def train_groups(record: RunRecord) -> int | None:
    """Read how many groups (patients, cases or lesions; images without one count) a run was trained on."""
    groups = record.counts.get("groups")
    return groups.get("train") if isinstance(groups, Mapping) else None


def scored_by_group(record: RunRecord) -> bool:
    """Tell whether a run has one prediction for each group; False if every image is its own group."""
    pooled = record.settings.get("group_scores", "none") != "none"
    alone = train_groups(record) is not None and train_groups(record) == train_size(record)
    return pooled and not alone


def check_series(arm: str, runs: Sequence[Run]) -> None:
    """Check the runs of one arm on one task and protocol, those on parts of the training sets included."""
    first = runs[0]
    seen: dict[tuple[str, ...], Run] = {}
    for run in runs:
        record = run.record
        where = f"arm {arm!r}, task {record.task!r}, fold {record.fold!r}"
        here = (record.fold, *map(str, record.subset.items()))
        if here in seen:
            raise RunError(
                f"{where}: found two runs, {seen[here].path} and {run.path}. Give only one of them, or train one "
                "with another --arm"
            )
        seen[here] = run
        lines = differing(_shared(first.record), _shared(record))
        if lines:
            raise RunError(
                f"{where}: {run.path} and {first.path} differ ({listing(lines, 2)}). Train all folds of the arm again, or "
                "report the two separately"
            )
        _check_predictions(run)


def _shared(record: RunRecord) -> dict[str, object]:
    return {
        "classes": record.classes,
        "folds_digest": record.folds_digest,
        "manifest": record.manifest.get("digest"),
        "scored": record.scored,
    }


def _check_predictions(run: Run) -> None:
    ids = [row.id for row in run.predictions]
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise RunError(f"{run.path}: predictions.csv has the image {twice!r} twice; train this run again")
    known = set(run.record.classes)
    for row in run.predictions:
        if row.actual not in known:
            raise RunError(
                f"{run.path}: image {row.id!r} has the class {row.actual!r}, which is not a class of the task; "
                "train this run again"
            )
        missing = [name for name in run.record.scored if name not in row.scores]
        if missing:
            raise RunError(
                f"{run.path}: image {row.id!r} has no score for the class {missing[0]!r}; train this run again"
            )
        odd = [name for name, value in row.scores.items() if not math.isfinite(value)]
        if odd:
            raise RunError(
                f"{run.path}: image {row.id!r} has the score {row.scores[odd[0]]!r} for the class {odd[0]!r}; scores must be "
                "finite. Train this run again"
            )


def apart(here: RunRecord, there: RunRecord) -> str:
    """Return the reason why two arms cannot be compared; empty if they can."""
    if here.manifest.get("digest") != there.manifest.get("digest"):
        return "scored on different manifests"
    if here.folds_digest != there.folds_digest:
        return "scored on different folds"
    if scored_by_group(here) != scored_by_group(there):
        return "one is scored by group, the other by image"
    return ""


def comparability(series: Sequence[tuple[str, tuple[Run, ...]]]) -> tuple[str, ...]:
    """Collect warnings: arms of a task that were scored differently, folds of an arm with different settings."""
    lines: list[str] = []
    firsts: dict[tuple[str, str], tuple[str, tuple[Run, ...]]] = {}
    for arm, runs in series:
        record = runs[0].record
        if record.kind == "svm":
            lines += _mixed_settings(arm, runs)
        other, others = firsts.setdefault((record.task, record.protocol), (arm, runs))
        _check_classes(arm, runs[0], other, others[0])
        lines += _differences(arm, runs, other, others)
    return tuple(lines)


def _check_classes(arm: str, run: Run, other: str, first: Run) -> None:
    here, there = run.record, first.record
    if (here.classes, here.scored) != (there.classes, there.scored):
        raise RunError(
            f"Task {here.task!r} has the classes {', '.join(here.classes)} in arm {arm!r} ({run.path}) but "
            f"{', '.join(there.classes)} in arm {other!r}. Give the tasks different names, or report them separately"
        )


def _mixed_settings(arm: str, runs: tuple[Run, ...]) -> list[str]:
    first = runs[0].record
    for run in runs[1:]:
        lines = differing(dict(first.settings), dict(run.record.settings))
        if lines:
            return [
                f"{arm}, {first.task}: fold {run.record.fold} was trained with different settings from fold "
                f"{first.fold} ({listing(lines, 2)})."
            ]
    return []


def _differences(arm: str, runs: tuple[Run, ...], other: str, others: tuple[Run, ...]) -> list[str]:
    here, there = runs[0].record, others[0].record
    both = f"{other} and {arm}, {here.task}"
    lines = []
    if here.manifest.get("digest") != there.manifest.get("digest"):
        lines.append(f"{both}: scored on different manifests; they are not compared.")
    if here.folds_digest != there.folds_digest:
        lines.append(f"{both}: scored on different folds; they are not compared.")
        return lines
    if scored_by_group(here) != scored_by_group(there):
        lines.append(f"{both}: {apart(here, there)}; they are not compared.")
        return lines
    mine = {run.record.fold: run for run in runs}
    theirs = {run.record.fold: run for run in others}
    alone = [*(f"only {other} has {name}" for name in theirs if name not in mine)]
    alone += [f"only {arm} has {name}" for name in mine if name not in theirs]
    if alone:
        lines.append(
            f"{both}: different folds are finished ({listing(alone, 4)}); each mean is over the finished folds of its arm."
        )
    unlike = [name for name in mine if name in theirs and _ids(mine[name]) != _ids(theirs[name])]
    if unlike:
        lines.append(f"{both}: fold {', '.join(unlike)} was scored on different images.")
    return lines


def _ids(run: Run) -> set[str]:
    return {row.id for row in run.predictions}


def one_name_a_task(runs: Sequence[Run]) -> list[Run]:
    """Rename task and classes of all runs of a task to those of the first; keep one of runs that differ only in names."""
    firsts: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda run: run.record.task_identity is None):
        firsts.setdefault(run.record.task_identity or "", run.record)
        first = firsts.setdefault(_key(run.record), run.record)
        firsts.setdefault(_spelling(run.record), first)
    kept: dict[str, str] = {}
    shown = []
    for run in runs:
        # Equal inputs under two names are one run; under one name `check_series` refuses them.
        if kept.setdefault(run.record.id, run.record.task) == run.record.task:
            shown.append(_under(run, firsts[_key(run.record)]))
    return shown


def _key(record: RunRecord) -> str:
    return record.task_identity or _spelling(record)


def _spelling(record: RunRecord) -> str:
    return f"name {record.task.casefold()}"


def _under(run: Run, first: RunRecord) -> Run:
    """Rename a run's task and classes to another's; runs of earlier versions match by the names of classes."""
    record = run.record
    if (record.task, record.classes) == (first.task, first.classes):
        return run
    if record.task_identity is None:
        here = {name: name.casefold() for name in record.classes}
        there = {name.casefold(): name for name in first.classes}
    else:
        here = dict(record.manifest["targets"])
        there = {content: name for name, content in first.manifest["targets"].items()}
    if set(here.values()) != set(there) or len(there) != len(here):
        return run
    return shown_as(run, first.task, {name: there[key] for name, key in here.items()}, first.classes)


@dataclass(frozen=True)
class Series:
    """One arm on one task and protocol: a row of the main table.

    Attributes
    ----------
    arm : str
        Name of the arm, with " (softmax)" for a fine-tuned network's own head.
    task, protocol : str
        As in the records.
    runs : tuple of Run
        One for each fold, in natural order of the folds' names.
    pooled : bool
        Whether the decision values of all folds are pooled to one test set, because the folds leave one group out and
        some test sets lack a class, so that they have no AUC.
    subsets : tuple of Run
        Runs of a learning curve: of the same folds, trained on parts of their training sets.
    models : Series or None
        The arm on its own test sets, if the predictions are of other images: its inner scores are read once.
    """

    arm: str
    task: str
    protocol: str
    runs: tuple[Run, ...]
    pooled: bool = False
    subsets: tuple[Run, ...] = ()
    models: Series | None = None

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, or of the pooled one; one for each item of `scores` and `parts`."""
        return tuple(fold.name for fold in self.scores)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the task; of two classes the positive one is last."""
        return self.runs[0].record.classes

    @property
    def scored(self) -> tuple[str, ...]:
        """Classes with a score."""
        return self.runs[0].record.scored

    @property
    def setting(self) -> tuple[str, str]:
        """Task and protocol; arms are compared if these are equal."""
        return self.task, self.protocol

    @property
    def parts(self) -> tuple[tuple[Prediction, ...], ...]:
        """Predictions of each fold, or of the pooled one."""
        several = tuple(run.predictions for run in self.runs)
        return (tuple(row for rows in several for row in rows),) if self.pooled else several

    @cached_property
    def scores(self) -> tuple[FoldScores, ...]:
        """Predictions of each fold, or of the pooled one, as arrays."""
        several = tuple(_fold_scores(run) for run in self.runs)
        return (pool_folds(several),) if self.pooled else several

    def against_rest(self, name: str) -> tuple[FoldScores, ...]:
        """Return one-vs-rest scores of a class.

        Parameters
        ----------
        name : str
            A scored class.

        Returns
        -------
        tuple of FoldScores
            As `scores`, with that class as the positive one.
        """
        if len(self.scored) == 1:
            return self.scores
        place = self.scored.index(name)
        return tuple(
            replace(fold, actual=(fold.actual == place).astype(np.int64), scores=fold.scores[:, place])
            for fold in self.scores
        )

    @property
    def calibrated(self) -> bool:
        """Whether every prediction has a probability of every scored class."""
        needed = set(self.scored)
        return all(needed <= row.probabilities.keys() for run in self.runs for row in run.predictions)

    def probabilities(
        self, name: str
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.str_], NDArray[np.str_]]:
        """Gather the probabilities of a class over all folds of a calibrated arm.

        Returns
        -------
        tuple of ndarray, shape (n,)
            Whether each test image is of the class, its probability, id and group; an image that several folds
            test is repeated.
        """
        rows = [row for run in self.runs for row in run.predictions]
        return (
            np.array([row.actual == name for row in rows]),
            np.array([row.probabilities[name] for row in rows]),
            np.array([row.id for row in rows]),
            np.array([row.group for row in rows]),
        )

    @cached_property
    def inner(self) -> tuple[tuple[Prediction, ...], ...]:
        """Inner scores of each run's training set; empty if a run has none."""
        if self.models is None:
            return tuple(inner_scores(run) for run in self.runs)
        known = dict(zip((run.path for run in self.models.runs), self.models.inner, strict=True))
        return tuple(known[run.path] for run in self.runs)

    @cached_property
    def row_codes(self) -> tuple[_Ints, _Ints, _Ints]:
        """Numbers of fold, image and group of each prediction, over all runs in their order."""
        rows = [row for run in self.runs for row in run.predictions]
        folds = [fold for fold, run in enumerate(self.runs) for _ in run.predictions]
        images, groups = ([row.id for row in rows], [row.group for row in rows])
        return np.array(folds, np.int64), group_codes(images, len(rows)), group_codes(groups, len(rows))

    @cached_property
    def ratio(self) -> float | None:
        """Size of the test sets divided by that of the training sets; None if unknown."""
        return size_ratio(self.scores)


@dataclass(frozen=True)
class ExternalArm:
    """One arm on one external test set, which the models of its folds scored.

    Attributes
    ----------
    name : str
        Name of the test set.
    internal : Series
        The arm on the test sets of its protocol.
    tested : Series
        The same runs, with the predictions of the external images.
    record : ExternalRecord
        What was scored and left out; equal for all folds but for the model.
    """

    name: str
    internal: Series
    tested: Series
    record: ExternalRecord


def external_arms(series: Sequence[Series]) -> tuple[tuple[ExternalArm, ...], tuple[str, ...]]:
    """Collect the external test sets of some arms.

    Returns
    -------
    arms : tuple of ExternalArm
        Sorted as the series, then by name.
    warnings : tuple of str
        Arms with folds that lack a test set, or that scored other images of it.
    """
    made, warnings = [], []
    for item in series:
        found: dict[str, list[tuple[Run, ExternalRecord]]] = {}
        for run in item.runs:
            for one in external_scores(run):
                scored = replace(run, predictions=one.predictions)
                found.setdefault(one.record.name, []).append((scored, one.record))
        for name, pairs in sorted(found.items()):
            where = f"{item.arm}, {item.task}, external test set {name}"
            if len({record.images for _, record in pairs}) > 1:
                warnings.append(f"{where}: the folds scored different images; it is not shown.")
                continue
            if len(pairs) < len(item.runs):
                warnings.append(f"{where}: scored by {len(pairs)} of {len(item.runs)} folds.")
            runs, record = tuple(run for run, _ in pairs), pairs[0][1]
            warnings += [f"{item.task}, external test set {name}: {text}." for text in record.warnings]
            made.append(ExternalArm(name, item, replace(item, runs=runs, pooled=False, models=item), record))
    return tuple(made), tuple(dict.fromkeys(warnings))


def collect(
    paths: Iterable[Path | str], progress: Progress | None = None
) -> tuple[tuple[Series, ...], tuple[Run, ...]]:
    """Read runs and sort them into series.

    Parameters
    ----------
    paths : iterable of Path or str
        Run folders, or folders that hold some.
    progress : Progress, optional
        Receiver of progress: a unit for each run.

    Returns
    -------
    series : tuple of Series
        Runs with predictions.
    training : tuple of Run
        Fine-tuning runs without predictions, and final models.

    Raises
    ------
    RunError
        If a folder has no run, two runs have the same arm, task and fold, or runs of an arm differ in classes, folds or
        manifest.
    """
    runs = _read(find_runs([Path(path).resolve() for path in paths]), progress or Silent())
    scored = one_name_a_task([run for run in runs if run.predictions])
    if not scored and all(run.record.protocol == FINAL for run in runs):
        raise RunError(
            f"{runs[0].path}: a final model of `featx finalize` has no test set, so that there is nothing to report; give "
            "the runs of the folds of its arm"
        )
    if not scored and all(run.record.kind == "svm" for run in runs):
        raise RunError(
            f"{runs[0].path}: none of the {len(runs)} runs has a test set of its own, because their protocol trains on all "
            "images. Report runs of a protocol with test sets, such as kfold:5"
        )
    if not scored:
        raise RunError(
            f"{runs[0].path}: none of the {len(runs)} runs has predictions, because fine-tuning only gives weights. Run "
            "`featx extract` and `featx train-svm`, and report those runs"
        )
    made: dict[tuple[str, str, str], list[Run]] = {}
    parts: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(scored, key=lambda run: natural(run.record.fold)):
        here = parts if run.record.subset else made
        here.setdefault((run.record.task, run.record.protocol, _arm(run)), []).append(run)
    _check_whole(parts, made)
    for key, several in made.items():
        check_series(key[-1], [*several, *parts.get(key, ())])
    arms: dict[tuple[str, str], list[list[Run]]] = {}
    for (task, protocol, _), several in made.items():
        arms.setdefault((task, protocol), []).append(several)
    pooled = {setting: _pooled(several) for setting, several in arms.items()}
    series = [
        Series(arm, task, protocol, tuple(made[key]), pooled[task, protocol], tuple(parts.get(key, ())))
        for key in sorted(made, key=lambda key: tuple(map(natural, key)))
        for task, protocol, arm in (key,)
    ]
    training = sorted(
        (run for run in runs if not run.predictions), key=lambda run: (natural(run.record.arm), run.path)
    )
    return tuple(series), tuple(training)


def _read(places: Sequence[Path], tell: Progress) -> list[Run]:
    tell.start("report: read", len(places), "runs")
    runs = []
    for place in places:
        runs.append(read_run(place))
        tell.advance()
    return runs


def _check_whole(parts: Mapping[tuple[str, str, str], Sequence[Run]], made: Collection[object]) -> None:
    """Refuse runs on parts of training sets without those on the whole, which a learning curve ends with."""
    for key, runs in parts.items():
        if key not in made:
            raise RunError(
                f"{runs[0].path}: this run was trained on a part of the training set, and the runs of arm {key[-1]!r} on "
                f"whole training sets are not among those given; give the folder {runs[0].path.parents[2]}"
            )


def _pooled(arms: Sequence[Sequence[Run]]) -> bool:
    """Tell whether the folds of a task leave one group out, and some of their test sets lack a class."""
    lacking = any(
        {row.actual for row in run.predictions} != set(run.record.classes) for runs in arms for run in runs
    )
    return lacking and all(
        leaves_one_out(runs[0].record.protocol, [{row.group for row in run.predictions} for run in runs])
        for runs in arms
    )


def _arm(run: Run) -> str:
    # A fine-tuned network's own head is an arm beside the SVM that was trained on its features.
    return f"{run.record.arm} (softmax)" if run.record.kind != "svm" else run.record.arm


def choose(series: tuple[Series, ...], arms: Sequence[str]) -> tuple[Series, ...]:
    """Keep the series of some arms."""
    known = sorted({item.arm for item in series}, key=natural)
    for name in arms:
        if name not in known:
            raise RunError(f"No run has the arm {name!r}; arms of these runs: {', '.join(known)}")
    return tuple(item for item in series if item.arm in arms)


def _fold_scores(run: Run) -> FoldScores:
    """Gather a run's predictions; class 1 is the positive one in a two-class task."""
    names = run.record.scored if len(run.record.scored) > 1 else run.record.classes
    groups = train_groups(run.record)
    # If a run is scored by group but recorded no number of groups, the number of images must not replace it.
    unknown = groups is None and scored_by_group(run.record)
    return fold_scores(
        run.record.fold,
        [row.id for row in run.predictions],
        [names.index(row.actual) for row in run.predictions],
        [[row.scores[name] for name in run.record.scored] for row in run.predictions],
        groups=[row.group for row in run.predictions],
        train_size=None if unknown else train_size(run.record),
        train_groups=groups,
    )


# Sizes of folds that differ by a smaller factor count as one: folds of one protocol differ by a few groups.
NEAR = 1.1


def clusters(folds: Sequence[FoldScores]) -> list[tuple[FoldScores, ...]]:
    """Cluster folds by the size of their training sets: sizes within 10 % of the smallest are one cluster.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> folds = [fold_scores(str(size), ["a"], [1], [0.1], train_size=size) for size in (200, 100, 104)]
    >>> [[fold.train_size for fold in part] for part in clusters(folds)]
    [[100, 104], [200]]
    """
    made: list[list[FoldScores]] = []
    for fold in sorted((fold for fold in folds if fold.train_size), key=size_of):
        if made and size_of(fold) <= NEAR * size_of(made[-1][0]):
            made[-1].append(fold)
        else:
            made.append([fold])
    return [tuple(part) for part in made]


def size_of(fold: FoldScores) -> int:
    return fold.train_size or 0


def mixed_sizes(series: Series) -> str:
    """Warn of folds with training sets of different size; empty if their sizes are about equal."""
    parts = clusters(series.scores)
    if len(parts) < 2:
        return ""
    low, high = (part[0].train_size for part in (parts[0], parts[-1]))
    return (
        f"{series.arm}, {series.task}: the training sets of the folds have {low} to {high} images or more, and the mean AUC "
        "is over all of them; see the table by training-set size."
    )


def subset_warnings(series: Series) -> list[str]:
    """Collect what runs on parts of training sets warn of, and those on whole ones do not."""
    whole = {text for run in series.runs for text in run.record.warnings}
    # Texts that differ in their numbers alone are one line.
    alike: dict[str, list[str]] = {}
    for text in (text for run in series.subsets for text in run.record.warnings if text not in whole):
        alike.setdefault(re.sub(r"\d[\d.]*", "", text), []).append(" ".join(text.split()))
    return [
        f"{series.arm}, {series.task}, {len(texts)} of {len(series.subsets)} runs on parts of training sets: {texts[0]}"
        for texts in alike.values()
    ]
