"""`featx protocol`: make, show and audit folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import flags
from .bars import progress

if TYPE_CHECKING:
    from featx.data import FoldAudit, Folds, Labelled

_FOLDS = click.argument("folds", type=click.Path(path_type=Path))


@click.group()
def protocol() -> None:
    """Make, show and audit folds: which images train and which test."""


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
    help="Images of a given fold file that the manifest does not hold: refuse them, or drop them aloud.",
)
@click.option("--names-only", is_flag=True, help="Do not read the images; copies are then not kept together.")
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
    absent: str,
    names_only: bool,
    output: Path,
    overwrite: bool,
) -> None:
    """Split MANIFEST into folds and write them to a file.

    Folds are stratified by class and keep groups and byte-identical images together. Published fold lists
    (YAML) and CSV are read as well and written in featx's form.
    """
    from featx.data import apply_task, check_folds, make_folds, read_manifest, write_folds

    stood = output.exists() and not overwrite
    table = read_manifest(manifest, root=root, check_files=not names_only, allow_outside=allow_outside)
    labelled = apply_task(table, task, strict_labels=strict_labels)
    for remark in labelled.remarks:
        click.echo(f"warning: {remark}", err=True)
    keys = None if names_only else _keys(labelled, cache)
    folds = make_folds(labelled, protocol, seed, keys, absent="drop" if absent == "drop" else "fail")
    for warning in check_folds(folds, labelled, keys):
        click.echo(f"note: {warning}", err=True)
    write_folds(output, folds, replace=overwrite)
    click.echo(str(output))
    if stood:
        click.echo(flags.STOOD, err=True)
    click.echo(f"{len(folds.folds)} folds of {len(labelled)} images, digest {folds.digest[:8]}", err=True)


def _keys(labelled: Labelled, cache: Path) -> list[str]:
    from featx.errors import ManifestError, listing
    from featx.images import content_keys

    found = content_keys(labelled.paths, cache=cache, progress=progress())
    if found.failures:
        raise ManifestError(
            f"{len(found.failures)} images cannot be read: {listing(sorted(found.failures))}; mend them, or give "
            "--names-only"
        )
    return [found.keys[path] for path in labelled.paths]


@protocol.command(
    "show",
    epilog=flags.example("featx protocol show folds.json --manifest lesions.csv --task melanoma:rest"),
)
@_FOLDS
@click.option("--manifest", type=click.Path(path_type=Path), help="Manifest of the images, to count classes.")
@flags.TASK
@flags.JSON
def show_command(folds: Path, manifest: Path | None, task: str, as_json: bool) -> None:
    """Show the folds of a file: sizes of the parts, and with --manifest their classes."""
    from featx.data import check_folds, make_folds, read_folds

    if manifest is None:
        found, labelled = read_folds(folds), None
        notes = found.notes
    else:
        labelled = _labelled(manifest, task)
        found = make_folds(labelled, folds)
        notes = check_folds(found, labelled)
    facts = _facts(found, labelled, notes)
    if as_json:
        flags.print_json(facts)
        return
    click.echo(f"protocol {found.protocol}, seed {found.seed}, digest {found.digest}")
    names = [] if labelled is None else [*labelled.task.classes]
    head = (
        "fold",
        "train",
        *(f"train {name}" for name in names),
        "test",
        *(f"test {name}" for name in names),
    )
    flags.print_table([head, *(_cells(row, names) for row in facts["folds"])])
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _labelled(manifest: Path, task: str) -> Labelled:
    from featx.data import apply_task, read_manifest

    return apply_task(read_manifest(manifest, check_files=False, allow_outside=True), task)


def _facts(folds: Folds, labelled: Labelled | None, notes: tuple[str, ...]) -> dict[str, Any]:
    classes = {} if labelled is None else dict(zip(labelled.ids, labelled.classes.tolist(), strict=True))
    rows = []
    for fold in folds.folds:
        row: dict[str, Any] = {"name": fold.name, "train": len(fold.train), "test": len(fold.test)}
        for part, ids in (("train_classes", fold.train), ("test_classes", fold.test)):
            found = [classes[name] for name in ids if name in classes]
            row[part] = {name: found.count(name) for name in sorted(set(classes.values()))}
        rows.append(row)
    return {
        "protocol": folds.protocol,
        "seed": folds.seed,
        "digest": folds.digest,
        "folds": rows,
        "notes": list(notes),
    }


def _cells(row: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    train, test = (
        [row[part], *(row[f"{part}_classes"][name] for name in names)] for part in ("train", "test")
    )
    return (row["name"], *(str(count) for count in (*train, *test)))


@protocol.command("audit", epilog=flags.example("featx protocol audit folds.json"))
@_FOLDS
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="Table of the labelled images.  [default: the CSV of the same name beside the fold file]",
)
@click.option("--groups", type=click.Path(path_type=Path), help="Table that names each image's group.")
@click.option("--group-column", default="group", show_default=True, help="Its column with the groups.")
@click.option(
    "--root",
    type=click.Path(path_type=Path),
    help="Folder that the manifest's image paths are relative to and stay in.",
)
@flags.JSON
def audit_command(
    folds: Path, labels: Path | None, groups: Path | None, group_column: str, root: Path | None, as_json: bool
) -> None:
    """Audit published folds: FOLDS is a fold file, or a folder of YAML lists.

    Finds partitions that repeat, entries that drop out, labelled images in no fold, lists without labels, groups
    and pictures of one lesion in both halves. Ends with 0 whatever is found.
    """
    from featx.data import audit_folds, read_manifest

    known = _groups(groups, group_column) if groups else None
    audits = []
    for path in _fold_files(folds):
        beside = path.with_suffix(".csv")
        table = labels or (beside if beside.is_file() and beside != path else None)
        manifest = read_manifest(table, root=root, check_files=False, allow_outside=True) if table else None
        audits.append(audit_folds(path, manifest, known))
    if as_json:
        flags.print_json([_audit_facts(audit) for audit in audits])
        return
    for audit in audits:
        _print_audit(audit)


def _fold_files(path: Path) -> list[Path]:
    from featx.errors import ProtocolError

    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in {".yml", ".yaml"})
    if not found:
        raise ProtocolError(f"{path}: no fold lists (*.yml) in this folder; give a fold file")
    return found


def _groups(path: Path, column: str) -> dict[str, str]:
    """Read a table of images and their groups."""
    from featx.data import image_name, read_text_table

    table = read_text_table(path, columns=("image", column))
    named = table[table[column] != ""]
    return dict(zip(named["image"].map(image_name), named[column], strict=True))


def _audit_facts(audit: FoldAudit) -> dict[str, Any]:
    return {
        "source": str(audit.source),
        "folds": audit.folds,
        "partitions": audit.partitions,
        "images": audit.images,
        "train": list(audit.train),
        "test": list(audit.test),
        "findings": [
            {"kind": item.kind, "text": item.text, "items": list(item.items)} for item in audit.findings
        ],
    }


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
