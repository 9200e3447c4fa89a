"""`featx data`: import, check, preview and fetch data sets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from PIL import Image

    from featx.data import Manifest, ManifestCheck, Picture, SheetRow, SheetSection

_PAIRS_SHOWN = 100


@click.group()
def data() -> None:
    """Import, check, preview and fetch data sets."""


@data.command("import", epilog=flags.example("featx data import isic2016 downloads/isic2016 -o lesions.csv"))
@click.argument("format", required=False)
@click.argument("source", required=False, type=click.Path(path_type=Path))
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Manifest to write (CSV).")
@click.option(
    "--images", type=click.Path(path_type=Path), help="Folder of the images, if not the source's own."
)
@click.option(
    "--missing",
    type=click.Choice(["fail", "leave-out"]),
    default="fail",
    show_default=True,
    help="What missing images lead to. For image files that do not exist: an error, or a manifest without them.",
)
@click.option("--list", "list_formats", is_flag=True, help="List the names and stop: of formats.")
@flags.OVERWRITE
def import_command(
    format: str | None,
    source: Path | None,
    output: Path | None,
    images: Path | None,
    missing: str,
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
        missing="leave-out" if missing == "leave-out" else "fail",
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
    help="Bits of 256 that near duplicates may differ in.  [default: 32]",
)
@click.option("--no-near", is_flag=True, help="Do not look for near duplicates.")
@click.option(
    "--html", type=click.Path(path_type=Path), help="Sheet of samples and near duplicates to write."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=8, show_default=True, help="Samples of each class on it."
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
    near: int | None,
    no_near: bool,
    html: Path | None,
    samples: int,
    seed: int,
    cache: Path,
    workers: int | None,
    as_json: bool,
) -> int:
    """Audit a data set: unreadable images, class counts, copies, near duplicates, leaks between splits, sizes,
    missing groups, labels that may be slips.

    Ends with 1 if something grave was found.
    """
    from featx.data import NEAR, check_manifest, read_manifest, read_task
    from featx.data import as_json as json_of
    from featx.files import write_text
    from featx.images import content_keys

    applied = None if task is None else read_task(task)
    table = read_manifest(
        manifest, root=root, check_files=False, check_groups=False, allow_outside=allow_outside
    )
    receiver = progress()
    keys = content_keys(table.paths, cache=cache, workers=workers, progress=receiver).keys
    bits = None if no_near else NEAR if near is None else near
    check = check_manifest(table, keys, _decode, task=applied, near=bits, workers=workers, progress=receiver)
    if html is not None:
        write_text(html, _check_sheet(table, check, samples, seed))
        click.echo(f"sheet: {html}", err=True)
    if as_json:
        flags.print_json(json_of(check))
    else:
        _print_check(check)
    return int(any(finding.grave for finding in check.findings))


def _decode(path: str, side: int) -> Image.Image:
    from featx.images import decode_image

    return decode_image(Path(path), side=side)


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
        click.echo(f"{'GRAVE ' if finding.grave else ''}{finding.kind}: {finding.text}")
    if not check.findings:
        click.echo("nothing found")


def _check_sheet(manifest: Manifest, check: ManifestCheck, samples: int, seed: int) -> str:
    from featx.data import SheetSection, contact_sheet

    lines = [f"{check.images} images, {check.readable} readable, {check.groups} groups"]
    lines += [f"{'Grave: ' if finding.grave else ''}{finding.text}" for finding in check.findings]
    sections = _sample_sections(manifest, samples, seed)
    if check.near:
        pairs = _pair_rows(manifest, check)
        note = f"Bits of 256 in which the perceptual hashes differ; the first {len(pairs)} of {len(check.near)} pairs."
        sections.append(SheetSection("Near duplicates", note, tuple(pairs)))
    return contact_sheet(f"Check of {manifest.name}", lines, sections)


def _sample_sections(manifest: Manifest, samples: int, seed: int) -> list[SheetSection]:
    import numpy as np

    from featx.data import SheetRow, SheetSection

    sections = []
    for label, rows in manifest.table.groupby("label"):
        rng = np.random.default_rng(seed)
        chosen = rows.sort_values("id").iloc[np.sort(rng.permutation(len(rows))[:samples])]
        pictures = [_picture(path, name) for path, name in zip(chosen["path"], chosen["id"], strict=True)]
        row = SheetRow("", tuple(picture for picture in pictures if picture is not None))
        sections.append(SheetSection(str(label) or "(no label)", f"{len(rows)} images", (row,)))
    return sections


def _pair_rows(manifest: Manifest, check: ManifestCheck) -> list[SheetRow]:
    from featx.data import SheetRow

    table = manifest.table
    known = {
        name: (path, label)
        for name, path, label in zip(table["id"], table["path"], table["label"], strict=True)
    }
    found = []
    for pair in check.near[:_PAIRS_SHOWN]:
        named = [(name, *known[name]) for name in (pair.first, pair.second)]
        pictures = [_picture(path, f"{name}: {label}") for name, path, label in named]
        found.append(
            SheetRow(f"{pair.distance} bits", tuple(picture for picture in pictures if picture is not None))
        )
    return found


def _picture(path: str, caption: str) -> Picture | None:
    """Make a small picture; an image that cannot be read has none, and is among the findings."""
    from featx.data import SIDE, Picture
    from featx.errors import ImageError

    try:
        image = _decode(path, SIDE)
    except ImageError:
        return None
    image.thumbnail((SIDE, SIDE))
    return Picture(caption, image)


@data.command("preview", epilog=flags.example("featx data preview lesions.csv -o preview.html"))
@flags.MANIFEST
@flags.ROOT
@click.option(
    "--preparation",
    "preparations",
    multiple=True,
    help="Which part of an image is resized to the input size; may be repeated.  [default: all preparations]",
)
@click.option("--images", type=click.IntRange(min=1), default=8, show_default=True, help="How many images.")
@click.option("--id", "ids", multiple=True, help="Image to show; repeatable.  [default: chosen by --seed]")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default=Path("preview.html"),
    show_default=True,
    help="HTML to write.",
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
    """Show images before and after their preparation, as a page of pictures."""
    from featx.data import SheetSection, contact_sheet, read_manifest
    from featx.files import write_text
    from featx.images import PREPARATIONS, preparation_key

    names = preparations or tuple(PREPARATIONS)
    versions = [preparation_key(name) for name in names]
    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    rows = tuple(_preview_row(path, name, names) for name, path in _chosen(table, ids, images, seed))
    lines = [
        f"{key['name']}, version {key['version']}: {PREPARATIONS[name].text}"
        for name, key in zip(names, versions, strict=True)
    ]
    write_text(
        output,
        contact_sheet(f"Preparation of {table.name}", lines, [SheetSection("Before and after", "", rows)]),
    )
    click.echo(str(output))


def _chosen(manifest: Manifest, ids: Sequence[str], images: int, seed: int) -> list[tuple[str, str]]:
    import numpy as np

    from featx.errors import ManifestError, listing

    paths = dict(zip(manifest.ids, manifest.paths, strict=True))
    unknown = [name for name in ids if name not in paths]
    if unknown:
        raise ManifestError(f"{manifest.source}: no image {listing(unknown)}; --id takes image ids")
    if ids:
        return [(name, paths[name]) for name in ids]
    names = sorted(paths)
    at = np.sort(np.random.default_rng(seed).permutation(len(names))[:images])
    return [(names[index], paths[names[index]]) for index in at]


def _preview_row(path: str, name: str, preparations: Sequence[str]) -> SheetRow:
    """Show an image with the part that is kept outlined, and what each preparation makes of it."""
    from PIL import Image, ImageDraw

    from featx.data import SIDE, Picture, SheetRow
    from featx.images import PREPARATIONS, decode_image, prepare_image

    image = decode_image(Path(path))
    before = image.copy()
    before.thumbnail((SIDE, SIDE))
    pictures = [Picture(f"before, {image.width}x{image.height}", before)]
    for preparation in preparations:
        outlined = before.copy()
        scale = before.width / image.width
        left, top, right, bottom = (edge * scale for edge in PREPARATIONS[preparation].box(image))
        frame = (left, top, max(right - 1, left), max(bottom - 1, top))
        ImageDraw.Draw(outlined).rectangle(frame, outline=(0, 255, 0))
        after = Image.fromarray(prepare_image(image, preparation, SIDE))
        pictures += [Picture(f"{preparation}: part kept", outlined), Picture(f"{preparation}: after", after)]
    return SheetRow(name, tuple(pictures))


@data.command("fetch", epilog=flags.example("featx data fetch isic2016 -o downloads/isic2016"))
@click.argument("name", required=False)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Folder to put the data set in.")
@click.option("--accept-licence", is_flag=True, help="Accept the licence without being asked.")
@click.option(
    "--list",
    "list_names",
    is_flag=True,
    help="List the names and stop: of open data sets, with their licences.",
)
def fetch_command(name: str | None, output: Path | None, accept_licence: bool, list_names: bool) -> None:
    """Download an open data set of the ISIC archive: NAME --output FOLDER.

    Shows the licence first. A download that broke off goes on where it stopped. Then import it with
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
            raise ConfigError("the licence must be accepted before the download; give --accept-licence")
        click.confirm("Accept this licence and download?", abort=True, err=True)
    fetch_archive(archive, output, progress=progress())
    click.echo(str(output))
    click.echo(f"now: featx data import {archive.format} {output} --output {output}/manifest.csv", err=True)
