"""`featx study`: whole studies from one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from featx.errors import ConfigError

from .bars import progress
from .flags import ALLOW_OUTSIDE, CACHE, JSON, STRICT_LABELS, print_json

if TYPE_CHECKING:
    from featx.study import StudyOutcome

__all__ = ["study", "tell"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _manifests(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, Path]:
    """Read NAME=PATH pairs."""
    found = {}
    for value in values:
        name, sign, path = value.partition("=")
        if not (name and sign and path):
            raise ConfigError(
                f"--manifest {value}: give NAME=PATH, the name being a source or target of the study"
            )
        found[name] = Path(path)
    return found


def _study(command: _Command) -> _Command:
    """Add what all subcommands take: the study, where it lives, and its data."""
    for decorate in (
        click.option(
            "--manifest",
            "manifests",
            multiple=True,
            metavar="NAME=PATH",
            callback=_manifests,
            help="Manifest of a source or target, instead of the file's; may be given for each.",
        ),
        ALLOW_OUTSIDE,
        CACHE,
        click.option(
            "--output",
            "-o",
            type=click.Path(path_type=Path),
            help="The study's folder.  [default: reports/NAME of the study]",
        ),
        click.argument("file"),
    ):
        command = decorate(command)
    return command


@click.group()
def study() -> None:
    """Run whole studies: data sets, tasks and arms declared in one file.

    FILE is a study file (TOML), or the name of a shipped study; `featx study list` names them.
    """


@study.command("list")
@JSON
def list_studies(as_json: bool) -> None:
    """Name the shipped studies."""
    from featx.study import read_study, shipped_studies

    found = {name: read_study(name).title or "" for name in shipped_studies()}
    if as_json:
        print_json(found)
        return
    for name, title in found.items():
        click.echo(f"{name:16} {title}")


@study.command()
@_study
@click.option(
    "--jobs",
    "-j",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Jobs at once; cores and GPUs are shared out among them.",
)
@click.option("--retry-failed", is_flag=True, help="Try jobs again that failed before.")
@STRICT_LABELS
def run(
    file: str,
    output: Path | None,
    cache: Path,
    manifests: dict[str, Path],
    allow_outside: bool,
    jobs: int,
    retry_failed: bool,
    strict_labels: bool,
) -> int:
    """Do what is left of a study, and write its reports.

    Finished jobs are skipped. Ctrl-C, SIGTERM and SIGHUP keep what the running jobs have committed; the same command
    goes on from there. Paths of the reports go to stdout. Exit code 1 if jobs failed.
    """
    from featx.study import run_study

    outcome = run_study(
        file,
        output=output,
        cache=cache,
        manifests=manifests,
        allow_outside=allow_outside,
        jobs=jobs,
        retry_failed=retry_failed,
        strict_labels=strict_labels,
        progress=progress(),
    )
    return _tell_reports(outcome)


@study.command()
@_study
def report(
    file: str, output: Path | None, cache: Path, manifests: dict[str, Path], allow_outside: bool
) -> None:
    """Write the reports over what is finished; `featx report FILE` has more options."""
    from featx.study import report_study

    for done in report_study(
        file,
        folder=output,
        cache=cache,
        manifests=manifests,
        allow_outside=allow_outside,
        progress=progress(),
    ):
        click.echo(done.html)
        for finding in done.findings:
            click.echo(finding.lead, err=True)


def _tell_reports(outcome: StudyOutcome) -> int:
    for report in outcome.reports:
        click.echo(report.folder / "report.html")
        for finding in report.findings:
            click.echo(finding, err=True)
    return tell(outcome)


def tell(outcome: StudyOutcome) -> int:
    """Say what an execution did."""
    failed, blocked = len(outcome.failed), len(outcome.blocked)
    click.echo(
        f"{len(outcome.done)} jobs done, {len(outcome.reused)} finished before, {failed} failed, {blocked} not begun",
        err=True,
    )
    for label, reason in outcome.failed.items():
        click.echo(f"failed: {label}: {reason}", err=True)
    if failed:
        click.echo("`--retry-failed` tries failed jobs again", err=True)
    return 1 if failed else 0


@study.command()
@_study
@STRICT_LABELS
@JSON
def plan(
    file: str,
    output: Path | None,
    cache: Path,
    manifests: dict[str, Path],
    allow_outside: bool,
    strict_labels: bool,
    as_json: bool,
) -> None:
    """List every job of a study: what it needs, whether it is finished, and its time.

    All that can be known beforehand is checked, as `run` does before its first job.
    """
    from featx.study import study_overview

    found = study_overview(
        file,
        output=output,
        cache=cache,
        manifests=manifests,
        allow_outside=allow_outside,
        strict_labels=strict_labels,
        ready=True,
        progress=progress(),
    )
    if as_json:
        print_json(found.as_json())
        return
    numbers = {row.job.digest: number for number, row in enumerate(found.rows, 1)}
    for number, row in enumerate(found.rows, 1):
        needs = ",".join(str(numbers[key]) for key in row.job.needs)
        time = f"{row.seconds:.0f} s" if row.seconds is not None else ""
        notes = [f"needs {needs}"] * bool(needs) + [row.note] * (row.state == "pending" and bool(row.note))
        more = f"  ({'; '.join(notes)})" if notes else ""
        click.echo(f"{number:4}  {row.state:8} {time:>8}  {row.job.label}{more}")
    for line in found.lines():
        click.echo(line)


@study.command()
@_study
@JSON
def status(
    file: str,
    output: Path | None,
    cache: Path,
    manifests: dict[str, Path],
    allow_outside: bool,
    as_json: bool,
) -> None:
    """Say how far a study is: jobs done, running, failed and left."""
    from featx.study import study_overview

    found = study_overview(file, output=output, cache=cache, manifests=manifests, allow_outside=allow_outside)
    if as_json:
        print_json(found.as_json())
        return
    click.echo(
        f"{found.plan.study.name} in {found.plan.output}: " + ("running" if found.running else "not running")
    )
    for line in found.lines():
        click.echo(line)
