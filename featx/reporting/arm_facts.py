"""What runs record of an arm beside its scores: weights, search for C, learning curves, cost and training-set size."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np

from featx.errors import BackboneError
from featx.files import open_regular
from featx.runs import Run, RunRecord, run_cost
from featx.stats import FoldScores, FoldSummary, size_ratio, summarise_arm, summarise_repeats
from featx.zoo import Backbone, find_backbone, is_own, list_backbones, published_weights

from .series import NEAR, Series, clusters, size_of, train_size

__all__ = [
    "MEASURES",
    "ArmCost",
    "Lineage",
    "SearchFacts",
    "SizePoint",
    "cost_of",
    "history",
    "lineage_of",
    "network_of",
    "origin",
    "searches_of",
    "size_points",
    "trainings",
    "width_of",
]

# Numbers of an `ArmCost`, with their axis labels.
MEASURES: Mapping[str, str] = {
    "images_per_second": "Extraction speed (images/s)",
    "multiply_adds": "Multiply-adds per image",
    "parameters": "Parameters up to the feature layer",
}


@dataclass(frozen=True)
class Lineage:
    """Where a run's weights come from.

    Attributes
    ----------
    start : str
        ``"random"``, ``"imagenet"``, or the name of a weights file; empty where it was not recorded.
    sources : tuple of str
        Data sets that the network was trained on before the target.
    tuned : bool
        Whether it was then fine-tuned on the training set of the run's own fold.
    """

    start: str
    sources: tuple[str, ...]
    tuned: bool


def lineage_of(record: RunRecord) -> Lineage:
    """Split a run's lineage into start, sources and fine-tuning on its own fold."""
    if not record.lineage:
        return Lineage("", (), False)
    first, *steps = record.lineage
    tuned = bool(steps) and steps[-1].endswith(f", fold {record.fold}")
    start = (
        "random" if first.partition(":")[0] == "random" else "imagenet" if first in _published() else first
    )
    return Lineage(start, tuple(steps[:-1] if tuned else steps), tuned)


@cache
def _published() -> frozenset[str]:
    files = [published_weights(one.name) for one in list_backbones()]
    return frozenset(file.file for file in files if file) | {"imagenet"}


def origin(record: RunRecord) -> str:
    """Write a run's lineage as text, such as ``"imagenet → retina → fine-tuned"``; equal for all folds of an arm."""
    found = lineage_of(record)
    return " → ".join((found.start, *found.sources, *(["fine-tuned"] if found.tuned else []))).strip(" →")


@dataclass(frozen=True)
class SearchFacts:
    """The search for C of one SVM.

    Attributes
    ----------
    scored : str
        Class that the SVM scores.
    grid : tuple of float
        Values of C, ascending.
    auc : tuple of float
        Mean AUC of the inner splits at each; NaN where no split has one.
    chosen : float
        The chosen value.
    edge : str
        ``"lower"`` or ``"upper"`` if that is a boundary of the grid, else empty.
    """

    scored: str
    grid: tuple[float, ...]
    auc: tuple[float, ...]
    chosen: float
    edge: str


def searches_of(record: RunRecord) -> tuple[SearchFacts, ...]:
    """Read the searches for C of a run, one for each SVM."""
    return tuple(
        SearchFacts(
            scored=name,
            grid=tuple(item["curve"]["C"]),
            auc=tuple(float("nan") if value is None else value for value in item["curve"]["mean"]),
            chosen=item["C"],
            edge=item["edge"],
        )
        for name, item in record.search.get("classes", {}).items()
    )


def history(run: Run) -> tuple[dict[str, float], ...]:
    """Read the epochs of a fine-tuning run from ``history.csv``; empty without that file, NaN for an empty field."""
    path = run.path / "history.csv"
    if not path.is_file():
        return ()
    with io.TextIOWrapper(open_regular(path), encoding="utf-8", newline="") as file:
        return tuple({name: _number(text) for name, text in row.items()} for row in csv.DictReader(file))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float({"True": 1, "False": 0}.get(text, "nan"))


def trainings(runs: Sequence[Run]) -> dict[tuple[str, str], tuple[Run, ...]]:
    """Group fine-tuning runs by arm, with the backbone if there are several, and by task."""

    def backbone(run: Run) -> str:
        return str((run.record.features.get("recipe") or {}).get("backbone", ""))

    several = len({backbone(run) for run in runs}) > 1
    found: dict[tuple[str, str], tuple[Run, ...]] = {}
    for run in runs:
        name = f"{run.record.arm} ({backbone(run)})" if several else run.record.arm
        found[name, run.record.task] = (*found.get((name, run.record.task), ()), run)
    return found


@dataclass(frozen=True)
class ArmCost:
    """What an arm's features cost.

    Attributes
    ----------
    backbone, layer : str
        Whose features they are; empty where it was not recorded.
    parameters : int or None
        Parameters of the network up to the feature layer.
    multiply_adds : int or None
        Multiply-adds of one image.
    images_per_second : float or None
        Speed of one network, median over the stores that the runs read; None where networks of other arms took
        part in the same pass.
    measured : str
        Engine, device and number of networks in the pass; several are joined.
    """

    backbone: str
    layer: str
    parameters: int | None
    multiply_adds: int | None
    images_per_second: float | None
    measured: str


def cost_of(series: Series) -> ArmCost:
    """Gather what an arm's runs recorded of their features' cost.

    Parameters that were not recorded are those of the zoo, if the features are of the backbone's default layer.
    """
    blocks = [block for run in series.runs if (block := run_cost(run))]
    recipe = series.runs[0].record.features.get("recipe") or {}
    backbone, layer = str(recipe.get("backbone") or ""), str(recipe.get("layer") or "")
    parameters = _first(blocks, "parameters")
    stores = len({run.record.features.get("digest") for run in series.runs})
    rates = [rate for block in blocks if (rate := _rate(block, stores))]
    return ArmCost(
        backbone=backbone,
        layer=layer,
        parameters=_parameters(backbone, layer) if parameters is None else parameters,
        multiply_adds=_first(blocks, "multiply_adds"),
        images_per_second=float(median(rates)) if rates else None,
        measured=", ".join(dict.fromkeys(text for block in blocks if (text := _where(block)))),
    )


def _first(blocks: Iterable[Mapping[str, Any]], name: str) -> int | None:
    return next((int(block[name]) for block in blocks if block.get(name) is not None), None)


def _rate(block: Mapping[str, Any], stores: int) -> float | None:
    """Compute the speed of one network, also where the networks of all folds shared a pass over the images."""
    networks, rate = block.get("networks", 1), block.get("images_per_second")
    # Networks of other arms in the same pass: the time of this one is unknown.
    return rate * networks if rate and networks in (1, stores) else None


def _where(block: Mapping[str, Any]) -> str:
    if not block.get("engine"):
        return ""
    shared = f", {block['networks']} networks at once" if block.get("networks", 1) > 1 else ""
    return f"{block['engine']} on {block.get('device', 'an unknown device')}{shared}"


def _parameters(name: str, layer: str) -> int | None:
    backbone = _default_backbone(name, layer)
    return backbone.parameters if backbone else None


def _default_backbone(name: str, layer: str) -> Backbone | None:
    """Find a backbone of the zoo, if the layer is its default one."""
    if is_own(name):  # a report does not import a user's function
        return None
    try:
        backbone = find_backbone(name)
    except BackboneError:
        return None
    return backbone if layer in ("", backbone.layer) else None


def width_of(record: RunRecord) -> int | None:
    """Return the number of features of a run, of a fused one that of its members together; None if unknown."""
    recipe = record.features.get("recipe") or {}
    members = [one["recipe"] for one in recipe.get("members", ())] or [recipe]
    found = [
        _default_backbone(str(one.get("backbone") or ""), str(one.get("layer") or "")) for one in members
    ]
    return sum(one.width for one in found if one) if all(found) else None


def network_of(series: Series) -> tuple[str, ...]:
    """Name what decides the cost of an arm's features: arms for which it is equal have the same cost."""
    recipe = series.runs[0].record.features.get("recipe") or {}
    names = ("backbone", "layer", "image_size", "precision", "views", "view_pool")
    return tuple(str(recipe.get(name)) for name in names)


@dataclass(frozen=True)
class SizePoint:
    """The folds of an arm whose training sets have about one size, or the parts of one size that were drawn of them.

    Attributes
    ----------
    series : Series
        The arm on its task and protocol.
    images : int
        Mean number of training images.
    events : int or None
        Mean number of training images of the positive class; of several classes, of the rarest. None if unknown.
    total : FoldSummary
        AUC over these folds; of parts that were drawn repeatedly, over the means of each fold.
    drawn : str
        Size of the parts, such as ``"25 %"`` or ``"5 of each class"``; empty for whole training sets.
    draws : int
        Number of random draws in each fold; 0 for whole training sets.
    """

    series: Series
    images: int
    events: int | None
    total: FoldSummary
    drawn: str = ""
    draws: int = 0


def size_points(series: Sequence[Series]) -> dict[tuple[str, str], tuple[SizePoint, ...]]:
    """Find the arms that were trained on training sets of different sizes, or on parts of them.

    Returns
    -------
    dict of (task, arm) to tuple of SizePoint
        Ascending by size, over all protocols and folds; arms of one size are left out.
    """
    found: dict[tuple[str, str], list[SizePoint]] = {}
    for one in series:
        points = found.setdefault((one.task, one.arm), [])
        for part in clusters(one.scores):
            images = round(float(np.mean([size_of(fold) for fold in part])))
            total = summarise_arm(part, ratio=size_ratio(part))
            names = {fold.name for fold in part}
            runs = [run for run in one.runs if one.pooled or run.record.fold in names]
            points.append(SizePoint(one, images, _mean_events(runs), total))
        points += _drawn_points(one)
    return {
        key: tuple(sorted(several, key=lambda point: point.images))
        for key, several in found.items()
        if several and max(point.images for point in several) > NEAR * min(point.images for point in several)
    }


def _drawn_points(series: Series) -> list[SizePoint]:
    """Summarise an arm's runs on parts of the training sets, by size."""
    sizes: dict[tuple[str, float], dict[int, list[Run]]] = {}
    for run in series.subsets:
        ((kind, size),) = ((key, value) for key, value in run.record.subset.items() if key != "seed")
        sizes.setdefault((kind, size), {}).setdefault(run.record.subset["seed"], []).append(run)
    made = []
    for (kind, size), draws in sizes.items():
        folds: dict[str, list[FoldScores]] = {}
        for several in draws.values():
            for fold in replace(series, runs=tuple(several), subsets=()).scores:
                folds.setdefault(fold.name, []).append(fold)
        runs = [run for several in draws.values() for run in several]
        images = round(float(np.mean([train_size(run.record) or 0 for run in runs])))
        total = summarise_repeats(list(folds.values()), ratio=series.ratio)
        drawn = f"{size * 100:g} %" if kind == "fraction" else f"{size:g} of each class"
        made.append(SizePoint(series, images, _mean_events(runs), total, drawn, len(draws)))
    return made


def _mean_events(runs: Sequence[Run]) -> int | None:
    """Average the number of training images of the positive class, or of the rarest of several."""
    counts = [(run.record.counts.get("train"), run.record.scored) for run in runs]
    events = [min(part.get(name, 0) for name in scored) for part, scored in counts if part]
    return round(float(np.mean(events))) if events else None
