"""`featx cache`: upkeep of feature stores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from . import flags

_STORES = click.argument("stores", nargs=-1, type=click.Path(path_type=Path))


def _stores(stores: tuple[Path, ...], cache: Path) -> list[Path]:
    from featx.features import find_stores

    if stores:
        return find_stores(stores)
    return find_stores([cache / "features"]) if (cache / "features").is_dir() else []


def _for_each(stores: list[Path], work: Callable[[Path], None]) -> None:
    """Do the same with every store; one that cannot be used stops none of the others."""
    from featx.errors import StoreError

    errors = []
    for path in stores:
        try:
            work(path)
        except StoreError as error:
            errors.append(error)
    for earlier in errors[:-1]:
        click.echo(f"featx: warning: {earlier}", err=True)
    if errors:
        raise errors[-1]


@click.group()
def cache() -> None:
    """List, check and tidy feature stores.

    STORES are folders of stores, or folders that hold some; all stores of the cache if none are given.
    """


@cache.command("ls")
@_STORES
@flags.CACHE
@flags.JSON
def list_stores(stores: tuple[Path, ...], cache: Path, as_json: bool) -> None:
    """List stores with what they hold."""
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


@cache.command()
@_STORES
@flags.CACHE
def verify(stores: tuple[Path, ...], cache: Path) -> None:
    """Read every block against its checksums.

    Prints a line for each damaged block, each block of another format or recipe and each unreadable store, and exits
    1 if there are any.
    """
    from featx.errors import FeatxError, StoreError
    from featx.features import FeatureStore

    paths = _stores(stores, cache)
    damaged = others = 0
    for path in paths:
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
    click.echo(f"{len(paths)} stores read, {found}", err=True)
    if damaged or others:
        raise FeatxError(
            f"{found}; `featx cache prune --damaged` removes damaged blocks, and leaves all else"
        )


@cache.command()
@_STORES
@flags.CACHE
def compact(stores: tuple[Path, ...], cache: Path) -> None:
    """Join the many small blocks of interrupted or sharded extractions.

    Blocks of the former format are written in the present one, which has a checksum of the whole file.
    """
    from featx.features import compact as run_compact

    def one(path: Path) -> None:
        before, after = run_compact(path)
        click.echo(f"{path}: {before} blocks before, {after} after", err=True)

    _for_each(_stores(stores, cache), one)


@cache.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option(
    "--format", type=click.Choice(["h5", "npz", "parquet"]), default="npz", show_default=True, help="Format."
)
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    help="Export its images, by id and in its order.  [default: all]",
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
    """Write a store's features as one file for other programs.

    Without a manifest, images are named by the SHA-256 of their bytes.
    """
    from featx.features import FeatureStore
    from featx.features import export as run_export

    if manifest is None:
        keys = sorted(FeatureStore(store).keys())
        names = keys
    else:
        names, keys = _named_keys(manifest, root, cache, allow_outside)
    click.echo(run_export(store, output, format, keys, names))


def _named_keys(
    manifest: Path, root: Path | None, cache: Path, allow_outside: bool
) -> tuple[list[str], list[str]]:
    from featx.data import read_manifest
    from featx.errors import ImageError
    from featx.images import content_keys

    table = read_manifest(manifest, root=root, allow_outside=allow_outside)
    found = content_keys(table.paths, cache=cache)
    if found.failures:
        raise ImageError(str(next(iter(found.failures.values()))))
    return table.ids, [found.keys[path] for path in table.paths]


@cache.command()
@_STORES
@click.option(
    "--damaged", is_flag=True, help="Remove damaged blocks too; extract then computes their images again."
)
@click.option(
    "--keep",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Manifest whose images stay while all others go; may be repeated.",
)
@click.option(
    "--exports", is_flag=True, help="Remove networks exported to OpenVINO; they are made again when needed."
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    default=[Path("reports")],
    show_default=True,
    help="Folder of runs and reports to look at too; may be repeated.",
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
    """Remove what killed processes left behind.

    What a living process is writing stays. Damaged blocks and the images that --keep does not name are removed only
    while nobody extracts into the store.
    """
    from featx.features import prune as run_prune
    from featx.features import prune_exports
    from featx.files import remove_leftovers

    wanted = (
        {key for manifest in keep for key in _named_keys(manifest, root, cache, allow_outside)[1]}
        if keep
        else None
    )
    verb = "would be removed" if given["dry_run"] else "removed"
    if exports:
        count, size = prune_exports(cache, dry_run=given["dry_run"])
        click.echo(f"{cache}: {count} exported networks ({size / 1e6:.0f} MB) {verb}", err=True)

    def one(path: Path) -> None:
        done = run_prune(path, keep=wanted, **given)
        for line in done.left:
            click.echo(f"featx: warning: left: {line}", err=True)
        click.echo(
            f"{path}: {len(done.leftovers)} leftovers, {len(done.damaged)} damaged blocks, {done.rows} rows {verb}",
            err=True,
        )

    for folder in runs:
        found = remove_leftovers(folder, below=True, dry_run=given["dry_run"])
        click.echo(f"{folder}: {len(found)} leftovers of runs and reports {verb}", err=True)
    _for_each(_stores(stores, cache), one)
