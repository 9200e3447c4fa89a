"""Which runs are of one task, whatever it was called.

A task is its classes as applied to the labels: which images are in one class, and which class is positive. Its name and
those of its classes are labels, so that ``melanoma:rest``, ``Melanoma:rest`` and ``melanoma-vs-rest`` are one task
wherever they make the same classes. Runs of earlier versions do not tell; their names decide, case aside.
"""

from __future__ import annotations

from collections.abc import Sequence

from featx.runs import Run, RunRecord, shown_as

__all__ = ["one_name_a_task"]


def one_name_a_task(runs: Sequence[Run]) -> list[Run]:
    """Show all runs of a task under the names that the first of them has.

    Parameters
    ----------
    runs : sequence of Run
        Runs with predictions.

    Returns
    -------
    list of Run
        In the same order. Of runs that differ in nothing but such names, the first alone.
    """
    firsts: dict[str, RunRecord] = {}
    for run in sorted(runs, key=lambda run: run.record.task_identity is None):
        firsts.setdefault(run.record.task_identity or "", run.record)
        first = firsts.setdefault(_key(run.record), run.record)
        firsts.setdefault(_spelling(run.record), first)
    kept: dict[str, str] = {}
    shown = []
    for run in runs:
        # Equal inputs under two names are one run, made twice; under one name they are for `check_series` to refuse.
        if kept.setdefault(run.record.id, run.record.task) == run.record.task:
            shown.append(_under(run, firsts[_key(run.record)]))
    return shown


def _key(record: RunRecord) -> str:
    return record.task_identity or _spelling(record)


def _spelling(record: RunRecord) -> str:
    return f"name {record.task.casefold()}"


def _under(run: Run, first: RunRecord) -> Run:
    """Show a run under the names of another of its task; classes of runs that do not tell match by their names."""
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
