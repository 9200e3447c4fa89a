"""`featx protocol`: make, show and audit folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from featx.options import ImageOptions

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from featx.data import FoldAudit

_FOLDS = click.argument("folds", type=click.Path(path_type=Path))


@click.group()
def protocol() -> None:
    """Make, show and audit folds: training and test sets."""


@protocol.command(
    "make",
    epilog=flags.example("featx protocol make lesions.csv --task melanoma:rest --protocol 5x2 -o folds.json"),
)
@flags.MANIFEST
@flags.TASK
@flags.STRICT_LABELS
@flags.PROTOCOL
@flags.SEED
@flags.ROOT
@flags.CACHE
@click.option(
    "--absent",
    type=click.Choice(["fail", "drop"]),
    default="fail",
    show_default=True,
    help="What to do with images of a fold file that the manifest lacks; drop gives a note.",
)
@click.option(
    "--names-only", is_flag=True, help="Do not read the images; identical files are then not kept together."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), required=True, help="Fold file to write (JSON)."
)
@flags.OVERWRITE
@flags.CONFIG
def make_command(
    manifest: Path,
    task: str,
    strict_labels: bool,
    protocol: str,
    seed: int,
    root: Path | None,
    allow_outside: bool,
    cache: Path,
    absent: Literal["fail", "drop"],
    names_only: bool,
    output: Path,
    overwrite: bool,
) -> None:
    """Split MANIFEST into folds and write them to a file.

    Folds are stratified by class. Images of a group, and byte-identical images, stay together. Published fold lists
    (YAML) and CSV files are converted to JSON.
    """
    from featx.data import make_fold_file

    stood = output.exists() and not overwrite
    made = make_fold_file(
        manifest,
        output,
        task=task,
        protocol=protocol,
        seed=seed,
        root=root,
        allow_outside=allow_outside,
        strict_labels=strict_labels,
        absent=absent,
        names_only=names_only,
        cache=cache,
        overwrite=overwrite,
        progress=progress(),
    )
    for warning in made.warnings:
        click.echo(f"warning: {warning}", err=True)
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(str(output))
    if stood:
        click.echo(flags.STOOD, err=True)
    click.echo(
        f"{len(made.folds.folds)} folds of {made.images} images, digest {made.folds.digest[:8]}", err=True
    )


@protocol.command(
    "show",
    epilog=flags.example("featx protocol show folds.json --manifest lesions.csv --task melanoma:rest"),
)
@_FOLDS
@click.option("--manifest", type=click.Path(path_type=Path), help="Manifest of the images, to count classes.")
@flags.TASK
@flags.JSON
def show_command(folds: Path, manifest: Path | None, task: str, as_json: bool) -> None:
    """Show the folds of a file: the sizes of training and test sets, and with --manifest of their classes."""
    from featx.data import describe_folds

    facts = describe_folds(folds, manifest, task=task)
    if as_json:
        flags.print_json(facts)
        return
    click.echo(f"protocol {facts['protocol']}, seed {facts['seed']}, digest {facts['digest']}")
    flags.print_table(_fold_rows(facts["folds"]))
    for note in facts["notes"]:
        click.echo(f"note: {note}", err=True)


def _fold_rows(folds: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    names = list(folds[0]["train_classes"])
    head = (
        "fold",
        *(part for one in ("train", "test") for part in (one, *(f"{one} {name}" for name in names))),
    )
    rows = []
    for fold in folds:
        sizes = (size for one in ("train", "test") for size in (fold[one], *fold[f"{one}_classes"].values()))
        rows.append((fold["name"], *map(str, sizes)))
    return [head, *rows]


@protocol.command("audit", epilog=flags.example("featx protocol audit folds.json"))
@_FOLDS
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Table of the labelled images.  [default: the CSV file of the same name beside the fold file]",
)
@click.option("--groups", type=click.Path(path_type=Path), help="Table with the group of each image.")
@click.option(
    "--group-column", default="group", show_default=True, help="Column of the groups in that table."
)
@flags.of(ImageOptions, only=["root"])
@flags.JSON
def audit_command(
    folds: Path, labels: Path | None, groups: Path | None, group_column: str, root: Path | None, as_json: bool
) -> None:
    """Audit published folds: FOLDS is a fold file, or a folder of YAML lists.

    Finds repeated partitions, entries that scripts drop, labelled images in no fold, lists without labels, and groups
    or images of one lesion in both training and test set. The exit code is 0 whatever is found.
    """
    from featx.data import audit_fold_files
    from featx.digest import canonical

    audits = audit_fold_files(folds, labels=labels, groups=groups, group_column=group_column, root=root)
    if as_json:
        flags.print_json(canonical(audits))
        return
    for audit in audits:
        _print_audit(audit)


def _print_audit(audit: FoldAudit) -> None:
    click.echo(
        f"{audit.source}: {audit.folds} folds, {audit.partitions} distinct partitions, {audit.images} images, "
        f"{_span(audit.train)} train, {_span(audit.test)} test"
    )
    for item in audit.findings:
        click.echo(f"  {item.kind}: {item.text}")
    if not audit.findings:
        click.echo("  nothing found")


def _span(sizes: tuple[int, int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]}"
