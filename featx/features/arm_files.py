"""Which stores a name or path stands for, and which recipe, weights and network the features of a run came from."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featx.digest import short
from featx.documents import parse_json, read_text
from featx.errors import RunError, StaleStoreError, StoreError, WeightsError, listing
from featx.files import ASIDE, is_there, write_json
from featx.images import DECODE_VERSION, preparation_key
from featx.runs import Run, given_features
from featx.zoo import Backbone, Weights, find_backbone, resolve_weights

from .extract_settings import check_arm
from .store import RECIPE, FeatureStore

if TYPE_CHECKING:
    from featx.zoo import Network

__all__ = [
    "arm_file",
    "find_store",
    "find_stores",
    "network_of",
    "read_arm",
    "recipe_of",
    "weights_of",
    "write_arm",
]

_ARMS = "arms"
_FORMAT = 1


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

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     find_stores([folder])
    []
    """
    found: set[Path] = set()
    for path in map(Path, paths):
        if not path.is_dir():
            raise StoreError(f"{path}: no such folder; give a feature store, or a folder that holds some")
        candidates = [path] if (path / RECIPE).is_file() else [item.parent for item in path.rglob(RECIPE)]
        # Temporary folders of killed processes hold no stores.
        found.update(
            folder
            for folder in candidates
            if not any(part.startswith(ASIDE) for part in folder.relative_to(path).parts)
        )
    return sorted(found)


def arm_file(cache: Path | str, name: str) -> Path:
    """Return the path of the file that names an arm's stores.

    Parameters
    ----------
    cache : Path or str
        Folder of caches.
    name : str
        Name of the arm.

    Returns
    -------
    Path
        ``CACHE/arms/NAME.json``; it need not exist.

    Raises
    ------
    ConfigError
        If the name is empty, too long, begins with a dot, or has a path separator or an unprintable character.

    Examples
    --------
    >>> arm_file("cache", "tuned").as_posix()
    'cache/arms/tuned.json'
    """
    check_arm(name)
    return Path(cache) / _ARMS / f"{name}.json"


def write_arm(cache: Path, name: str, stores: Sequence[Path]) -> Path:
    """Write the file that names an arm's stores, or replace it, and return its path."""
    place = arm_file(cache, name)
    within = [store.relative_to(cache).as_posix() for store in dict.fromkeys(stores)]
    write_json(place, {"format": _FORMAT, "arm": name, "stores": within})
    return place


def read_arm(place: Path | str) -> tuple[Path, ...]:
    """Find the stores that a path stands for.

    Parameters
    ----------
    place : Path or str
        A feature store, a folder of stores, or the file of an arm (see `arm_file`).

    Returns
    -------
    tuple of Path
        Folders of the stores: of an arm in the order that its extraction gave, of a folder sorted by name.

    Raises
    ------
    StoreError
        If there is nothing at this path (the message names the nearest arm), no store below it, the file is not that of an arm, or one of its stores
        is missing.

    Examples
    --------
    >>> import tempfile
    >>> from featx import FeatureStore
    >>> cache = Path(tempfile.mkdtemp())
    >>> store = FeatureStore.create(cache / "features" / "tiny", {"backbone": "tiny"})
    >>> read_arm(cache / "features") == read_arm(store.path) == (store.path,)
    True
    """
    path = Path(place)
    if is_there(path) and path.is_dir():
        found = tuple(find_stores([path]))
        if not found:
            raise StoreError(
                f"{path}: no feature store in this folder; give a store, a folder of stores, or the file that "
                "`featx extract --arm NAME` has written"
            )
        return found
    stores = _named_stores(path)
    missing = [str(store) for store in stores if not is_there(store / RECIPE)]
    if missing:
        raise StoreError(
            f"{path}: names {len(stores)} stores, of which {listing(missing, 2)} "
            f"{'is' if len(missing) == 1 else 'are'} missing; run `featx extract --arm {path.stem}` again"
        )
    return stores


def _named_stores(path: Path) -> tuple[Path, ...]:
    try:
        record: Any = parse_json(read_text(path))
    except FileNotFoundError as error:
        raise StoreError(_missing(path)) from error
    except (OSError, ValueError) as error:
        raise _no_arm(path, f"cannot be read ({error})") from error
    if not isinstance(record, dict) or "stores" not in record:
        raise _no_arm(path, "has no list of stores")
    if record.get("format") != _FORMAT:
        raise _no_arm(path, f"has format {record.get('format')!r}, this featx reads {_FORMAT}")
    names = record["stores"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise _no_arm(path, "lists no stores")
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _no_arm(path, f"names the store {name!r}, which is not in the cache folder")
    return tuple(path.parent.parent / name for name in names)


def _missing(path: Path) -> str:
    if path.parent.name != _ARMS or path.suffix != ".json":
        return (
            f"{path}: no such file or folder; give a store, a folder of stores, or the file that "
            "`featx extract --arm NAME` has written"
        )
    known = sorted(other.stem for other in path.parent.glob("[!.]*.json"))
    close = difflib.get_close_matches(path.stem, known, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    arms = f"arms with features: {listing(known, 10)}" if known else "no arm has features"
    return f"{path}: no features of an arm {path.stem!r}; {hint}{arms}. Run `featx extract --arm {path.stem}` first"


def _no_arm(path: Path, reason: str) -> StoreError:
    return StoreError(
        f"{path}: {reason}; give a store, a folder of stores, or the file that `featx extract --arm NAME` has written"
    )


def recipe_of(run: Run, digest: str, *, one_network: bool = True) -> Mapping[str, Any]:
    """Find the recipe of features that a run was given.

    Parameters
    ----------
    run : Run
        A run of `featx train-svm`.
    digest : str
        Digest of the recipe, such as `SvmModel.recipe_digest`.
    one_network : bool
        Whether to refuse imported features and those of fused arms.

    Returns
    -------
    mapping
        Fields of `featx.features.feature_recipe.Recipe` that decide a feature. Recipes with a ``kind`` have others:
        ``"imported"`` no network, ``"joined"`` a list of ``members``.

    Raises
    ------
    RunError
        If the record does not list such features, or `one_network` is asked for and they are of none or several.
    StaleStoreError
        If this featx decodes or prepares images in another way than when the features were extracted.
    """
    found = given_features(run, digest)
    if found is None:
        raise RunError(
            f"{run.path}: the record of the run does not list the features of its model; train it again"
        )
    recipe: Mapping[str, Any] = found["recipe"]
    if one_network and recipe.get("kind"):
        raise RunError(
            f"{run.path}: its features are {recipe['kind']} ({recipe['backbone']}) and not those of one network of featx; "
            "give runs of an arm of one network"
        )
    for one in [member["recipe"] for member in recipe.get("members", ())] or [recipe]:
        if not one.get("kind"):
            _refuse_stale(run, one)
    return recipe


def _refuse_stale(run: Run, recipe: Mapping[str, Any]) -> None:
    now = {"preparation": preparation_key(recipe["preparation"]["name"]), "decode": DECODE_VERSION}
    stale = [name for name, value in now.items() if recipe[name] != value]
    if stale:
        raise StaleStoreError(
            f"{run.path}: its features were extracted with another version of {stale[0]}; extract and train again"
        )


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
    recipe: Mapping[str, Any],
    digest: str,
    weights: str | Path | None,
    cache: Path | str,
    resolve: Callable[[str | Path, Backbone], tuple[Weights, ...]] = resolve_weights,
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
    resolve : callable
        `resolve_weights`, or a cached form of it for recipes of one source.

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
    found: dict[str, Weights] = {item.digest: item for item in resolve(source, backbone)}
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
    stores = find_stores([folder]) if folder.is_dir() else []
    # The folder of a store ends with its digest, unless somebody renamed it.
    for path in sorted(stores, key=lambda path: not path.name.endswith(short(digest))):
        with suppress(StoreError):  # another store that is damaged does not matter here
            store = FeatureStore(path)
            if store.digest == digest:
                return store
    return None


def _recorded_source(digest: str, cache: Path | str) -> str | None:
    store = find_store(digest, cache)
    return (str(store.recipe["weights_source"]) or None) if store else None
