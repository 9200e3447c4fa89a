"""The feature store: a folder with a recipe and immutable blocks, read by the content of images.

The key of a row is the SHA-256 of an image's bytes, not its path: moved and duplicated files find their features,
changed files do not, and new images are added without recomputing others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.digest import differing
from featx.documents import parse_json, read_text
from featx.errors import MissingFeaturesError, StaleStoreError, StoreError, listing
from featx.files import forget_listing, is_there, wait_for, write_json

from .blocks import (
    BlockLayout,
    BlockProblem,
    Features,
    check_block,
    read_features,
    read_keys,
    write_block,
)
from .feature_recipe import FORMAT, Recipe, recipe_digest, recipe_key
from .key_index import KeyIndex, PackedKeys, hex_keys

if TYPE_CHECKING:
    import pandas as pd

    from featx.data import Manifest

__all__ = ["COST", "RECIPE", "TRAINED_ON", "FeatureStore"]

RECIPE = "recipe.json"
TRAINED_ON = "trained-on.json"
COST = "cost.json"
# Bytes of a record: the keys of a million images that weights were trained on have 67 MB.
_RECORD_LIMIT = 2**27
_BLOCK_PREFIX, _BLOCK_SUFFIX = "block-", ".h5"
_ATTEMPTS = 100
# Clients of NFS and SMB remember names and listings for up to 60 s.
_VISIBLE_SECONDS = 90.0


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

    Examples
    --------
    >>> import tempfile
    >>> store = FeatureStore.create(Path(tempfile.mkdtemp()) / "store", {"backbone": "tiny"})
    >>> _ = store.write_block(["ab" * 32], np.float32([[[0.5, 2.0]]]))
    >>> FeatureStore(store.path).read(["ab" * 32])
    array([[[0.5, 2. ]]], dtype=float32)
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.recipe = _read_recipe(self.path)
        self.digest = recipe_digest(self.recipe)
        # Blocks never change, so that the keys of each are read once.
        self._index = KeyIndex({})
        self._layouts: dict[int, BlockLayout] = {}
        self._shape = (0, 0)

    @classmethod
    def create(cls, path: Path | str, recipe: Recipe | Mapping[str, Any]) -> FeatureStore:
        """Create an empty store.

        Parameters
        ----------
        path : Path or str
            Folder, which must not hold a store yet.
        recipe : Recipe or mapping
            What its features follow; a mapping holds the fields of `Recipe`.

        Raises
        ------
        StoreError
            If the folder holds a store already.
        """
        folder = Path(path)
        if (folder / RECIPE).exists():
            raise StoreError(f"{folder}: this folder already holds a store; open it, or give another folder")
        record = recipe.record() if isinstance(recipe, Recipe) else dict(recipe)
        write_json(
            folder / RECIPE,
            {"format": FORMAT, **record, "digest": recipe_digest({"format": FORMAT, **record})},
        )
        return cls(folder)

    @classmethod
    def open_or_create(cls, path: Path | str, recipe: Recipe | Mapping[str, Any]) -> FeatureStore:
        """Open the store of a recipe, or create it; the parameters are those of `create`.

        Raises
        ------
        StaleStoreError
            If the folder holds the store of another recipe; the message names the fields that differ.
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
    def parts(self) -> tuple[FeatureStore, ...]:
        """The stores on disk that it reads: itself."""
        return (self,)

    def with_parts(self, parts: tuple[FeatureStore, ...]) -> FeatureStore:
        """Return the same of another store on disk with the same recipe."""
        return parts[0]

    @property
    def views(self) -> int:
        """Rows kept for an image, 1 without views or when they are averaged; 0 for an empty store."""
        self.refresh()
        return self._shape[0]

    @property
    def images(self) -> int:
        """Number of images that have features."""
        return self.index().images

    def blocks(self) -> list[Path]:
        """List the blocks, sorted by name."""
        try:
            names = [path.name for path in self.path.iterdir()]
        except (FileNotFoundError, PermissionError):
            return []
        return [
            self.path / name
            for name in sorted(names)
            if name.startswith(_BLOCK_PREFIX) and name.endswith(_BLOCK_SUFFIX)
        ]

    def index(self) -> KeyIndex:
        """Return the index of all keys, up to date.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        self.refresh()
        return self._index

    def refresh(self) -> None:
        """Read the keys of blocks that other processes have written, and forget those that they have removed.

        Raises
        ------
        StoreError
            If a new block is damaged; the message names it.
        """
        # A listing made while blocks are compacted may lack both the old ones and the new one, so that a changed
        # listing is followed by another one.
        absent: set[str] = set()
        for _ in range(_ATTEMPTS):
            names = [path.name for path in self.blocks()]
            if set(names) == set(self._index.blocks):
                return
            for name in absent.intersection(names):
                self._wait_for(name)
            self._take_in(names)
            absent = set(names) - set(self._index.blocks)

    def _wait_for(self, name: str) -> None:
        """Wait for a block that is listed and was not found, until it is found or not listed any more."""
        block = self.path / name
        if not wait_for(block, _VISIBLE_SECONDS, listed=True) and block in self.blocks():
            raise StoreError(
                f"{block}: is listed in its folder, but was not found there for {_VISIBLE_SECONDS:g} s; if the disk is "
                "shared, look whether its server works, else remove the entry; then try again"
            )

    def _take_in(self, names: Sequence[str]) -> None:
        found: dict[str, PackedKeys] = {}
        for name in names:
            if name in self._index.blocks:
                found[name] = self._index.blocks[name]
                continue
            try:
                found[name], shape = read_keys(self.path / name, self.digest, self._layouts)
            except FileNotFoundError:
                continue  # compacted meanwhile: its rows are in a block of the next listing
            self._check_shape(shape, self.path / name)
            self._shape = shape
        self._index = KeyIndex(found)

    def _check_shape(self, shape: tuple[int, ...], what: Path) -> None:
        if self._shape not in ((0, 0), shape):
            raise StoreError(
                f"{what}: has rows of shape {shape} (views, width), the store has rows of shape {self._shape}; "
                "extract into another cache"
            )

    def keys(self) -> frozenset[str]:
        """Return the keys of the images that have features: SHA-256 of their bytes.

        Ten million keys take 2 GB of memory; `missing` and `images` need no such set.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        return frozenset(chain.from_iterable(map(hex_keys, self.index().blocks.values())))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys (SHA-256 of images' bytes) without features, each once, in the order given.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        wanted = list(dict.fromkeys(keys))
        _, rows = self._find(wanted)
        return [wanted[place] for place in np.flatnonzero(rows < 0).tolist()]

    def _find(self, keys: Sequence[str]) -> tuple[KeyIndex, npt.NDArray[np.int64]]:
        index = self.index()
        rows = index.find(keys)
        # What another machine has written may not be in the listing that this one remembers.
        if (rows < 0).any() and forget_listing(self.path):
            index = self.index()
            rows = index.find(keys)
        return index, rows

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
            If images have no features.
        StoreError
            If a block is damaged; the message names it.
        """
        for _ in range(_ATTEMPTS):
            index, rows = self._find(keys)
            if (rows < 0).any():
                lacking = list(dict.fromkeys(keys[place] for place in np.flatnonzero(rows < 0).tolist()))
                raise MissingFeaturesError(
                    f"{self.path}: {len(lacking)} of {len(set(keys))} images have no features here "
                    f"(first: {listing([key[:12] for key in lacking], 3)}); run `featx extract` on them first"
                )
            try:
                return self._read_rows(index, rows)
            except FileNotFoundError as error:  # compacted since it was listed: its rows are in another block
                self._index = index.without(Path(error.filename or "").name)
        raise StoreError(
            f"{self.path}: other processes replaced blocks {_ATTEMPTS} times while they were read; try again when no "
            "other process compacts or prunes this store"
        )

    def _read_rows(self, index: KeyIndex, rows: npt.NDArray[np.int64]) -> Features:
        result = np.empty((len(rows), *self._shape), np.float32)
        order, starts = np.argsort(rows, kind="stable"), index.starts
        ends = np.searchsorted(rows, starts, sorter=order).tolist()
        for name, start, first, end in zip(index.blocks, starts, ends, ends[1:], strict=False):
            if first < end:
                places = order[first:end]
                result[places] = read_features(self.path / name, self.digest)[rows[places] - start]
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
            If images have no features, or their files cannot be read; the message names their ids.
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
        without = set(self.missing(known.values()))
        lacking = [
            name
            for name in dict.fromkeys(wanted)
            if paths[name] not in known or known[paths[name]] in without
        ]
        if lacking:
            raise MissingFeaturesError(
                f"{self.path}: {len(lacking)} of {len(set(wanted))} images of {table.source} have no features here "
                f"(first: {listing(lacking, 3)}); run `featx extract` on them first"
            )
        return self.read([known[paths[name]] for name in wanted])

    def to_numpy(
        self, manifest: Manifest | Path | str, cache: Path | str | None = None, root: Path | str | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the features of a manifest's images as one table for scikit-learn.

        Parameters
        ----------
        manifest : Manifest, Path or str
            Names the images' files.
        cache : Path or str, optional
            Cache folder whose table of known files saves hashing them again. Default: none.
        root : Path or str, optional
            Folder that the manifest's image paths are relative to.

        Returns
        -------
        ndarray of float32, shape (n, width)
            Rows in the order of the manifest. A store that keeps the augmented views of an image
            (``view_pool="keep"``) gives `views` successive rows for each image.

        Raises
        ------
        MissingFeaturesError
            If images have no features; the message names them.
        StoreError
            If a block is damaged; the message names it.

        Examples
        --------
        >>> import tempfile
        >>> from PIL import Image
        >>> from featx.digest import digest_file
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images" / "benign").mkdir(parents=True)
        >>> Image.new("RGB", (8, 8)).save(folder / "images" / "benign" / "1.png")
        >>> store = FeatureStore.create(folder / "store", {"backbone": "tiny"})
        >>> key = digest_file(folder / "images" / "benign" / "1.png")
        >>> _ = store.write_block([key], np.float32([[[0.5, 2.0]]]))
        >>> store.to_numpy(folder / "images")
        array([[0.5, 2. ]], dtype=float32)
        """
        features = self.read_images(manifest, cache=cache, root=root)
        count, views, width = features.shape
        return features.reshape(count * views, width)

    def to_frame(self) -> pd.DataFrame:
        """Return all features as a pandas table.

        Returns
        -------
        DataFrame
            A row for each image and view, with the index levels ``image`` (SHA-256 of the image's bytes, sorted)
            and ``view`` (from 0), and float32 columns ``f0``, ``f1`` and so on.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.

        Examples
        --------
        >>> import tempfile
        >>> store = FeatureStore.create(Path(tempfile.mkdtemp()) / "store", {"backbone": "tiny"})
        >>> _ = store.write_block(["ab" * 32], np.float32([[[0.5, 2.0], [1.5, 3.0]]]))
        >>> store.to_frame().loc["ab" * 32]
               f0   f1
        view
        0     0.5  2.0
        1     1.5  3.0
        """
        import pandas as pd

        keys = sorted(self.keys())
        features = self.read(keys)
        count, views, width = features.shape
        index = pd.MultiIndex.from_product([keys, range(views)], names=["image", "view"])
        columns = [f"f{place}" for place in range(width)]
        return pd.DataFrame(features.reshape(count * views, width), index=index, columns=columns)

    def train_keys(self) -> frozenset[str] | None:
        """Return the keys of the training and validation images of fine-tuned weights; None for other weights.

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
        """What the features cost: the facts of `write_cost`; None if they were not recorded."""
        path = self.path / COST
        return _read_json(path) if path.exists() else None

    def write_cost(self, facts: Mapping[str, Any]) -> None:
        """Record what the features cost; not part of the recipe, since a speed differs from run to run.

        Parameters
        ----------
        facts : mapping
            JSON types: ``parameters`` and ``multiply_adds`` (of one pass over one image) of the network up to this
            layer; of the latest extraction that computed rows here ``images_per_second`` (loading and forward pass as
            they ran; None if no row was computed yet), ``device``, ``engine`` and ``networks`` (that shared the pass,
            and so its time).
        """
        write_json(self.path / COST, dict(facts))

    def write_block(self, keys: Sequence[str], features: Features) -> Path:
        """Add rows as one block, in one atomic step, and return its path.

        Parameters
        ----------
        keys : sequence of str
            SHA-256 of images' bytes, each once.
        features : ndarray of float32, shape (rows, views, width)
            Finite features, in the order of the keys.

        Raises
        ------
        StoreError
            If keys and features do not fit each other or the stored rows, or a feature is not finite.
        DiskError
            If the file cannot be written.
        """
        self._check_shape(features.shape[1:], self.path)
        # The index reads the block when it is next asked for, so that a long extraction holds no index.
        self._shape = (features.shape[1], features.shape[2])
        return write_block(self.path, self.digest, keys, features)

    def discard(self, keys: Iterable[str]) -> int:
        """Remove rows, and return their number: blocks that hold some are rewritten without them.

        Rows that other processes write or compact at the same time may stay; the next call removes them.

        Raises
        ------
        StoreError
            If a block is damaged; the message names it.
        """
        unwanted, removed = KeyIndex.of(list(keys)), 0
        for name, held in self.index().blocks.items():
            kept = np.flatnonzero(unwanted.find_packed(held) < 0)
            if len(kept) == len(held):
                continue
            if len(kept):
                try:
                    features = read_features(self.path / name, self.digest)[kept]
                except FileNotFoundError:
                    continue  # compacted meanwhile: the next call finds its rows in another block
                write_block(self.path, self.digest, hex_keys(held[kept]), features)
            (self.path / name).unlink(missing_ok=True)
            removed += len(held) - len(kept)
        self.refresh()
        return removed

    def problems(self) -> list[BlockProblem]:
        """Read every block, compare it with its checksums, and return those that cannot be used."""
        found = [check_block(path, self.digest) for path in self.blocks()]
        return [problem for problem in found if problem is not None]

    def verify(self) -> list[str]:
        """Return a line for each block that cannot be used, naming it; empty for an intact store."""
        return [problem.text for problem in self.problems()]


def _read_recipe(folder: Path) -> dict[str, Any]:
    if not (is_there(folder / RECIPE) and (folder / RECIPE).is_file()):
        raise StoreError(
            f"{folder}: no feature store, {RECIPE} is missing; give a folder that `featx extract` has printed"
        )
    record = _read_json(folder / RECIPE)
    if record.get("format") != FORMAT:
        raise StoreError(
            f"{folder}: store format {record.get('format')!r}, this featx reads {FORMAT}; extract again"
        )
    if record.get("digest") != recipe_digest(record):
        raise StoreError(
            f"{folder / RECIPE}: does not match its digest, so it was changed; restore it, or extract into another cache"
        )
    return record


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text(path, _RECORD_LIMIT))
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path}: cannot be read ({error}); restore it, or extract into another cache"
        ) from error
    if not isinstance(value, dict):
        raise StoreError(f"{path}: is not a JSON object; restore it, or extract into another cache")
    return value
