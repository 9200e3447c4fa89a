"""Training recipes: everything that decides how a network is fine-tuned, as one class of options.

A field is a key of a recipe's TOML file, a keyword of `featx.finetune` and an option of ``featx finetune``. Three
recipes are shipped:

``modern``
    For trained weights. The new head is trained first, on a frozen backbone; then all layers, with layer-wise
    learning-rate decay, AdamW, warm-up, cosine schedule, label smoothing, gradient clipping, an exponential moving
    average (EMA) of the weights, balanced sampling of the classes, frozen batch-norm statistics, and early stopping
    on the validation AUC.
``scratch``
    For random weights: as ``modern``, but with one, higher learning rate for all layers and updated batch-norm
    statistics.
``paper``
    Menegola et al. 2017 (arXiv 1703.07479): SGD with Nesterov momentum 0.1, learning rate 1e-3, L2 penalty 0.005,
    batches of 48, 80 epochs, balanced sampling that is annealed by 0.975 an epoch, the epoch of the lowest
    validation loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from featx.documents import parse_toml, read_text
from featx.errors import ConfigError
from featx.options import Options, choice, number, numbers, refuse_unknown, switch, text, whole

__all__ = ["RECIPES", "TrainingRecipe", "read_recipe"]


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe(Options):
    """Everything that decides how a network is fine-tuned; the defaults are those of the recipe ``modern``.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, or two values exclude each other.

    Examples
    --------
    >>> TrainingRecipe(epochs=5).epochs
    5
    >>> TrainingRecipe(batch_size=48, accumulate=2).micro_batch
    24
    """

    called: ClassVar[str] = "a training recipe"

    name: str = text("modern", "Name of the recipe, for the record.", command=False)
    epochs: int = whole(
        30, "Maximum number of epochs with all layers trainable; 0: train the head only.", low=0
    )
    head_epochs: int = whole(
        3, "Number of epochs before these in which the new head is trained on a frozen backbone.", low=0
    )
    batch_size: int = whole(32, "Images of a batch, for one optimizer step.", low=1, short="-b")
    accumulate: int = whole(
        1,
        "Number of micro-batches that a batch is split into to save device memory; their gradients are accumulated.",
        low=1,
    )
    image_size: int | None = whole(None, "Input size in pixels.", low=8, default_text="the backbone's own")
    preparation: str = text(
        "resize", "Which part of an image is resized to the input size, as for `featx extract`."
    )
    precision: str = choice(
        "float32",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        "Arithmetic of the forward pass; weights stay float32.",
    )
    jit: bool | None = switch(
        None,
        "Compile the training step with XLA, or with PyTorch's compiler.",
        default_text="Keras decides",
    )
    optimizer: str = choice("adamw", ("adamw", "sgd"), "Optimizer.")
    learning_rate: float = number(3e-4, "Peak learning rate, of the last layer.", low=0, high=10)
    head_learning_rate: float = number(3e-3, "Learning rate while only the head is trained.", low=0, high=10)
    first_layer_share: float = number(
        0.1,
        "Layer-wise learning-rate decay: learning rate of the first layer as a fraction of the last layer's, geometric "
        "in between; 1: the same rate for all layers.",
        low=0,
        high=1,
    )
    schedule: str = choice("cosine", ("constant", "cosine"), "Learning-rate schedule after the warm-up.")
    warmup_epochs: float = number(1.0, "Number of epochs of linear learning-rate warm-up.", low=0, high=1e4)
    final_share: float = number(
        0.01,
        "Learning rate at the end of the cosine schedule, as a fraction of the peak.",
        low=0,
        high=1,
    )
    momentum: float = number(0.9, "Momentum of sgd.", low=0, high=1)
    nesterov: bool = switch(True, "Nesterov momentum for sgd.")
    weight_decay: float = number(
        0.01, "Decoupled weight decay of adamw; applied to kernels only.", low=0, high=10
    )
    l2: float = number(0.0, "L2 penalty on all kernels, added to the loss.", low=0, high=10)
    clip_norm: float = number(1.0, "Maximum global norm of the gradient; 0: no clipping.", low=0, high=1e6)
    ema_epochs: float = number(
        0.5,
        "EMA horizon in epochs: time constant of the exponential moving average of the weights; 0: no averaging.",
        low=0,
        high=1e3,
    )
    batch_norm: str = choice(
        "frozen", ("frozen", "train"), "Batch-norm statistics: frozen, or updated (train)."
    )
    dropout: float = number(0.2, "Dropout rate before the head.", low=0, high=0.95)
    label_smoothing: float = number(
        0.1, "Label smoothing: fraction of the label spread over all classes.", low=0, high=0.9
    )
    balance: str = choice(
        "resample",
        ("none", "resample", "decay", "weight"),
        "Class imbalance. none: images as they are; resample: balanced sampling of the classes; decay: balanced "
        "sampling annealed to --final-weights; weight: class weights in the loss.",
    )
    balance_decay: float = number(
        0.975, "Factor by which --balance decay is annealed in each epoch.", low=0, high=1
    )
    final_weights: Sequence[float] = numbers(
        (),
        "Relative sampling weight of an image of each class at the end of --balance decay, in the task's order of "
        "classes.",
        low=0,
        default_text="the paper's for its own tasks, else equal",
    )
    zoom: float = number(
        1.2, "Augmentation: zoom by 1/ZOOM to ZOOM, drawn for each axis separately.", low=1, high=4
    )
    rotation: float = number(360.0, "Augmentation: rotate by 0 to this many degrees.", low=0, high=360)
    shear: float = number(
        10.0, "Augmentation: shear by up to this many degrees in either direction.", low=0, high=60
    )
    translation: float = number(
        15.0,
        "Augmentation: shift by up to this many pixels in either direction, at 224 pixels input size.",
        low=0,
        high=112,
    )
    flip: bool = switch(True, "Augmentation: mirror half of the images left to right.")
    fill: str = choice(
        "reflect", ("black", "reflect"), "Augmentation: what fills pixels beyond the image's edges."
    )
    rand_augment: float = number(
        0.0,
        "Augmentation: magnitude of two of RandAugment's colour operations for each image; 0: none.",
        low=0,
        high=1,
    )
    mixup: float = number(0.0, "Alpha of MixUp's beta distribution; 0: no MixUp.", low=0, high=10)
    cutmix: float = number(0.0, "Alpha of CutMix's beta distribution; 0: no CutMix.", low=0, high=10)
    validation: float = number(
        0.1,
        "Fraction of the training set held out, by group, as validation set that chooses the epoch; 0: keep the last "
        "epoch.",
        low=0,
        high=0.5,
    )
    metric: str = choice("auc", ("auc", "loss"), "Validation metric that chooses the epoch.")
    patience: int = whole(
        10,
        "Early stopping: number of epochs without a better validation metric; 0: no early stopping.",
        low=0,
    )

    def check(self) -> None:
        """Refuse values that exclude each other."""
        super().check()
        if not self.epochs + self.head_epochs:
            raise ConfigError(
                "A training recipe needs at least one epoch. Got 0 for both 'epochs' and 'head_epochs'."
            )
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"The 'accumulate' parameter of a training recipe must divide 'batch_size' ({self.batch_size}). "
                f"Got {self.accumulate!r} instead."
            )

    @property
    def micro_batch(self) -> int:
        """Images that go through the network at once."""
        return self.batch_size // self.accumulate

    def steps_per_epoch(self, images: int) -> int:
        """Return the number of optimizer steps of an epoch; the last batch is filled up.

        Parameters
        ----------
        images : int
            Number of images of the training set.

        Returns
        -------
        int
            The number.

        Examples
        --------
        >>> TrainingRecipe(batch_size=32).steps_per_epoch(65)
        3
        """
        return -(-images // self.batch_size)

    def with_values(self, values: Mapping[str, Any]) -> TrainingRecipe:
        """Return this recipe with some fields replaced.

        Parameters
        ----------
        values : mapping of str to Any
            Field to value.

        Returns
        -------
        TrainingRecipe
            The new recipe.

        Raises
        ------
        ConfigError
            For an unknown field (with the nearest one) or a bad value.

        Examples
        --------
        >>> TrainingRecipe().with_values({"clip_norm": 2}).clip_norm
        2.0
        """
        known = {item.name: item for item in dataclasses.fields(self)}
        refuse_unknown(values, known, self.called)
        return dataclasses.replace(self, **values)


_MODERN = TrainingRecipe()
_SCRATCH = TrainingRecipe(
    name="scratch",
    epochs=60,
    head_epochs=0,
    learning_rate=1e-3,
    first_layer_share=1.0,
    batch_norm="train",
    warmup_epochs=2.0,
    weight_decay=0.05,
    patience=0,
)
_PAPER = TrainingRecipe(
    name="paper",
    epochs=80,
    head_epochs=0,
    batch_size=48,
    optimizer="sgd",
    learning_rate=1e-3,
    first_layer_share=1.0,
    schedule="constant",
    warmup_epochs=0.0,
    final_share=1.0,
    momentum=0.1,
    weight_decay=0.0,
    l2=0.005,
    clip_norm=0.0,
    ema_epochs=0.0,
    batch_norm="train",
    dropout=0.5,
    label_smoothing=0.0,
    balance="decay",
    zoom=1.3,
    shear=30.0,
    translation=30.0,
    fill="black",
    metric="loss",
    patience=0,
)
RECIPES = {recipe.name: recipe for recipe in (_MODERN, _SCRATCH, _PAPER)}


def read_recipe(
    spec: str | Path | TrainingRecipe, overrides: Mapping[str, Any] | None = None
) -> TrainingRecipe:
    """Find a recipe by name or read it from a TOML file, and replace some of its fields.

    Parameters
    ----------
    spec : str, Path or TrainingRecipe
        A shipped recipe's name, a TOML file, or a recipe. The file's keys are fields, with ``_`` or ``-``; the
        key ``base`` names the shipped recipe that gives the other fields (default: ``modern``).
    overrides : mapping of str to Any, optional
        Fields to replace.

    Returns
    -------
    TrainingRecipe
        The resolved recipe.

    Raises
    ------
    ConfigError
        For an unknown recipe, an unreadable file, or a bad key or value in it.

    Examples
    --------
    >>> read_recipe("paper", {"epochs": 3}).epochs
    3
    """
    if isinstance(spec, TrainingRecipe):
        recipe = spec
    elif str(spec) in RECIPES:
        recipe = RECIPES[str(spec)]
    else:
        recipe = _read_file(Path(spec))
    return recipe.with_values(overrides or {})


def _read_file(path: Path) -> TrainingRecipe:
    if path.suffix != ".toml":
        raise ConfigError(f"unknown training recipe {str(path)!r}; give {', '.join(RECIPES)} or a TOML file")
    try:
        table = parse_toml(read_text(path))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"training recipe {path}: cannot be read: {reason}") from error
    values = {key.replace("-", "_"): value for key, value in table.items()}
    base = values.pop("base", "modern")
    if not isinstance(base, str) or base not in RECIPES:
        raise ConfigError(
            f"training recipe {path}: the key 'base' must be one of {', '.join(RECIPES)}. Got {base!r} instead."
        )
    try:
        return RECIPES[base].with_values({"name": path.stem, **values})
    except ConfigError as error:
        raise ConfigError(f"training recipe {path}: {error}") from error
