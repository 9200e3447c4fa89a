"""Options of `featx finetune`, each written once. This file imports no heavy library, so that help stays fast."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from featx.options import (
    REQUIRED,
    DeviceOptions,
    FoldOptions,
    ImageOptions,
    Options,
    choice,
    number,
    path,
    refuse_unknown,
    switch,
    text,
    whole,
)

from .training_recipe import TrainingRecipe, read_recipe

__all__ = ["FinetuneSettings"]


@dataclass(frozen=True, kw_only=True)
class _TrainingOptions(Options):
    """What is trained, and where results go."""

    backbone: str = text(REQUIRED, "Pre-trained network of the zoo.", short="-m")
    weights: str | Path = text(
        "imagenet",
        "Weights source: random[:SEED], imagenet, preset, a weights file, a fine-tuning run, or a folder of such runs, "
        "of which each fold takes the one of its own name.",
        short="-w",
        types=(Path,),
    )
    recipe: str | Path | TrainingRecipe | None = text(
        None,
        "Training recipe: modern, scratch, paper, or a TOML file. Its values are replaced by those given beside it.",
        types=(Path, TrainingRecipe),
        default_text="modern; scratch for random weights",
    )
    head: str = choice(
        "svm",
        ("svm", "softmax"),
        "Classifier of the test sets. svm: none here, since SVMs are trained on the networks' features; softmax: also "
        "score each test set with the network's own head, as runs of kind softmax that `featx report` compares.",
    )
    fold_seed: int | None = whole(
        None,
        "Random seed of the folds. With it, --seed is that of the training alone, so that trainings with several seeds "
        "share their folds.",
        low=0,
        default_text="that of --seed",
    )
    arm: str | None = text(
        None, "Name of the arm, in reports.", default_text="backbone, weights and recipe", metavar="NAME"
    )
    output: Path | str = path(
        Path("reports/finetuned"), "Folder of runs: OUTPUT/ARM/TASK/PROTOCOL/FOLD.", short="-o"
    )
    scores: Path | str = path(Path("reports/softmax"), "Folder of the runs of --head softmax.")
    # 28,000 images of 224x224 pixels take 4 GiB, which a machine with 8 GiB can spare beside a network.
    memory_gib: float = number(
        4.0,
        "Memory for decoded images in GiB. If the training images need more, each is decoded in every epoch.",
        low=0,
        flag="memory",
    )
    tensorboard: Path | str | None = path(
        None,
        "Also write the metrics of every epoch for TensorBoard, to DIR/ARM/TASK/PROTOCOL/FOLD.",
        metavar="DIR",
    )
    dry_run: bool = switch(False, "Report what would be done, and stop.")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingRecipe, ImageOptions, FoldOptions, DeviceOptions, _TrainingOptions):
    """Options of `featx.finetune`, among them every field of a training recipe.

    `make` takes the fields that are not given from the recipe, whose name, file or object is the option `recipe`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, two values exclude each other, or the recipe cannot be
        read.

    Examples
    --------
    >>> settings = FinetuneSettings.make({"backbone": "tiny", "weights": "random", "epochs": 5})
    >>> settings.name, settings.epochs, settings.learning_rate
    ('scratch', 5, 0.001)
    """

    called: ClassVar[str] = ""

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Make settings from what was given; the other fields of the recipe are the recipe's."""
        refuse_unknown(given, {item.name: item for item in dataclasses.fields(cls)}, cls.called)
        names = [item.name for item in dataclasses.fields(TrainingRecipe)]
        random = str(given.get("weights", "")).partition(":")[0] == "random"
        recipe = read_recipe(
            given.get("recipe") or ("scratch" if random else "modern"),
            {name: given[name] for name in names if name in given},
        )
        return super().make({**given, **{name: getattr(recipe, name) for name in names}})

    @property
    def training(self) -> TrainingRecipe:
        """The training recipe with the values given beside it."""
        return self.part(TrainingRecipe)
