"""What the arms' networks cost: parameters, multiply-adds and images a second, beside their AUC."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import BackboneError
from featx.reporting.lineage import origin
from featx.reporting.sections.labels import HOW, INTERVALS, PLACE, SPREAD, place, spread
from featx.reporting.series import (
    NEAR,
    SearchFacts,
    Series,
    clusters,
    searches_of,
    size_of,
)
from featx.reporting.summary import Summary
from featx.reporting.tables import Cell, Column, Table
from featx.runs import run_cost
from featx.stats import (
    FoldScores,
    FoldSummary,
    size_ratio,
    summarise_arm,
)
from featx.zoo import find_backbone

if TYPE_CHECKING:
    from featx.reporting.series import Series

__all__ = [
    "MEASURES",
    "ArmCost",
    "Point",
    "backbone_table",
    "cost_of",
    "network_of",
    "points",
    "searches",
    "size_table",
]


MEASURES: Mapping[str, str] = {
    "images_per_second": "Images a second, as extracted",
    "multiply_adds": "Multiply-adds of an image",
    "parameters": "Parameters, up to the feature layer",
}


"""Fields of a `Cost` that are numbers, with what an axis calls them."""


@dataclass(frozen=True)
class ArmCost:
    """What a series' features cost.

    Attributes
    ----------
    backbone, layer : str
        Whose features they are; empty where the runs do not tell.
    parameters : int or None
        Of the network up to the feature layer.
    multiply_adds : int or None
        Multiplications with an addition for one image.
    images_per_second : float or None
        Of one network, median over the stores that the runs read; None too where other arms' networks shared the time.
    measured : str
        What ran the forward pass, where, and how many networks shared its time; several are joined.
    """

    backbone: str
    layer: str
    parameters: int | None
    multiply_adds: int | None
    images_per_second: float | None
    measured: str


def cost_of(series: Series) -> ArmCost:
    """Gather what a series' runs tell of their features' cost.

    Returns
    -------
    Cost
        None where no run tells; parameters then are the zoo's, if the runs took the backbone's own feature layer.
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
        measured=_joined(_where(block) for block in blocks),
    )


def _first(blocks: Iterable[Mapping[str, Any]], name: str) -> int | None:
    return next((int(block[name]) for block in blocks if block.get(name) is not None), None)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _rate(block: Mapping[str, Any], stores: int) -> float | None:
    """Find the speed of one network, also where the networks of all folds went through the images together."""
    networks, rate = block.get("networks", 1), block.get("images_per_second")
    # Other networks in the same pass: nothing tells whose time it was.
    return rate * networks if rate and networks in (1, stores) else None


def _where(block: Mapping[str, Any]) -> str:
    if not block.get("engine"):
        return ""
    shared = f", {block['networks']} networks at once" if block.get("networks", 1) > 1 else ""
    return f"{block['engine']} on {block.get('device', 'an unknown device')}{shared}"


def _parameters(name: str, layer: str) -> int | None:
    try:
        backbone = find_backbone(name)
    except BackboneError:
        return None
    return backbone.parameters if layer in ("", backbone.layer) else None


def network_of(series: Series) -> tuple[str, ...]:
    """Name what decides the cost of a series' features.

    Returns
    -------
    tuple of str
        Equal for arms whose features cost the same; a difference of speed between them is chance.
    """
    recipe = series.runs[0].record.features.get("recipe") or {}
    names = ("backbone", "layer", "image_size", "precision", "views", "view_pool")
    return tuple(str(recipe.get(name)) for name in names)


def backbone_table(summary: Summary) -> Table | None:
    """Fill the table of backbones: what each arm's network is and costs, and what it reaches."""
    costs = [cost_of(item.series) for item in summary.overall]
    if not any(one.backbone for one in costs):
        return None
    rows = [
        (
            *(*place(item.series), *spread(item.spread)),
            *(one.backbone or None, origin(item.series.runs[0].record) or None, one.layer or None),
            *(one.parameters, one.multiply_adds, one.images_per_second),
            one.measured or None,
        )
        for item, one in zip(summary.overall, costs, strict=True)
    ]
    columns = (
        *(*PLACE, *SPREAD),
        *(Column("backbone", "Backbone", text=True), Column("weights", "Weights", text=True)),
        Column("layer", "Layer", text=True),
        *(
            Column("parameters", "Parameters (M)", 2, unit=1e6),
            Column("multiply_adds", "Multiply-adds (G)", 3, unit=1e9),
        ),
        *(Column("images_per_second", "Images/s", 1), Column("measured", "Measured on", text=True)),
    )
    note = (
        "Parameters in millions and multiply-adds of one image in thousands of millions, both up to the feature layer; "
        "floating-point operations (FLOPs) are about twice the multiply-adds. Images/s: as the features were extracted, "
        "reading included, and comparable only where measured on the same machine; where the networks of all folds shared "
        f"a pass over the images, its speed times their number. {HOW}{INTERVALS}"
    )
    return Table("backbones", "Backbones, their cost and AUC", note, columns, tuple(rows))


def searches(summary: Summary) -> Table | None:
    """Fill the table of the values of C that inner cross-validation chose.

    Returns
    -------
    Table or None
        A row for each series that was trained with a search; None where there was none.
    """
    rows = []
    for series in summary.series:
        found = [item for run in series.runs for item in searches_of(run.record)]
        if found:
            rows.append(
                (
                    *place(series),
                    _chosen(found),
                    *_logs(found),
                    sum(item.edge != "" for item in found),
                    *_fits(series),
                    len(series.runs),
                )
            )
    if not rows:
        return None
    columns = (
        *PLACE,
        Column("chosen", "C chosen (times)", text=True),
        *(Column("log10_mean", "log10 C", 2), Column("log10_sd", "SD", 2)),
        *(
            Column("edges", "At edge"),
            Column("fits", "Fits"),
            Column("not_converged", "Not converged"),
            Column("folds", "Folds"),
        ),
    )
    note = (
        "C is chosen inside the training part of each fold, in tasks of several classes for each class. log10 C: mean "
        "over the folds. At edge: choices at an edge of the grid, beyond which a better C may lie. Fits: of the "
        "search and of the final SVMs."
    )
    return Table("search", "Choice of C", note, columns, tuple(rows))


def _chosen(found: Sequence[SearchFacts]) -> str:
    counts = Counter(item.chosen for item in found)
    return ", ".join(f"{value:g} ({counts[value]})" for value in sorted(counts))


def _logs(found: Sequence[SearchFacts]) -> tuple[float, float | None]:
    values = np.log10([item.chosen for item in found])
    return float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None


def _fits(series: Series) -> tuple[Cell, Cell]:
    counts = [run.record.convergence for run in series.runs if "fits" in run.record.convergence]
    if not counts:
        return None, None
    return sum(item["fits"] for item in counts), sum(item["not_converged"] for item in counts)


def size_table(summary: Summary) -> Table | None:
    """Fill the table of AUC by the size of the training part.

    Returns
    -------
    Table or None
        A row for each arm and size; None where every arm was trained on one size alone.
    """
    rows = [
        (*place(point.series), point.images, *spread(point.total))
        for several in points(summary).values()
        for point in several
    ]
    if not rows:
        return None
    columns = (
        *PLACE,
        Column("images", "Training images"),
        *SPREAD,
    )
    note = (
        "Training images: mean over the folds, as the runs recorded them; folds whose sizes are within a tenth stand "
        f"together. {HOW}{INTERVALS} Protocols test different parts, so only large steps between them mean something."
    )
    return Table("training-sizes", "AUC by training-set size", note, columns, tuple(rows))


@dataclass(frozen=True)
class Point:
    """An arm trained on parts of about one size.

    Attributes
    ----------
    series : Series
        The arm on its task and protocol.
    folds : tuple of FoldScores
        Its folds of this size.
    images : int
        Mean number of training images.
    total : FoldSummary
        AUC over these folds.
    """

    series: Series
    folds: tuple[FoldScores, ...]
    images: int
    total: FoldSummary


def points(summary: Summary) -> dict[tuple[str, str], tuple[Point, ...]]:
    """Find the arms whose runs were trained on parts of different sizes.

    Returns
    -------
    dict of (task, arm) to tuple of Point
        Smallest training parts first, over all protocols and folds; arms of one size are left out.
    """
    found: dict[tuple[str, str], list[Point]] = {}
    for series in summary.series:
        for part in clusters(series.scores):
            images = round(float(np.mean([size_of(fold) for fold in part])))
            total = summarise_arm(part, ratio=size_ratio(part))
            found.setdefault((series.task, series.arm), []).append(Point(series, part, images, total))
    return {
        key: tuple(sorted(several, key=lambda point: point.images))
        for key, several in found.items()
        if max(point.images for point in several) > NEAR * min(point.images for point in several)
    }
