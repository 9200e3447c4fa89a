"""`featx report`: tables, figures and a page from finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .bars import progress
from .flags import CACHE, CONFIG, ROOT, print_json

if TYPE_CHECKING:
    from featx.reporting import Report

__all__ = ["report"]

_FORMATS = ("text", "json", "csv", "latex", "markdown")


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Folder for report.html, tables/ and figures/.  [default: reports/report; of a study, its folder]",
)
@click.option("--title", help="Heading of the page.")
@click.option(
    "--stratum", "strata", multiple=True, help="Break down by this column (repeatable).  [default: all]"
)
@click.option(
    "--compare", nargs=2, metavar="A B", help="Report these two arms alone, and print how they compare."
)
@click.option(
    "--planned",
    multiple=True,
    metavar="A:B",
    help="A comparison planned before the results were seen (repeatable), A minus B: corrected among the planned "
    "ones alone and stated first; all other pairs are exploratory.  [default: those of the study file]",
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
    "--manifest",
    type=click.Path(path_type=Path),
    help="Manifest with the image files of --thumbnails; a study knows its own.",
)
@click.option(
    "--saliency",
    type=click.Path(path_type=Path),
    help="Show the maps that `featx saliency` has written to this folder.",
)
@click.option(
    "--prevalence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="State predictive values at this share of positives.  [default: that of the training part]",
)
@ROOT
@CACHE
@click.option(
    "--figures/--no-figures", default=None, help="Draw figures, which takes most of the time.  [default: yes]"
)
@click.option("--watch", is_flag=True, help="Go on, and report again whenever runs are finished.")
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    default=10,
    show_default=True,
    help="Seconds between looks of --watch.",
)
@CONFIG
def report(runs: tuple[str, ...], form: str, watch: bool, every: float, **options: Any) -> None:
    """Report finished RUNS as tables, figures and one HTML page.

    RUNS are run folders or folders that hold some; or one study: its file, its folder, or the name of a shipped
    one. Of runs nothing else is read: no features, no network, and no images but for --thumbnails.
    """
    from featx.errors import FeatxError
    from featx.reporting import changes
    from featx.study import report as work
    from featx.study import watched

    comparing = options["compare"] is not None
    options = {name: value for name, value in options.items() if value not in (None, ())}
    if not watch:
        _show(work(runs, progress=progress(), **options), form, comparing)
        return
    for count in changes(watched(runs), every):
        click.echo(f"{count} finished runs", err=True)
        try:
            _show(work(runs, refresh=every, **options), form, comparing)
        except FeatxError as error:
            # A study is under way: what does not fit now may do so with the next run.
            click.echo(f"not yet: {error}", err=True)


def _show(made: Sequence[Report], form: str, comparing: bool) -> None:
    if form == "json":
        found = [done.as_json() for done in made]
        print_json(found if len(found) > 1 else found[0])
    for done in made:
        if form != "json":
            _print(done, form, comparing)
        for finding in done.findings:
            click.echo(f"{finding.title}: {finding.lead}", err=True)
        for text in done.warnings:
            click.echo(f"warning: {text}", err=True)
        click.echo(f"report: {done.html.resolve()}", err=True)


def _print(done: Report, form: str, comparing: bool) -> None:
    from featx.reporting import FORMATS, plain

    pairs = [table for table in done.contents if table.name.startswith("pairs-")] if comparing else []
    write = plain if form == "text" else FORMATS[form][1]
    click.echo("\n".join(write(table) for table in (done.main, *pairs)), nl=False)
