"""What a job does: one call of a verb, and what of its result other jobs need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featx.errors import TrainingError
from featx.progress import Progress
from featx.runs import COMPLETE

__all__ = ["do_job"]

Arguments = Mapping[str, Any]


def do_job(kind: str, arguments: Arguments, threads: int, alone: bool, progress: Progress) -> dict[str, Any]:
    """Do a job.

    Parameters
    ----------
    kind : str
        One of `featx.study.jobs.KINDS`.
    arguments : mapping
        Of the verb, those taken from other jobs among them.
    threads : int
        Threads that the job may keep busy.
    alone : bool
        Whether no other job runs at the same time, so that engines may choose their threads themselves.
    progress : Progress
        Receiver of progress.

    Returns
    -------
    dict
        ``outputs``: files that stand as long as the result does; and what other jobs take: ``features``
        (stores), ``paths`` (run folders).

    Raises
    ------
    FeatxError
        As the verb does.
    """
    return _VERBS[kind]({**arguments, "progress": progress}, threads, alone)


def _train(arguments: Arguments, threads: int, alone: bool) -> dict[str, Any]:
    from featx.finetuning.train import finetune

    runs = finetune(**{**arguments, "workers": threads})
    return {"outputs": [str(run.path / COMPLETE) for run in runs], "paths": [str(run.path) for run in runs]}


def _extract(arguments: Arguments, threads: int, alone: bool) -> dict[str, Any]:
    from featx.features.extract import extract
    from featx.features.store import RECIPE

    stores = [
        done.store
        for done in extract(**{**arguments, "workers": threads, "threads": None if alone else threads})
    ]
    return {
        "outputs": [str(store / RECIPE) for store in stores],
        "features": [str(store) for store in stores],
    }


def _svm(arguments: Arguments, threads: int, alone: bool) -> dict[str, Any]:
    from featx.svm.train import train_svm

    runs = train_svm(**{**arguments, "workers": threads})
    if not runs:
        raise TrainingError(f"the protocol {arguments['protocol']!r} has no fold to train on; give another")
    return {"outputs": [str(run.path / COMPLETE) for run in runs], "paths": [str(run.path) for run in runs]}


def _report(arguments: Arguments, threads: int, alone: bool) -> dict[str, Any]:
    from featx.reporting.report import report

    report(**arguments)
    return {"outputs": [str(Path(arguments["output"]) / "report.html")]}


_VERBS: dict[str, Callable[[Arguments, int, bool], dict[str, Any]]] = {
    "source": _train,
    "finetune": _train,
    "extract": _extract,
    "svm": _svm,
    "report": _report,
}
