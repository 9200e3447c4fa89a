"""Single verbs on a cluster: the images or folds are cut into jobs; the verb itself then finds all of them done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.data import make_folds, read_manifest
from featx.digest import canonical, digest, short
from featx.errors import TrainingError, listing
from featx.features import ExtractSettings, extract
from featx.finetuning import FinetuneSettings, finetune
from featx.machine import usable_cores
from featx.options import Options, options_of
from featx.progress import Progress, Silent
from featx.svm import TrainSvmSettings, train_svm

from .cluster_options import ClusterOptions
from .job_state import State, StudyJob, locked
from .places import open_place
from .scheduler import Scheduler

__all__ = ["verb_on_cluster"]

_KEPT_HERE = ("progress", "workers", "dry_run")
# The settings of each verb, the function, and the kind of its jobs.
_VERBS: Mapping[str, tuple[type[Options], Callable[..., Any], str]] = {
    "extract": (ExtractSettings, extract, "extract"),
    "finetune": (FinetuneSettings, finetune, "finetune"),
    "train-svm": (TrainSvmSettings, train_svm, "svm"),
}


def verb_on_cluster(verb: str, manifest: Path, given: Mapping[str, Any], options: ClusterOptions) -> Any:
    """Do what a verb does, its images or folds on a cluster.

    Parameters
    ----------
    verb : str
        ``"extract"``, ``"finetune"`` or ``"train-svm"``.
    manifest : Path
        Images and labels.
    given : mapping
        Keywords of the verb; ``workers`` is the number of jobs at once where the cluster is started here.
    options : ClusterOptions
        The cluster.

    Returns
    -------
    tuple
        What the verb returns; without a cluster, or for a dry run, it is called as it is.

    Raises
    ------
    InputError
        If the inputs or the cluster cannot be used.
    ClusterError
        If the cluster cannot be reached, or was lost.
    TrainingError
        If a job has failed.
    """
    settings, work, kind = _VERBS[verb]
    if options.cluster is None or given.get("dry_run"):
        return work(manifest, **given)
    settings.make(given)
    progress: Progress = given.get("progress") or Silent()
    arguments = {**_portable(settings, given), "manifest": str(Path(manifest).resolve())}
    jobs = _jobs(kind, arguments)
    output = Path(arguments["cache"]) / "jobs" / f"{verb}-{short(digest(arguments))}"
    with locked(output):
        shutil.rmtree(output / "jobs", ignore_errors=True)
        slots = int(given.get("workers") or usable_cores())
        _run(jobs, output, slots, options, progress)
    shutil.rmtree(output, ignore_errors=True)
    with suppress(OSError):
        output.parent.rmdir()
    return work(manifest, **{**given, "overwrite": False})


def _run(
    jobs: Sequence[StudyJob], output: Path, slots: int, options: ClusterOptions, progress: Progress
) -> None:
    """Run the jobs; what fails is an error at the end, when all others are done."""
    with open_place(options.cluster or "local", slots, options.cores, progress) as place:
        scheduler = Scheduler(
            place,
            output,
            {job.digest: State("pending") for job in jobs},
            retries=options.retries,
            parts=options.parts,
            progress=progress,
        )
        progress.start("jobs", len(jobs), "jobs")
        with scheduler.on_duty():
            scheduler.do(jobs)
        progress.finish()
    if scheduler.failed:
        label, reason = next(iter(scheduler.failed.items()))
        raise TrainingError(
            f"{len(scheduler.failed)} of {len(jobs)} jobs failed ({listing(list(scheduler.failed), 3)}); first: {label}: "
            f"{reason} (logs: {output / 'jobs'})"
        )


def _jobs(kind: str, arguments: dict[str, Any]) -> list[StudyJob]:
    """List the jobs of a verb: each fold of a fine-tuning is one; the scheduler cuts the others."""
    manifest = arguments["manifest"]
    place = {"root": arguments.get("root"), "allow_outside": arguments.get("allow_outside", False)}
    name = str(arguments.get("arm") or arguments.get("backbone") or "features")
    images = len(read_manifest(manifest, **place))
    if kind == "extract":
        return [
            StudyJob(kind, name, {"arguments": arguments}, {**arguments, "on_error": "skip"}, images=images)
        ]
    folds = _fold_names(arguments)
    if kind == "svm":
        return [StudyJob(kind, name, {"arguments": arguments}, arguments, images=images, parts=folds)]
    return [
        StudyJob(
            kind,
            f"{name} {fold}",
            {"arguments": arguments, "fold": fold},
            {**arguments, "folds": [fold]},
            images=images,
        )
        for fold in folds
    ]


def _fold_names(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("task", "protocol", "seed", "root", "allow_outside", "cache")
    made = make_folds(
        arguments["manifest"], **{name: arguments[name] for name in names if arguments.get(name) is not None}
    )
    return tuple(fold.name for fold in made.select(tuple(arguments.get("folds", ()))).folds)


def _portable(kind: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords in JSON types, with every path absolute: other machines work in other folders."""
    options = options_of(kind)
    defaults = {name: getattr(kind, name) for name, option in options.items() if option.kind is Path}
    found = {**{name: value for name, value in defaults.items() if value is not None}, **given}
    portable = {
        name: _absolute(value, options[name].kind is Path)
        for name, value in found.items()
        if name not in _KEPT_HERE
    }
    result: dict[str, Any] = canonical(portable)
    return result


def _absolute(value: Any, path: bool) -> Any:
    if isinstance(value, list | tuple):
        return [_absolute(item, path) for item in value]
    if path or isinstance(value, Path) or (isinstance(value, str) and _exists(value)):
        return str(Path(value).resolve())
    return value


def _exists(text: str) -> bool:
    with suppress(OSError, ValueError):
        return Path(text).exists()
    return False
