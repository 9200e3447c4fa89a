"""Features of new images by the recipes of runs: extracted into the cache, or looked up in given stores."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Manifest
from featx.deploy.new_images import list_images
from featx.deploy.predict_settings import PredictSettings
from featx.deploy.run_model import FeaturePart, RunModel
from featx.digest import canonical, differing, digest, short
from featx.errors import (
    ConfigError,
    ExtractionError,
    MissingFeaturesError,
    StaleStoreError,
    listing,
)
from featx.features import (
    EngineOptions,
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
from featx.svm import JoinedStore, check_finite
from featx.zoo import Weights, resolve_weights

__all__ = ["NewFeatures", "find_features"]

# Fields of the recipe of imported features that say which file they are from.
_OF_FILE = ("weights", "order")

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
        Digest of a model's recipe to its store; the stores of a fused arm's members are joined.
    failed : tuple of (id, path, reason)
        Images that cannot be read, without features.
    warnings : tuple of str
        What readers of the predictions need to know of the features.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    keys: tuple[str, ...]
    stores: Mapping[str, FeatureStore]
    failed: tuple[tuple[str, str, str], ...] = ()
    warnings: tuple[str, ...] = ()

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
            check_finite(store, features, self.ids[part])
            yield features


def find_features(
    models: Sequence[RunModel], options: PredictSettings, home: Path | None = None
) -> NewFeatures:
    """Find the features of the new images for every recipe of the models, and extract those that the cache lacks.

    Parameters
    ----------
    models : sequence of RunModel
        Folds of one arm, or a final model.
    options : PredictSettings
        The images, or features, and how to extract.
    home : Path, optional
        Folder for extracted features, in place of the cache; the weights of networks are looked up in the cache still.

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
    given = _given_stores(models, options) if options.places else {}
    found = (
        _all_rows(_joined(models, given))
        if table is None
        else _of_images(table, models, given, options, home)
    )
    if found.failed and options.on_error == "fail":
        raise ExtractionError(found.failed[0][2])
    return dataclasses.replace(found, warnings=_of_other_files(given))


def _given_stores(models: Sequence[RunModel], options: PredictSettings) -> dict[str, FeatureStore]:
    """Find the given stores of the parts of the models' features, by the digest of the part's recipe.

    Parts without a store are extracted if there are images, and every given store is of another part.
    """
    stores = [FeatureStore(path) for place in options.places for path in read_arm(place)]
    found = {part.digest: _given_store(part, stores) for model in models for part in model.parts}
    used = {store.path for store in found.values() if store is not None}
    others = [store for store in stores if store.path not in used]
    for model in models:
        for part in model.parts:
            if found[part.digest] is None and (others or not options.sources):
                raise _other_recipe(model, part, (others or stores)[0])
    return {name: store for name, store in found.items() if store is not None}


def _given_store(part: FeaturePart, stores: Sequence[FeatureStore]) -> FeatureStore | None:
    for store in stores:
        if store.digest == part.digest:
            return store
    for store in stores:
        if part.is_imported and _of_any_file(store.recipe) == _of_any_file(part.recipe):
            return store
    return None


def _other_recipe(model: RunModel, part: FeaturePart, store: FeatureStore) -> StaleStoreError:
    lines = differing(recipe_key(part.recipe), recipe_key(store.recipe))
    of_member = f"of the member {part.name} " * bool(part.name)
    return StaleStoreError(
        f"{store.path}: holds features of another recipe than the run {model.run.path} ({listing(lines, 3)}); give the "
        f"store {of_member}of recipe {short(part.digest)}"
        + (", or leave --features out" if not any(one.is_imported for one in model.parts) else "")
    )


def _of_any_file(recipe: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in recipe_key(recipe).items() if name not in _OF_FILE}


def _of_other_files(parts: Mapping[str, FeatureStore]) -> tuple[str, ...]:
    return tuple(
        f"the features in {store.path} were imported from another file than those of the training set; featx cannot check "
        f"that the same version of {store.recipe['backbone']} computed both"
        for wanted, store in parts.items()
        if store.digest != wanted
    )


def _joined(models: Sequence[RunModel], parts: Mapping[str, FeatureStore]) -> dict[str, FeatureStore]:
    """Give each model, by the digest of its recipe, its store or the joined stores of its members."""
    return {model.digest: _store_of(model, parts) for model in models}


def _store_of(model: RunModel, parts: Mapping[str, FeatureStore]) -> FeatureStore:
    stores = tuple(parts[part.digest] for part in model.parts)
    if "members" not in model.recipe:
        return stores[0]
    return JoinedStore(model.recipe["fuse"], tuple(part.name for part in model.parts), stores)


def _all_rows(stores: Mapping[str, FeatureStore]) -> NewFeatures:
    """Take every row that all stores have; its content key is its id."""
    keys = tuple(sorted(frozenset.intersection(*(store.keys() for store in stores.values()))))
    if not keys:
        raise MissingFeaturesError(
            f"{next(iter(stores.values())).path}: no features in this store, or none that all stores have; extract some"
        )
    return NewFeatures(keys, keys, keys, stores)


def _of_images(
    table: Manifest,
    models: Sequence[RunModel],
    given: Mapping[str, FeatureStore],
    options: PredictSettings,
    home: Path | None,
) -> NewFeatures:
    """Take the features of images from the given stores, and extract those of the other parts."""
    parts = {part.digest: part for model in models for part in model.parts if part.digest not in given}
    place = home or Path(options.cache)
    passes = [{**one, "cache": place} for one in _passes(models, list(parts.values()), options)]
    keys, failed = _keys(table, options, place)
    rows = _rows(table, keys, failed, {})
    _refuse_lacking(table, rows, given.values())
    on_error = "fail" if options.on_error == "fail" else "skip"
    done = [item for one in passes for item in extract(table, **{**one, "on_error": on_error, "keys": keys})]
    made = {store.digest: store for store in (FeatureStore(item.store) for item in done)}
    failed |= {path: (name, path, reason) for item in done for name, path, reason in item.failed}
    return _rows(table, keys, failed, _joined(models, {**given, **made}))


def _refuse_lacking(table: Manifest, rows: NewFeatures, stores: Iterable[FeatureStore]) -> None:
    for store in stores:
        lacking = set(store.missing(rows.keys))
        if lacking:
            names = [name for name, key in zip(rows.ids, rows.keys, strict=True) if key in lacking]
            raise MissingFeaturesError(
                f"{store.path}: {len(names)} of {len(table)} images have no features here ({listing(names)}); extract or "
                "import them, or leave --features out"
            )


def _keys(
    table: Manifest, options: PredictSettings, home: Path
) -> tuple[dict[str, str], dict[str, tuple[str, str, str]]]:
    found, failures = content_keys(
        table.paths, cache=home, workers=options.workers, progress=options.progress
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


def _refuse_without_network(model: RunModel, parts: Sequence[FeaturePart], options: PredictSettings) -> None:
    """Refuse what only given features can serve: imported parts, and weights of one network for several members."""
    for part in parts:
        if part.is_imported:
            name = part.recipe["backbone"]
            raise MissingFeaturesError(
                f"{model.run.path}: the features of {name} were imported, and featx does not have their network. Import "
                f"the features of the new images by the same program (`featx cache import FILE --name {name} --manifest "
                "IMAGES`) and give the store with --features"
            )
    if options.weights is not None and parts and len(model.parts) > 1:
        raise ConfigError(
            f"The 'weights' parameter names the weights of one network, and {model.run.path} fuses "
            f"{len(model.parts)}. Leave it out: the stores of the members in --cache name theirs. Or give the features"
        )


def _passes(
    models: Sequence[RunModel], parts: Sequence[FeaturePart], options: PredictSettings
) -> list[dict[str, Any]]:
    """Return the options of the extractions that follow the recipes; networks that differ in weights share a pass."""
    _refuse_without_network(models[0], parts, options)
    alike: dict[str, list[FeaturePart]] = {}
    for part in parts:
        alike.setdefault(digest(_pass_options(part, options)), []).append(part)
    # A folder of fine-tuning runs is read once for all of its folds.
    resolve = cache(resolve_weights)
    passes = [_extract_options(members, options, resolve) for members in alike.values()]
    for one, members in zip(passes, alike.values(), strict=True):
        _check_recipes(models[0], members, one)
    return passes


def _check_recipes(model: RunModel, parts: Sequence[FeaturePart], given: Mapping[str, Any]) -> None:
    """Refuse recipes that this featx cannot follow, before any network runs."""
    settings = ExtractSettings.make(given)
    known = targets(given["backbone"], given["weights"], settings, settings.home)
    made = {recipe.digest: recipe for target in known for recipe in target.recipes}
    for part in parts:
        if part.digest not in made:
            lines = differing(recipe_key(part.recipe), next(iter(made.values())).key())
            raise StaleStoreError(
                f"{model.run.path}: its features cannot be extracted with this featx ({listing(lines, 3)}); use the "
                "version of featx that extracted them, or extract and train again"
            )


def _extract_options(
    parts: Sequence[FeaturePart], options: PredictSettings, resolve: Callable[..., tuple[Weights, ...]]
) -> dict[str, Any]:
    return {
        **vars(options.part(EngineOptions)),
        **_pass_options(parts[0], options),
        "weights": list(dict.fromkeys(_source(part, options, resolve) for part in parts)),
        "workers": options.workers,
        "cache": options.cache,
        "progress": options.progress or Silent(),
    }


def _pass_options(part: FeaturePart, options: PredictSettings) -> dict[str, Any]:
    """Return the options of an extraction that follows a recipe, but for the weights."""
    recipe = part.recipe
    views = recipe["views"]
    given = {
        "backbone": [recipe["backbone"]],
        "layers": [recipe["layer"]],
        "pool": recipe["pool"],
        "image_size": recipe["image_size"],
        "preparation": recipe["preparation"]["name"],
        "precision": recipe["precision"],
        # The features of the run have this precision, whatever it costs.
        "force_precision": True,
        "engine": recipe["engine"] or options.engine,
        "views": views["count"] if views else 1,
    }
    if views:
        given |= {"view_ranges": _ranges_name(views["ranges"]), "view_pool": recipe["view_pool"]}
    return given


def _source(part: FeaturePart, options: PredictSettings, resolve: Callable[..., tuple[Weights, ...]]) -> str:
    """Return the weights source of a network; of a folder of fine-tuning runs that of its own run."""
    found = weights_of(part.recipe, part.digest, options.weights, options.cache, resolve)
    return str(found.source if found.trained_on or options.weights is None else options.weights)


def _ranges_name(ranges: Any) -> str:
    for name, preset in PRESETS.items():
        if canonical(preset) == canonical(ranges):
            return name
    raise StaleStoreError(
        "this featx has no augmentation ranges as the features of the run were extracted with; use the version of featx that "
        "extracted them, or extract and train again"
    )
