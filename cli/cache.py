"""`featx cache`: upkeep of feature stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from featx.features import ImportSettings

from . import batch, flags
from .bars import progress

_STORES = click.argument("stores", nargs=-1, type=click.Path(path_type=Path))


def _stores(stores: tuple[Path, ...], cache: Path) -> list[Path]:
    from featx.features import find_stores

    if stores:
        return find_stores(stores)
    return find_stores([cache / "features"]) if (cache / "features").is_dir() else []


def _counted(stores: Sequence[Path], task: str) -> Iterator[Path]:
    """Yield stores, and show how many are done."""
    receiver = progress()
    receiver.start(task, len(stores), "stores")
    for path in stores:
        yield path
        receiver.advance()
    receiver.finish()


def _for_each(stores: Iterable[Path], work: Callable[[Path], None]) -> None:
    """Do the same with every store; an error of one does not stop the others."""
    from featx.errors import StoreError

    errors = []
    for path in stores:
        try:
            work(path)
        except StoreError as error:
            errors.append(error)
    for earlier in errors[:-1]:
        batch.say(f"featx: warning: {earlier}")
    if errors:
        raise errors[-1]


@click.group()
def cache() -> None:
    """List, verify, export, import and tidy feature stores.

    STORES are feature stores, or folders that hold some. Default: all stores of the cache.
    """


@cache.command("ls", epilog=flags.example("featx cache ls"))
@_STORES
@flags.CACHE
@flags.JSON
def list_stores(stores: tuple[Path, ...], cache: Path, as_json: bool) -> None:
    """List stores: network, weights, layer, number of images, size."""
    from featx.digest import canonical
    from featx.errors import StoreError
    from featx.features import facts

    rows = []
    for path in _stores(stores, cache):
        try:
            rows.append(facts(path))
        except StoreError as error:
            click.echo(f"featx: warning: {error}", err=True)
    if as_json:
        flags.print_json(canonical(rows))
        return
    for row in rows:
        views = f" x {row.views} views" if row.views > 1 else ""
        click.echo(
            f"{row.path}  {row.backbone}  {row.weights}  {row.layer}  {row.images} images{views} x {row.width}  "
            f"{row.blocks} blocks  {row.bytes / 1e6:.1f} MB"
        )


@cache.command(epilog=flags.example("featx cache verify"))
@_STORES
@flags.CACHE
@batch.recorded
def verify(stores: tuple[Path, ...], cache: Path) -> None:
    """Verify the checksums of every block.

    Prints a line for each damaged block, each block of another format or recipe and each unreadable store. The exit
    code is 1 if there are any.
    """
    from featx.errors import FeatxError, StoreError
    from featx.features import FeatureStore

    paths = _stores(stores, cache)
    damaged = others = 0
    for path in _counted(paths, "verifying"):
        try:
            problems = FeatureStore(path).problems()
        except StoreError as error:
            click.echo(error)
            others += 1
            continue
        for problem in problems:
            click.echo(problem.text)
        damaged += sum(problem.damaged for problem in problems)
        others += sum(not problem.damaged for problem in problems)
    found = f"{damaged} damaged blocks, {others} other problems"
    batch.say(f"{len(paths)} stores read, {found}")
    if damaged or others:
        raise FeatxError(
            f"{found}; `featx cache prune --damaged` removes the damaged blocks and nothing else"
        )


@cache.command(epilog=flags.example("featx cache compact"))
@_STORES
@flags.CACHE
@batch.recorded
def compact(stores: tuple[Path, ...], cache: Path) -> None:
    """Merge the many small blocks of interrupted or sharded extractions.

    Blocks of format 1 are converted to format 2, which has a checksum of the whole file.
    """
    from featx.features import compact as run_compact

    def one(path: Path) -> None:
        before, after = run_compact(path)
        batch.say(f"{path}: {before} blocks before, {after} after")

    _for_each(_counted(_stores(stores, cache), "compacting"), one)


@cache.command(
    epilog=flags.example("featx cache export cache/features/resnet50-imagenet-1f0c2a9b -o features.npz")
)
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(["h5", "npz", "parquet"]), default="npz", show_default=True, help="Format."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Manifest of the images, to export these only, by id and in its order.  [default: all images, by SHA-256]",
)
@flags.ROOT
@flags.CACHE
def export(
    store: Path,
    format: str,
    output: Path,
    manifest: Path | None,
    root: Path | None,
    allow_outside: bool,
    cache: Path,
) -> None:
    """Export the features of a store to one file for other programs."""
    from featx.features import FeatureStore, manifest_keys
    from featx.features import export as run_export

    if manifest is None:
        keys = sorted(FeatureStore(store).keys())
        names = keys
    else:
        names, keys = manifest_keys(manifest, root=root, cache=cache, allow_outside=allow_outside)
    click.echo(run_export(store, output, format, keys, names))


@cache.command(
    "import",
    epilog=flags.example(
        "featx cache import derm.npz --name derm-foundation --manifest lesions.csv --arm derm"
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@flags.of(ImportSettings)
@flags.JSON
@batch.recorded
def import_(files: tuple[Path, ...], as_json: bool, **values: Any) -> None:
    """Make a feature store of features that another program wrote.

    FILE is .npz, .npy (with a CSV of names beside it), .csv, .tsv, .parquet or .h5, or a folder of them. Rows are
    matched with the images of the manifest by id, file name or path. Prints the folder of the store. Nothing is written
    if a row is missing, repeated, not finite or of no image.
    """
    from featx.digest import canonical
    from featx.features import import_features

    done = import_features(files, **flags.given(values), progress=progress())
    left = [
        (len(done.missing), "images without a row"),
        (len(done.unmatched), "rows of no image"),
        (len(done.ignored), "other columns"),
    ]
    apart = "".join(f", {count} {what} left out" for count, what in left if count)
    batch.say(f"{done.images} images x {done.width}, {done.new} of them new{apart}")
    batch.results([done.store])
    if as_json:
        flags.print_json(canonical(done))
    else:
        click.echo(str(done.store))


@cache.command(epilog=flags.example("featx cache prune --damaged --dry-run"))
@_STORES
@click.option(
    "--damaged", is_flag=True, help="Also remove damaged blocks; the next extraction recomputes their images."
)
@click.option(
    "--keep",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Keep only the features of this manifest's images; may be repeated.",
)
@click.option(
    "--exports",
    is_flag=True,
    help="Also remove networks exported to OpenVINO; they are exported again when needed.",
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    default=[Path("reports")],
    show_default=True,
    help="Folder of runs and reports to tidy too; may be repeated.",
)
@flags.ROOT
@flags.CACHE
@flags.DRY_RUN
def prune(
    stores: tuple[Path, ...],
    cache: Path,
    runs: tuple[Path, ...],
    keep: tuple[Path, ...],
    exports: bool,
    root: Path | None,
    allow_outside: bool,
    **given: Any,
) -> None:
    """Remove temporary files that killed processes left behind.

    Files that a running process is writing are kept. Damaged blocks, and images that --keep does not name, are removed
    only while no extraction writes to the store.
    """
    from featx.features import manifest_keys, prune_exports
    from featx.features import prune as run_prune
    from featx.files import remove_leftovers

    place: dict[str, Any] = {"root": root, "cache": cache, "allow_outside": allow_outside}
    wanted = {key for manifest in keep for key in manifest_keys(manifest, **place)[1]} if keep else None
    verb = "would be removed" if given["dry_run"] else "removed"
    if exports:
        count, size = prune_exports(cache, dry_run=given["dry_run"])
        click.echo(f"{cache}: {count} exported networks ({size / 1e6:.0f} MB) {verb}", err=True)

    def one(path: Path) -> None:
        done = run_prune(path, keep=wanted, **given)
        for line in done.left:
            click.echo(f"featx: warning: not removed: {line}", err=True)
        click.echo(
            f"{path}: {len(done.leftovers)} leftovers, {len(done.damaged)} damaged blocks, {done.rows} rows {verb}",
            err=True,
        )

    for folder in runs:
        found = remove_leftovers(folder, below=True, dry_run=given["dry_run"])
        click.echo(f"{folder}: {len(found)} leftovers of runs and reports {verb}", err=True)
    _for_each(_stores(stores, cache), one)
