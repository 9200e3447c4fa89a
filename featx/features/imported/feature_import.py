"""Import: features of other programs become a feature store, keyed by the content of the images as any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Manifest, read_manifest
from featx.digest import digest, short
from featx.errors import ConfigError, ImageError, InputError, MissingFeaturesError, listing
from featx.features.arm_files import write_arm
from featx.features.feature_recipe import recipe_digest
from featx.features.store import FeatureStore
from featx.images import content_keys
from featx.options import verb
from featx.progress import Silent
from featx.zoo import list_backbones

from .feature_files import FeatureTable, feature_paths, read_feature_files
from .import_settings import ImportSettings
from .row_matching import RowMatch, match_rows

__all__ = ["ImportedFeatures", "import_features"]

# Version of the rules by which rows are read and matched; part of the recipe.
_VERSION = 1
_BLOCK_BYTES = 64 << 20
# Copies of one image in a file may differ by what their place in a batch changes.
_NEAR = 1e-3


@dataclass(frozen=True)
class ImportedFeatures:
    """What an import did.

    Attributes
    ----------
    store : Path
        Folder of the feature store.
    images : int
        Images of the manifest that have a row in the file.
    new : int
        Rows that the store did not have.
    width : int
        Numbers in a row.
    missing : tuple of str
        Ids of images without a row.
    unmatched : tuple of str
        Names of rows that no image of the manifest has.
    ignored : tuple of str
        Columns of the file that are neither names nor features.
    """

    store: Path
    images: int
    new: int
    width: int
    missing: tuple[str, ...]
    unmatched: tuple[str, ...]
    ignored: tuple[str, ...]


@verb(ImportSettings)
def import_features(files: Path | str | Sequence[Path | str], options: ImportSettings) -> ImportedFeatures:
    """Make a feature store of features that another program wrote.

    Rows are matched with the images of a manifest and stored by the content of the images, so that `featx.train_svm`,
    studies and reports use the store as any other. Nothing is written if anything is wrong.

    Parameters
    ----------
    files : Path, str or sequence of them
        Files (.npz, .npy with a CSV of names, .csv, .tsv, .parquet, .h5), or a folder of them; see
        docs/imported-features.md.
    {options}

    Returns
    -------
    ImportedFeatures
        The store, and what was left out.

    Raises
    ------
    InputError
        If a file cannot be read, a number is not finite, a name is repeated, fits no image or several, or an image has
        no row. The message names file, row and value.
    ImageError
        If an image of the manifest cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import draw_dermoscopy
    >>> folder = Path(tempfile.mkdtemp())
    >>> manifest = read_manifest(draw_dermoscopy(folder / "images", images=10, size=16))
    >>> np.savez(folder / "derm.npz", ids=manifest.ids, features=np.ones((10, 3)))
    >>> done = import_features(folder / "derm.npz", name="derm", manifest=manifest.source, cache=folder / "cache")
    >>> done.images, done.width, done.store.name.startswith("derm-imported-")
    (10, 3, True)
    """
    paths = feature_paths([files] if isinstance(files, str | Path) else files)
    _check_name(options.name)
    manifest = read_manifest(options.manifest, root=options.root, allow_outside=options.allow_outside)
    table = read_feature_files(paths, options.pool)
    found = match_rows(table, manifest, in_order=options.in_manifest_order)
    _check_match(table, manifest, found, options)
    keys = _keys(manifest, found, options)
    chosen = _once(table, manifest, found, keys)
    recipe = _recipe(options, paths[0], table, keys)
    cache = Path(options.cache)
    place = cache / "features" / f"{options.name}-imported-{short(recipe_digest(recipe))}"
    store = FeatureStore.open_or_create(place, recipe)
    _check_same(store, table, chosen)
    new = _write(store, table, chosen)
    if options.arm is not None:
        write_arm(cache, options.arm, [store.path])
    return ImportedFeatures(
        store=store.path,
        images=len(found.images),
        new=new,
        width=store.width,
        missing=found.missing,
        unmatched=tuple((table.names or ())[row] for row in found.unmatched),
        ignored=table.ignored,
    )


def _check_name(name: str) -> None:
    if name in {backbone.name for backbone in list_backbones()}:
        raise ConfigError(
            f"The 'name' parameter must not be that of a network of featx, whose cost and layers reports would take. Got "
            f"{name!r}; take {name + '-imported'!r}, for instance"
        )


def _check_match(table: FeatureTable, manifest: Manifest, found: RowMatch, options: ImportSettings) -> None:
    """Refuse rows without an image and images without a row, unless they are allowed."""
    if not found.images:
        first = f", such as {table.names[0]!r}" if table.names else ""
        raise MissingFeaturesError(
            f"{table.source}: none of its {len(table.features)} rows{first} is of an image of {manifest.source}, whose "
            f"ids are such as {manifest.ids[0]!r}; name the rows by id, file name or path"
        )
    if found.unmatched and options.unmatched == "fail":
        rows = [table.row(row) for row in found.unmatched]
        raise InputError(
            f"{table.source}: {len(rows)} of {len(table.features)} rows fit no image of {manifest.source}: "
            f"{listing(rows)}; correct the names, or give --unmatched ignore"
        )
    if found.missing and options.missing == "fail":
        raise MissingFeaturesError(
            f"{table.source}: {len(found.missing)} of {len(manifest)} images of {manifest.source} have no row "
            f"({listing(found.missing)}); add rows for them, or give --missing leave-out"
        )


def _keys(manifest: Manifest, found: RowMatch, options: ImportSettings) -> list[str]:
    """Find the content keys of the matched images."""
    paths = [manifest.paths[image] for image in found.images]
    keys, failures = content_keys(paths, cache=options.cache, progress=options.progress or Silent())
    if failures:
        raise ImageError(str(next(iter(failures.values()))))
    return [keys[path] for path in paths]


def _once(table: FeatureTable, manifest: Manifest, found: RowMatch, keys: Sequence[str]) -> dict[str, int]:
    """Map each content key to its row; byte-identical images must have equal rows."""
    chosen: dict[str, int] = {}
    names: dict[str, str] = {}
    for key, row, image in zip(keys, found.rows, found.images, strict=True):
        first = chosen.setdefault(key, row)
        name = names.setdefault(key, manifest.ids[image])
        if first != row and not _near(table.features[first], table.features[row]):
            raise InputError(
                f"{table.source}: {table.row(first)} and {table.row(row)} differ, although their images {name!r} and "
                f"{manifest.ids[image]!r} are the same file; correct the rows, or the manifest"
            )
    return chosen


def _near(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> bool:
    return bool(np.abs(first - second).max() <= _NEAR * max(float(np.abs(first).max()), 1e-30))


def _recipe(
    options: ImportSettings, source: Path, table: FeatureTable, keys: Sequence[str]
) -> Mapping[str, Any]:
    """State what the rows are: the content of the files decides, not their place."""
    return {
        "kind": "imported",
        "backbone": options.name,
        "weights": table.digest,
        "layer": "",
        "pool": options.pool,
        "width": table.features.shape[2],
        "dtype": table.dtype,
        # Without names the order of the manifest's images decides too.
        "order": digest(list(keys)) if options.in_manifest_order else None,
        "version": _VERSION,
        "weights_label": "imported",
        "weights_source": str(source),
        "lineage": ["imported"],
        "warnings": [
            f"the features of {options.name} were imported; featx does not know which images their network was trained on"
        ],
    }


def _check_same(store: FeatureStore, table: FeatureTable, chosen: Mapping[str, int]) -> None:
    """Compare rows that the store has already with those of the file."""
    lacking = set(store.missing(chosen))
    held = [key for key in chosen if key not in lacking]
    if not held:
        return
    rows = [chosen[key] for key in held]
    differs = (store.read(held) != table.features[rows]).any(axis=(1, 2))
    if differs.any():
        row = table.row(rows[int(differs.argmax())])
        raise InputError(
            f"{table.source}: {row} differs from the row that {store.path} has of its image, because the names or the "
            "manifest were changed; give another --name, or remove that folder"
        )


def _write(store: FeatureStore, table: FeatureTable, chosen: Mapping[str, int]) -> int:
    new = store.missing(chosen)
    step = max(1, _BLOCK_BYTES // (4 * table.features[0].size))
    for start in range(0, len(new), step):
        part = new[start : start + step]
        store.write_block(part, np.ascontiguousarray(table.features[[chosen[key] for key in part]]))
    return len(new)
