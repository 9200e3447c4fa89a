"""External test sets: checked before the first SVM is trained, scored by the model of every fold afterwards."""

from __future__ import annotations

import dataclasses
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from os.path import abspath, commonpath
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Labelled, Manifest, apply_trained_task, read_manifest
from featx.digest import digest
from featx.errors import ConfigError, MissingFeaturesError, StaleStoreError, TaskError, listing
from featx.external import ExternalRecord, Overlap, TrainedOn, find_overlap, refuse_overlap
from featx.features import FeatureStore, find_stores
from featx.images import content_keys
from featx.progress import Progress
from featx.runs import Run, path_part
from featx.svm.inputs import Images, find_images, store_fold
from featx.svm.settings import ExternalSource, TrainSvmSettings

__all__ = ["ExternalSet", "external_record", "read_external_sets"]


@dataclass(frozen=True, eq=False)
class ExternalSet:
    """An external test set, ready to be scored.

    Attributes
    ----------
    name : str
        Name in reports.
    images : Images
        The images to score, and those without features.
    overlap : mapping
        The overlap with the training data, as `ExternalRecord` has it.
    stores : mapping of str to FeatureStore
        For the digest of each recipe of the arm the store that holds the images' features.
    """

    name: str
    images: Images
    overlap: Mapping[str, Any]
    stores: Mapping[str, FeatureStore]

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """Indices of the images with features."""
        out = frozenset(self.images.left_out)
        kept = [row for row, name in enumerate(self.images.labelled.ids) if name not in out]
        return np.array(kept, dtype=np.int64)

    @cached_property
    def record(self) -> ExternalRecord:
        """The record of its scores, without the model."""
        rows, labelled = self.rows.tolist(), self.images.labelled
        ids, classes = [labelled.ids[row] for row in rows], [str(labelled.classes[row]) for row in rows]
        keys = [self.images.keys[row] for row in rows]
        without, counted = len(self.images.left_out), Counter(classes)
        return ExternalRecord(
            name=self.name,
            run="",
            model="",
            manifest={"name": labelled.manifest.name, "digest": labelled.manifest.digest},
            images=digest(sorted(zip(ids, classes, keys, strict=True))),
            features="",
            overlap=self.overlap,
            counts={
                "classes": {name: counted[name] for name in labelled.task.classes},
                "groups": len({str(labelled.groups[row]) for row in rows}),
                "left_out": without,
                "excluded": labelled.left_out,
            },
            warnings=(
                *labelled.remarks,
                *([f"{without} images have no features and were left out"] if without else []),
            ),
        )

    def store_of(self, run: Run) -> FeatureStore:
        """Return the store that holds the features for the model of a run."""
        return self.stores[str(run.record.search.get("features", run.record.features["digest"]))]


def read_external_sets(
    options: TrainSvmSettings,
    training: Images,
    trained: frozenset[str],
    stores: Sequence[FeatureStore],
    progress: Progress,
) -> tuple[ExternalSet, ...]:
    """Read the external test sets, and check their labels, their overlap with the training data, and their features.

    Parameters
    ----------
    options : TrainSvmSettings
        Options of the verb.
    training : Images
        The training manifest under its task.
    trained : frozenset of str
        Ids of the images in the training set of any fold.
    stores : sequence of FeatureStore
        The stores of the arm.
    progress : Progress
        Receiver of progress and messages.

    Raises
    ------
    TaskError
        If no image of a test set has a class of the task.
    LeakError
        If a test set overlaps with the training data, unless the overlap is to be dropped.
    MissingFeaturesError
        If images of a test set have no features, unless they are to be left out.
    """
    if not options.sources:
        return ()
    named = _named(options)
    known = frozenset[str]().union(*(store.train_keys() or () for store in stores))
    images = TrainedOn(training.labelled, training.keys, trained, known)
    further = [FeatureStore(place) for place in find_stores(options.test_features)]
    return tuple(
        _read(source, name, manifest, options, images, stores, further, progress)
        for source, name, manifest in named
    )


def _named(options: TrainSvmSettings) -> list[tuple[ExternalSource, str, Manifest]]:
    """Read the manifests, and check that each has a folder of its own in a run."""
    named = []
    for source in options.sources:
        manifest = read_manifest(source.manifest, root=source.root, allow_outside=options.allow_outside)
        named.append((source, source.name or manifest.name, manifest))
    folders = Counter(path_part(name) for _, name, _ in named)
    alike = [name for _, name, _ in named if folders[path_part(name)] > 1]
    if alike:
        raise ConfigError(
            f"The 'test' parameter must name each external test set once. Got {listing([repr(name) for name in alike])}, "
            f"whose scores would be in one folder ({path_part(alike[0])}); give one of them another name (NAME=MANIFEST)."
        )
    return named


def _read(
    source: ExternalSource,
    name: str,
    manifest: Manifest,
    options: TrainSvmSettings,
    training: TrainedOn,
    stores: Sequence[FeatureStore],
    further: Sequence[FeatureStore],
    progress: Progress,
) -> ExternalSet:
    whole = apply_trained_task(manifest, training.labelled.task)
    shared: dict[str, Any] = {"cache": str(options.cache), "workers": options.workers, "progress": progress}
    known = content_keys(whole.paths, known=options.keys, **shared).keys
    keys = [known.get(path, path) for path in whole.paths]
    overlap = find_overlap(whole, keys, training, own_names=options.own_names, **shared)
    if options.overlap == "refuse":
        refuse_overlap(overlap, whole, name)
    labelled = _without(whole, overlap, name)
    used = {
        store.digest: store.with_parts(tuple(_holding(one, further, keys) for one in store.parts))
        for store in stores
    }
    try:
        images = find_images(
            labelled,
            tuple(used.values()),
            missing=options.missing,
            listed=known,
            remedy=f"run `{_extraction(whole, source, stores, options)}`",
            **shared,
        )
    except MissingFeaturesError as error:
        raise MissingFeaturesError(f"external test set {name!r}: {error}") from error
    if overlap.found:
        progress.say(
            f"warning: {len(overlap.found)} of {len(whole)} images of the external test set {name!r} overlap with the "
            "training data and are left out"
        )
    for line in labelled.remarks:
        progress.say(f"warning: {name}: {line}")
    return ExternalSet(name, images, _told(overlap, options), used)


def _told(overlap: Overlap, options: TrainSvmSettings) -> dict[str, Any]:
    return {
        "rule": options.overlap,
        "own_names": options.own_names,
        "kinds": overlap.kinds,
        "left_out": {name: sorted(kinds) for name, kinds in sorted(overlap.found.items())},
    }


def _without(labelled: Labelled, overlap: Overlap, name: str) -> Labelled:
    """Leave out the images that overlap with the training data."""
    keep = np.array([image not in overlap.found for image in labelled.ids])
    if not keep.any():
        raise TaskError(
            f"{labelled.manifest.source}: all {len(keep)} images of the external test set {name!r} overlap with the "
            "training data; test on other images"
        )
    rows = np.flatnonzero(keep).tolist()
    return dataclasses.replace(
        labelled,
        ids=tuple(labelled.ids[row] for row in rows),
        paths=tuple(labelled.paths[row] for row in rows),
        classes=labelled.classes[keep],
        targets=labelled.targets[keep],
        groups=labelled.groups[keep],
        splits=labelled.splits[keep],
        strata={column: tuple(values[row] for row in rows) for column, values in labelled.strata.items()},
    )


def _holding(store: FeatureStore, further: Sequence[FeatureStore], keys: Sequence[str]) -> FeatureStore:
    """Choose the store of a recipe that holds most of the images."""
    same = [store, *(other for other in further if other.digest == store.digest)]
    if further and len(same) == 1:
        found = listing([str(other.path) for other in further])
        raise StaleStoreError(
            f"{found}: no store has the recipe of {store.path}; extract the external images with this recipe"
        )
    return min(same, key=lambda one: len(one.missing(keys)))


def _extraction(
    labelled: Labelled, given: ExternalSource, stores: Sequence[FeatureStore], options: TrainSvmSettings
) -> str:
    """Write the commands that extract the features of an external manifest with the recipes of the arm."""
    alike: dict[tuple[str, ...], list[FeatureStore]] = {}
    plain = {one.path: one for store in stores for one in store.parts}
    for one in plain.values():
        alike.setdefault(_flags(one.recipe), []).append(one)
    places = {"--root": given.root, "--cache": options.cache if str(options.cache) != "cache" else None}
    where = [word for flag, value in places.items() if value for word in (flag, str(value))]
    first = ["featx", "extract", str(labelled.manifest.source), *where]
    return "` and `".join(
        shlex.join([*first, *flags, *_repeated("--layer", "layer", some), *_weights(some)])
        for flags, some in alike.items()
    )


def _flags(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the options of an extraction but for layers and weights, of which one extraction takes several."""
    views = recipe.get("views") or {}
    flags = {
        "--backbone": recipe.get("backbone"),
        "--pool": recipe.get("pool"),
        "--image-size": recipe.get("image_size"),
        "--preparation": (recipe.get("preparation") or {}).get("name"),
        "--precision": recipe.get("precision") if recipe.get("precision") != "float32" else None,
        "--views": views.get("count"),
        "--view-pool": recipe.get("view_pool") if views else None,
    }
    return tuple(word for flag, value in flags.items() if value for word in (flag, str(value)))


def _weights(stores: Sequence[FeatureStore]) -> list[str]:
    """Write the weights sources; for the networks of several folds the folder that holds them."""
    words = _repeated("--weights", "weights_source", stores)
    paths = words[1::2]
    folds = len(paths) > 1 and all(map(store_fold, stores))
    return ["--weights", commonpath(map(abspath, paths))] if folds else words


def _repeated(flag: str, field: str, stores: Sequence[FeatureStore]) -> list[str]:
    values = dict.fromkeys(str(store.recipe.get(field) or field.upper()) for store in stores)
    return [word for value in values for word in (flag, value)]


def external_record(run: Run, one: ExternalSet, model: str) -> ExternalRecord:
    """Create the record of the scores of an external test set by the model of a run, whose file has this SHA-256."""
    return dataclasses.replace(one.record, run=run.record.id, model=model, features=one.store_of(run).digest)
