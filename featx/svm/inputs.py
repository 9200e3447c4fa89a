"""Which feature store serves which fold, and what must not meet in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Fold, Folds, Labelled, known_test_images
from featx.errors import (
    ConfigError,
    LeakError,
    MissingFeaturesError,
    StoreError,
    listing,
)
from featx.features import FeatureStore
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
]


MISSING = ("fail", "leave-out")


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a task, by content.

    Attributes
    ----------
    labelled : Labelled
        The manifest under its task: every row that the task keeps.
    keys : tuple of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``; its path for a file that cannot be read.
    left_out : tuple of str
        Ids of images without features, which take no part. Folds are made with them, so that arms that lack
        different images are compared on the same folds.
    changed : tuple of str
        Those of them whose files had features before they were changed.
    """

    labelled: Labelled
    keys: tuple[str, ...]
    left_out: tuple[str, ...]
    changed: tuple[str, ...] = ()


def find_images(
    labelled: Labelled,
    stores: Sequence[FeatureStore],
    *,
    cache: object,
    workers: int | None,
    missing: str,
    progress: Progress,
) -> Images:
    """Find the images' content keys and those that some store lacks."""
    if missing not in MISSING:
        raise ConfigError(f"The 'missing' must be one of {', '.join(MISSING)}. Got {missing!r} instead.")
    known, _ = content_keys(labelled.paths, cache=str(cache), workers=workers, progress=progress)
    keys = tuple(known.get(path, path) for path in labelled.paths)
    lacking: dict[str, FeatureStore] = {}
    for store in stores:
        here = set(store.missing(keys))
        lacking |= {name: store for name, key in zip(labelled.ids, keys, strict=True) if key in here}
    left_out = tuple(name for name in labelled.ids if name in lacking)
    changed = _changed(labelled, keys, lacking, str(cache))
    if left_out and (missing == "fail" or len(left_out) == len(keys)):
        since = (
            f", {len(changed)} of them since their files were changed after extraction ({listing(changed)})"
        )
        raise MissingFeaturesError(
            f"{lacking[left_out[0]].path}: {len(left_out)} of {len(keys)} images have no features "
            f"({listing(left_out)}){since if changed else ''}; run `featx extract` on them, or go on without them by "
            "--missing leave-out"
        )
    return Images(labelled, keys, left_out, changed)


def _changed(
    labelled: Labelled, keys: Sequence[str], lacking: Mapping[str, FeatureStore], cache: str
) -> tuple[str, ...]:
    """Name the images without features of whose files' earlier content the store has features."""
    if not lacking:
        return ()
    rows = zip(labelled.ids, labelled.paths, keys, strict=True)
    paths = {name: (path, key) for name, path, key in rows if name in lacking}
    before = earlier_keys(dict(paths.values()), cache)
    held = {store.path: store.keys() for store in lacking.values()}
    return tuple(
        name for name, (path, _) in paths.items() if before.get(path, frozenset()) & held[lacking[name].path]
    )


def default_arm(stores: Sequence[FeatureStore]) -> str:
    """Name an arm after the backbone and the weights of its features.

    Returns
    -------
    str
        ``backbone-weights``, without the fold that the weights were fine-tuned on.
    """
    names = sorted({_name(store) for store in stores})
    if not names:
        raise ConfigError(
            "no feature store given; give --features with a folder that `featx extract` has printed"
        )
    if len(names) > 1:
        raise ConfigError(
            f"the stores are of several arms ({listing(names)}); train one at a time, or name --arm"
        )
    return names[0]


def _name(store: FeatureStore) -> str:
    label = str(store.recipe.get("weights_label") or "weights")
    fold = _fold(store)
    return f"{store.recipe['backbone']}-{label.removesuffix(f'-{fold}') if fold else label}"


def _fold(store: FeatureStore) -> str:
    return str((store.recipe.get("trained_on") or {}).get("fold") or "")


def assign_stores(
    stores: Sequence[FeatureStore], folds: Folds, alternatives: bool = False
) -> dict[str, tuple[FeatureStore, ...]]:
    """Say which store serves which fold."""
    if len(stores) == 1:
        return dict.fromkeys(folds.names, (stores[0],))
    serving = {name: tuple(store for store in stores if _fold(store) in ("", name)) for name in folds.names}
    lacking = [name for name, found in serving.items() if not found]
    if lacking:
        served = sorted({_fold(store) for store in stores})
        raise StoreError(
            f"no store serves fold {listing(lacking)}; extract with the weights fine-tuned on it, or name the folds "
            f"to run by --fold (served: {listing(served, 20)})"
        )
    for name, found in serving.items():
        if len(found) > 1 and not alternatives:
            raise ConfigError(
                f"{listing([str(store.path) for store in found])} serve fold {name} alike; give one of them, or let "
                "each fold choose one by --choose-features"
            )
    return serving


def refuse_leaks(store: FeatureStore, fold: Fold, images: Images) -> None:
    """Refuse features whose weights have seen an image that the fold tests, or one of its group."""
    leaked = known_test_images(fold, images.labelled, images.keys, store.train_keys())
    if leaked:
        raise LeakError(
            f"{store.path}: its weights were trained on {len(leaked)} images (or their groups) that fold {fold.name} "
            f"tests ({listing(leaked)}); use weights fine-tuned on this fold's training part"
        )


def read_rows(
    store: FeatureStore, images: Images, rows: npt.NDArray[np.int64], views: str = "mean"
) -> npt.NDArray[np.float32]:
    """Read the features of some images.

    Parameters
    ----------
    rows : ndarray of int64, shape (m,)
        Places in ``images.keys``.

    Returns
    -------
    ndarray of float32, shape (m, views or 1, width)
        Features.
    """
    count = len(rows) * store.views
    require_memory(4 * count * store.width, f"{store.path}: {count} features", "select fewer images or views")
    read = store.read([images.keys[row] for row in rows])
    features = np.ascontiguousarray(arrange_views(read, views), dtype=np.float32)
    finite = np.isfinite(features).all(axis=(1, 2))
    if not finite.all():
        bad = [images.labelled.ids[row] for row in rows[~finite]]
        raise StoreError(
            f"{store.path}: features of {listing(bad)} are not finite (NaN or infinity); leave these images out of "
            "the manifest, or extract them again into another cache"
        )
    return features


def arrange_views(features: npt.NDArray[np.floating[Any]], views: str) -> npt.NDArray[np.floating[Any]]:
    """Bring features into the rows that an SVM works on.

    Parameters
    ----------
    features : ndarray of float, shape (n, views, d) or (n, d)
        Features.

    Returns
    -------
    ndarray of float, shape (n, rows, d)
        Of the same dtype; one row without views or with their mean.

    Examples
    --------
    >>> arrange_views(np.array([[[1.0, 2.0], [3.0, 4.0]]]), "mean").tolist()
    [[[2.0, 3.0]]]
    """
    images = features[:, None] if features.ndim == 2 else features
    return images if views == "rows" or images.shape[1] == 1 else images.mean(axis=1, keepdims=True)
