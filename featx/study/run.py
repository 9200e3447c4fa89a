"""Studies as functions: run, plan, look at, report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from featx.progress import Progress
from featx.study.execute import Outcome, execute
from featx.study.overview import Overview, overview
from featx.study.plan import Plan, make_plan
from featx.study.ready import check_ready
from featx.study.schema import Study
from featx.study.studyfile import KEPT, read_study

__all__ = ["plan_study", "run_study", "study_folder", "study_overview"]


def plan_study(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    strict_labels: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Read a study and plan its jobs.

    Parameters
    ----------
    spec : Study, Path or str
        A study file, the name of a shipped one, or the folder of a study that was begun.
    output : Path or str, optional
        The study's folder; `study_folder` if not given.
    cache : Path or str
        Folder of caches: feature stores, drawn images.
    manifests : mapping of str to Path or str, optional
        Name of a source or target to the manifest to take instead of the file's.
    strict_labels : bool
        Refuse labels that may be meant for another class than the one that holds all others.
    allow_outside : bool
        Whether paths in a study file, and image paths in manifests, may lead out of their folders.
    progress : Progress, optional
        Receiver of progress, and of warnings about the data sets.

    Returns
    -------
    Plan
        The jobs; nothing of them is begun.

    Raises
    ------
    InputError
        If the study file, a manifest, column, task, protocol, recipe, size or weights source cannot be used: all of
        them in one message.
    """
    study = read_study(spec, manifests, allow_outside=allow_outside)
    folder = study_folder(spec, study) if output is None else Path(output)
    plan = make_plan(
        study,
        folder,
        Path(cache),
        progress,
        _called(spec),
        strict_labels=strict_labels,
        allow_outside=allow_outside,
    )
    if progress is not None:
        for line in plan.warnings:
            progress.say(f"warning: {line}")
    return plan


def _called(spec: Study | Path | str) -> str:
    return spec.name if isinstance(spec, Study) else str(spec)


def study_folder(spec: Study | Path | str, study: Study | None = None) -> Path:
    """Name the folder where a study's results stand.

    Parameters
    ----------
    spec : Study, Path or str
        A study file, the name of a shipped study, or a study's folder.
    study : Study, optional
        The study, if it has been read already.

    Returns
    -------
    Path
        The folder itself if one was given, else ``reports/<name of the study>``.

    Raises
    ------
    ConfigError
        If the study file cannot be used.
    """
    if not isinstance(spec, Study) and (Path(spec) / KEPT).is_file():
        return Path(spec)
    # Only the name counts here: no path of the file is followed.
    return Path("reports") / (study or read_study(spec, allow_outside=True)).name


def run_study(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    jobs: int = 1,
    retry_failed: bool = False,
    strict_labels: bool = False,
    allow_outside: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Do what a study has not done yet, and report.

    Parameters
    ----------
    spec, output, cache, manifests, strict_labels, allow_outside, progress
        As in `plan_study`.
    jobs : int
        Jobs at once; the cores and GPUs are shared out among them.
    retry_failed : bool
        Try jobs again that failed before.

    Returns
    -------
    Outcome
        What was done, reused, failed and left out, and where the reports are.

    Raises
    ------
    InputError
        As `plan_study` and `featx.study.ready.check_ready`; and if another run of the study is at work.
    KeyboardInterrupt
        After SIGINT, SIGTERM or SIGHUP, once the running jobs have ended; the same call resumes.

    Notes
    -----
    Call it from the main thread: it takes the signals while it runs.
    """
    plan = plan_study(
        spec,
        output=output,
        cache=cache,
        manifests=manifests,
        strict_labels=strict_labels,
        allow_outside=allow_outside,
        progress=progress,
    )
    check_ready(plan, _called(spec), download=True, progress=progress)
    return execute(plan, jobs=jobs, retry_failed=retry_failed, progress=progress)


def study_overview(
    spec: Study | Path | str,
    *,
    output: Path | str | None = None,
    cache: Path | str = "cache",
    manifests: Mapping[str, Path | str] | None = None,
    strict_labels: bool = False,
    allow_outside: bool = False,
    ready: bool = False,
    progress: Progress | None = None,
) -> Overview:
    """Tell what a study has done, what it has to do, and how long that will take.

    Parameters
    ----------
    spec, output, cache, manifests, strict_labels, allow_outside, progress
        As in `plan_study`.
    ready : bool
        Whether to check, too, what the jobs that are left need of this machine. Nothing is downloaded.

    Returns
    -------
    Overview
        Every job's state and time.

    Raises
    ------
    InputError
        As `plan_study`, and with `ready` as `featx.study.ready.check_ready`.
    """
    plan = plan_study(
        spec,
        output=output,
        cache=cache,
        manifests=manifests,
        strict_labels=strict_labels,
        allow_outside=allow_outside,
        progress=progress,
    )
    if ready:
        check_ready(plan, _called(spec), download=False)
    return overview(plan)
