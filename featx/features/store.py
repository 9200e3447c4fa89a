"""The feature store: a folder with a recipe and immutable blocks, read by the content of images.

A row is keyed by the SHA-256 of an image's bytes, not by its path: moved or duplicated files hit, changed files
miss, and new images are added without computing anything again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.digest import differing
from featx.documents import parse_json, read_text
from featx.errors import MissingFeaturesError, StaleStoreError, StoreError, listing
from featx.features.blocks import (
    BlockProblem,
    Features,
    check_block,
    read_features,
    read_index,
    write_block,
)
from featx.features.feature_recipe import FORMAT, Recipe, recipe_digest, recipe_key
from featx.files import ASIDE, write_json

if TYPE_CHECKING:
    from featx.data import Manifest

__all__ = ["COST", "RECIPE", "TRAINED_ON", "FeatureStore", "find_stores"]

RECIPE = "recipe.json"
TRAINED_ON = "trained-on.json"
COST = "cost.json"
# Bytes of a record: the keys of a million images that weights were trained on have 67 MB.
_RECORD_LIMIT = 2**27
_BLOCKS = "block-*.h5"
_ATTEMPTS = 100


class FeatureStore:
    """Features of one recipe.

    Parameters
    ----------
    path : Path or str
        Folder of a store.

    Attributes
    ----------
    path : Path
        The folder.
    recipe : dict
        All fields of the recipe, in JSON types.
    digest : str
        SHA-256 of the fields that decide a feature's value.

    Raises
    ------
    StoreError
        If there is no store, or its recipe cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe = _read_recipe(self.path)
        self.digest = recipe_digest(self.recipe)
        # Block name -> its keys, and key -> (block name, row). Blocks never change, so that each is read once.
        self._blocks: dict[str, list[str]] = {}
        self._rows: dict[str, tuple[str, int]] = {}
        self._shape = (0, 0)

    @classmethod
    def create(cls, path: Path | str, recipe: Recipe | Mapping[str, Any]) -> FeatureStore:
        """Make an empty store.

        Parameters
        ----------
        path : Path or str
            Folder, which must not hold a store yet.
        recipe : Recipe or mapping
            What its features follow; a mapping holds the fields of `Recipe`.

        Returns
        -------
        FeatureStore
            The store.

        Raises
        ------
        StoreError
            If a store stands there already.
        """
        folder = Path(path)
        if (folder / RECIPE).exists():
            raise StoreError(f"{folder}: a store stands here already; open it, or give another folder")
        record = recipe.record() if isinstance(recipe, Recipe) else dict(recipe)
        write_json(
            folder / RECIPE,
            {"format": FORMAT, **record, "digest": recipe_digest({"format": FORMAT, **record})},
        )
        return cls(folder)

    @classmethod
    def open_or_create(cls, path: Path | str, recipe: Recipe | Mapping[str, Any]) -> FeatureStore:
        """Open the store of a recipe, or make it.

        Parameters
        ----------
        path : Path or str
            Folder.
        recipe : Recipe or mapping
            What its features have to follow.

        Returns
        -------
        FeatureStore
            The store.

        Raises
        ------
        StaleStoreError
            If a store of another recipe stands there; the message names the fields that differ.
        """
        folder = Path(path)
        if not (folder / RECIPE).exists():
            return cls.create(folder, recipe)
        store = cls(folder)
        wanted = recipe.key() if isinstance(recipe, Recipe) else {"format": FORMAT, **recipe_key(recipe)}
        lines = differing(wanted, recipe_key(store.recipe))
        if lines:
            raise StaleStoreError(
                f"{folder}: holds features of another recipe ({listing(lines, 3)}); "
                "extract into another cache, or remove this folder"
            )
        return store

    @property
    def width(self) -> int:
        """Numbers in a feature vector; 0 for an empty store."""
        self.refresh()
        return self._shape[1]

    @property
    def views(self) -> int:
        """Rows kept for an image, 1 without views or when they are averaged; 0 for an empty store."""
        self.refresh()
        return self._shape[0]

    def blocks(self) -> list[Path]:
        """List the blocks.

        Returns
        -------
        list of Path
            Sorted by name.
        """
        return sorted(self.path.glob(_BLOCKS))

    def refresh(self) -> None:
        """Take in what other writers have added or compacted.

        Raises
        ------
        StoreError
            If a new block is damaged; the message names it.
        """
        # A listing made while blocks are compacted may hold neither the old ones nor the new one: what was taken in
        # has to be listed once more.
        for _ in range(_ATTEMPTS):
            names = [path.name for path in self.blocks()]
            if set(names) == set(self._blocks):
                return
            self._take_in(names)

    def _take_in(self, names: Sequence[str]) -> None:
        found: dict[str, list[str]] = {}
        for name in names:
            if name in self._blocks:
                found[name] = self._blocks[name]
                continue
            try:
                found[name], shape = read_index(self.path / name, self.digest)
            except FileNotFoundError:
                continue  # compacted meanwhile: its rows stand in a block that the next listing holds
            self._check_shape(shape, self.path / name)
            self._shape = shape
        self._blocks = found
        self._rows = {key: (name, row) for name, keys in found.items() for row, key in enumerate(keys)}

    def _check_shape(self, shape: tuple[int, ...], what: Path) -> None:
        if self._shape not in ((0, 0), shape):
            raise StoreError(
                f"{what}: rows of shape {shape} (views, width) beside rows of shape {self._shape}; "
                "extract into another cache"
            )

    def keys(self) -> frozenset[str]:
        """Name the images that have features.

        Returns
        -------
        frozenset of str
            SHA-256 of the images' bytes.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        self.refresh()
        return frozenset(self._rows)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Name the images that have no features yet.

        Parameters
        ----------
        keys : iterable of str
            SHA-256 of images' bytes; may repeat.

        Returns
        -------
        list of str
            Those without a row, each once, in the order given.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        self.refresh()
        return [key for key in dict.fromkeys(keys) if key not in self._rows]

    def read(self, keys: Sequence[str]) -> Features:
        """Read features by the content of images.

        Parameters
        ----------
        keys : sequence of str
            SHA-256 of images' bytes, in any order; may repeat.

        Returns
        -------
        ndarray of float32, shape (n, views, width)
            In the order of the keys. Blocks are read as a whole, one at a time.

        Raises
        ------
        MissingFeaturesError
            If images have no row.
        StoreError
            If a block is damaged; the message names it.
        """
        for _ in range(_ATTEMPTS):
            lacking = self.missing(keys)
            if lacking:
                raise MissingFeaturesError(
                    f"{self.path}: {len(lacking)} of {len(set(keys))} images have no features here "
                    f"(first: {listing([key[:12] for key in lacking], 3)}); extract them first"
                )
            try:
                return self._read_rows(keys)
            except FileNotFoundError:  # compacted between listing and reading: its rows stand elsewhere
                continue
        raise StoreError(
            f"{self.path}: its blocks are replaced faster than they can be read; try again when nobody compacts or prunes"
        )

    def _read_rows(self, keys: Sequence[str]) -> Features:
        wanted: dict[str, tuple[list[int], list[int]]] = {}
        for place, key in enumerate(keys):
            name, row = self._rows[key]
            places, rows = wanted.setdefault(name, ([], []))
            places.append(place)
            rows.append(row)
        result = np.empty((len(keys), *self._shape), np.float32)
        for name in sorted(wanted):
            places, rows = wanted[name]
            result[places] = read_features(self.path / name, self.digest)[rows]
        return result

    def read_images(
        self,
        manifest: Manifest | Path | str,
        ids: Sequence[str] | None = None,
        cache: Path | str | None = None,
        root: Path | str | None = None,
    ) -> Features:
        """Read features by image ids.

        Parameters
        ----------
        manifest : Manifest, Path or str
            Names the images' files.
        ids : sequence of str, optional
            Image ids, in any order; may repeat. Default: all, in the manifest's order.
        cache : Path or str, optional
            Cache folder whose table of known files saves hashing them again. Default: none.
        root : Path or str, optional
            Folder that the manifest's image paths are relative to.

        Returns
        -------
        ndarray of float32, shape (n, views, width)
            In the order of the ids.

        Raises
        ------
        MissingFeaturesError
            If images have no row, or their files cannot be read; the message names their ids.
        StoreError
            If an id is unknown, or a block is damaged; the message names it.
        """
        from featx.data import read_manifest
        from featx.images import content_keys

        table = read_manifest(manifest, root=root)
        paths = dict(zip(table.ids, table.paths, strict=True))
        wanted = list(table.ids if ids is None else ids)
        unknown = [name for name in dict.fromkeys(wanted) if name not in paths]
        if unknown:
            raise StoreError(f"{table.source}: no image with id {listing(unknown)}; ids are in the id column")
        known, _ = content_keys(
            [paths[name] for name in dict.fromkeys(wanted)], cache=Path(cache) if cache else None
        )
        have = self.keys()
        lacking = [name for name in dict.fromkeys(wanted) if known.get(paths[name]) not in have]
        if lacking:
            raise MissingFeaturesError(
                f"{self.path}: {len(lacking)} of {len(set(wanted))} images of {table.source} have no features here "
                f"(first: {listing(lacking, 3)}); run `featx extract` on them first"
            )
        return self.read([known[paths[name]] for name in wanted])

    def train_keys(self) -> frozenset[str] | None:
        """Name the images that the weights of this store were fine-tuned on.

        Returns
        -------
        frozenset of str or None
            SHA-256 of the images that training or validation saw; None for weights that were not fine-tuned here.

        Raises
        ------
        StoreError
            If the record of fine-tuned weights is missing or unreadable.
        """
        path = self.path / TRAINED_ON
        if not path.exists() and not self.recipe.get("trained_on"):
            return None
        return frozenset(_read_json(path)["train_keys"])

    @property
    def cost(self) -> dict[str, Any] | None:
        """What the features cost: the facts of `write_cost`; None where they were not written down."""
        path = self.path / COST
        return _read_json(path) if path.exists() else None

    def write_cost(self, facts: Mapping[str, Any]) -> None:
        """Write down what the features cost, outside the recipe, since a speed differs from run to run.

        Parameters
        ----------
        facts : mapping
            JSON types: ``parameters`` and ``multiply_adds`` (of one pass over one image) of the network up to this
            layer; of the latest extraction that computed rows here ``images_per_second`` (reading and forward pass as
            they ran; None if none was computed yet), ``device``, ``engine`` and ``networks`` (that shared the pass,
            and so its time).
        """
        write_json(self.path / COST, dict(facts))

    def write_block(self, keys: Sequence[str], features: Features) -> Path:
        """Add rows as one block, whole or not at all.

        Parameters
        ----------
        keys : sequence of str
            SHA-256 of images' bytes, each once.
        features : ndarray of float32, shape (rows, views, width)
            Finite features, in the order of the keys.

        Returns
        -------
        Path
            The block.

        Raises
        ------
        StoreError
            If keys and features do not fit each other or the rows that stand, or a feature is not finite.
        OSError
            If the disk refuses.
        """
        self._check_shape(features.shape[1:], self.path)
        # The index takes the block in when it is next asked for, so that a long extraction holds none.
        self._shape = (features.shape[1], features.shape[2])
        return write_block(self.path, self.digest, keys, features)

    def discard(self, keys: Iterable[str]) -> int:
        """Remove rows: blocks that hold some are written again without them.

        Rows that are written or moved by compaction at the same time may stay; the next call removes them.

        Parameters
        ----------
        keys : iterable of str
            SHA-256 of images' bytes.

        Returns
        -------
        int
            Rows removed.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        self.refresh()
        unwanted, removed = frozenset(keys), 0
        for name, held in list(self._blocks.items()):
            kept = [row for row, key in enumerate(held) if key not in unwanted]
            if len(kept) == len(held):
                continue
            if kept:
                try:
                    features = read_features(self.path / name, self.digest)[kept]
                except FileNotFoundError:
                    continue  # compacted meanwhile: the next pruning finds its rows in another block
                write_block(self.path, self.digest, [held[row] for row in kept], features)
            (self.path / name).unlink(missing_ok=True)
            removed += len(held) - len(kept)
        self.refresh()
        return removed

    def problems(self) -> list[BlockProblem]:
        """Read every block against its checksums.

        Returns
        -------
        list of BlockProblem
            What is wrong with each block that cannot be used; empty for a sound store.
        """
        found = [check_block(path, self.digest) for path in self.blocks()]
        return [problem for problem in found if problem is not None]

    def verify(self) -> list[str]:
        """Say in words which blocks cannot be used.

        Returns
        -------
        list of str
            One line for each, naming it; empty for a sound store.
        """
        return [problem.text for problem in self.problems()]


def _read_recipe(folder: Path) -> dict[str, Any]:
    if not (folder / RECIPE).is_file():
        raise StoreError(
            f"{folder}: no feature store, it has no {RECIPE}; give a folder that `featx extract` has printed"
        )
    record = _read_json(folder / RECIPE)
    if record.get("format") != FORMAT:
        raise StoreError(
            f"{folder}: store format {record.get('format')!r}, this featx reads {FORMAT}; extract again"
        )
    if record.get("digest") != recipe_digest(record):
        raise StoreError(f"{folder / RECIPE}: was changed by hand; restore it, or extract into another cache")
    return record


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text(path, _RECORD_LIMIT))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}); restore it, or extract into another cache"
        ) from error
    if not isinstance(value, dict):
        raise StoreError(f"{path}: holds no record; restore it, or extract into another cache")
    return value


def find_stores(paths: Iterable[Path | str]) -> list[Path]:
    """Find the stores at or below some folders.

    Parameters
    ----------
    paths : iterable of Path or str
        Stores, or folders that hold some, such as the cache.

    Returns
    -------
    list of Path
        Folders of stores, sorted, each once.

    Raises
    ------
    StoreError
        If a path does not exist.
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if not path.is_dir():
            raise StoreError(f"{path}: no such folder; give a feature store, or a folder that holds some")
        candidates = [path] if (path / RECIPE).is_file() else [item.parent for item in path.rglob(RECIPE)]
        # What a killed writer left is no store.
        found.update(
            folder
            for folder in candidates
            if not any(part.startswith(ASIDE) for part in folder.relative_to(path).parts)
        )
    return sorted(found)
