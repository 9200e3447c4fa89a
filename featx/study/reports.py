"""Reports of a study over what is finished of it, one for each target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.errors import ConfigError, RunError
from featx.progress import Progress
from featx.study.jobs import Job, read_state
from featx.study.plan import Plan
from featx.study.results import settled
from featx.study.run import plan_study, study_folder
from featx.study.schema import Study
from featx.study.studyfile import is_study

if TYPE_CHECKING:
    from featx.reporting import Report

__all__ = ["report_runs_or_study", "report_study", "watched"]


def report_study(
    spec: Study | Path | str,
    *,
    folder: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    output: Path | str | None = None,
    thumbnails: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> tuple[Report, ...]:
    """Write the reports of a study over what is finished of it, under way or not.

    Parameters
    ----------
    spec : Study, Path or str
        A study file, the name of a shipped study, or a study's folder.
    folder : Path or str, optional
        The study's folder, as ``output`` of `plan_study`.
    cache, manifests, allow_outside, progress
        As in `plan_study`.
    output : Path or str, optional
        Where the reports go, with a folder for each target if there are several; ``report/TARGET`` in the study's
        folder if not given.
    thumbnails : bool
        Show pictures of the most confident mistakes: mind who may see them.
    **options
        Further options of `featx.reporting.make_report.report`, instead of the study's own.

    Returns
    -------
    tuple of Report
        One for each target of which something is finished.

    Raises
    ------
    InputError
        As `plan_study` and `featx.reporting.make_report.report`.
    RunError
        If no SVM of the study is finished.
    """
    from featx.reporting import report

    plan = plan_study(
        spec, output=folder, cache=cache, manifests=manifests, allow_outside=allow_outside, progress=progress
    )
    states = {job.digest: read_state(job, plan.output) for job in plan.jobs if job.kind != "report"}
    jobs = settled(plan, states)
    if not jobs:
        raise RunError(f"study {plan.study.name}: no SVM is finished yet; `featx study run` goes on with it")
    several = len(plan.study.targets) > 1
    made = []
    for job in jobs:
        given = {name: value for name, value in options.items() if value is not None}
        if output is not None:
            given["output"] = Path(output) / Path(job.arguments["output"]).name if several else output
        if thumbnails:
            given |= _pictures(plan, job)
        made.append(report(**{**job.arguments, **given}, progress=progress))
    return tuple(made)


def _pictures(plan: Plan, report: Job) -> dict[str, Any]:
    """Say where a target's images stand, as its jobs were told."""
    (place,) = {
        (str(job.arguments["manifest"]), job.arguments.get("root"), job.arguments.get("allow_outside", False))
        for job in plan.jobs
        if job.digest in report.needs
    }
    return {"manifest": place[0], "root": place[1], "allow_outside": place[2]}


def report_runs_or_study(
    given: Sequence[Path | str],
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    thumbnails: bool = False,
    manifest: Path | str | None = None,
    root: Path | str | None = None,
    **options: Any,
) -> tuple[Report, ...]:
    """Report run folders, or a study.

    Parameters
    ----------
    given : sequence of Path or str
        Folders that hold runs; or a study file, a study's folder or the name of a shipped study, alone.
    output : Path or str, optional
        Where to; by default ``reports/report``, and for a study its own folder.
    cache : Path or str
        Folder of caches, for a study.
    thumbnails : bool
        Show pictures of the most confident mistakes: mind who may see them.
    manifest, root : Path or str, optional
        Where the images stand. A study knows its own.
    **options
        Of `featx.reporting.make_report.report`; None for its default.

    Returns
    -------
    tuple of Report
        One; of a study one for each target.

    Raises
    ------
    ConfigError
        If a study is given with other things, or thumbnails of runs without a manifest or the reverse.
    InputError
        As `report_study` and `featx.reporting.make_report.report`.
    """
    from featx.reporting import report

    if any(map(is_study, given)):
        if len(given) > 1 or manifest or root:
            raise ConfigError(
                "a study is reported alone, from its own manifests. Got other runs or a manifest beside it."
            )
        return report_study(given[0], cache=cache, output=output, thumbnails=thumbnails, **options)
    if thumbnails != (manifest is not None):
        raise ConfigError(
            "--thumbnails and --manifest go together: one asks for images, the other says where they are"
        )
    options |= {"output": output, "manifest": manifest, "root": root}
    return (report(given, **{name: value for name, value in options.items() if value is not None}),)


def watched(given: Sequence[Path | str]) -> list[Path]:
    """Name the folders in which finished runs will appear.

    Parameters
    ----------
    given : sequence of Path or str
        As `report_runs_or_study` takes it.

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
