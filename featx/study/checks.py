"""What can be known of a study before its first job: all that is wrong with it, in one message."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from featx.errors import ConfigError, InputError, ManifestError, TaskError, listing
from featx.finetuning import TrainingRecipe, final_weights, read_recipe
from featx.study.inputs import Inputs, weights_source
from featx.study.schema import Target
from featx.zoo import checked_size, find_backbone

__all__ = ["Problems", "check_study"]

_T = TypeVar("_T")


class Problems:
    """Errors that are kept until all have been found, each with the key of the study file that it is about."""

    def __init__(self) -> None:
        self._found: dict[str, type[InputError]] = {}

    def attempt(self, key: str, value: Any, work: Callable[[], _T]) -> _T | None:
        """Do something, and keep its error of bad input.

        Parameters
        ----------
        key : str
            Tables and key, joined by dots.
        value : Any
            What the study has there.
        work : callable
            What to do.

        Returns
        -------
        Any
            What `work` returned; None after an error.
        """
        try:
            return work()
        except InputError as error:
            self.add(key, value, error)
            return None

    def add(self, key: str, value: Any, error: InputError) -> None:
        """Keep an error, once.

        Parameters
        ----------
        key, value
            As in `attempt`.
        error : InputError
            The error.
        """
        self._found.setdefault(f"`{key}` = {value!r}: {error}", type(error))

    def tell(self, called: str) -> None:
        """Raise what has been found, if anything.

        Parameters
        ----------
        called : str
            What to call the study.

        Raises
        ------
        InputError
            In one line; of the kind of the errors if they are all of one.
        """
        texts, kinds = list(self._found), set(self._found.values())
        if not texts:
            return
        kind = kinds.pop() if len(kinds) == 1 else ConfigError
        if len(texts) == 1:
            raise kind(f"study {called}: {texts[0]}")
        told = " ".join(f"({number}) {text}" for number, text in enumerate(texts, 1))
        raise kind(f"study {called}: {len(texts)} problems: {told}")


def check_study(inputs: Inputs, called: str) -> None:
    """Check a study against its data sets and its networks.

    Parameters
    ----------
    inputs : Inputs
        The study and what its jobs start from.
    called : str
        What errors call it: its file.

    Raises
    ------
    InputError
        If a manifest, column, task, protocol, recipe, size or weights source cannot be used; the message names all
        of them, each with its key and value.
    """
    found, study = Problems(), inputs.study
    sources = list(dict.fromkeys(name for arm in study.arms.values() for name in arm.sources))
    for name in sources:
        _check_data(f"sources.{name}", name, [study.sources[name].task], "none", inputs, found)
    for name, target in study.targets.items():
        _check_data(f"targets.{name}", name, target.tasks, target.protocol, inputs, found)
        if name in inputs.read:
            _check_columns(name, target, inputs, found)
    _check_networks(inputs, found)
    _check_trainings(sources, inputs, found)
    found.tell(called)


def _check_data(
    key: str, name: str, tasks: Sequence[str], protocol: str, inputs: Inputs, found: Problems
) -> None:
    """Check a data set's manifest, tasks and folds, each as far as what is before it can be used."""
    item = inputs.study.targets.get(name) or inputs.study.sources[name]
    place = ("manifest", item.manifest) if item.manifest else ("drawn", item.drawn)
    if found.attempt(f"{key}.{place[0]}", place[1], lambda: inputs.data(name)) is None:
        return
    kind = "tasks" if name in inputs.study.targets else "task"
    for task in tasks:
        if found.attempt(f"{key}.{kind}", task, partial(inputs.labelled, name, task)) is not None:
            found.attempt(f"{key}.protocol", protocol, partial(inputs.folds, name, task, protocol))


def _check_columns(name: str, target: Target, inputs: Inputs, found: Problems) -> None:
    """Check the columns of a target that the study asks for: strata, and groups to score by."""
    study = inputs.study
    for column in study.strata or ():
        found.attempt("strata", column, partial(_check_stratum, name, column, inputs))
    pool = study.svm.group_scores
    if pool not in (None, "none"):
        for task in target.tasks:
            found.attempt("svm.group_scores", pool, partial(_check_groups, name, task, inputs))


def _check_stratum(name: str, column: str, inputs: Inputs) -> None:
    manifest = inputs.read[name].manifest
    if column not in manifest.strata:
        near = difflib.get_close_matches(column, manifest.strata, 1)
        hint = f"did you mean {near[0]!r}? It has" if near else "it has"
        columns = listing(manifest.strata, 20) or "no columns to break results down by"
        raise ManifestError(f"target {name}: {manifest.source} has no such column; {hint} {columns}")


def _check_groups(name: str, task: str, inputs: Inputs) -> None:
    """Check that there are groups, each of one class, or of two of which one is the positive one."""
    manifest = inputs.read[name].manifest
    if not manifest.has_groups:
        raise ManifestError(
            f"target {name}: {manifest.source} has no column 'group'; add it, or score by image"
        )
    try:
        labelled = inputs.labelled(name, task)
    except TaskError:
        return  # told at the task itself
    pairs = np.unique(np.stack([labelled.groups, labelled.classes]), axis=1)
    groups, counts = np.unique(pairs[0], return_counts=True)
    mixed = [] if labelled.task.positive else groups[counts > 1].tolist()
    if mixed:
        raise ManifestError(
            f"target {name}, task {task}: {len(mixed)} groups hold images of several classes ({listing(mixed)}), and "
            "no class is the positive one; score by image"
        )


def _check_networks(inputs: Inputs, found: Problems) -> None:
    """Check every arm's weights with each of its networks, and the size that features are extracted at."""
    study = inputs.study
    size = study.extract.image_size
    for name, arm in study.arms.items():
        for backbone in arm.backbones or study.backbones:
            listed = backbone in study.weights.get(arm.weights, {})
            key = f"weights.{arm.weights}.{backbone}" if listed else f"arms.{name}.weights"
            found.attempt(key, weights_source(study, arm, backbone), partial(inputs.weights, arm, backbone))
            found.attempt("extract.image_size", size, partial(checked_size, find_backbone(backbone), size))


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
            key = f"arms.{name}.training" if arm.training else "finetune"
            training = {**study.finetune, **arm.training}
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
        return  # told at the data set itself
    final_weights(recipe, applied.name, applied.classes)
