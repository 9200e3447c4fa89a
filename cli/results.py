"""`featx results`: the results table that is shipped with featx, and one's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import batch, flags

__all__ = ["results"]

_SHOWN = (
    "dataset",
    "task",
    "split",
    "arm",
    "transfer",
    "backbone",
    "auc",
    "low",
    "high",
    "images_per_second",
)
_FILE = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="Results file (CSV). Default: the rows that are shipped with featx.",
)


@click.group()
def results() -> None:
    """Show measured AUC of backbones on published data sets, and add one's own."""


@results.command("show", epilog=flags.example("featx results show --where dataset=isic2017"))
@click.option(
    "--where",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Keep the rows with this value of a column, such as dataset=isic2017; may be repeated.",
)
@_FILE
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "csv", "json")),
    default="text",
    show_default=True,
    help="Format, of the table on stdout; csv and json have all columns.",
)
def show_results(path: Path | None, form: str, where: tuple[str, ...]) -> None:
    """Show the results table, best AUC first."""
    from featx.errors import InputError
    from featx.results import read_results

    if odd := [one for one in where if "=" not in one]:
        raise InputError(f"--where {odd[0]!r} is not COLUMN=VALUE; give one such as dataset=isic2017")
    table = read_results(path, **dict(one.split("=", 1) for one in where))
    if form == "csv":
        click.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    elif form == "json":
        click.echo(table.to_json(orient="records", indent=2))
    else:
        flags.print_table(
            [_SHOWN, *(tuple(map(_cell, row)) for row in table[list(_SHOWN)].itertuples(index=False))]
        )


def _cell(value: Any) -> str:
    if value != value or value is None:
        return ""
    return (
        f"{value:.3f}"
        if isinstance(value, float) and value < 1
        else f"{value:.0f}"
        if isinstance(value, float)
        else str(value)
    )


@results.command(
    "add", epilog=flags.example("featx results add reports/runs --dataset isic2017 --file results.csv")
)
@click.argument("runs", nargs=-1, required=True)
@click.option("--dataset", required=True, help="Name of the data set of the runs.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default="results.csv",
    show_default=True,
    help="Results file (CSV) to add to.",
)
@click.option(
    "--command", default="", help="Command, or study file, that makes the runs; for readers of the table."
)
def add_command(runs: tuple[str, ...], dataset: str, path: Path, command: str) -> None:
    """Add finished RUNS, or the folder of a study, to a results file.

    Each arm becomes a row for each task, with the digests of its folds, weights, recipe and settings. Runs with missing
    folds, and runs of several data sets at once, are refused. Rows that the file has already are left.
    """
    from featx.results import add_results

    done = add_results(runs, dataset, path=path, command=command)
    for text in done.warnings:
        batch.say(f"warning: {text}")
    click.echo(f"{done.path}: {done.added} rows added, {done.known} were there already")


@results.command("page", epilog=flags.example("featx results page -o results.html"))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default="results.html",
    show_default=True,
    help="HTML page to write.",
)
@_FILE
def page_command(output: Path, path: Path | None) -> None:
    """Write the results table as a page with a filter, and AUC against cost as a figure."""
    from featx.results import write_results_page

    click.echo(write_results_page(output, path))
