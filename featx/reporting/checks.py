"""Whether runs belong together, and whether arms can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featx.digest import differing
from featx.errors import RunError, listing
from featx.runs import Run, RunRecord

from .records import scored_by_group

__all__ = ["apart", "check_series", "comparability"]


def check_series(arm: str, runs: Sequence[Run]) -> None:
    """Check the runs of one arm on one task and protocol.

    Parameters
    ----------
    arm : str
        Name of the arm.
    runs : sequence of Run
        One a fold, sorted by fold.

    Raises
    ------
    RunError
        If a fold stands twice, if folds, manifest or classes differ between the runs, or if predictions
        repeat an image, lack a score or name an unknown class.
    """
    first = runs[0]
    seen: dict[str, Run] = {}
    for run in runs:
        record = run.record
        where = f"arm {arm!r}, task {record.task!r}, fold {record.fold!r}"
        if record.fold in seen:
            raise RunError(
                f"{where}: two runs, {seen[record.fold].path} and {run.path}; give one of them, or another --arm"
            )
        seen[record.fold] = run
        lines = differing(_shared(first.record), _shared(record))
        if lines:
            raise RunError(
                f"{where}: {run.path} does not belong with {first.path} ({listing(lines, 2)}); "
                "train the whole arm again, or report the two apart"
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
        raise RunError(f"{run.path}: predictions.csv has image {twice!r} twice; train this run again")
    known = set(run.record.classes)
    for row in run.predictions:
        if row.actual not in known:
            raise RunError(f"{run.path}: image {row.id!r} has the class {row.actual!r}, which the task lacks")
        missing = [name for name in run.record.scored if name not in row.scores]
        if missing:
            raise RunError(f"{run.path}: image {row.id!r} has no score for class {missing[0]!r}")
        odd = [name for name, value in row.scores.items() if not math.isfinite(value)]
        if odd:
            raise RunError(
                f"{run.path}: image {row.id!r} has the score {row.scores[odd[0]]!r} for {odd[0]!r}"
            )


def apart(here: RunRecord, there: RunRecord) -> str:
    """Say why two arms cannot be compared, whatever their folds are called.

    Parameters
    ----------
    here, there : RunRecord
        A run of each arm.

    Returns
    -------
    str
        The reason; empty where there is none.
    """
    if here.manifest.get("digest") != there.manifest.get("digest"):
        return "scored on different manifests"
    if here.folds_digest != there.folds_digest:
        return "scored on different folds"
    if scored_by_group(here) != scored_by_group(there):
        return "one is scored by group, the other by image"
    return ""


def comparability(series: Sequence[tuple[str, tuple[Run, ...]]]) -> tuple[str, ...]:
    """Say where the arms of a task were not scored alike, or were trained with mixed settings.

    Parameters
    ----------
    series : sequence of (str, tuple of Run)
        Arms with their runs, each checked by `check_series`.

    Returns
    -------
    tuple of str
        One sentence for each difference.

    Raises
    ------
    RunError
        If one task name stands for different classes.
    """
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
            f"task {here.task!r} has the classes {', '.join(here.classes)} in arm {arm!r} ({run.path}) but "
            f"{', '.join(there.classes)} in arm {other!r}; give the tasks different names, or report them apart"
        )


def _mixed_settings(arm: str, runs: tuple[Run, ...]) -> list[str]:
    first = runs[0].record
    for run in runs[1:]:
        lines = differing(dict(first.settings), dict(run.record.settings))
        if lines:
            return [
                f"{arm}, {first.task}: fold {run.record.fold} was trained with other settings than fold "
                f"{first.fold} ({listing(lines, 2)})."
            ]
    return []


def _differences(arm: str, runs: tuple[Run, ...], other: str, others: tuple[Run, ...]) -> list[str]:
    here, there = runs[0].record, others[0].record
    both = f"{other} and {arm}, {here.task}"
    lines = []
    if here.manifest.get("digest") != there.manifest.get("digest"):
        lines.append(f"{both}: scored on different manifests; do not compare them.")
    if here.folds_digest != there.folds_digest:
        lines.append(f"{both}: scored on different folds; their difference is not paired.")
        return lines
    if scored_by_group(here) != scored_by_group(there):
        lines.append(f"{both}: {apart(here, there)}; do not compare them.")
        return lines
    mine = {run.record.fold: run for run in runs}
    theirs = {run.record.fold: run for run in others}
    alone = [*(f"{other} alone has {name}" for name in theirs if name not in mine)]
    alone += [f"{arm} alone has {name}" for name in mine if name not in theirs]
    if alone:
        lines.append(
            f"{both}: not the same folds are finished ({listing(alone, 4)}); means are over what is there."
        )
    unlike = [name for name in mine if name in theirs and _ids(mine[name]) != _ids(theirs[name])]
    if unlike:
        lines.append(f"{both}: fold {', '.join(unlike)} was not scored on the same images.")
    return lines


def _ids(run: Run) -> set[str]:
    return {row.id for row in run.predictions}
