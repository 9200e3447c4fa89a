"""`featx study`: whole studies from one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.errors import ConfigError
from featx.jobs import ClusterOptions

from . import batch, flags
from .bars import progress

if TYPE_CHECKING:
    from featx.study import StudyOutcome

__all__ = ["study", "tell"]

_PAIRS = {"--manifest": "lesions=lesions.csv", "--weights": "resnet50=resnet50.h5"}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _paths(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, Path]:
    """Read NAME=PATH pairs."""
    found = {}
    for value in values:
        name, sign, path = value.partition("=")
        if not (name and sign and path):
            raise ConfigError(
                f"{parameter.opts[0]} {value}: give {parameter.metavar}, as in {_PAIRS[parameter.opts[0]]}"
            )
        found[name] = Path(path)
    return found


def _study(command: _Command) -> _Command:
    """Add what all subcommands take: the study, its folder, and its manifests."""
    for decorate in (
        flags.ALLOW_OUTSIDE,
        flags.CACHE,
        click.option(
            "--manifest",
            "manifests",
            multiple=True,
            metavar="NAME=PATH",
            callback=_paths,
            help="Manifest of the images, of the source or target NAME; replaces that of the study file; may be repeated.",
        ),
        click.option(
            "--weights",
            "-w",
            multiple=True,
            metavar="BACKBONE=PATH",
            callback=_paths,
            help="Weights source: a file for a network of the study, in place of its ImageNet weights; may be repeated.",
        ),
        click.option(
            "--output",
            "-o",
            type=click.Path(path_type=Path),
            help="Folder of the study.  [default: reports/NAME of the study]",
        ),
        click.argument("file"),
    ):
        command = decorate(command)
    return command


@click.group()
def study() -> None:
    """Run whole studies: data sets, tasks, networks and arms declared in one file.

    FILE is a study file (TOML), the name of a shipped study (`featx study list`), or the folder of a study.
    """


@study.command("list", epilog=flags.example("featx study list"))
@flags.JSON
def list_studies(as_json: bool) -> None:
    """List the shipped studies."""
    from featx.study import read_study, shipped_studies

    found = {name: read_study(name).title or "" for name in shipped_studies()}
    if as_json:
        flags.print_json(found)
        return
    for name, title in found.items():
        click.echo(f"{name:16} {title}")


@study.command(epilog=flags.example("featx study run demo --workers 2"))
@_study
@click.option(
    "--workers",
    "-j",
    "--jobs",
    "jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of workers: processes that run jobs at once and share the cores and GPUs. Results do not depend on it.",
)
@flags.of(ClusterOptions, leave=["parts"])
@click.option("--retry-failed", is_flag=True, help="Retry jobs that failed before.")
@flags.STRICT_LABELS
@batch.recorded
def run(file: str, **given: Any) -> int:
    """Run the unfinished jobs of a study, and write its reports.

    Finished jobs are skipped. Ctrl-C, SIGTERM and SIGHUP stop the running jobs at their next checkpoint; the same
    command resumes from it. Prints the paths of the reports. The exit code is 1 if jobs failed.
    """
    from featx.study import run_study

    outcome = run_study(file, progress=progress(), **flags.given(given))
    code = tell(outcome)
    for report in outcome.reports:
        click.echo(report.folder / "report.html")
        for finding in report.findings:
            batch.say(finding)
    return code


@study.command(epilog=flags.example("featx study report demo"))
@_study
def report(file: str, output: Path | None, **given: Any) -> None:
    """Write the reports of the finished jobs; `featx report FILE` has more options."""
    from featx.study import report_study

    for done in report_study(file, folder=output, progress=progress(), **given):
        click.echo(done.html)
        for finding in done.findings:
            click.echo(finding.lead, err=True)


def tell(outcome: StudyOutcome) -> int:
    """Print what a run did, and return the exit code: 1 if jobs failed."""
    batch.results(report.folder / "report.html" for report in outcome.reports)
    failed, blocked = len(outcome.failed), len(outcome.blocked)
    batch.say(
        f"{len(outcome.done)} jobs done, {len(outcome.reused)} finished before, {failed} failed, {blocked} not started"
    )
    for label, number in outcome.attempts.items():
        batch.say(f"{label}: started {number} times, because its process or machine died")
    for label, reason in outcome.failed.items():
        batch.say(f"failed: {label}: {reason}")
    if failed:
        batch.say("`featx study run --retry-failed` retries failed jobs")
    return 1 if failed else 0


@study.command(epilog=flags.example("featx study plan demo"))
@_study
@flags.STRICT_LABELS
@flags.JSON
def plan(file: str, as_json: bool, **given: Any) -> None:
    """List every job of a study: the jobs it needs, its state, and its time.

    Checks the study first, as `run` does before its first job.
    """
    from featx.study import study_overview

    found = study_overview(file, ready=True, progress=progress(), **given)
    if as_json:
        flags.print_json(found.as_json())
    else:
        click.echo("\n".join([*found.job_lines(), *found.lines()]))


@study.command(epilog=flags.example("featx study status demo"))
@_study
@flags.JSON
def status(file: str, as_json: bool, **given: Any) -> None:
    """Show the progress of a study: jobs done, running, failed and left."""
    from featx.study import study_overview

    found = study_overview(file, **given)
    if as_json:
        flags.print_json(found.as_json())
        return
    state = "running" if found.running else "not running"
    click.echo("\n".join([f"{found.plan.study.name} in {found.plan.output}: {state}", *found.lines()]))
