"""`featx data`: import, check, preview and download data sets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from featx.data import ManifestCheck


@click.group()
def data() -> None:
    """Import, check, preview and download data sets."""


@data.command("import", epilog=flags.example("featx data import isic2016 downloads/isic2016 -o lesions.csv"))
@click.argument("format", required=False)
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Manifest to write (CSV).")
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of the images.  [default: the source's folder]"
)
@click.option(
    "--missing",
    type=click.Choice(["fail", "leave-out"]),
    default="fail",
    show_default=True,
    help="What missing images lead to. For image files that do not exist: an error, or a manifest without them.",
)
@click.option("--list", "list_formats", is_flag=True, help="List the formats and stop.")
@flags.OVERWRITE
def import_command(
    format: str | None,
    source: Path | None,
    output: Path | None,
    images: Path | None,
    missing: Literal["fail", "leave-out"],
    list_formats: bool,
    overwrite: bool,
) -> None:
    """Write the manifest of a published data set: FORMAT SOURCE --output manifest.csv."""
    from featx.data import IMPORTERS, import_dataset
    from featx.errors import listing

    if list_formats:
        flags.print_table(
            [("format", "data set", "source"), *((row.name, row.title, row.expects) for row in IMPORTERS)]
        )
        return
    if format is None or source is None or output is None:
        raise click.UsageError("give FORMAT, SOURCE and --output; --list shows the formats")
    stood = output.exists() and not overwrite
    done = import_dataset(
        format,
        source,
        output,
        images=images,
        missing=missing,
        replace=overwrite,
    )
    click.echo(str(done.manifest))
    if stood:
        click.echo(flags.STOOD, err=True)
    left = f", {len(done.left_out)} left out: {listing(done.left_out)}" if done.left_out else ""
    labels = ", ".join(f"{label} {count}" for label, count in done.labels.items())
    click.echo(f"{done.images} images: {labels}{left}", err=True)


@data.command(
    "check",
    epilog=flags.example("featx data check lesions.csv --task melanoma:rest --html check.html"),
)
@flags.MANIFEST
@flags.ROOT
@click.option(
    "--task", help="Named task, TOML file, or POSITIVE:NEGATIVE, whose use of the labels is checked too."
)
@click.option(
    "--near",
    type=click.IntRange(0, 128),
    default=32,
    show_default=True,
    help="Bits of 256 that near duplicates may differ in.",
)
@click.option("--no-near", is_flag=True, help="Do not look for near duplicates.")
@click.option(
    "--html",
    type=click.Path(path_type=Path),
    help="HTML page to write, with samples of each label and near duplicates.",
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Samples of each label on it."
)
@flags.SEED
@flags.CACHE
@flags.WORKERS
@flags.JSON
def check_command(
    manifest: Path,
    root: Path | None,
    allow_outside: bool,
    task: str | None,
    near: int,
    no_near: bool,
    html: Path | None,
    samples: int,
    seed: int,
    cache: Path,
    workers: int | None,
    as_json: bool,
) -> int:
    """Check a data set: unreadable images, duplicates, groups across splits, missing groups, doubtful labels.

    Prints the number of images of each label and size, then errors and warnings. The exit code is 1 if there are
    errors.
    """
    from featx.data import check_manifest, read_manifest, write_check_page

    table = read_manifest(
        manifest, root=root, check_files=False, check_groups=False, allow_outside=allow_outside
    )
    bits = None if no_near else near
    check = check_manifest(table, task=task, near=bits, cache=cache, workers=workers, progress=progress())
    if html is not None:
        write_check_page(html, table, check, samples=samples, seed=seed)
        click.echo(f"page: {html}", err=True)
    if as_json:
        flags.print_json(check.to_dict())
    else:
        _print_check(check)
    return int(any(finding.severity == "error" for finding in check.findings))


def _print_check(check: ManifestCheck) -> None:
    click.echo(f"{check.source}: {check.images} images, {check.readable} readable, {check.groups} groups")
    splits = list(check.splits)
    rows = [
        (label or "(none)", str(count), *(str(check.splits[split].get(label, 0)) for split in splits))
        for label, count in check.classes.items()
    ]
    flags.print_table([("label", "images", *splits), *rows])
    sizes = list(check.sizes.items())
    shown = ", ".join(f"{size} ({count})" for size, count in sizes[:5])
    click.echo(f"sizes: {shown}{f' and {len(sizes) - 5} more' if len(sizes) > 5 else ''}")
    for finding in check.findings:
        click.echo(f"{finding.severity}: {finding.kind}: {finding.text}")
    if not check.findings:
        click.echo("no errors, no warnings")


@data.command("preview", epilog=flags.example("featx data preview lesions.csv -o preview.html"))
@flags.MANIFEST
@flags.ROOT
@click.option(
    "--preparation",
    "preparations",
    multiple=True,
    help="Which part of an image is resized to the input size; may be repeated.  [default: all preparations]",
)
@click.option("--images", type=click.IntRange(min=1), default=8, show_default=True, help="Number of images.")
@click.option("--id", "ids", multiple=True, help="Image to show; repeatable.  [default: chosen by --seed]")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("preview.html"),
    show_default=True,
    help="HTML page to write.",
)
@flags.SEED
def preview_command(
    manifest: Path,
    root: Path | None,
    allow_outside: bool,
    preparations: tuple[str, ...],
    images: int,
    ids: tuple[str, ...],
    output: Path,
    seed: int,
) -> None:
    """Write an HTML page that shows images before and after their preparation."""
    from featx.data import read_manifest, write_preparation_page

    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    write_preparation_page(output, table, preparations=preparations, ids=ids, images=images, seed=seed)
    click.echo(str(output))


@data.command("fetch", epilog=flags.example("featx data fetch isic2016 -o downloads/isic2016"))
@click.argument("name", required=False)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to put the data set in.")
@click.option("--accept-licence", is_flag=True, help="Accept the licence without being asked.")
@click.option(
    "--list",
    "list_names",
    is_flag=True,
    help="List the open data sets with their licences and stop.",
)
def fetch_command(name: str | None, output: Path | None, accept_licence: bool, list_names: bool) -> None:
    """Download an open data set of the ISIC archive: NAME --output FOLDER.

    Shows the licence first. An interrupted download is resumed. Afterwards, import the data set with
    `featx data import`.
    """
    from featx.data import archives, fetch_archive, find_archive
    from featx.errors import ConfigError

    if list_names:
        rows = [(row.name, row.title, row.licence) for row in archives().values()]
        flags.print_table([("name", "data set", "licence"), *rows])
        return
    if name is None or output is None:
        raise click.UsageError("give NAME and --output; --list shows the open data sets")
    archive = find_archive(name)
    click.echo(f"{archive.title}\nlicence: {archive.licence}\nplease cite: {archive.cite}", err=True)
    if not accept_licence:
        if not sys.stdin.isatty():
            raise ConfigError("accept the licence before the download: give --accept-licence")
        click.confirm("Accept this licence and download?", abort=True, err=True)
    fetch_archive(archive, output, progress=progress())
    click.echo(str(output))
    click.echo(f"next: featx data import {archive.format} {output} --output {output}/manifest.csv", err=True)
