"""Inputs of training: images, feature stores of each fold, and checks for leaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Fold, Folds, Labelled, count_exclusions, known_test_images
from featx.errors import (
    ConfigError,
    LeakError,
    MissingFeaturesError,
    StoreError,
    listing,
)
from featx.features import FeatureStore, failed_paths
from featx.images import content_keys, earlier_keys
from featx.machine import require_memory
from featx.progress import Progress

__all__ = [
    "Images",
    "arrange_views",
    "assign_stores",
    "default_arm",
    "find_images",
    "read_rows",
    "refuse_leaks",
    "store_fold",
]


MISSING = ("fail", "leave-out")


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a task, by content.

    Attributes
    ----------
    labelled : Labelled
        The rows of the manifest that the task keeps, with their classes.
    keys : tuple of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``; the path if the file cannot be read.
    left_out : tuple of str
        Ids of images without features. They are not trained on and not scored. Folds are made with them, so that
        arms that lack different images are compared on the same folds.
    changed : tuple of str
        Ids in ``left_out`` whose files were changed after their features were extracted.
    failed : tuple of str
        Ids in ``left_out`` that the store lists as failed: their file could not be decoded, or their features computed.
    """

    labelled: Labelled
    keys: tuple[str, ...]
    left_out: tuple[str, ...]
    changed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @cached_property
    def flow(self) -> dict[str, Any]:
        """Counts of the data set on its way to the folds, as `count_exclusions` gives them."""
        return count_exclusions(self.labelled, self.left_out, self.failed, self.changed)


def find_images(
    labelled: Labelled,
    stores: Sequence[FeatureStore],
    *,
    cache: object,
    workers: int | None,
    missing: str,
    progress: Progress,
    listed: Mapping[str, str] | Path | str | None = None,
    remedy: str = "run `featx extract` on them",
) -> Images:
    """Compute the content keys of the images and list the images that a store lacks."""
    if missing not in MISSING:
        raise ConfigError(
            f"The 'missing' parameter must be one of {', '.join(MISSING)}. Got {missing!r} instead."
        )
    known, _ = content_keys(
        labelled.paths, cache=str(cache), workers=workers, progress=progress, known=listed
    )
    keys = tuple(known.get(path, path) for path in labelled.paths)
    lacking: dict[str, FeatureStore] = {}
    for store in stores:
        here = set(store.missing(keys))
        lacking |= {name: store for name, key in zip(labelled.ids, keys, strict=True) if key in here}
    left_out = tuple(name for name in labelled.ids if name in lacking)
    changed = _changed(labelled, keys, lacking, str(cache))
    if left_out and (missing == "fail" or len(left_out) == len(keys)):
        since = (
            f", {len(changed)} of them because their files were changed after extraction ({listing(changed)})"
        )
        raise MissingFeaturesError(
            f"{lacking[left_out[0]].path}: {len(left_out)} of {len(keys)} images have no features "
            f"({listing(left_out)}){since if changed else ''}; {remedy}, or leave them out with --missing leave-out"
        )
    return Images(labelled, keys, left_out, changed, _failed(labelled, lacking))


def _failed(labelled: Labelled, lacking: Mapping[str, FeatureStore]) -> tuple[str, ...]:
    """List the images without features whose extraction failed."""
    listed = {store.path: failed_paths(store) for store in lacking.values()}
    rows = zip(labelled.ids, labelled.paths, strict=True)
    return tuple(name for name, path in rows if name in lacking and path in listed[lacking[name].path])


def _changed(
    labelled: Labelled, keys: Sequence[str], lacking: Mapping[str, FeatureStore], cache: str
) -> tuple[str, ...]:
    """List the images without features whose earlier file content has features in the store."""
    if not lacking:
        return ()
    rows = zip(labelled.ids, labelled.paths, keys, strict=True)
    paths = {name: (path, key) for name, path, key in rows if name in lacking}
    before = earlier_keys(dict(paths.values()), cache)
    earlier = frozenset().union(*before.values())
    held = {store.path: earlier.difference(store.missing(earlier)) for store in lacking.values()}
    return tuple(
        name for name, (path, _) in paths.items() if before.get(path, frozenset()) & held[lacking[name].path]
    )


def default_arm(stores: Sequence[FeatureStore]) -> str:
    """Return the default name of an arm: backbone and weights of its features.

    Returns
    -------
    str
        ``backbone-weights``; the fold of fine-tuned weights is not part of the name.
    """
    names = sorted({_name(store) for store in stores})
    if not names:
        raise ConfigError(
            "no feature store was given; give --features with a folder that `featx extract` printed"
        )
    if len(names) > 1:
        raise ConfigError(
            f"the feature stores belong to several arms ({listing(names)}); train one arm at a time, or give --arm"
        )
    return names[0]


def _name(store: FeatureStore) -> str:
    label = str(store.recipe.get("weights_label") or "weights")
    fold = store_fold(store)
    return f"{store.recipe['backbone']}-{label.removesuffix(f'-{fold}') if fold else label}"


def store_fold(store: FeatureStore) -> str:
    """Name the fold that the weights of a store were fine-tuned for; empty if they serve every fold."""
    return str((store.recipe.get("trained_on") or {}).get("fold") or "")


def assign_stores(
    stores: Sequence[FeatureStore], folds: Folds, alternatives: bool = False
) -> dict[str, tuple[FeatureStore, ...]]:
    """Assign feature stores to folds."""
    if len(stores) == 1:
        return dict.fromkeys(folds.names, (stores[0],))
    serving = {
        name: tuple(store for store in stores if store_fold(store) in ("", name)) for name in folds.names
    }
    lacking = [name for name, found in serving.items() if not found]
    if lacking:
        served = sorted({store_fold(store) for store in stores})
        raise StoreError(
            f"no feature store for fold {listing(lacking)}; got stores for {listing(served, 20)}. Extract features with "
            "the weights fine-tuned on this fold, or choose the folds to run with --fold"
        )
    for name, found in serving.items():
        if len(found) > 1 and not alternatives:
            raise ConfigError(
                f"fold {name} has {len(found)} feature stores ({listing([str(store.path) for store in found])}); give one "
                "of them, or choose one in each fold with --choose-features"
            )
    return serving


def refuse_leaks(store: FeatureStore, fold: Fold, images: Images) -> None:
    """Raise an error if the weights behind the features were trained on a test image or on its group."""
    leaked = known_test_images(fold, images.labelled, images.keys, store.train_keys())
    if leaked:
        raise LeakError(
            f"{store.path}: the weights were trained on {len(leaked)} images (or their groups) of the test set of fold "
            f"{fold.name} ({listing(leaked)}); use weights that were fine-tuned on the training set of this fold"
        )


def read_rows(
    store: FeatureStore, images: Images, rows: npt.NDArray[np.int64], views: str = "mean"
) -> npt.NDArray[np.float32]:
    """Read the features of images.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Indices into ``images.keys``.

    Returns
    -------
    ndarray of float32, shape (m, views or 1, width)
        Features.
    """
    count = len(rows) * store.views
    require_memory(4 * count * store.width, f"{store.path}: {count} features", "select fewer images or views")
    read = store.read([images.keys[row] for row in rows])
    features = np.ascontiguousarray(arrange_views(read, views), dtype=np.float32)
    check_finite(store, features, [images.labelled.ids[row] for row in rows])
    return features


def check_finite(store: FeatureStore, features: npt.NDArray[np.floating[Any]], ids: Sequence[str]) -> None:
    """Raise `StoreError` if features are not finite; they have the shape (n, views, width), and the ids name their images."""
    finite = np.isfinite(features).all(axis=(1, 2))
    if not finite.all():
        bad = [ids[place] for place in np.flatnonzero(~finite).tolist()]
        raise StoreError(
            f"{store.path}: features of {listing(bad)} are not finite (NaN or infinity); leave these images out, or extract "
            "them again into another cache"
        )


def arrange_views(features: npt.NDArray[np.floating[Any]], views: str) -> npt.NDArray[np.floating[Any]]:
    """Convert features to the rows that an SVM is trained on.

    Parameters
    ----------
    features : ndarray of float, shape (n, views, d) or (n, d)
        Features.

    Returns
    -------
    ndarray of float, shape (n, rows, d)
        Features of the same dtype; one row for each image without views or with averaged views.

    Examples
    --------
    >>> arrange_views(np.array([[[1.0, 2.0], [3.0, 4.0]]]), "mean").tolist()
    [[[2.0, 3.0]]]
    """
    images = features[:, None] if features.ndim == 2 else features
    return images if views == "rows" or images.shape[1] == 1 else images.mean(axis=1, keepdims=True)
