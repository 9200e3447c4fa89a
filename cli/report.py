"""`featx report`: tables, figures and a page from finished runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import CONFIG, ROOT, output, print_json
from .progress import progress

if TYPE_CHECKING:
    from featx.reporting.report import Report

__all__ = ["report"]

_FORMATS = ("text", "json", "csv", "latex", "markdown")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@output("reports/report", "Folder for report.html, tables/ and figures/.")
@click.option("--title", help="Heading of the page.")
@click.option(
    "--stratum", "strata", multiple=True, help="Break down by this column (repeatable).  [default: all]"
)
@click.option(
    "--compare", nargs=2, metavar="A B", help="Report these two arms alone, and print how they compare."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(_FORMATS),
    default="text",
    show_default=True,
    help="What to print on stdout: the AUC table, or with json all tables.",
)
@click.option(
    "--thumbnails", is_flag=True, help="Show the most confident mistakes; mind who may see the images."
)
@click.option(
    "--manifest", type=click.Path(path_type=Path), help="Manifest with the image files of --thumbnails."
)
@ROOT
@click.option("--watch", is_flag=True, help="Go on, and report again whenever runs are finished.")
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="Seconds between looks of --watch.",
)
@CONFIG
def report(
    runs: tuple[Path, ...],
    output: Path,
    title: str | None,
    strata: tuple[str, ...],
    compare: tuple[str, str] | None,
    form: str,
    thumbnails: bool,
    manifest: Path | None,
    root: Path | None,
    watch: bool,
    every: float,
) -> None:
    """Report finished RUNS (run folders, or folders that hold some) as tables, figures and one HTML page.

    Reads runs only: no features, no network, and no images but for --thumbnails.
    """
    from featx.errors import ConfigError, FeatxError
    from featx.reporting.report import report as make
    from featx.reporting.watch import changes

    if thumbnails != (manifest is not None):
        raise ConfigError(
            "--thumbnails and --manifest go together: one asks for images, the other says where they are"
        )
    options: dict[str, Any] = {
        "output": output,
        "strata": strata or None,
        "compare": compare,
        "manifest": manifest,
        "root": root,
    }
    if title:
        options["title"] = title
    if not watch:
        _show(make(runs, progress=progress(), **options), form, compare is not None)
        return
    for count in changes(runs, every):
        click.echo(f"{count} finished runs", err=True)
        try:
            _show(make(runs, refresh=every, **options), form, compare is not None)
        except FeatxError as error:
            # A study is under way: what does not fit now may do so with the next run.
            click.echo(f"not yet: {error}", err=True)


def _show(done: Report, form: str, comparing: bool) -> None:
    from featx.reporting.tables import FORMATS, plain

    pairs = [table for table in done.contents if table.name.startswith("pairs-")] if comparing else []
    if form == "json":
        print_json(done.as_json())
    else:
        write = plain if form == "text" else FORMATS[form][1]
        click.echo("\n".join(write(table) for table in (done.main, *pairs)), nl=False)
    for finding in done.findings:
        click.echo(f"{finding.title}: {finding.lead}", err=True)
    for text in done.warnings:
        click.echo(f"warning: {text}", err=True)
    click.echo(f"report: {done.html.resolve()}", err=True)
