"""Studies as functions: plan, run, status, report; and the demo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import ConfigError, RunError
from featx.jobs import (
    ClusterOptions,
    Place,
    StudyJob,
    given_executor,
    known_keys,
    open_place,
    read_state,
)
from featx.options import verb
from featx.progress import Progress, Silent
from featx.reporting import ReportSettings

from .execute import StudyOutcome, execute, settled
from .plan import Plan, check_ready, make_plan
from .schema import DataSet, Study
from .status import Overview, overview
from .study_files import KEPT, is_study, read_study

if TYPE_CHECKING:
    from featx.reporting import Report

__all__ = [
    "demo_study",
    "plan_study",
    "report",
    "report_study",
    "run_demo",
    "run_study",
    "study_folder",
    "study_overview",
    "watched",
]


def plan_study(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    weights: Mapping[str, Path | str] | None = None,
    strict_labels: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
    place: Place | None = None,
) -> Plan:
    """Read a study and plan its jobs; many images are hashed at `place`."""
    study = read_study(spec, manifests, weights=weights, allow_outside=allow_outside)
    folder = study_folder(spec, study) if output is None else Path(output)
    known = None
    if place is not None and not place.whole:
        found = {"cache": str(Path(cache).resolve()), "allow_outside": allow_outside}
        items = (*study.targets.values(), *study.sources.values())
        given = [{**found, "manifest": item.manifest, "root": item.root} for item in items if item.manifest]
        known = known_keys(place, given, folder, progress)
    plan = make_plan(
        study,
        folder,
        Path(cache),
        progress,
        _called(spec),
        strict_labels=strict_labels,
        allow_outside=allow_outside,
        known=known,
    )
    if progress is not None:
        for line in plan.warnings:
            progress.say(f"warning: {line}")
    return plan


def _called(spec: Study | Path | str) -> str:
    return spec.name if isinstance(spec, Study) else str(spec)


def study_folder(spec: Study | Path | str, study: Study | None = None) -> Path:
    """Return the folder of a study's results.

    Returns
    -------
    Path
        The folder itself if one was given, else ``reports/<name of the study>``.
    """
    if not isinstance(spec, Study) and (Path(spec) / KEPT).is_file():
        return Path(spec)
    # Only the name is used here; no path of the file is followed.
    return Path("reports") / (study or read_study(spec, allow_outside=True)).name


def run_study(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    weights: Mapping[str, Path | str] | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    executor: Executor | None = None,
    retries: int = 2,
    cores: int | None = None,
    retry_failed: bool = False,
    strict_labels: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> StudyOutcome:
    """Run the unfinished jobs of a study, and report.

    Parameters
    ----------
    spec, output, cache, manifests, weights, strict_labels, allow_outside, progress
        As in `plan_study`.
    jobs : int
        Number of worker processes on this machine; they share its cores and GPUs.
    cluster : str, optional
        ``"local"`` (the default), ``"dask"`` or ``"ray"`` for a cluster that is started on this machine, or
        ``"dask:SCHEDULER-FILE"``, ``"dask:ADDRESS"`` or ``"ray:ADDRESS"`` for one that runs. Its machines need featx, and the
        manifests, images, `cache` and `output` under the same paths.
    executor : concurrent.futures.Executor, optional
        Runs the jobs instead, such as ``client.get_executor()`` of a Dask client; it is not shut down.
    retries : int
        How often a job is started again whose process or machine died.
    cores : int, optional
        Cores of each job; if not given, the jobs of a machine share its cores.
    retry_failed : bool
        Retry jobs that failed before.

    Returns
    -------
    StudyOutcome
        The jobs done, reused, failed and blocked, and the reports.

    Raises
    ------
    InputError
        As `plan_study` and `featx.study.plan.check_ready`; and if another run of the study is running.
    KeyboardInterrupt
        After SIGINT, SIGTERM or SIGHUP, once the running jobs have ended; the same call resumes.

    Notes
    -----
    Call it from the main thread, because it handles signals while it runs.

    Examples
    --------
    ::

        outcome = featx.run_study("study.toml", jobs=2)
        print(len(outcome.done), [report.folder for report in outcome.reports])
    """
    if jobs < 1:
        raise ConfigError(f"The 'jobs' parameter must be at least 1. Got {jobs} instead.")
    if executor is not None and cluster is not None:
        raise ConfigError("The 'cluster' and 'executor' parameters exclude each other; give one of them")
    options = ClusterOptions(cluster=cluster, retries=retries, cores=cores)
    where = (
        given_executor(executor, jobs, cores)
        if executor is not None
        else open_place(options.cluster or "local", jobs, cores, progress or Silent())
    )
    with where as place:
        plan = plan_study(
            spec,
            output=output,
            cache=cache,
            manifests=manifests,
            weights=weights,
            strict_labels=strict_labels,
            allow_outside=allow_outside,
            progress=progress,
            place=place,
        )
        check_ready(plan, _called(spec), download=True, progress=progress)
        return execute(plan, place, retry_failed=retry_failed, retries=retries, progress=progress)


def study_overview(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    weights: Mapping[str, Path | str] | None = None,
    strict_labels: bool = False,
    allow_outside: bool = False,
    ready: bool = False,
    progress: Progress | None = None,
) -> Overview:
    """Return the state of each job of a study, and the estimated time of the rest.

    Parameters
    ----------
    spec, output, cache, manifests, weights, strict_labels, allow_outside, progress
        As in `plan_study`.
    ready : bool
        Whether to check weights, engine and layers of the unfinished jobs too. Nothing is downloaded.

    Returns
    -------
    Overview
        State and time of each job.

    Raises
    ------
    InputError
        As `plan_study`, and with `ready` as `featx.study.plan.check_ready`.
    """
    plan = plan_study(
        spec,
        output=output,
        cache=cache,
        manifests=manifests,
        weights=weights,
        strict_labels=strict_labels,
        allow_outside=allow_outside,
        progress=progress,
    )
    if ready:
        check_ready(plan, _called(spec), download=False)
    return overview(plan)


def report_study(
    spec: Study | Path | str,
    *,
    folder: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    weights: Mapping[str, Path | str] | None = None,
    output: Path | str | None = None,
    thumbnails: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[Report, ...]:
    """Write the reports of a study on its finished jobs, while it runs or after.

    Parameters
    ----------
    spec : Study, Path or str
        A study file, the name of a shipped study, or a study's folder.
    folder : Path or str, optional
        The study's folder, as ``output`` of `plan_study`.
    cache, manifests, weights, allow_outside, progress
        As in `plan_study`.
    output : Path or str, optional
        Where the reports go, with a folder for each target if there are several; ``report/TARGET`` in the study's
        folder if not given.
    thumbnails : bool
        Show the images of the most confident mistakes. Note who may see these images.
    **options
        Further options of `featx.reporting.make_report.report_runs`, instead of the study's own.

    Returns
    -------
    tuple of Report
        One report for each target with a finished SVM.

    Raises
    ------
    InputError
        As `plan_study` and `featx.reporting.make_report.report_runs`.
    RunError
        If no SVM of the study is finished.
    """
    from featx.reporting import report_runs

    plan = plan_study(
        spec,
        output=folder,
        cache=cache,
        manifests=manifests,
        weights=weights,
        allow_outside=allow_outside,
        progress=progress,
    )
    states = {job.digest: read_state(job, plan.output) for job in plan.jobs if job.kind != "report"}
    jobs = settled(plan, states)
    if not jobs:
        raise RunError(f"study {plan.study.name}: no SVM is finished yet; run `featx study run` first")
    several = len(plan.study.targets) > 1
    made = []
    for job in jobs:
        given = {name: value for name, value in options.items() if value is not None}
        if output is not None:
            given["output"] = Path(output) / Path(job.arguments["output"]).name if several else output
        given |= {**_manifest_of(plan, job), "thumbnails": thumbnails}
        arguments = {**job.arguments, **given}
        made.append(report_runs(arguments.pop("paths"), **arguments, progress=progress))
    return tuple(made)


def _manifest_of(plan: Plan, report: StudyJob) -> dict[str, Any]:
    """Return where a target's manifest and images are, as the arguments of its jobs give it; nothing if it is gone."""
    (place,) = {
        (str(job.arguments["manifest"]), job.arguments.get("root"), job.arguments.get("allow_outside", False))
        for job in plan.jobs
        if job.digest in report.needs
    }
    if not Path(place[0]).exists():
        return {}
    return {"manifest": place[0], "root": place[1], "allow_outside": place[2]}


@verb(ReportSettings)
def report(runs: Path | str | Sequence[Path | str], options: ReportSettings) -> tuple[Report, ...]:
    """Report finished runs, or a study, as tables, figures and one HTML page.

    Parameters
    ----------
    runs : path or sequence of paths
        Run folders, or folders that hold some; or one study: its file, its folder, or the name of a shipped study.
    {options}

    Returns
    -------
    tuple of Report
        One report; of a study one for each target.

    Raises
    ------
    ConfigError
        If a study is given with other things, or thumbnails of runs without a manifest.
    RunError
        If a folder holds no finished run, or runs do not belong together.
    InputError
        If a study file, an option or a comparison cannot be used.

    Examples
    --------
    ::

        (report,) = featx.report("reports/runs", output="reports/report")
        print(report.text)
    """
    from featx.reporting import report_runs

    given = [runs] if isinstance(runs, str | Path) else list(runs)
    if any(map(is_study, given)):
        if len(given) > 1 or options.manifest or options.root:
            raise ConfigError(
                "A study is reported alone, from its own manifests. Got other runs or a manifest beside it; give the "
                "study only"
            )
        return report_study(
            given[0],
            cache=options.cache,
            output=options.output,
            thumbnails=options.thumbnails,
            allow_outside=options.allow_outside,
            progress=options.progress,
            **options.given(),
        )
    if options.thumbnails and options.manifest is None:
        raise ConfigError(
            "--thumbnails asks for images of the manifest. Got no manifest; say with --manifest where they are"
        )
    names = (item.name for item in dataclasses.fields(options))
    return (report_runs(given, **{name: getattr(options, name) for name in names}),)


def watched(given: Sequence[Path | str]) -> list[Path]:
    """Return the folders in which finished runs will appear.

    Parameters
    ----------
    given : sequence of Path or str
        As `report` takes it.

    Returns
    -------
    list of Path
        The folders of runs; of a study those in its own folder.

    Raises
    ------
    ConfigError
        If a study file cannot be used.
    """
    return [study_folder(item) / "runs" if is_study(item) else Path(item) for item in given]


def demo_study(seed: int = 0) -> Study:
    """Read the demo's study.

    Examples
    --------
    >>> study = demo_study(seed=3)
    >>> study.seed, study.targets["dermoscopy"].drawn.seed
    (3, 3)
    """
    study = read_study("demo")

    def seeded(item: DataSet) -> DataSet:
        assert item.drawn is not None, "the demo's data sets are synthetic"
        return item.model_copy(update={"drawn": item.drawn.model_copy(update={"seed": seed})})

    return study.model_copy(
        update={
            "seed": seed,
            "sources": {name: seeded(item) for name, item in study.sources.items()},
            "targets": {name: seeded(item) for name, item in study.targets.items()},
        }
    )


def run_demo(
    *,
    output: Path | str = "reports/demo",
    cache: Path | str = "cache",
    seed: int = 0,
    progress: Progress | None = None,
) -> StudyOutcome:
    """Run the demo's study on synthetic images.

    Parameters
    ----------
    output : Path or str
        Folder of the study. Finished jobs there are reused.
    cache : Path or str
        Folder of caches: synthetic images, feature stores.
    seed : int
        Random seed of the images, the weights and the folds.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    StudyOutcome
        As of `run_study`.

    Raises
    ------
    FeatxError
        As `run_study`.
    """
    return run_study(demo_study(seed), output=output, cache=cache, progress=progress)
