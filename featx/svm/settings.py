"""What a search is told to do: two presets, and single settings that win over them."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featx.errors import ConfigError
from featx.stats import POOLINGS

__all__ = ["CHOICES", "PRESETS", "SvmSettings", "resolve_settings"]

_DECADES = tuple(10.0**power for power in range(-3, 5))

CHOICES: dict[str, tuple[str, ...]] = {
    "loss": ("squared_hinge", "hinge"),
    "bias": ("penalised", "free"),
    "class_weight": ("balanced", "none"),
    "scaling": ("l2", "none", "zscore", "pca", "whiten"),
    "inner": ("grouped", "stratified"),
    "rule": ("best", "one-se"),
    "views": ("mean", "rows"),
    "pool": POOLINGS,
    "group_scores": ("none", *POOLINGS),
    "calibrate": ("none", "sigmoid", "isotonic"),
    "solver": ("auto", "liblinear", "libsvm"),
}


@dataclass(frozen=True)
class SvmSettings:
    """Everything that decides a search for C and the fit behind it.

    Attributes
    ----------
    preset : str
        Name of the preset that the rest started from.
    loss : str
        ``"squared_hinge"`` (liblinear's ``LinearSVC``) or ``"hinge"`` (libsvm's ``SVC(kernel="linear")``).
    bias : str
        ``"penalised"``: the bias counts in the norm, as in liblinear; ``"free"``: it does not, as in libsvm.
        Hinge has a free bias only.
    class_weight : str
        ``"balanced"``: the classes' costs are inverse to their counts in the rows trained on; or ``"none"``.
    scaling : tuple of str
        What is done to features before the SVM, fitted on the rows trained on: ``"l2"`` (rows to unit length),
        ``"none"``, ``"zscore"``, ``"pca"``, ``"whiten"``. Several: the search chooses among them.
    costs : tuple of float
        Values of C to try, ascending.
    inner : str
        ``"grouped"``: no group straddles an inner split; ``"stratified"``: the paper's, groups ignored.
    inner_splits : int
        How many inner splits.
    held_out : float
        Share of the training part that an inner split holds out.
    rule : str
        ``"best"``: the C of the highest mean AUC, the smallest among equals; ``"one-se"``: the smallest C whose
        mean AUC is within one standard error of the highest.
    widen : bool
        Extend the grid once by two decades where the best C is at its edge.
    refine : int
        Further values of C on each side of the best, evenly spaced (in the logarithm) up to its neighbours.
    shared_cost : bool
        One C for all classes of a task with several, by the mean of their AUCs; else one for each class.
    views : str
        ``"mean"``: the features of an image's views are averaged; ``"rows"``: each view is a training row, and the
        scores of an image's views are pooled.
    pool : str
        How: ``"mean"``, ``"max"`` or ``"extreme"`` (the farthest from 0). Used with ``views="rows"``.
    group_scores : str
        ``"none"``: a score for each test image; else one for each group, pooled over its images.
    calibrate : str
        ``"sigmoid"`` or ``"isotonic"``: probabilities beside the scores, by a curve fitted on group-disjoint parts of
        the training part; ``"none"``: no probabilities.
    solver : str
        ``"auto"``: ours; ``"liblinear"`` or ``"libsvm"``:
        scikit-learn's ``LinearSVC`` or ``SVC`` on the features.
    """

    preset: str
    loss: str = "squared_hinge"
    bias: str = "penalised"
    class_weight: str = "balanced"
    scaling: tuple[str, ...] = ("l2",)
    costs: tuple[float, ...] = _DECADES
    inner: str = "grouped"
    inner_splits: int = 10
    held_out: float = 0.1
    rule: str = "best"
    widen: bool = True
    refine: int = 0
    shared_cost: bool = False
    views: str = "mean"
    pool: str = "mean"
    group_scores: str = "none"
    calibrate: str = "none"
    solver: str = "auto"


# The decision layer of Menegola et al. 2017 to the letter, and what we recommend (measured in docs/svm.md).
PRESETS: dict[str, SvmSettings] = {
    "paper": SvmSettings("paper", loss="hinge", bias="free", inner="stratified", widen=False),
    "default": SvmSettings("default"),
}


def resolve_settings(preset: str = "default", **chosen: Any) -> SvmSettings:
    """Take a preset and put single settings over it.

    Parameters
    ----------
    preset : str
        ``"default"`` or ``"paper"``.
    **chosen
        Fields of `Settings`; None leaves the preset's value.

    Returns
    -------
    Settings
        Checked.

    Raises
    ------
    ConfigError
        For an unknown preset, field or value; the message names it.

    Examples
    --------
    >>> resolve_settings("paper").loss
    'hinge'
    >>> resolve_settings(scaling="zscore", loss=None).scaling
    ('zscore',)
    """
    if preset not in PRESETS:
        raise ConfigError(f"The 'preset' must be one of {', '.join(PRESETS)}. Got {preset!r} instead.")
    base = PRESETS[preset]
    fields = {item.name for item in dataclasses.fields(SvmSettings)} - {"preset"}
    values = {name: value for name, value in chosen.items() if value is not None}
    for name in values:
        if name not in fields:
            raise ConfigError(
                f"Unknown setting {name!r} of the SVM search; known: {', '.join(sorted(fields))}"
            )
    for name in ("scaling", "costs"):
        if name in values:
            values[name] = _several(values[name])
    if values.get("loss") == "hinge" and "bias" not in values:
        values["bias"] = "free"
    elif values.get("loss") == "squared_hinge" and "bias" not in values:
        values["bias"] = "penalised"
    settings = dataclasses.replace(base, **values)
    _check(settings)
    return settings


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def _check(settings: SvmSettings) -> None:
    for name, choices in CHOICES.items():
        for value in _several(getattr(settings, name)):
            if value not in choices:
                raise ConfigError(
                    f"The {name!r} of the SVM must be one of {', '.join(choices)}. Got {value!r} instead."
                )
    if settings.loss == "hinge" and settings.bias != "free":
        raise ConfigError("The 'bias' of a hinge SVM must be 'free'. Got 'penalised' instead.")
    wanted = {"liblinear": "squared_hinge", "libsvm": "hinge"}.get(settings.solver, settings.loss)
    if settings.loss != wanted:
        raise ConfigError(
            f"The 'solver' {settings.solver!r} needs the loss {wanted!r}. Got {settings.loss!r} instead."
        )
    if settings.solver == "liblinear" and settings.bias != "penalised":
        raise ConfigError("The 'bias' of the solver 'liblinear' must be 'penalised'. Got 'free' instead.")
    if len(set(settings.scaling)) != len(settings.scaling) or not settings.scaling:
        raise ConfigError(f"The 'scaling' must name each scaling once. Got {settings.scaling!r} instead.")
    costs = settings.costs
    if not costs or not all(math.isfinite(cost) and cost > 0 for cost in costs):
        raise ConfigError(f"The 'costs' must be positive finite numbers. Got {costs!r} instead.")
    if any(first >= second for first, second in itertools.pairwise(costs)):
        raise ConfigError(f"The 'costs' must be ascending. Got {costs!r} instead.")
    if settings.inner_splits < 1 or settings.refine < 0:
        raise ConfigError("The 'inner_splits' must be at least 1 and 'refine' at least 0.")
    if not 0.0 < settings.held_out < 1.0:
        raise ConfigError(f"The 'held_out' must be between 0 and 1. Got {settings.held_out!r} instead.")
