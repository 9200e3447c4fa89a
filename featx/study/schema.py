"""Study files: their tables, keys and allowed values; readers of study files."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from featx.data import leaves
from featx.errors import FeatxError
from featx.features import ExtractSettings
from featx.options import DeviceOptions, options_of
from featx.svm import SubsetOptions, SvmSettings, TrainSvmSettings

_T = TypeVar("_T")

__all__ = [
    "DEVICE_KEYS",
    "EXTRACT_KEYS",
    "SUBSET_KEYS",
    "SVM_KEYS",
    "Arm",
    "DataSet",
    "SourceData",
    "Study",
    "SyntheticImages",
    "TargetData",
    "nearest",
]
_WEIGHTS_ENDINGS = (".h5", ".keras", ".mat", ".safetensors", ".pth", ".pt")


def _near(text: str, info: ValidationInfo) -> Path:
    """Take a path as relative to the study file's folder, or to the current one for a study made in Python."""
    base = (info.context or {}).get("base") or Path.cwd()
    return (Path(base) / Path(text).expanduser()).resolve()


def _path(text: str, info: ValidationInfo) -> str:
    """Make a path absolute; one that a study file leads out of its folder must be allowed to."""
    base = (info.context or {}).get("within")
    if base is not None and leaves(Path(text).expanduser(), base):
        raise ValueError(
            f"is outside the folder {base} of the study file; give --allow-outside if you trust this file"
        )
    return str(_near(text, info))


def _name_or_file(text: str, info: ValidationInfo) -> str:
    """A name stays as it is; what stands as a file beside the study becomes its path."""
    return _path(text, info) if Path(text).suffix and os.path.isfile(_near(text, info)) else text  # noqa: PTH113


def _weights(text: str, info: ValidationInfo) -> str:
    return _path(text, info) if "/" in text or text.endswith(_WEIGHTS_ENDINGS) else text


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("must not repeat a name")
    return names


def _checked(check: Callable[[], _T]) -> _T:
    """Turn an error of another room's check into one of pydantic's."""
    try:
        return check()
    except FeatxError as error:
        raise ValueError(str(error)) from error


def nearest(key: str, known: Sequence[str]) -> str:
    """Say which known key is meant, or which keys are known."""
    near = difflib.get_close_matches(key, known, 1)
    return f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(known)}"


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+-]*$", max_length=60)]
Title = Annotated[str, Field(pattern=r"^[^\r\n\t]*\S[^\r\n\t]*$", max_length=60)]
Names = Annotated[tuple[str, ...], BeforeValidator(_several), AfterValidator(_each_once)]
FilePath = Annotated[str, AfterValidator(_path)]
NameOrFile = Annotated[str, AfterValidator(_name_or_file)]
WeightsSource = Annotated[str, AfterValidator(_weights)]


def _training(table: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Check the recipe of a training and the fields that replace its own."""
    from featx.finetuning import read_recipe

    values = {name.replace("-", "_"): value for name, value in table.items()}
    recipe = values.pop("recipe", None)
    if recipe is not None and not isinstance(recipe, str):
        raise ValueError(f"the recipe must be a name or a TOML file, got {recipe!r}")
    found = None if recipe is None else _name_or_file(recipe, info)
    _checked(lambda: read_recipe(found or "modern", values))
    return values if found is None else {"recipe": found, **values}


Training = Annotated[dict[str, Any], AfterValidator(_training)]


class _Table(BaseModel):
    """A table of the file: frozen, and no key but its own (with ``_`` or ``-``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _underscores(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {str(key).replace("-", "_"): item for key, item in value.items()}


class SyntheticImages(_Table):
    """A synthetic data set, for demonstrations: ``drawn = {kind = "dermoscopy", images = 400}``."""

    kind: Literal["dermoscopy", "retina"]
    images: int = Field(default=400, ge=10)
    size: int = Field(default=128, ge=16)
    seed: int = Field(default=0, ge=0)


class DataSet(_Table):
    """Images with labels: a manifest, or synthetic images."""

    manifest: FilePath | None = None
    root: FilePath | None = None
    drawn: SyntheticImages | None = None
    preparation: str = "resize"

    @model_validator(mode="after")
    def _one_origin(self) -> DataSet:
        if (self.manifest is None) == (self.drawn is None):
            raise ValueError("give either `manifest` or `drawn` (synthetic images)")
        return self

    @field_validator("preparation")
    @classmethod
    def _known_preparation(cls, value: str) -> str:
        from featx.images import preparation_key

        _checked(lambda: preparation_key(value))
        return value


class SourceData(DataSet):
    """A data set to train on before the target: ``[sources.NAME]``."""

    task: NameOrFile = "labels"
    training: Training = Field(default_factory=dict)


class TargetData(DataSet):
    """A data set to score arms on: ``[targets.NAME]``."""

    tasks: Annotated[tuple[NameOrFile, ...], BeforeValidator(_several), AfterValidator(_each_once)] = Field(
        default=("labels",), min_length=1
    )
    protocol: NameOrFile = "5x2"
    test: Names = ()
    overlap: Literal["refuse", "drop"] = "refuse"
    own_names: bool = False


class Arm(_Table):
    """A row of the study's table: ``[arms.NAME]``."""

    title: Title | None = None
    weights: WeightsSource = "imagenet"
    sources: Names = ()
    finetune: bool = False
    training: Training = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0)
    backbones: Names = ()
    features: Annotated[tuple[FilePath, ...], BeforeValidator(_several)] = ()
    fuse: Names = ()
    method: Literal["concat", "mean-score", "stack"] = "mean-score"

    @property
    def has_network(self) -> bool:
        """Whether a network of the study runs for the arm itself: its features are not given or those of other arms."""
        return not self.features and not self.fuse

    @model_validator(mode="after")
    def _given_features_alone(self) -> Arm:
        fields = type(self).model_fields
        # A kept study holds the defaults too.
        given = [
            name
            for name in fields
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]
        beside = {"features": ("title", "features"), "fuse": ("title", "fuse", "method")}
        for key in (key for key in beside if getattr(self, key)):
            if odd := [name for name in given if name not in beside[key]]:
                raise ValueError(
                    f"`{odd[0]}` has no effect beside `{key}`, for which no network runs; remove one"
                )
        if "method" in given and not self.fuse:
            raise ValueError("`method` has no effect without `fuse`, the names of the arms to fuse")
        if len(self.fuse) == 1:
            raise ValueError(f"`fuse` needs two arms or more, got {self.fuse[0]!r} alone")
        return self


# What a study file may say of devices, under `extract` and under `finetune`. None of it decides a result.
DEVICE_KEYS = tuple(name for name, option in options_of(DeviceOptions).items() if option.command)
# What a study file may say of `featx extract` and `featx train-svm`; the study decides their other options.
EXTRACT_KEYS = (
    "layers",
    "pool",
    "image_size",
    "precision",
    "force_precision",
    "views",
    "view_ranges",
    "view_pool",
    "engine",
    "batch_size",
    "on_error",
    *DEVICE_KEYS,
)
SUBSET_KEYS = tuple(options_of(SubsetOptions))
SVM_KEYS = (*options_of(SvmSettings), *SUBSET_KEYS, "missing")


def _given(table: dict[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Name the options of a table as the verb does; None is an option that is not given."""
    values = {key.replace("-", "_"): value for key, value in table.items() if value is not None}
    for key in values:
        if key not in known:
            raise ValueError(f"unknown key `{key}`{nearest(key, known)}")
    return values


def _extract_table(table: dict[str, Any]) -> dict[str, Any]:
    """Check the options of `featx extract`, and complete them with its defaults."""
    made = _checked(lambda: ExtractSettings(backbone="any", **_given(table, EXTRACT_KEYS)))
    if len(made.layers) > 1:
        raise ValueError(
            f"The 'layers' parameter must name one layer in a study. Got {made.layers!r} instead."
        )
    return {name: getattr(made, name) for name in EXTRACT_KEYS}


def _svm_table(table: dict[str, Any]) -> dict[str, Any]:
    """Check the options of `featx train-svm`; those that are not given stay with their preset."""
    values = _given({"preset": "default", "missing": "fail", **table}, SVM_KEYS)
    made = _checked(lambda: TrainSvmSettings.make({"arm": "any", **values}))
    return {name: getattr(made, name) for name in SVM_KEYS if name in values}


ExtractTable = Annotated[dict[str, Any], AfterValidator(_extract_table)]
SvmTable = Annotated[dict[str, Any], AfterValidator(_svm_table)]


def _finetune_table(table: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Check what trainings have in common: a recipe, the fields that replace its own, and the device."""
    values = {name.replace("-", "_"): value for name, value in table.items()}
    devices = {name: values.pop(name) for name in DEVICE_KEYS if name in values}
    _checked(lambda: DeviceOptions.make(devices))
    return {**_training(values, info), **devices}


FinetuneTable = Annotated[dict[str, Any], AfterValidator(_finetune_table)]


class Study(_Table):
    """A study: every arm, with every backbone, on every task of every target."""

    name: Name
    title: str | None = None
    seed: int = Field(default=0, ge=0)
    backbones: Names = ()
    sources: dict[Name, SourceData] = Field(default_factory=dict)
    targets: dict[Name, TargetData] = Field(min_length=1)
    arms: dict[Name, Arm] = Field(min_length=1)
    weights: dict[Name, dict[str, WeightsSource]] = Field(default_factory=dict)
    extract: ExtractTable = Field(default_factory=dict, validate_default=True)
    finetune: FinetuneTable = Field(default_factory=dict)
    svm: SvmTable = Field(default_factory=dict, validate_default=True)
    strata: tuple[str, ...] | None = None
    planned: tuple[tuple[str, str], ...] = ()

    @field_validator("backbones")
    @classmethod
    def _known_backbones(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from featx.zoo import find_backbone

        for name in value:
            _checked(lambda name=name: find_backbone(name))  # type: ignore[misc]
        return value

    @model_validator(mode="after")
    def _names_agree(self) -> Study:
        found, fused = list[str](), list[str]()
        for name, arm in self.arms.items():
            found += _unknown(f"arms.{name}.sources", arm.sources, self.sources)
            found += _unknown(f"arms.{name}.backbones", arm.backbones, self.backbones)
            fused += _unknown(f"arms.{name}.fuse", arm.fuse, self.arms) or self._odd_members(name)
            odd = [
                key for key, given in (("training", arm.training), ("seed", arm.seed is not None)) if given
            ]
            if odd and not arm.finetune:
                found.append(f"`arms.{name}.{odd[0]}` has no effect without `finetune = true`")
        for name, target in self.targets.items():
            found += _unknown(f"targets.{name}.test", target.test, self.targets)
            if name in target.test:
                found.append(
                    f"`targets.{name}.test` names the target itself; name other targets, or leave it out"
                )
        if not self.backbones and any(arm.has_network for arm in self.arms.values()):
            found.append("`backbones` names no network; name at least one, or give every arm `features`")
        for label, table in self.weights.items():
            found += _unknown(f"weights.{label}", tuple(table), self.backbones)
        # Which backbones an arm has is known only if the arms that it fuses are sound.
        found += fused or self._odd_plans()
        titles = [arm.title or name for name, arm in self.arms.items()]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            found.append(f"`arms`: two arms have the same title {twice[0]!r}")
        both = sorted(set(self.sources) & set(self.targets))
        if both:
            found.append(f"`sources` and `targets` both have {both[0]!r}; give one of them another name")
        if found:
            raise ValueError("; ".join(found))
        return self

    def _odd_members(self, name: str) -> list[str]:
        """Say why the arms that an arm fuses do not fit together."""
        members = self.arms[name].fuse
        nested = [one for one in members if self.arms[one].fuse]
        if nested:
            return [
                f"`arms.{name}.fuse` names {nested[0]!r}, which is a fused arm; name arms with features of their own"
            ]
        if len({self.backbones_of(one) for one in members if len(self.backbones_of(one)) > 1}) > 1:
            return [
                f"`arms.{name}.fuse` names arms that run with different `backbones`; give them one each, or the same"
            ]
        return []

    def _odd_plans(self) -> list[str]:
        """Say which planned comparisons are not of two arms, stand twice, or have no backbone to be made with."""
        found, seen = [], set[frozenset[str]]()
        for pair in self.planned:
            first, second = pair
            if unknown := _unknown("planned", pair, self.arms):
                found += unknown
            elif first == second or frozenset(pair) in seen:
                found.append(
                    f"`planned` must compare two different arms, each pair once, got {first!r} and {second!r}"
                )
            elif not self.shared_backbones(first, second):
                found.append(f"`planned` compares {first!r} and {second!r}, which share no backbone")
            seen.add(frozenset(pair))
        return found

    @property
    def common_training(self) -> dict[str, Any]:
        """The recipe that fine-tunings have in common, and the fields that replace its own."""
        return {key: value for key, value in self.finetune.items() if key not in DEVICE_KEYS}

    @property
    def training_devices(self) -> dict[str, Any]:
        """Options of all trainings that decide no result."""
        return {key: value for key, value in self.finetune.items() if key in DEVICE_KEYS}

    def backbones_of(self, arm: str) -> tuple[str, ...]:
        """Name the backbones that an arm runs with: its own, or all of the study; an empty name if no network runs."""
        if self.arms[arm].fuse:
            several = [found for one in self.arms[arm].fuse if len(found := self.backbones_of(one)) > 1]
            return several[0] if several else ("",)
        if not self.arms[arm].has_network:
            return ("",)
        return self.arms[arm].backbones or self.backbones

    def members_of(self, arm: str, backbone: str) -> list[tuple[str, str]]:
        """Name the arms that a fused arm joins with a backbone, each with its own backbone."""
        found = ((one, self.backbones_of(one)) for one in self.arms[arm].fuse)
        return [(one, backbones[0] if len(backbones) == 1 else backbone) for one, backbones in found]

    def shared_backbones(self, first: str, second: str) -> list[tuple[str, str]]:
        """Pair the backbones by which two arms are compared: the same ones, or the only one of each.

        An arm without a network is compared with each.
        """
        ours, theirs = self.backbones_of(first), self.backbones_of(second)
        single = len(ours) == len(theirs) == 1
        return [
            (one, other) for one in ours for other in theirs if single or one == other or not one or not other
        ]

    def title_of(self, arm: str, backbone: str) -> str:
        """Name an arm's runs with a backbone, as reports show them."""
        title = self.arms[arm].title or arm
        return title if len(self.backbones) == 1 or not backbone else f"{title} ({backbone})"


def _unknown(key: str, names: tuple[str, ...], table: Iterable[str]) -> list[str]:
    """Say which names the study does not have, and what it has."""
    known = tuple(table)
    return [
        f"`{key}` names {name!r}, which the study does not have; {_having(name, known)}"
        for name in names
        if name not in known
    ]


def _having(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    has = f"t has {', '.join(known) or 'none'}"
    return f"did you mean {near[0]!r}? I{has}" if near else f"i{has}"
