"""What the arms' networks cost: parameters, multiply-adds and images a second, beside their AUC."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from featx.errors import BackboneError
from featx.runs import RunRecord
from featx.zoo.backbones import find_backbone

from .columns import HOW, INTERVAL, INTERVALS, PLACE, SPREAD, interval, place, spread
from .lineage import origin
from .series import Series
from .summary import Summary
from .tables import Column, Table

__all__ = ["MEASURES", "Cost", "backbone_table", "cost_of"]

MEASURES: Mapping[str, str] = {
    "images_per_second": "Images a second, as extracted",
    "multiply_adds": "Multiply-adds of an image",
    "parameters": "Parameters, up to the feature layer",
}
"""Fields of a `Cost` that are numbers, with what an axis calls them."""


@dataclass(frozen=True)
class Cost:
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
        Median over the stores that the runs read.
    device, engine : str
        Where that was measured, and what ran the forward pass; several are joined.
    """

    backbone: str
    layer: str
    parameters: int | None
    multiply_adds: int | None
    images_per_second: float | None
    device: str
    engine: str


def cost_of(series: Series) -> Cost:
    """Gather what a series' runs tell of their features' cost.

    Parameters
    ----------
    series : Series
        An arm on a task.

    Returns
    -------
    Cost
        None where no run tells; parameters then are the zoo's, if the runs took the backbone's own feature layer.
    """
    records = [run.record for run in series.runs]
    blocks = [block for record in records for block in _blocks(record)]
    recipe = records[0].features.get("recipe") or {}
    backbone, layer = str(recipe.get("backbone") or ""), str(recipe.get("layer") or "")
    parameters = _first(blocks, "parameters")
    rates = [block["images_per_second"] for block in blocks if block.get("images_per_second")]
    return Cost(
        backbone=backbone,
        layer=layer,
        parameters=_parameters(backbone, layer) if parameters is None else parameters,
        multiply_adds=_first(blocks, "multiply_adds"),
        images_per_second=float(median(rates)) if rates else None,
        device=_joined(block.get("device") for block in blocks),
        engine=_joined(block.get("engine") for block in blocks),
    )


def _blocks(record: RunRecord) -> list[Mapping[str, Any]]:
    """Find the cost of the store that a run read; of alternatives the first that tells."""
    several = [record.features, *record.features.get("alternatives", ())]
    return [item["cost"] for item in several if item.get("cost")][:1]


def _first(blocks: Iterable[Mapping[str, Any]], name: str) -> int | None:
    return next((int(block[name]) for block in blocks if block.get(name) is not None), None)


def _joined(values: Iterable[Any]) -> str:
    return ", ".join(dict.fromkeys(str(value) for value in values if value))


def _parameters(name: str, layer: str) -> int | None:
    try:
        backbone = find_backbone(name)
    except BackboneError:
        return None
    return backbone.parameters if layer in ("", backbone.layer) else None


def backbone_table(summary: Summary) -> Table | None:
    """Fill the table of backbones: what each arm's network is and costs, and what it reaches.

    Parameters
    ----------
    summary : Summary
        What the report is made of.

    Returns
    -------
    Table or None
        A row for each series; None where no run tells of its backbone.
    """
    costs = [cost_of(item.series) for item in summary.overall]
    if not any(one.backbone for one in costs):
        return None
    rows = [
        (
            *place(item.series),
            *(one.backbone or None, origin(item.series.runs[0].record) or None, one.layer or None),
            *(one.parameters, one.multiply_adds, one.images_per_second),
            ", ".join(text for text in (one.engine, one.device) if text) or None,
            *(*spread(item.spread), *interval(item.spread)),
        )
        for item, one in zip(summary.overall, costs, strict=True)
    ]
    columns = (
        *PLACE,
        *(Column("backbone", "Backbone", text=True), Column("weights", "Weights", text=True)),
        Column("layer", "Layer", text=True),
        *(
            Column("parameters", "Parameters (M)", 2, unit=1e6),
            Column("multiply_adds", "Multiply-adds (G)", 3, unit=1e9),
        ),
        *(Column("images_per_second", "Images/s", 1), Column("measured", "Measured on", text=True)),
        *(*SPREAD, *INTERVAL),
    )
    note = (
        "Parameters in millions and multiply-adds of one image in thousands of millions, both up to the feature layer; "
        "floating-point operations (FLOPs) are about twice the multiply-adds. Images/s: as the features were extracted, "
        f"reading included; comparable only where measured on the same machine. {HOW}{INTERVALS}"
    )
    return Table("backbones", "Backbones, their cost and AUC", note, columns, tuple(rows))
