"""The network behind a run's features, built again from its recipe and refused if it is another one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.digest import short
from featx.errors import RunError, StaleStoreError, StoreError, WeightsError
from featx.features import FeatureStore, find_stores
from featx.images import DECODE_VERSION, preparation_key
from featx.runs import Run, given_features
from featx.zoo import Weights, find_backbone, resolve_weights

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = ["network_of", "recipe_of"]


def recipe_of(run: Run, digest: str) -> Mapping[str, Any]:
    """Find the recipe of features that a run was given.

    Parameters
    ----------
    run : Run
        A run of an SVM.
    digest : str
        Digest of the features that its model needs.

    Returns
    -------
    mapping
        Fields of `featx.features.recipe.Recipe` that decide a feature.

    Raises
    ------
    RunError
        If the run names no such features.
    StaleStoreError
        If this version of featx decodes or prepares images otherwise.
    """
    found = given_features(run, digest)
    if found is None:
        raise RunError(f"{run.path}: its model is of features that the run does not name; train it again")
    recipe: Mapping[str, Any] = found["recipe"]
    now = {"preparation": preparation_key(recipe["preparation"]["name"]), "decode": DECODE_VERSION}
    stale = [name for name, value in now.items() if recipe[name] != value]
    if stale:
        raise StaleStoreError(
            f"{run.path}: its features were made by another version of {stale[0]}; extract and train again"
        )
    return recipe


def network_of(
    recipe: Mapping[str, Any], digest: str, weights: str | Path | None, cache: Path | str
) -> Network:
    """Build the network of a recipe.

    Parameters
    ----------
    recipe : mapping
        As from `recipe_of`.
    digest : str
        Its digest.
    weights : str or Path, optional
        Weights source. Default: where the feature store in the cache says that they came from.
    cache : Path or str
        Folder of caches.

    Returns
    -------
    Network
        With the recipe's one feature layer, in single precision.

    Raises
    ------
    WeightsError
        If the source is unknown, or holds other weights than the features were made with.
    """
    from featx.zoo import build_network

    backbone = find_backbone(recipe["backbone"])
    source = weights if weights is not None else _told_source(digest, cache)
    if source is None:
        raise WeightsError(
            f"no feature store {short(digest)} in {cache} tells where the weights of {backbone.name} came from; "
            "give them by --weights, or the store's folder of caches by --cache"
        )
    found: dict[str, Weights] = {item.digest: item for item in resolve_weights(source, backbone)}
    if recipe["weights"] not in found:
        held = ", ".join(short(name) for name in found)
        raise WeightsError(
            f"weights {str(source)!r} are not those behind the run's features: these have digest "
            f"{short(recipe['weights'])}, got {held}; give the right ones by --weights"
        )
    return build_network(
        backbone,
        found[recipe["weights"]],
        layers=(recipe["layer"],),
        pool=recipe["pool"],
        image_size=recipe["image_size"],
    )


def _told_source(digest: str, cache: Path | str) -> str | None:
    folder = Path(cache) / "features"
    for path in find_stores([folder]) if folder.is_dir() else []:
        with suppress(StoreError):  # a damaged store beside it is not what was asked for
            store = FeatureStore(path)
            if store.digest == digest:
                return str(store.recipe["weights_source"]) or None
    return None
