"""What a job does: one call of a verb, and what of its result other jobs need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from featx.errors import TrainingError
from featx.finetuning import Kept
from featx.progress import Progress
from featx.runs import COMPLETE

__all__ = ["Bench", "do_job"]

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Bench:
    """What a worker has at hand for all its jobs.

    Attributes
    ----------
    threads : int
        Threads that a job may keep busy.
    alone : bool
        Whether no other worker runs at the same time, so that engines may choose their threads themselves.
    kept : Kept
        The network that the training before has compiled.
    """

    threads: int
    alone: bool
    kept: Kept = field(default_factory=Kept)


def do_job(kind: str, arguments: Arguments, bench: Bench, progress: Progress) -> dict[str, Any]:
    """Do a job.

    Parameters
    ----------
    kind : str
        One of `featx.study.jobs.KINDS`.
    arguments : mapping
        Of the verb, those taken from other jobs among them.
    bench : Bench
        What the worker has at hand.
    progress : Progress
        Receiver of progress.

    Returns
    -------
    dict
        ``outputs``: files that stand as long as the result does; and what other jobs take: ``features``
        (stores), ``paths`` (run folders); of a report ``table`` and ``findings``.

    Raises
    ------
    FeatxError
        As the verb does.
    """
    verb = _VERBS[kind]
    if verb is not _train:
        bench.kept.clear()
    return verb({**arguments, "progress": progress}, bench)


def _train(arguments: Arguments, bench: Bench) -> dict[str, Any]:
    from featx.finetuning import finetune

    runs = finetune(**{**arguments, "workers": bench.threads, "kept": bench.kept})
    return {"outputs": [str(run.path / COMPLETE) for run in runs], "paths": [str(run.path) for run in runs]}


def _extract(arguments: Arguments, bench: Bench) -> dict[str, Any]:
    from featx.features import RECIPE, extract

    stores = [
        done.store
        for done in extract(
            **{**arguments, "workers": bench.threads, "threads": None if bench.alone else bench.threads}
        )
    ]
    return {
        "outputs": [str(store / RECIPE) for store in stores],
        "features": [str(store) for store in stores],
    }


def _svm(arguments: Arguments, bench: Bench) -> dict[str, Any]:
    from featx.svm import train_svm

    runs = train_svm(**{**arguments, "workers": bench.threads})
    if not runs:
        raise TrainingError(f"the protocol {arguments['protocol']!r} has no fold to train on; give another")
    return {"outputs": [str(run.path / COMPLETE) for run in runs], "paths": [str(run.path) for run in runs]}


def _report(arguments: Arguments, bench: Bench) -> dict[str, Any]:
    from featx.reporting import report

    done = report(**arguments)
    return {
        "outputs": [str(done.html)],
        "table": done.text,
        "findings": [finding.lead for finding in done.findings],
    }


_VERBS: dict[str, Callable[[Arguments, Bench], dict[str, Any]]] = {
    "source": _train,
    "finetune": _train,
    "extract": _extract,
    "svm": _svm,
    "report": _report,
}
