"""`featx report`: tables, figures and a page from finished runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from featx.reporting import SEVERITIES, ReportSettings

from . import batch, flags
from .bars import progress

if TYPE_CHECKING:
    from featx.reporting import Report

__all__ = ["report"]

_FORMATS = ("text", "json", "csv", "latex", "markdown", "parquet")


class _Command(click.Command):
    """A command with an option whose value may be left out, which click would take from the arguments behind it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Complete `--strict` without a value."""
        return super().parse_args(ctx, ["--strict=error" if one == "--strict" else one for one in args])


@click.command(cls=_Command, epilog=flags.example("featx report reports/runs -o reports/report"))
@click.argument("runs", nargs=-1, required=True)
@flags.of(ReportSettings)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="Format, of the AUC table on stdout; json prints all tables, parquet writes a binary file.",
)
@click.option(
    "--strict",
    type=click.Choice(SEVERITIES),
    metavar="[=error|warning|note]",
    help="Exit code 1 if a method check of this severity or a worse one fails, after the report has been written; "
    "--strict alone means error.",
)
@click.option("--watch", is_flag=True, help="Keep running, and report again whenever runs are finished.")
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="Interval of --watch in seconds.",
)
@flags.CONFIG
@batch.recorded
def report(
    runs: tuple[str, ...], form: str, strict: str | None, watch: bool, every: float, **values: Any
) -> int:
    """Report finished RUNS as tables, figures and one HTML page.

    RUNS are run folders, or folders that hold some; or one study: its file, its folder, or the name of a shipped
    study. Only runs are read: no features, no networks, and images only for --thumbnails.
    """
    from featx.errors import FeatxError
    from featx.reporting import changes
    from featx.study import report as work
    from featx.study import watched

    _refuse_mixed(form, watch, bool(values["mlflow"]))
    options = flags.given(values)
    comparing = "compare" in options
    if watch and strict:
        raise click.UsageError(
            "--strict and --watch exclude each other: a report that is watched has no exit code."
        )
    if not watch:
        made = work(runs, progress=progress(), **options)
        _show(made, form, comparing)
        return _judge(made, strict) if strict else 0
    for count in changes(watched(runs), every):
        click.echo(f"{count} finished runs", err=True)
        try:
            _show(work(runs, refresh=every, **options), form, comparing)
        except FeatxError as error:
            # The study is still running: the next run may complete what is missing now.
            click.echo(f"not yet: {error}", err=True)
    return 0


def _judge(made: Sequence[Report], strict: str) -> int:
    """Give the exit code: 1 if a method check of this severity or a worse one has failed."""
    from featx.reporting import failing

    codes = dict.fromkeys(one.code for done in made for one in failing(done.checks, strict))
    if codes:
        click.echo(f"--strict={strict}: failed method checks: {', '.join(codes)}", err=True)
    return 1 if codes else 0


def _refuse_mixed(form: str, watch: bool, logs: bool) -> None:
    """Refuse options that cannot be met, before any work."""
    from featx.errors import ConfigError

    if form == "parquet" and sys.stdout.isatty():
        raise ConfigError(
            "--format parquet: Parquet is binary and no text for a terminal; add `> auc.parquet`"
        )
    if form == "parquet" and watch:
        raise ConfigError(
            "--format parquet and --watch exclude each other: a Parquet file cannot be continued"
        )
    if logs and watch:
        raise ConfigError(
            "--mlflow and --watch exclude each other: each further fold would be a new MLflow run. Log the report when all "
            "runs are finished"
        )


def _show(made: Sequence[Report], form: str, comparing: bool) -> None:
    if form == "json":
        found = [done.as_json() for done in made]
        flags.print_json(found if len(found) > 1 else found[0])
    if form == "parquet":
        from featx.reporting import parquet_bytes

        click.echo(parquet_bytes({done.output.name: done.main for done in made}), nl=False)
    batch.results(done.html for done in made)
    for done in made:
        if form not in ("json", "parquet"):
            _print(done, form, comparing)
        for finding in done.findings:
            batch.say(f"{finding.title}: {finding.lead}")
        for text in done.warnings:
            batch.say(f"warning: {text}")
        for filled, path in zip(done.checklists, done.forms, strict=True):
            batch.say(f"checklist {filled.name}: {filled.told}: {path}")
        click.echo(f"report: {done.html.resolve()}", err=True)


def _print(done: Report, form: str, comparing: bool) -> None:
    from featx.reporting import FORMATS, plain

    pairs = [table for table in done.contents if table.name.startswith("pairs-")] if comparing else []
    write = plain if form == "text" else FORMATS[form][1]
    click.echo("\n".join(write(table) for table in (done.main, *pairs)), nl=False)
