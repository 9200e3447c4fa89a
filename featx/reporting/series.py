"""From runs to series: an arm on a task, a run a fold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from featx.data import leaves_one_out
from featx.errors import RunError
from featx.runs import Prediction, Run, find_runs, inner_scores, read_run
from featx.stats import FoldScores, fold_scores, pool_folds, size_ratio

from .checks import check_series
from .records import scored_by_group, train_groups, train_size
from .tasks import one_name_a_task

__all__ = ["Series", "choose", "collect", "natural"]


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
    pooled : bool
        Whether the decision values of all folds are pooled to one test set: the folds leave one group out, and some
        of the task's test sets lack a class, so that they have no AUC of their own.
    """

    arm: str
    task: str
    protocol: str
    runs: tuple[Run, ...]
    pooled: bool = False

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds, or of the one that they are pooled to; one for each of `scores` and `parts`."""
        return tuple(fold.name for fold in self.scores)

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

    @property
    def parts(self) -> tuple[tuple[Prediction, ...], ...]:
        """The predictions of each fold, or of all of them as one where they are pooled."""
        several = tuple(run.predictions for run in self.runs)
        return (tuple(row for rows in several for row in rows),) if self.pooled else several

    @cached_property
    def scores(self) -> tuple[FoldScores, ...]:
        """The predictions of each fold as arrays, or of all of them as one where they are pooled."""
        several = tuple(_fold_scores(run) for run in self.runs)
        return (pool_folds(several),) if self.pooled else several

    def against_rest(self, name: str) -> tuple[FoldScores, ...]:
        """Take one class against the rest.

        Parameters
        ----------
        name : str
            A scored class.

        Returns
        -------
        tuple of FoldScores
            As `scores`, with that class as the positive one; of two classes the same.
        """
        if len(self.scored) == 1:
            return self.scores
        place = self.scored.index(name)
        return tuple(
            replace(fold, actual=(fold.actual == place).astype(np.int64), scores=fold.scores[:, place])
            for fold in self.scores
        )

    @cached_property
    def inner(self) -> tuple[tuple[Prediction, ...], ...]:
        """Inner scores of each run's training part; empty where a run has none."""
        return tuple(inner_scores(run) for run in self.runs)

    @property
    def ratio(self) -> float | None:
        """Size of the test parts over that of the training parts; None where unknown."""
        return size_ratio(self.scores)


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
    scored = one_name_a_task([run for run in runs if run.predictions])
    if not scored:
        raise RunError(
            f"{runs[0].path}: none of the {len(runs)} runs has predictions (fine-tuning alone gives weights); "
            "extract their features, run `featx train-svm`, and report on those runs"
        )
    made: dict[tuple[str, str, str], list[Run]] = {}
    for run in sorted(scored, key=lambda run: natural(run.record.fold)):
        made.setdefault((run.record.task, run.record.protocol, _arm(run)), []).append(run)
    for (*_, arm), several in made.items():
        check_series(arm, several)
    arms: dict[tuple[str, str], list[list[Run]]] = {}
    for (task, protocol, _), several in made.items():
        arms.setdefault((task, protocol), []).append(several)
    pooled = {setting: _pooled(several) for setting, several in arms.items()}
    series = [
        Series(arm, task, protocol, tuple(made[task, protocol, arm]), pooled[task, protocol])
        for task, protocol, arm in sorted(made, key=lambda key: tuple(map(natural, key)))
    ]
    training = sorted(
        (run for run in runs if not run.predictions), key=lambda run: (natural(run.record.arm), run.path)
    )
    return tuple(series), tuple(training)


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
    # A fine-tuned network's own head stands beside the SVM that was trained on its features.
    return f"{run.record.arm} (softmax)" if run.record.kind != "svm" else run.record.arm


def choose(series: tuple[Series, ...], arms: Sequence[str]) -> tuple[Series, ...]:
    """Keep the series of some arms.

    Parameters
    ----------
    series : tuple of Series
        All of them.
    arms : sequence of str
        Arms to keep.

    Returns
    -------
    tuple of Series
        In the same order.

    Raises
    ------
    RunError
        If an arm is in no series.
    """
    known = sorted({item.arm for item in series}, key=natural)
    for name in arms:
        if name not in known:
            raise RunError(f"no run has the arm {name!r}; arms of these runs: {', '.join(known)}")
    return tuple(item for item in series if item.arm in arms)


def _fold_scores(run: Run) -> FoldScores:
    """Gather a run's predictions; class 1 is the positive one in a two-class task."""
    names = run.record.scored if len(run.record.scored) > 1 else run.record.classes
    groups = train_groups(run.record)
    # Of a run scored by group whose record has no number of groups, images must not stand in for them.
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
