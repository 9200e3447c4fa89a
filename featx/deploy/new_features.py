"""Features of new images by the recipes of runs: extracted into the cache, or looked up in given stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Manifest
from featx.deploy.new_images import list_images
from featx.deploy.predict_settings import PredictSettings
from featx.deploy.run_model import RunModel
from featx.digest import canonical, differing, short
from featx.errors import ExtractionError, MissingFeaturesError, StaleStoreError, StoreError, listing
from featx.features import (
    ExtractSettings,
    FeatureStore,
    extract,
    read_arm,
    recipe_key,
    targets,
    weights_of,
)
from featx.images import PRESETS, content_keys
from featx.progress import Silent

__all__ = ["NewFeatures", "find_features"]

# Images whose features are in memory at a time.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class NewFeatures:
    """Images that have features, and the stores of these.

    Attributes
    ----------
    ids, groups, keys : tuple of str, length n
        Id, group and content key of each image.
    stores : mapping of str to FeatureStore
        Digest of a recipe to its store.
    failed : tuple of (id, path, reason)
        Images that cannot be read, without features.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    stores: Mapping[str, FeatureStore]
    failed: tuple[tuple[str, str, str], ...] = ()

    def read(self, digest: str) -> Iterator[npt.NDArray[np.float32]]:
        """Read the features of all images by one recipe.

        Yields
        ------
        ndarray of float32, shape (m, views, width)
            Of the next images, some thousands at a time.

        Raises
        ------
        StoreError
            If features are not finite.
        """
        store = self.stores[digest]
        for start in range(0, len(self.keys), _CHUNK):
            part = slice(start, start + _CHUNK)
            features = store.read(self.keys[part])
            finite = np.isfinite(features).all(axis=(1, 2))
            if not finite.all():
                bad = [self.ids[start + place] for place in np.flatnonzero(~finite).tolist()]
                raise StoreError(
                    f"{store.path}: features of {listing(bad)} are not finite (NaN or infinity); leave these images out"
                )
            yield features


def find_features(models: Sequence[RunModel], options: PredictSettings) -> NewFeatures:
    """Find the features of the new images for every recipe of the models, and extract those that the cache lacks.

    Raises
    ------
    InputError
        If images, stores or weights cannot be used, or are of another recipe.
    ExtractionError
        If no image can be read, or one cannot with ``on_error="fail"``.
    """
    table = None
    if options.sources:
        table = list_images(options.sources, root=options.root, allow_outside=options.allow_outside)
    if options.places:
        stores = _given_stores(models, options.places)
        found = _all_rows(stores) if table is None else _looked_up(table, stores, options)
    else:
        assert table is not None, "the options require images or features"
        found = _extracted(table, models, options)
    if found.failed and options.on_error == "fail":
        raise ExtractionError(found.failed[0][2])
    return found


def _given_stores(models: Sequence[RunModel], places: Sequence[Path]) -> dict[str, FeatureStore]:
    stores = [FeatureStore(path) for place in places for path in read_arm(place)]
    found = {store.digest: store for store in stores}
    for model in models:
        if model.digest not in found:
            lines = differing(recipe_key(model.recipe), recipe_key(stores[0].recipe))
            raise StaleStoreError(
                f"{stores[0].path}: holds features of another recipe than the run {model.run.path} "
                f"({listing(lines, 3)}); give the store of recipe {short(model.digest)}, or leave --features out"
            )
    return {model.digest: found[model.digest] for model in models}


def _all_rows(stores: Mapping[str, FeatureStore]) -> NewFeatures:
    """Take every row that all stores have; its content key is its id."""
    keys = tuple(sorted(frozenset.intersection(*(store.keys() for store in stores.values()))))
    if not keys:
        raise MissingFeaturesError(
            f"{next(iter(stores.values())).path}: no features in this store, or none that all stores have; extract some"
        )
    return NewFeatures(keys, keys, keys, stores)


def _looked_up(table: Manifest, stores: Mapping[str, FeatureStore], options: PredictSettings) -> NewFeatures:
    keys, failed = _keys(table, options)
    rows = _rows(table, keys, failed, stores)
    for store in stores.values():
        lacking = set(store.missing(rows.keys))
        if lacking:
            names = [name for name, key in zip(rows.ids, rows.keys, strict=True) if key in lacking]
            raise MissingFeaturesError(
                f"{store.path}: {len(names)} of {len(table)} images have no features here ({listing(names)}); extract "
                "them, or leave --features out"
            )
    return rows


def _keys(
    table: Manifest, options: PredictSettings
) -> tuple[dict[str, str], dict[str, tuple[str, str, str]]]:
    found, failures = content_keys(
        table.paths, cache=options.cache, workers=options.workers, progress=options.progress
    )
    ids = dict(zip(table.paths, table.ids, strict=True))
    return found, {path: (ids[path], path, str(error)) for path, error in failures.items()}


def _rows(
    table: Manifest,
    keys: Mapping[str, str],
    failed: Mapping[str, tuple[str, str, str]],
    stores: Mapping[str, FeatureStore],
) -> NewFeatures:
    groups = table.table["group"]
    kept = [
        (name, group, keys[path])
        for name, group, path in zip(table.ids, groups, table.paths, strict=True)
        if path not in failed
    ]
    if not kept:
        first = next(iter(failed.values()))
        raise ExtractionError(
            f"none of {len(table)} images could be read, so that there are no predictions; first: {first[0]} ({first[2]})"
        )
    ids, of_groups, of_keys = zip(*kept, strict=True)
    return NewFeatures(ids, of_groups, of_keys, stores, tuple(failed.values()))


def _extracted(table: Manifest, models: Sequence[RunModel], options: PredictSettings) -> NewFeatures:
    given = _extract_options(models, options)
    settings = ExtractSettings.make(given)
    known = targets(given["backbone"], given["weights"], settings, settings.home)
    made = {recipe.digest: recipe for target in known for recipe in target.recipes}
    for model in models:
        if model.digest not in made:
            lines = differing(recipe_key(model.recipe), next(iter(made.values())).key())
            raise StaleStoreError(
                f"{model.run.path}: its features cannot be extracted with this featx ({listing(lines, 3)}); use the "
                "version of featx that extracted them, or extract and train again"
            )
    on_error = "fail" if options.on_error == "fail" else "skip"
    done = extract(table, **{**given, "on_error": on_error})
    stores = {store.digest: store for store in (FeatureStore(item.store) for item in done)}
    keys, failed = _keys(table, options)
    failed |= {path: (name, path, reason) for item in done for name, path, reason in item.failed}
    return _rows(table, keys, failed, stores)


def _extract_options(models: Sequence[RunModel], options: PredictSettings) -> dict[str, Any]:
    """Return the options of an extraction that follows the recipes of the models, all networks in one pass."""
    recipe = models[0].recipe
    sources = {model.digest: _source(model, options) for model in models}
    views = recipe["views"]
    given = {
        "backbone": [recipe["backbone"]],
        "weights": list(dict.fromkeys(sources.values())),
        "layers": [recipe["layer"]],
        "pool": recipe["pool"],
        "image_size": recipe["image_size"],
        "preparation": recipe["preparation"]["name"],
        "precision": recipe["precision"],
        "engine": recipe["engine"] or options.engine,
        "views": views["count"] if views else 1,
    }
    if views:
        given |= {"view_ranges": _ranges_name(models[0], views["ranges"]), "view_pool": recipe["view_pool"]}
    shared = (
        "batch_size",
        "threads",
        "device",
        "wait_gpu",
        "gpu_memory",
        "nice",
        "own_process",
        "workers",
        "cache",
    )
    return {
        **given,
        **{name: getattr(options, name) for name in shared},
        "progress": options.progress or Silent(),
    }


def _source(model: RunModel, options: PredictSettings) -> str:
    """Return the weights source of one model; of a folder of fine-tuning runs that of its own run."""
    found = weights_of(model.recipe, model.digest, options.weights, options.cache)
    return str(found.source if found.trained_on or options.weights is None else options.weights)


def _ranges_name(model: RunModel, ranges: Any) -> str:
    for name, preset in PRESETS.items():
        if canonical(preset) == canonical(ranges):
            return name
    raise StaleStoreError(
        f"{model.run.path}: this featx has no augmentation ranges as its features were extracted with; use the version of "
        "featx that extracted them, or extract and train again"
    )
