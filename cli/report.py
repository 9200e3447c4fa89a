"""`featx report`: tables, figures and a page from finished runs."""

from __future__ import annotations

from pathlib import Path

import click

from .options import CONFIG, output
from .progress import progress

__all__ = ["report"]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@output("reports/report", "Folder for report.html, tables/ and figures/.")
@click.option("--title", help="Heading of the page.")
@click.option(
    "--stratum", "strata", multiple=True, help="Break down by this column (repeatable).  [default: all]"
)
@CONFIG
def report(runs: tuple[Path, ...], output: Path, title: str | None, strata: tuple[str, ...]) -> None:
    """Report finished RUNS (run folders, or folders that hold some) as tables, figures and one HTML page.

    Prints the AUC table on stdout. Reads runs only: no images, no features, no network.
    """
    from featx.reporting.report import report as make

    named = {"title": title} if title else {}
    done = make(runs, output=output, strata=strata or None, progress=progress(), **named)
    click.echo(done.text)
    for finding in done.findings:
        click.echo(f"{finding.title}: {finding.lead}", err=True)
    for text in done.warnings:
        click.echo(f"warning: {text}", err=True)
    click.echo(f"report: {done.html.resolve()}", err=True)
