"""Fused arms: their members as they are given, and a store that reads the features of all members side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Folds
from featx.digest import digest
from featx.errors import ConfigError, listing
from featx.features import FeatureStore, arm_file, read_arm, recipe_key
from featx.svm.inputs import assign_stores, default_arm, store_fold
from featx.svm.scaling import unit_rows
from featx.svm.settings import TrainSvmSettings

__all__ = ["FusedMember", "JoinedStore", "fused_name", "join_stores", "open_members"]


@dataclass(frozen=True)
class FusedMember:
    """A member of a fused arm.

    Attributes
    ----------
    name : str
        Name in records and messages.
    stores : tuple of FeatureStore
        Its feature stores; one for each fold where the weights were fine-tuned.
    """

    name: str
    stores: tuple[FeatureStore, ...]


def open_members(options: TrainSvmSettings) -> tuple[FusedMember, ...]:
    """Open the stores of the members: those that `features` names, or those of the arms that `member` names.

    Each place is a member, but stores of single folds of one fine-tuning make one member.

    Raises
    ------
    ConfigError
        If there are fewer than two members, two are the same, or their names are another number.
    """
    places = options.places or tuple(arm_file(options.cache, name) for name in options.member)
    found: dict[object, list[FeatureStore]] = {}
    files: dict[object, str] = {}
    for place in places:
        stores = [FeatureStore(path) for path in read_arm(place)]
        fold = store_fold(stores[0]) if len(stores) == 1 else ""
        trained = Path(str(stores[0].recipe.get("weights_source", ""))).parent
        key: object = (default_arm(stores), trained) if fold else place
        found.setdefault(key, []).extend(stores)
        if place.suffix == ".json" and place.is_file():
            files[key] = place.stem
    names = tuple(options.member) or _names(found, files)
    if len(found) < 2 or len(names) != len(found):
        raise ConfigError(
            f"a fused arm needs two members or more, and as many names as members. Got {len(found)} members and the names "
            f"{listing(list(names)) or 'none'}; repeat --features or --member"
        )
    members = tuple(
        FusedMember(name, tuple(stores)) for name, stores in zip(names, found.values(), strict=True)
    )
    digests = [store.digest for member in members for store in member.stores]
    if len(set(digests)) < len(digests):
        raise ConfigError(
            f"two members of the fused arm ({listing(list(names))}) have the same features; give others"
        )
    return members


def _names(found: dict[object, list[FeatureStore]], files: dict[object, str]) -> tuple[str, ...]:
    names = [files.get(key) or default_arm(stores) for key, stores in found.items()]
    twice = {name for name in names if names.count(name) > 1}
    return tuple(f"{name} {place}" if name in twice else name for place, name in enumerate(names, 1))


def fused_name(method: str, members: Sequence[FusedMember]) -> str:
    """Return the default name of a fused arm, such as ``a + b (stack)``."""
    return f"{' + '.join(member.name for member in members)} ({method})"


def join_stores(
    method: str, members: Sequence[FusedMember], folds: Folds
) -> dict[str, tuple[FeatureStore, ...]]:
    """Join for each fold the stores that serve it, one of each member."""
    assigned = [assign_stores(member.stores, folds) for member in members]
    names = tuple(member.name for member in members)
    return {
        fold: (JoinedStore(method, names, tuple(one[fold][0] for one in assigned)),) for fold in folds.names
    }


class JoinedStore(FeatureStore):
    """The features of several stores side by side, as one row for each image.

    Parameters
    ----------
    method : str
        How the arm is fused. For ``concat`` each member's part of a row has unit length, so that no member outweighs
        another by the size of its numbers; the other methods train an SVM on each part.
    names : tuple of str
        Names of the members.
    members : tuple of FeatureStore
        Their stores.

    Attributes
    ----------
    widths : tuple of int
        Numbers of each member in a row.

    Raises
    ------
    ConfigError
        If the members keep other numbers of augmented views.
    """

    def __init__(self, method: str, names: tuple[str, ...], members: tuple[FeatureStore, ...]) -> None:
        self.method, self.names, self.members = method, names, members
        self.path = Path(" + ".join(str(store.path) for store in members))
        self.recipe = _joined_recipe(method, names, members)
        self.digest = digest({"fuse": method, "members": [store.digest for store in members]})
        self.widths = tuple(store.width for store in members)
        views = {store.views for store in members}
        if len(views) > 1:
            raise ConfigError(
                f"the members {listing(list(names))} keep {listing(sorted(map(str, views)))} views of an image; extract "
                "them with the same views, or with --view-pool mean"
            )

    @property
    def parts(self) -> tuple[FeatureStore, ...]:
        """The stores on disk that it reads: one of each member."""
        return self.members

    def with_parts(self, parts: tuple[FeatureStore, ...]) -> FeatureStore:
        """Return the same of other stores on disk with the same recipes."""
        return JoinedStore(self.method, self.names, parts)

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return sum(self.widths)

    @property
    def views(self) -> int:
        """Rows kept for an image."""
        return self.members[0].views

    @property
    def cost(self) -> dict[str, Any] | None:
        """Parameters and multiply-adds of all members together; None if they are not known of each."""
        costs = [store.cost for store in self.members]
        if not all(costs):
            return None
        total: dict[str, Any] = dict.fromkeys(("images_per_second", "device", "engine", "networks"))
        for name in ("parameters", "multiply_adds"):
            found = [cost[name] for cost in costs if cost is not None]
            total[name] = None if None in found else sum(found)
        return total

    def keys(self) -> frozenset[str]:
        """Return the keys of the rows that all members have."""
        return frozenset.intersection(*(store.keys() for store in self.members))

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys without features in a member, each once, in the order given."""
        wanted = list(dict.fromkeys(keys))
        lacking = {key for store in self.members for key in store.missing(wanted)}
        return [key for key in wanted if key in lacking]

    def read(self, keys: Sequence[str]) -> npt.NDArray[np.float32]:
        """Read rows, float32 of shape (len(keys), views, width)."""
        parts = [store.read(keys) for store in self.members]
        if self.method == "concat":
            parts = [_unit(part) for part in parts]
        return np.concatenate(parts, axis=2)

    def train_keys(self) -> frozenset[str] | None:
        """Return the keys of the images that the weights behind any member were trained on; None if there are none."""
        known = [keys for store in self.members if (keys := store.train_keys()) is not None]
        return frozenset[str]().union(*known) if known else None


def _unit(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    flat = features.reshape(-1, features.shape[2])
    return unit_rows(flat).reshape(features.shape)


def _joined_recipe(method: str, names: tuple[str, ...], members: tuple[FeatureStore, ...]) -> dict[str, Any]:
    recipes = [recipe_key(store.recipe) for store in members]
    shared = {
        name: value
        for name, value in recipes[0].items()
        if all(name in other and other[name] == value for other in recipes)
    }
    folds = [
        recipe["trained_on"]["fold"] for recipe in recipes if (recipe.get("trained_on") or {}).get("fold")
    ]
    return {
        **shared,
        "kind": "joined",
        "backbone": " + ".join(dict.fromkeys(str(recipe["backbone"]) for recipe in recipes)),
        "fuse": method,
        "members": [
            {"name": name, "digest": store.digest, "recipe": recipe}
            for name, store, recipe in zip(names, members, recipes, strict=True)
        ],
        "trained_on": {"fold": folds[0]} if folds else None,
        "lineage": [f"{method} of {', '.join(names)}"],
        "warnings": list(
            dict.fromkeys(line for store in members for line in store.recipe.get("warnings") or ())
        ),
    }
