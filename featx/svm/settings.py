"""Options of `featx train-svm`: two presets, and options that take precedence over them."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from featx.errors import ConfigError
from featx.options import (
    FoldOptions,
    ImageOptions,
    Options,
    choice,
    choices,
    number,
    numbers,
    path,
    switch,
    text,
    texts,
    whole,
)

__all__ = [
    "ExternalOptions",
    "ExternalSource",
    "SubsetOptions",
    "SvmInputOptions",
    "SvmSettings",
    "TrainSvmSettings",
    "external_source",
]

# Copied from `featx.stats`, because importing it imports numpy; a test compares both.
POOLINGS = ("mean", "max", "extreme")
FUSIONS = ("concat", "mean-score", "stack")
_BIAS_OF_LOSS = {"hinge": "free", "squared_hinge": "penalised"}
_LOSS_OF_SOLVER = {"liblinear": "squared_hinge", "libsvm": "hinge"}
_NO_GPU = "'gpu' was removed; use auto, which solves the same problem on the CPU"


@dataclass(frozen=True, kw_only=True)
class SvmSettings(Options):
    """Options of the search for C and of the final fit; they are part of `run.json`.

    The preset ``paper`` is the decision layer of Menegola et al. 2017; ``default`` is recommended (see
    docs/svm.md).

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, or two values exclude each other.

    Examples
    --------
    >>> SvmSettings.make({"preset": "paper"}).loss
    'hinge'
    >>> SvmSettings.make({"scaling": "zscore", "loss": None}).scaling
    ('zscore',)
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {},
        "paper": {"loss": "hinge", "bias": "free", "inner": "stratified", "widen": False},
    }

    preset: str = choice(
        "default", ("default", "paper"), "Settings to start from; options that are given take precedence."
    )
    loss: str = choice(
        "squared_hinge",
        ("squared_hinge", "hinge"),
        "Loss of the SVM: that of scikit-learn's LinearSVC (squared_hinge) or SVC (hinge).",
    )
    bias: str = choice(
        "penalised",
        ("penalised", "free"),
        "Whether the intercept is regularised, as in liblinear (penalised), or not, as in libsvm (free). Hinge has a "
        "free intercept only.",
        default_text="penalised for squared_hinge, free for hinge",
    )
    class_weight: str = choice(
        "balanced",
        ("balanced", "none"),
        "Weight classes inversely to their frequency in the training rows, or not.",
    )
    scaling: Sequence[str] = choices(
        ("l2",),
        ("l2", "root", "none", "zscore", "pca", "whiten"),
        "Scaling of the features, fitted on the training rows; may be repeated to search among several. l2: rows to "
        "unit length. root: the signed square root of each number, then rows to unit length.",
    )
    costs: Sequence[float] = numbers(
        tuple(10.0**power for power in range(-3, 5)),
        "Values of C to try, ascending.",
        low=0,
        default_text="1e-3 to 1e4 in factors of 10",
    )
    inner: str = choice(
        "grouped",
        ("grouped", "stratified"),
        "Inner splits that keep groups together (grouped), or ignore groups as the paper does (stratified).",
    )
    inner_splits: int = whole(10, "Number of inner splits.", low=1)
    held_out: float = number(
        0.1, "Fraction of the training set that an inner split holds out.", low=0, high=1, open=True
    )
    rule: str = choice(
        "best",
        ("best", "one-se"),
        "Choice of C: the best mean inner AUC, or the smallest C within one standard error of it.",
    )
    widen: bool = switch(
        True, "Extend the grid once by two decades if the best C is at the boundary of the grid."
    )
    refine: int = whole(
        0, "Number of further values of C on each side of the best, evenly spaced in the logarithm.", low=0
    )
    shared_cost: bool = switch(
        False,
        "One C for all classes of a multi-class task, by the mean of their AUCs, instead of one for each.",
        off="own-cost",
    )
    views: str = choice(
        "mean",
        ("mean", "rows"),
        "Average the features of an image's augmented views, or train on every view and pool their decision values.",
    )
    pool: str = choice(
        "mean", POOLINGS, "How decision values of views are pooled; extreme takes the one farthest from 0."
    )
    group_scores: str = choice(
        "none",
        ("none", *POOLINGS),
        "One score for each group (such as a patient) instead of each image, pooled so.",
    )
    calibrate: str = choice(
        "none",
        ("none", "sigmoid", "isotonic"),
        "Predicted probabilities, by a calibration curve that is fitted inside the training set.",
    )
    solver: str = choice(
        "auto",
        ("auto", "liblinear", "libsvm"),
        "featx's exact solvers (auto), or scikit-learn's LinearSVC (liblinear) or SVC (libsvm).",
        removed={"gpu": _NO_GPU},
    )

    @classmethod
    def make(cls, given: Mapping[str, Any]) -> Self:
        """Create settings from options; None means the value of the preset, and the loss sets the default bias."""
        known = {name: value for name, value in given.items() if value is not None}
        if "bias" not in known and known.get("loss") in _BIAS_OF_LOSS:
            known["bias"] = _BIAS_OF_LOSS[known["loss"]]
        return super().make(known)

    def check(self) -> None:
        """Raise an error for values that exclude each other."""
        super().check()
        if self.loss == "hinge" and self.bias != "free":
            raise ConfigError(
                "The 'bias' parameter must be 'free' for the loss 'hinge'. Got 'penalised' instead."
            )
        wanted = _LOSS_OF_SOLVER.get(self.solver, self.loss)
        if self.loss != wanted:
            raise ConfigError(
                f"The 'loss' parameter must be {wanted!r} for the solver {self.solver!r}. Got {self.loss!r} instead."
            )
        if self.solver == "liblinear" and self.bias != "penalised":
            raise ConfigError(
                "The 'bias' parameter must be 'penalised' for the solver 'liblinear'. Got 'free' instead."
            )
        if len(set(self.scaling)) != len(self.scaling) or not self.scaling:
            raise ConfigError(
                f"The 'scaling' parameter must name each scaling once. Got {self.scaling!r} instead."
            )
        if not self.costs or self.costs[0] == 0 or any(a >= b for a, b in itertools.pairwise(self.costs)):
            raise ConfigError(
                f"The 'costs' parameter must be ascending numbers above 0. Got {self.costs!r} instead."
            )


@dataclass(frozen=True)
class ExternalSource:
    """An external test set as it was given.

    Attributes
    ----------
    manifest : Path, str or Manifest
        Images and labels.
    name : str or None
        Name in reports; None for that of the manifest.
    root : Path, str or None
        Folder that its image paths are relative to; None for that of the manifest.
    """

    manifest: Any
    name: str | None = None
    root: Path | str | None = None


def external_source(item: Any) -> ExternalSource:
    """Read an item of the option ``test``: a manifest, ``NAME=MANIFEST``, or a mapping with the fields as keys.

    Examples
    --------
    >>> external_source("clinic=data/labels.csv")
    ExternalSource(manifest='data/labels.csv', name='clinic', root=None)
    """
    if isinstance(item, Mapping):
        known = {field.name for field in dataclasses.fields(ExternalSource)}
        if "manifest" not in item or not set(item) <= known:
            raise ConfigError(
                f"An item of the 'test' parameter must have the key manifest, and may have name and root. Got {dict(item)!r} "
                "instead."
            )
        return ExternalSource(**item)
    if isinstance(item, str) and "=" in item and not os.path.lexists(item):
        name, _, manifest = item.partition("=")
        if not name.strip() or not manifest.strip():
            raise ConfigError(
                f"The 'test' parameter must be MANIFEST or NAME=MANIFEST. Got {item!r} instead."
            )
        return ExternalSource(manifest.strip(), name.strip())
    return ExternalSource(item)


@dataclass(frozen=True, kw_only=True)
class ExternalOptions(Options):
    """External test sets, which every trained model scores beside its own test set."""

    test: Sequence[Any] = texts(
        (),
        "External test set: another manifest, whose images every trained SVM scores too; may be repeated. Its name is the "
        "manifest's; NAME=MANIFEST gives another.",
        metavar="MANIFEST",
        types=(object,),
    )
    test_root: Path | str | None = path(
        None,
        "Folder that the image paths of external test sets are relative to.",
        default_text="the folder of each manifest",
    )
    test_features: Sequence[Path | str] = texts(
        (),
        "Feature store of external test sets, with the recipe of a store of the arm; may be repeated.",
        types=(Path,),
        default_text="the stores of the arm",
    )
    overlap: str = choice(
        "refuse",
        ("refuse", "drop"),
        "What external images lead to that overlap with the training data (same bytes, near duplicate, same id or group): "
        "an error, or a score without them.",
    )
    own_names: bool = switch(
        False,
        "Ids and groups of external test sets are named independently of the training manifest's: equal names are no "
        "overlap.",
    )

    @property
    def sources(self) -> tuple[ExternalSource, ...]:
        """The external test sets."""
        found = map(external_source, self.test)
        return tuple(dataclasses.replace(one, root=one.root or self.test_root) for one in found)


@dataclass(frozen=True, kw_only=True)
class SvmInputOptions(ImageOptions, SvmSettings, ExternalOptions):
    """Options of every training of SVMs: its features, its external test sets, and where its runs go."""

    features: Path | str | Sequence[Path | str] = texts(
        (),
        "Feature store, folder of stores, or the file that `featx extract --arm NAME` has written; may be repeated.",
        short="-f",
        types=(Path,),
        default_text="the stores of the arm",
    )
    choose_features: bool = switch(
        False,
        "Stores that serve the same fold, such as several layers, are alternatives; inner splits choose one.",
    )
    arm: str | None = text(
        None,
        "Name of the arm, in reports. Without --features, its stores are those of `featx extract --arm NAME`.",
        default_text="backbone and weights",
    )
    fuse: str | None = choice(
        None,
        FUSIONS,
        "Fuse several arms into one. concat: their features side by side. mean-score: the mean of the standardised decision "
        "values of an SVM for each. stack: a logistic regression on these.",
        default_text="no fusion",
    )
    member: Sequence[str] = texts(
        (),
        "Arm to fuse, as --arm of `featx extract` named it; or with --features the name of each store or arm in reports. "
        "Repeat it.",
        metavar="NAME",
    )
    missing: str = choice(
        "fail",
        ("fail", "leave-out"),
        "What missing images lead to. For images without features: an error, or a run without them.",
    )
    output: Path | str = path(Path("reports/runs"), "Folder of runs.", short="-o")

    @property
    def places(self) -> tuple[Path, ...]:
        """The paths in `features`; made options hold a tuple of them."""
        return tuple(map(Path, cast(Sequence[Path | str], self.features)))

    def check(self) -> None:
        """Raise an error for values that exclude each other, or if neither features nor an arm is given."""
        super().check()
        for item in self.test:
            external_source(item)
        if self.fuse is None and self.member:
            raise ConfigError(
                f"The 'member' parameter names arms to fuse; give 'fuse' too ({', '.join(FUSIONS)}), or leave it out."
            )
        if self.fuse is not None and self.choose_features:
            raise ConfigError(
                "The 'choose_features' parameter chooses one store, 'fuse' joins all; give one of both."
            )
        if self.fuse is not None and not self.features and not self.member:
            raise ConfigError(
                "The 'fuse' parameter needs the arms to fuse; repeat 'member' (arms of `featx extract --arm`) or 'features'."
            )
        if not self.features and self.arm is None and self.fuse is None:
            raise ConfigError(
                "Neither features nor an arm was given; give a feature store, a folder of feature stores, or the name of an "
                "arm (`featx extract --arm NAME`)"
            )


@dataclass(frozen=True, kw_only=True)
class SubsetOptions(Options):
    """Parts of each training set that SVMs are trained on too, for a learning curve.

    Raises
    ------
    ConfigError
        If a size is given twice, is no fraction above 0 or no whole number, or seeds are given without sizes.

    Examples
    --------
    >>> SubsetOptions.make({"train_fraction": 0.5}).train_fraction
    (0.5,)
    """

    train_fraction: Sequence[float] = numbers(
        (),
        "Learning curve: train on these fractions of each training set too, separated by commas, such as 0.1,0.25,0.5,1. "
        "They are drawn by group and class; smaller parts lie inside larger ones.",
        low=0,
        high=1,
        default_text="the whole training set only",
    )
    shots: Sequence[float] = numbers(
        (),
        "Learning curve: train on this many images of each class too, such as 1,5,10; where there are groups, on this many "
        "groups of each class.",
        low=1,
        default_text="the whole training set only",
    )
    train_seeds: int = whole(
        1, "Number of random draws of each part of a training set; reports average over them.", low=1
    )

    def check(self) -> None:
        """Raise an error for sizes that cannot be drawn, and for seeds without sizes."""
        super().check()
        for name in ("train_fraction", "shots"):
            sizes = getattr(self, name)
            if len(set(sizes)) < len(sizes) or 0 in sizes:
                raise ConfigError(
                    f"The {name!r} parameter must name sizes above 0, each once. Got {sizes!r} instead."
                )
        if any(size != int(size) for size in self.shots):
            raise ConfigError(f"The 'shots' parameter must be whole numbers. Got {self.shots!r} instead.")
        if self.train_seeds > 1 and not (self.train_fraction or self.shots):
            raise ConfigError(
                f"The 'train_seeds' parameter draws parts of the training sets. Got {self.train_seeds} without a size; give "
                "'train_fraction' or 'shots' too"
            )


@dataclass(frozen=True, kw_only=True)
class TrainSvmSettings(SvmInputOptions, FoldOptions, SubsetOptions):
    """Options of `featx.train_svm`.

    Raises
    ------
    ConfigError
        If a value is of the wrong type or out of its bounds, two values exclude each other, or neither features nor an
        arm is given.

    Examples
    --------
    >>> TrainSvmSettings.make({"arm": "tuned", "preset": "paper"}).loss
    'hinge'
    """
