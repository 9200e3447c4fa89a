"""Inputs of a study: data sets, folds and weights, each read once; and the checks of a study before its first job."""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from featx.data import (
    Folds,
    Labelled,
    Manifest,
    apply_task,
    apply_trained_task,
    check_folds,
    read_manifest,
    split_folds,
)
from featx.digest import canonical, digest, digest_file
from featx.errors import (
    BackboneError,
    ConfigError,
    FeatxError,
    InputError,
    ManifestError,
    TaskError,
    WeightsError,
    listing,
)
from featx.external import TrainedOn, find_overlap, refuse_overlap
from featx.features import FeatureStore, find_stores, import_features, read_arm
from featx.files import find_files
from featx.finetuning import TrainingRecipe, final_weights, read_recipe
from featx.images import content_keys
from featx.jobs import slug
from featx.progress import Progress
from featx.runs import COMPLETE
from featx.svm import SvmSettings
from featx.zoo import checked_size, find_backbone, is_preset, resolve_weights

from .schema import SUBSET_KEYS, Arm, DataSet, Study, SyntheticImages, TargetData

__all__ = [
    "Inputs",
    "Problems",
    "ReadData",
    "Start",
    "check_study",
    "found_here",
    "layer_problems",
    "main",
    "read_data",
    "svm_settings",
    "task_name",
    "weights_source",
]


@dataclass(frozen=True)
class ReadData:
    """A data set that has been read.

    Attributes
    ----------
    manifest : Manifest
        Images and labels.
    keys : mapping of str to str
        Path of each readable image to its content key.
    place : mapping
        Arguments of the verbs that locate it: ``manifest``, ``root``, ``cache``, ``allow_outside``.
    preparation : str
        Key of `featx.images.prepare.PREPARATIONS`.
    """

    manifest: Manifest
    keys: Mapping[str, str]
    place: Mapping[str, Any]
    preparation: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of labels and image contents; paths and order have no effect."""
        paths = zip(self.manifest.ids, self.manifest.paths, strict=True)
        return digest([self.manifest.digest, sorted([name, self.keys.get(path, "")] for name, path in paths)])


def read_data(
    item: DataSet,
    cache: Path,
    progress: Progress | None = None,
    allow_outside: bool = False,
    known: Mapping[str, str] | None = None,
) -> ReadData:
    """Read a data set; a synthetic one is made first.

    Returns
    -------
    ReadData
        Manifest and content keys. Images that cannot be read have no key; the jobs report the reason.
    """
    path = Path(item.manifest) if item.manifest else _drawn(item.drawn, cache, progress)
    manifest = read_manifest(path, root=item.root, allow_outside=allow_outside)
    keys = content_keys(manifest.paths, cache=cache, progress=progress, known=known).keys
    place = {"manifest": str(path), "root": item.root, "cache": str(cache), "allow_outside": allow_outside}
    return ReadData(manifest, keys, place, item.preparation)


def _drawn(drawing: SyntheticImages | None, cache: Path, progress: Progress | None) -> Path:
    """Make a synthetic data set, unless it exists."""
    from featx.data import draw_dermoscopy, draw_retina

    assert drawing is not None, "the schema requires a manifest or synthetic images"
    # Reports name the data set after the last folder.
    folder = cache / "drawn" / f"{drawing.images}-{drawing.size}-seed{drawing.seed}" / drawing.kind
    if (folder / "manifest.csv").is_file():
        return folder / "manifest.csv"
    draw = draw_dermoscopy if drawing.kind == "dermoscopy" else draw_retina
    return draw(folder, images=drawing.images, size=drawing.size, seed=drawing.seed, progress=progress)


@dataclass(frozen=True)
class Start:
    """Initial weights of a network.

    Attributes
    ----------
    source : str
        What `featx.zoo.weights.resolve_weights` takes, or the folder of weights that jobs of the study will make.
    identity : str
        Digest or name that identifies their content.
    label : str
        Name in messages.
    random : bool
        Whether the weights are random.
    needs : tuple of str
        Digests of the jobs that train them.
    """

    source: str
    identity: str
    label: str
    random: bool = False
    needs: tuple[str, ...] = ()


@dataclass
class Inputs:
    """A study's data sets, folds and weights.

    Attributes
    ----------
    study : Study
        The study.
    cache : Path
        Folder of caches; also of synthetic images.
    progress : Progress, optional
        Receiver of progress.
    strict_labels : bool
        Refuse labels under `rest` that may be meant for another class.
    allow_outside : bool
        Whether image paths in manifests may be outside their folders.
    known : mapping of str to str, optional
        Content keys computed elsewhere, by absolute path.
    read : dict of str to ReadData
        The data sets that have been read.
    """

    study: Study
    cache: Path
    progress: Progress | None = None
    strict_labels: bool = False
    allow_outside: bool = False
    known: Mapping[str, str] | None = None
    read: dict[str, ReadData] = field(default_factory=dict)
    _labelled: dict[tuple[str, str], Labelled] = field(default_factory=dict)
    _folds: dict[tuple[str, str, str], Folds] = field(default_factory=dict)
    _identities: dict[str, str] = field(default_factory=dict)
    _stores: dict[tuple[str, str], tuple[FeatureStore, ...]] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about the data sets and their tasks."""
        lines = (
            f"{self.data(name).manifest.name}, {task_name(task)}: {text}"
            for (name, task), labelled in self._labelled.items()
            for text in labelled.remarks
        )
        return tuple(dict.fromkeys(lines))

    def data(self, name: str) -> ReadData:
        """Read a source or target."""
        if name not in self.read:
            item = self.study.targets.get(name) or self.study.sources[name]
            self.read[name] = read_data(item, self.cache, self.progress, self.allow_outside, self.known)
        return self.read[name]

    def labelled(self, name: str, task: str) -> Labelled:
        """Apply a task to a source or target."""
        if (name, task) not in self._labelled:
            self._labelled[name, task] = apply_task(
                self.data(name).manifest, task, strict_labels=self.strict_labels
            )
        return self._labelled[name, task]

    def folds(self, name: str, task: str, protocol: str) -> tuple[Folds, Any]:
        """Make the folds of a task, and check folds that are given.

        Returns
        -------
        Folds
            Images that cannot be read count as unique; the jobs report them.
        Any
            The task, in JSON types.
        """
        labelled = self.labelled(name, task)
        if (name, task, protocol) not in self._folds:
            known = self.data(name).keys
            keys = [known.get(path, path) for path in labelled.paths]
            folds = split_folds(labelled, protocol, self.study.seed, keys)
            if protocol == "holdout" or Path(protocol).suffix:
                check_folds(folds, labelled, keys)
            if name in self.study.targets:
                self._check_inner(folds, labelled, keys)
            self._folds[name, task, protocol] = folds
        return self._folds[name, task, protocol], canonical(labelled.task)

    def _check_inner(self, folds: Folds, labelled: Labelled, keys: list[str]) -> None:
        """Check that the training set of every fold has the inner splits of the SVM's settings."""
        from featx.svm import check_inner_folds

        check_inner_folds(folds.folds, labelled, keys, svm_settings(self.study))

    def stores(self, name: str, arm: str) -> tuple[FeatureStore, ...]:
        """Open the feature stores that an arm is given for a target; files of features are imported first."""
        given = self.study.arms[arm].features
        if (name, arm) not in self._stores:
            self._stores[name, arm] = tuple(map(FeatureStore, self._store_paths(name, arm, given)))
        return self._stores[name, arm]

    def _store_paths(self, name: str, arm: str, given: Sequence[str]) -> tuple[Path, ...]:
        path = Path(given[0])
        if len(given) == 1 and (path.suffix == ".json" or (path.is_dir() and find_stores([path]))):
            return read_arm(path)
        data = self.data(name)
        done = import_features(
            given,
            name=slug(arm),
            **data.place,
            missing=self.study.svm["missing"],
            unmatched="ignore",
            progress=self.progress,
        )
        return (done.store,)

    def weights(self, arm: Arm, backbone: str) -> Start:
        """Find the initial weights of an arm's network, before any training of this study."""
        row = find_backbone(backbone)
        if row.is_own:
            (own,) = resolve_weights(weights_source(self.study, arm, backbone), row)
            return Start(own.source, own.digest, own.label)
        text = weights_source(self.study, arm, backbone)
        if text == "random":
            text = f"random:{self.study.seed}"
        if not Path(text).is_absolute():
            self._check_name(text, arm, backbone)
        if text not in self._identities:
            self._identities[text] = _identity(text, self.cache)
        label = arm.weights if arm.weights in self.study.weights else Path(text).name
        return Start(text, self._identities[text], label, text.startswith("random:"))

    def _check_name(self, text: str, arm: Arm, backbone: str) -> None:
        """Refuse an unknown weights source, or one without weights for this network."""
        row = find_backbone(backbone)
        published = {"imagenet": ("ImageNet weights are", row.imagenet), "preset": ("preset is", row.preset)}
        if text in published:
            what, there = published[text]
            if not there:
                raise WeightsError(
                    f"no {what} published for {backbone}; name a file in the study's table [weights.{arm.weights}], "
                    f"or leave {backbone} out"
                )
        elif text.partition(":")[0] in ("random", "run"):
            resolve_weights(text, row)
        elif text in self.study.weights:
            raise WeightsError(
                f"the table [weights.{text}] has no weights for {backbone}; add them, or leave the backbone out"
            )
        else:
            known = [*self.study.weights, "random", "imagenet", "preset"]
            near = difflib.get_close_matches(text, known, 1)
            hint = f"did you mean {near[0]!r}? Known" if near else "known"
            raise WeightsError(
                f"unknown weights source; {hint}: {', '.join(known)}, random:SEED, run:ID, a file or a folder"
            )


def task_name(task: str) -> str:
    """Name a task for messages: a file by its name without folder and ending."""
    return Path(task).stem if task.endswith(".toml") else task


def svm_settings(study: Study) -> SvmSettings:
    """Return the settings of a study's search for C and final fit."""
    others = {"missing", *SUBSET_KEYS}
    return SvmSettings.make({key: value for key, value in study.svm.items() if key not in others})


def weights_source(study: Study, arm: Arm, backbone: str) -> str:
    """Resolve an arm's weights by the study's tables of weights."""
    return study.weights.get(arm.weights, {}).get(backbone, arm.weights)


def _identity(text: str, cache: Path) -> str:
    """Identify the content of a weights source: digest of a file or of a folder's runs; a name is its own identity."""
    path = Path(text)
    if not path.is_absolute():
        return text
    if path.is_dir():
        marks = find_files(path, COMPLETE)
        if not marks and not is_preset(path):
            raise WeightsError(
                f"{text}: holds no run of `featx finetune` and no preset; give another folder or a file"
            )
        return digest([[str(mark.relative_to(path)), digest_file(mark)] for mark in marks])
    found = content_keys([path], cache=cache)
    if found.failures:
        raise WeightsError(f"{text}: no such file or folder; put it there, or give another one in the study")
    return found.keys[text]


_T = TypeVar("_T")


class Problems:
    """Collects errors, each with its key of the study file, to raise them in one message."""

    def __init__(self) -> None:
        self._found: dict[str, type[InputError]] = {}

    def attempt(self, key: str, value: Any, work: Callable[[], _T]) -> _T | None:
        """Call `work`, and collect its error of bad input."""
        try:
            return work()
        except InputError as error:
            self.add(key, value, error)
            return None

    def add(self, key: str, value: Any, error: InputError) -> None:
        """Collect an error, once."""
        self._found.setdefault(f"`{key}` = {value!r}: {error}", type(error))

    def tell(self, called: str) -> None:
        """Raise the collected errors, if any."""
        texts, kinds = list(self._found), set(self._found.values())
        if not texts:
            return
        kind = kinds.pop() if len(kinds) == 1 else ConfigError
        if len(texts) == 1:
            raise kind(f"study {called}: {texts[0]}")
        told = " ".join(f"({number}) {text}" for number, text in enumerate(texts, 1))
        raise kind(f"study {called}: {len(texts)} problems: {told}")


def check_study(inputs: Inputs, called: str) -> None:
    """Check a study against its data sets and its networks."""
    found, study = Problems(), inputs.study
    sources = list(dict.fromkeys(name for arm in study.arms.values() for name in arm.sources))
    for name in sources:
        _check_data(f"sources.{name}", name, [study.sources[name].task], "none", inputs, found)
    for name, target in study.targets.items():
        _check_data(f"targets.{name}", name, target.tasks, target.protocol, inputs, found)
        if name in inputs.read:
            _check_columns(name, target, inputs, found)
    for name, target in study.targets.items():
        for other in target.test if {name, *target.test} <= set(inputs.read) else ():
            for task in target.tasks:
                work = partial(_check_test, name, other, task, inputs)
                found.attempt(f"targets.{name}.test", other, work)
    _check_networks(inputs, found)
    _check_trainings(sources, inputs, found)
    found.tell(called)


def _check_data(
    key: str, name: str, tasks: Sequence[str], protocol: str, inputs: Inputs, found: Problems
) -> None:
    """Check a data set's manifest, tasks and folds, each only if the one before is valid."""
    item = inputs.study.targets.get(name) or inputs.study.sources[name]
    place = ("manifest", item.manifest) if item.manifest else ("drawn", item.drawn)
    if found.attempt(f"{key}.{place[0]}", place[1], lambda: inputs.data(name)) is None:
        return
    kind = "tasks" if name in inputs.study.targets else "task"
    for task in tasks:
        if found.attempt(f"{key}.{kind}", task, partial(inputs.labelled, name, task)) is not None:
            found.attempt(f"{key}.protocol", protocol, partial(inputs.folds, name, task, protocol))


def _check_test(name: str, other: str, task: str, inputs: Inputs) -> None:
    """Check the classes of an external test set, and its overlap with the training data."""
    target, known = inputs.study.targets[name], inputs.data(name).keys
    try:
        folds, _ = inputs.folds(name, task, target.protocol)
    except InputError:
        return  # reported with the data set
    training = inputs.labelled(name, task)
    external = apply_trained_task(inputs.data(other).manifest, training.task)
    if target.overlap == "drop":
        return
    trained = TrainedOn(
        training,
        tuple(known.get(path, path) for path in training.paths),
        frozenset(image for fold in folds.folds for image in fold.train),
    )
    keys = [inputs.data(other).keys.get(path, path) for path in external.paths]
    overlap = find_overlap(
        external, keys, trained, own_names=target.own_names, cache=inputs.cache, progress=inputs.progress
    )
    refuse_overlap(overlap, external, other)


def _check_columns(name: str, target: TargetData, inputs: Inputs, found: Problems) -> None:
    """Check the columns of a target that the study needs: strata, and groups for group scores."""
    study = inputs.study
    for column in study.strata or ():
        found.attempt("strata", column, partial(_check_stratum, name, column, inputs))
    pool = study.svm.get("group_scores")
    if pool not in (None, "none"):
        for task in target.tasks:
            found.attempt("svm.group_scores", pool, partial(_check_groups, name, task, inputs))


def _check_stratum(name: str, column: str, inputs: Inputs) -> None:
    manifest = inputs.read[name].manifest
    if column not in manifest.strata:
        near = difflib.get_close_matches(column, manifest.strata, 1)
        hint = f"did you mean {near[0]!r}? It has" if near else "it has"
        columns = listing(manifest.strata, 20) or "no columns for subgroups"
        raise ManifestError(f"target {name}: {manifest.source} has no such column; {hint} {columns}")


def _check_groups(name: str, task: str, inputs: Inputs) -> None:
    """Check that there are groups, each of one class, unless the task has a positive class."""
    manifest = inputs.read[name].manifest
    if not manifest.has_groups:
        raise ManifestError(
            f"target {name}: {manifest.source} has no column 'group'; add it, or score images: group_scores = 'none'"
        )
    try:
        labelled = inputs.labelled(name, task)
    except TaskError:
        return  # reported with the task
    pairs = np.unique(np.stack([labelled.groups, labelled.classes]), axis=1)
    groups, counts = np.unique(pairs[0], return_counts=True)
    mixed = [] if labelled.task.positive else groups[counts > 1].tolist()
    if mixed:
        raise ManifestError(
            f"target {name}, task {task}: {len(mixed)} groups hold images of several classes ({listing(mixed)}), and "
            "the task has no positive class; score images: group_scores = 'none'"
        )


def _check_networks(inputs: Inputs, found: Problems) -> None:
    """Check every arm's weights with each of its networks, and the size that features are extracted at."""
    study = inputs.study
    size = study.extract["image_size"]
    for name, arm in study.arms.items():
        if arm.features:
            for target in (one for one in study.targets if one in inputs.read):
                found.attempt(
                    f"arms.{name}.features", list(arm.features), partial(inputs.stores, target, name)
                )
        for backbone in study.backbones_of(name) if arm.has_network else ():
            listed = backbone in study.weights.get(arm.weights, {})
            key = f"weights.{arm.weights}.{backbone}" if listed else f"arms.{name}.weights"
            found.attempt(key, weights_source(study, arm, backbone), partial(inputs.weights, arm, backbone))
            found.attempt("extract.image_size", size, partial(checked_size, find_backbone(backbone), size))


_NO_CURVE = "arms.{} is fine-tuned on whole training sets, so that it has no learning curve; compare it in a study of its own"


def _check_trainings(sources: Iterable[str], inputs: Inputs, found: Problems) -> None:
    """Check the recipe of every training with its networks and classes."""
    study = inputs.study
    for name in sources:
        users = [arm for arm in study.arms.values() if name in arm.sources]
        backbones = dict.fromkeys(item for arm in users for item in arm.backbones or study.backbones)
        item = study.sources[name]
        _check_training(
            f"sources.{name}.training", item.training, backbones, [(name, item.task)], inputs, found
        )
    tasks = [(target, task) for target, item in study.targets.items() for task in item.tasks]
    for name, arm in study.arms.items():
        if arm.finetune:
            for asked in ("train_fraction", "shots"):
                if sizes := study.svm.get(asked):
                    found.add(f"svm.{asked}", sizes, ConfigError(_NO_CURVE.format(name)))
            key = f"arms.{name}.training" if arm.training else "finetune"
            training = {**study.common_training, **arm.training}
            _check_training(key, training, arm.backbones or study.backbones, tasks, inputs, found)


def _check_training(
    key: str,
    training: Mapping[str, Any],
    backbones: Iterable[str],
    tasks: Iterable[tuple[str, str]],
    inputs: Inputs,
    found: Problems,
) -> None:
    fields = dict(training)
    name = fields.pop("recipe", None)
    recipe = found.attempt(key, dict(training), lambda: read_recipe(name or "modern", fields))
    if recipe is None:
        return
    size = recipe.image_size
    for backbone in backbones:
        found.attempt(f"{key}.image_size", size, partial(checked_size, find_backbone(backbone), size))
    for place, task in tasks:
        weights = recipe.final_weights
        found.attempt(f"{key}.final_weights", weights, partial(_check_weights, recipe, place, task, inputs))


def _check_weights(recipe: TrainingRecipe, place: str, task: str, inputs: Inputs) -> None:
    try:
        applied = inputs.labelled(place, task).task
    except (ManifestError, TaskError):
        return  # reported with the data set
    final_weights(recipe, applied.name, applied.classes)


def layer_problems(
    backbones: Sequence[str], layers: Sequence[str], pool: str, image_size: int | None
) -> tuple[BackboneError, ...]:
    """Build networks up to a layer, with random weights.

    Returns
    -------
    tuple of BackboneError
        Errors of the networks that cannot be built: unknown layer, or a layer that the pooling cannot reduce.
    """
    question = {"backbones": list(backbones), "layers": list(layers), "pool": pool, "image_size": image_size}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "featx.study.study_inputs", json.dumps(question)],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise FeatxError(f"the layers of {', '.join(backbones)} cannot be listed: {last[0]}")
    return tuple(BackboneError(text) for text in json.loads(done.stdout.splitlines()[-1]))


def found_here(
    backbones: Sequence[str], layers: Sequence[str], pool: str, image_size: int | None
) -> tuple[BackboneError, ...]:
    """Build the networks in this process; arguments and result are those of `layer_problems`."""
    from featx.zoo import build_network, find_backbone, resolve_weights

    problems = []
    for row in map(find_backbone, backbones):
        try:
            build_network(
                row, resolve_weights("random", row)[0], layers=layers, pool=pool, image_size=image_size
            )
        except BackboneError as error:
            problems.append(error)
    return tuple(problems)


def main() -> None:
    """Answer the question on the command line."""
    print(json.dumps([str(error) for error in found_here(**json.loads(sys.argv[1]))]))


if __name__ == "__main__":
    main()
