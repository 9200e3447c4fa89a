"""Single verbs on a cluster: the images or folds are cut into jobs; the verb itself then finds all of them done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.data import Manifest, apply_task, read_manifest, split_folds
from featx.digest import canonical, digest, short
from featx.errors import TrainingError, listing
from featx.features import ExtractSettings
from featx.finetuning import FinetuneSettings
from featx.images import content_keys
from featx.machine import usable_cores
from featx.options import FoldOptions, Option, Options, options_of
from featx.progress import Progress, Silent
from featx.svm import TrainSvmSettings, external_source

from .cluster_options import ClusterOptions
from .hashing import known_keys
from .job_state import State, StudyJob, locked
from .machines.places import Place, open_place
from .scheduler import Scheduler

__all__ = ["verb_on_cluster"]

_KEPT_HERE = ("progress", "workers", "dry_run", "keys", "own_process")
_NAMES = frozenset(
    ("imagenet", "preset", "random", "labels", "holdout", "none", "modern", "scratch", "paper")
)


def _extract(*manifest: Any, **given: Any) -> Any:
    from featx.features import extract

    return extract(*manifest, **given)


def _finetune(*manifest: Any, **given: Any) -> Any:
    from featx.finetuning import finetune

    return finetune(*manifest, **given)


def _train_svm(*manifest: Any, **given: Any) -> Any:
    from featx.svm import train_svm

    return train_svm(*manifest, **given)


# The settings of each verb, the function, imported when it is called, and the kind of its jobs.
_VERBS: Mapping[str, tuple[type[Options], Callable[..., Any], str]] = {
    "extract": (ExtractSettings, _extract, "extract"),
    "finetune": (FinetuneSettings, _finetune, "finetune"),
    "train-svm": (TrainSvmSettings, _train_svm, "svm"),
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
    output = Path(arguments["cache"]) / "jobs" / f"{verb}-{short(digest(arguments))}"
    with locked(output):
        # The verbs know what is finished. Leases stay: a worker that was lost sight of may still hold one.
        for mark in [*output.glob("jobs/*/done.json"), *output.glob("jobs/*/failed.json")]:
            mark.unlink(missing_ok=True)
        slots = int(given.get("workers") or usable_cores())
        with open_place(options.cluster, slots, options.cores, progress) as place:
            table = _table(arguments)
            keys = known_keys(place, [arguments], output / "hash", progress)
            keys = content_keys(table.paths, cache=arguments["cache"], known=keys, progress=progress).keys
            _run(_jobs(kind, arguments, table, keys), output, place, options, progress, keys)
    shutil.rmtree(output, ignore_errors=True)
    with suppress(OSError):
        output.parent.rmdir()
    return work(manifest, **{**given, "overwrite": False})


def _run(
    jobs: Sequence[StudyJob],
    output: Path,
    place: Place,
    options: ClusterOptions,
    progress: Progress,
    keys: Mapping[str, str],
) -> None:
    """Run the jobs; what fails is an error at the end, when all others are done."""
    scheduler = Scheduler(
        place,
        output,
        {job.digest: State("pending") for job in jobs},
        retries=options.retries,
        parts=options.parts,
        progress=progress,
        keys=keys,
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


def _table(arguments: Mapping[str, Any]) -> Manifest:
    place = {name: arguments[name] for name in ("root", "allow_outside") if name in arguments}
    return read_manifest(arguments["manifest"], **place)


def _jobs(kind: str, arguments: dict[str, Any], table: Manifest, keys: Mapping[str, str]) -> list[StudyJob]:
    """List the jobs of a verb: each fold of a fine-tuning is one; the scheduler cuts the others."""
    name = arguments.get("arm") or arguments.get("backbone") or "features"
    name, images = name if isinstance(name, str) else " ".join(name), len(table)
    if kind == "extract":
        return [
            StudyJob(kind, name, {"arguments": arguments}, {**arguments, "on_error": "skip"}, images=images)
        ]
    folds = _fold_names(arguments, table, keys)
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


def _fold_names(arguments: Mapping[str, Any], table: Manifest, keys: Mapping[str, str]) -> tuple[str, ...]:
    names = ("task", "strict_labels", "protocol", "seed", "folds")
    options = FoldOptions.make({name: arguments[name] for name in names if name in arguments})
    labelled = apply_task(table, options.task, strict_labels=options.strict_labels)
    ordered = [keys.get(path, path) for path in labelled.paths]
    made = split_folds(labelled, options.protocol, options.seed, ordered)
    return tuple(fold.name for fold in made.select(tuple(options.folds)).folds)


def _portable(kind: type[Options], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return keywords in JSON types, with every path absolute: other machines work in other folders."""
    options = options_of(kind)
    defaults = {name: getattr(kind, name) for name, option in options.items() if option.kind is Path}
    found = {**{name: value for name, value in defaults.items() if value is not None}, **given}
    if "test" in found:
        found["test"] = [_portable_source(item) for item in found["test"]]
    portable = {
        name: _absolute(value, options[name]) for name, value in found.items() if name not in _KEPT_HERE
    }
    result: dict[str, Any] = canonical(portable)
    return result


def _portable_source(item: Any) -> dict[str, Any]:
    """Return an external test set with absolute paths."""
    source = external_source(item)
    root = source.root and str(Path(source.root).resolve())
    return {"name": source.name, "manifest": str(Path(source.manifest).resolve()), "root": root}


def _absolute(value: Any, option: Option) -> Any:
    """Make a path absolute; of options that take a name or a path, what exists and is no name is a path."""
    if isinstance(value, list | tuple):
        return [_absolute(item, option) for item in value]
    named = str(value).partition(":")[0] in _NAMES
    if option.kind is Path or isinstance(value, Path) or (option.types and not named and _exists(value)):
        return str(Path(value).resolve())
    return value


def _exists(value: Any) -> bool:
    with suppress(OSError, ValueError, TypeError):
        return Path(value).exists()
    return False
