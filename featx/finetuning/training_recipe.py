"""Training recipes: everything that decides how a network is fine-tuned, in one frozen dataclass.

A field is a key of a recipe's TOML file and a flag of ``featx finetune``. Three recipes are shipped:

``modern``
    For trained weights. The new head first, with the backbone frozen; then all layers, the first ones slower
    than the last; AdamW, warm-up, cosine decay, label smoothing, clipping, moving average of the weights,
    balanced resampling, early stopping on the validation AUC, batch normalisation kept as it was trained.
``scratch``
    For random weights: as ``modern``, but every layer at one, higher rate, and batch normalisation learning.
``paper``
    Menegola et al. 2017 (arXiv 1703.07479): SGD with Nesterov momentum .1, rate 1e-3, L2 .005, batches of 48,
    80 epochs, resampling whose balance decays by .975 an epoch, the epoch of the lowest validation loss.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.documents import parse_toml, read_text
from featx.errors import ConfigError

__all__ = ["RECIPES", "TrainingRecipe", "read_recipe"]


def _whole(default: int | None, low: int, text: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"type": int, "low": low, "high": math.inf, "help": text}
    )


def _number(default: float, low: float, high: float, text: str) -> Any:
    return dataclasses.field(
        default=default, metadata={"type": float, "low": low, "high": high, "help": text}
    )


def _choice(default: str, choices: tuple[str, ...], text: str) -> Any:
    return dataclasses.field(default=default, metadata={"type": str, "choices": choices, "help": text})


def _text(default: str, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"type": str, "choices": (), "help": text})


def _switch(default: bool | None, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"type": bool, "help": text})


def _numbers(text: str) -> Any:
    return dataclasses.field(default=(), metadata={"type": tuple, "low": 0.0, "high": math.inf, "help": text})


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything that decides how a network is fine-tuned.

    The defaults are those of the shipped recipe ``modern``; whole numbers do for floats, lists for tuples. What
    each field does stands in its metadata, from which the command line makes its help.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its range, or if two values exclude each other.

    Examples
    --------
    >>> TrainingRecipe(epochs=5).epochs
    5
    >>> TrainingRecipe(batch_size=48, accumulate=2).micro_batch
    24
    """

    name: str = _text("modern", "Name of the recipe, for the record.")
    epochs: int = _whole(30, 0, "Epochs with all layers training, at most; 0: the head alone.")
    head_epochs: int = _whole(3, 0, "Epochs with only the new head training, before the others.")
    batch_size: int = _whole(32, 1, "Images of a batch, which is one optimizer step.")
    accumulate: int = _whole(1, 1, "Parts that a batch is cut into to save memory; gradients are summed up.")
    image_size: int | None = _whole(
        None, 8, "Input size in pixels; the backbone's own if left out."
    )
    preparation: str = _text("resize", "Which part of an image is resized to the input size; a named preparation, as for `featx extract`.")
    precision: str = _choice(
        "float32", ("float32", "mixed_bfloat16", "mixed_float16"), "Arithmetic of the forward pass; weights stay float32."
    )
    jit: bool | None = _switch(
        None, "Compile the training step by XLA, or by PyTorch's compiler; Keras decides if left out."
    )
    optimizer: str = _choice("adamw", ("adamw", "sgd"), "Optimizer.")
    learning_rate: float = _number(3e-4, 0.0, 10.0, "Highest learning rate, of the last layers.")
    head_learning_rate: float = _number(3e-3, 0.0, 10.0, "Learning rate while only the head trains.")
    first_layer_share: float = _number(
        0.1, 0.0, 1.0, "Rate of the first layer as a share of the last one's; layers between, geometrically."
    )
    schedule: str = _choice("cosine", ("constant", "cosine"), "Learning rate over time, after the warm-up.")
    warmup_epochs: float = _number(1.0, 0.0, 1e4, "Epochs in which the rate rises linearly.")
    final_share: float = _number(0.01, 0.0, 1.0, "Rate at the end of a cosine, as a share of the highest.")
    momentum: float = _number(0.9, 0.0, 1.0, "Momentum of sgd.")
    nesterov: bool = _switch(True, "Nesterov's form of the momentum.")
    weight_decay: float = _number(0.01, 0.0, 10.0, "Decoupled weight decay of adamw; kernels only.")
    l2: float = _number(0.0, 0.0, 10.0, "L2 penalty on all kernels, added to the loss.")
    clip_norm: float = _number(1.0, 0.0, 1e6, "Largest norm of the whole gradient; 0: no clipping.")
    ema_epochs: float = _number(
        0.5, 0.0, 1e3, "Reach of the moving average of the weights, in epochs; 0: the weights themselves."
    )
    batch_norm: str = _choice(
        "frozen", ("frozen", "train"), "Batch normalisation: as it was trained, or learning on."
    )
    dropout: float = _number(0.2, 0.0, 0.95, "Share of the features dropped before the head.")
    label_smoothing: float = _number(0.1, 0.0, 0.9, "Share of the label spread over all classes.")
    balance: str = _choice(
        "resample",
        ("none", "resample", "decay", "weight"),
        "Class imbalance: leave it, draw classes evenly, draw evenly and go over to the final weights, "
        "or weight the loss.",
    )
    balance_decay: float = _number(
        0.975, 0.0, 1.0, "Factor per epoch of the balance that `decay` starts with."
    )
    final_weights: tuple[float, ...] = _numbers(
        "How often `decay` draws an image of each class in the end, relatively, in the task's order of classes; "
        "the paper's for its own tasks, else all alike."
    )
    zoom: float = _number(1.2, 1.0, 4.0, "Views zoom by 1/ZOOM to ZOOM, each axis by itself.")
    rotation: float = _number(360.0, 0.0, 360.0, "Views turn by an angle from 0 to this many degrees.")
    shear: float = _number(10.0, 0.0, 60.0, "Views shear by up to this many degrees either way.")
    translation: float = _number(15.0, 0.0, 112.0, "Views shift by up to this many pixels of 224 either way.")
    flip: bool = _switch(True, "Half of the views are mirrored left to right.")
    fill: str = _choice("reflect", ("black", "reflect"), "What lies beyond the image's edges in a view.")
    rand_augment: float = _number(
        0.0, 0.0, 1.0, "Strength of two of RandAugment's colour operations on each view; 0: none."
    )
    mixup: float = _number(0.0, 0.0, 10.0, "Alpha of MixUp's beta distribution; 0: none.")
    cutmix: float = _number(0.0, 0.0, 10.0, "Alpha of CutMix's beta distribution; 0: none.")
    validation: float = _number(
        0.1, 0.0, 0.5, "Share of the training part held out, by group, to choose the epoch; 0: keep the last."
    )
    metric: str = _choice("auc", ("auc", "loss"), "What chooses the epoch on the validation part.")
    patience: int = _whole(
        10, 0, "Epochs without a better validation metric before stopping; 0: never stop early."
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            object.__setattr__(self, item.name, _typed(item, getattr(self, item.name)))
            _check(item, getattr(self, item.name), self.name)
        if not self.epochs + self.head_epochs:
            raise ConfigError(
                "A training recipe must have epochs. Got 0 for both 'epochs' and 'head_epochs'."
            )
        if self.batch_size % self.accumulate:
            raise ConfigError(
                f"The 'accumulate' parameter of a recipe must divide 'batch_size' ({self.batch_size}). "
                f"Got {self.accumulate!r} instead."
            )

    @property
    def micro_batch(self) -> int:
        """Images that go through the network at once."""
        return self.batch_size // self.accumulate

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
            For an unknown field (with the closest name) or a bad value.

        Examples
        --------
        >>> TrainingRecipe().with_values({"clip_norm": 2}).clip_norm
        2.0
        """
        known = {item.name: item for item in dataclasses.fields(self)}
        for name in values:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
                raise ConfigError(f"a training recipe has no field {name!r}{hint}")
        return dataclasses.replace(self, **values)


def _typed(item: dataclasses.Field[Any], value: Any) -> Any:
    """Turn what TOML and flags hold into the field's type where nothing is lost."""
    kind = item.metadata["type"]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(float(number) if isinstance(number, int) else number for number in value)
    return value


def _check(item: dataclasses.Field[Any], value: Any, recipe: str) -> None:
    kind, rules = item.metadata["type"], item.metadata
    if value is None and item.default is None:
        return
    wanted = _wanted(kind, rules)
    good = isinstance(value, kind) and (kind in {bool, str} or not isinstance(value, bool))
    if good and kind is str:
        good = bool(value) and (not rules["choices"] or value in rules["choices"])
    elif good and kind in {int, float}:
        good = rules["low"] <= value <= rules["high"]
    elif good and kind is tuple:
        good = all(isinstance(number, float) and 0 <= number < math.inf for number in value)
    if not good:
        raise ConfigError(
            f"The {item.name!r} parameter of training recipe {recipe!r} must be {wanted}. Got {value!r} instead."
        )


def _wanted(kind: type, rules: Mapping[str, Any]) -> str:
    if kind is str:
        return f"one of {', '.join(rules['choices'])}" if rules["choices"] else "a name"
    if kind is bool:
        return "true or false"
    if kind is tuple:
        return "a list of numbers of at least 0"
    noun = "a whole number" if kind is int else "a number"
    return f"{noun} from {rules['low']:g}" + (f" to {rules['high']:g}" if rules["high"] < math.inf else "")


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
        key ``base`` names the shipped recipe that gives the other fields (``modern`` if left out).
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
        raise ConfigError(f"training recipe {path}: base must be one of {', '.join(RECIPES)}, got {base!r}")
    try:
        return RECIPES[base].with_values({"name": path.stem, **values})
    except ConfigError as error:
        raise ConfigError(f"training recipe {path}: {error}") from error
