"""The network behind the features of a run: its recipe, its weights, and the network itself, built again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.digest import short
from featx.errors import RunError, StaleStoreError, StoreError, WeightsError
from featx.images import DECODE_VERSION, preparation_key
from featx.runs import Run, given_features
from featx.zoo import Weights, find_backbone, resolve_weights

from .arm_files import find_stores
from .store import FeatureStore

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["find_store", "network_of", "recipe_of", "weights_of"]


def recipe_of(run: Run, digest: str) -> Mapping[str, Any]:
    """Find the recipe of features that a run was given.

    Parameters
    ----------
    run : Run
        A run of `featx train-svm`.
    digest : str
        Digest of the recipe, such as `SvmModel.recipe_digest`.

    Returns
    -------
    mapping
        Fields of `featx.features.feature_recipe.Recipe` that decide a feature.

    Raises
    ------
    RunError
        If the record does not list such features.
    StaleStoreError
        If this featx decodes or prepares images in another way than when the features were extracted.
    """
    found = given_features(run, digest)
    if found is None:
        raise RunError(
            f"{run.path}: the record of the run does not list the features of its model; train it again"
        )
    recipe: Mapping[str, Any] = found["recipe"]
    now = {"preparation": preparation_key(recipe["preparation"]["name"]), "decode": DECODE_VERSION}
    stale = [name for name, value in now.items() if recipe[name] != value]
    if stale:
        raise StaleStoreError(
            f"{run.path}: its features were extracted with another version of {stale[0]}; extract and train again"
        )
    return recipe


def network_of(
    recipe: Mapping[str, Any], digest: str, weights: str | Path | None, cache: Path | str
) -> Network:
    """Build the network of a recipe; the parameters are those of `weights_of`."""
    from featx.zoo import build_network

    return build_network(
        find_backbone(recipe["backbone"]),
        weights_of(recipe, digest, weights, cache),
        layers=(recipe["layer"],),
        pool=recipe["pool"],
        image_size=recipe["image_size"],
    )


def weights_of(
    recipe: Mapping[str, Any], digest: str, weights: str | Path | None, cache: Path | str
) -> Weights:
    """Find the weights of a recipe.

    Parameters
    ----------
    recipe : mapping
        From `recipe_of`.
    digest : str
        Digest of the recipe.
    weights : str or Path, optional
        Weights source. Default: the one recorded by the feature store in the cache.
    cache : Path or str
        Folder of caches.

    Returns
    -------
    Weights
        With the digest that the recipe names.

    Raises
    ------
    WeightsError
        If the source is unknown, cannot be read, or holds other weights.
    """
    backbone = find_backbone(recipe["backbone"])
    source = weights if weights is not None else _recorded_source(digest, cache)
    if source is None:
        raise WeightsError(
            f"no feature store {short(digest)} in {cache} names the source of the weights of {backbone.name}; "
            "give the weights with --weights, or the cache folder of the store with --cache"
        )
    found: dict[str, Weights] = {item.digest: item for item in resolve_weights(source, backbone)}
    if recipe["weights"] not in found:
        held = ", ".join(short(name) for name in found)
        raise WeightsError(
            f"the features of the run are not from the weights {str(source)!r}: expected digest "
            f"{short(recipe['weights'])}, got {held}; give the right weights with --weights"
        )
    return found[recipe["weights"]]


def find_store(digest: str, cache: Path | str) -> FeatureStore | None:
    """Find the feature store of a recipe in the cache; None if there is none.

    Parameters
    ----------
    digest : str
        Digest of the recipe.
    cache : Path or str
        Folder of caches.
    """
    folder = Path(cache) / "features"
    for path in find_stores([folder]) if folder.is_dir() else []:
        with suppress(StoreError):  # another store that is damaged does not matter here
            store = FeatureStore(path)
            if store.digest == digest:
                return store
    return None


def _recorded_source(digest: str, cache: Path | str) -> str | None:
    store = find_store(digest, cache)
    return (str(store.recipe["weights_source"]) or None) if store else None
