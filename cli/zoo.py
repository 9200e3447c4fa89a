"""`featx zoo`: which networks there are, and their weights files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .flags import JSON, print_json, print_table

if TYPE_CHECKING:
    from featx.zoo import Backbone


@click.group()
def zoo() -> None:
    """Show the networks that features can come from, and fetch their weights."""


@zoo.command("list")
@JSON
def list_command(as_json: bool) -> None:
    """List all backbones: input size, penultimate layer, feature width, weights."""
    from featx.zoo import list_backbones

    rows = list_backbones()
    if as_json:
        print_json([_facts(row) for row in rows])
        return
    head = ("backbone", "input", "preprocessing", "layer", "width", "parameters", "weights")
    print_table([head, *(_cells(row) for row in rows)])


@zoo.command("show")
@click.argument("name")
@click.option("--layers", is_flag=True, help="Build the network and name its layers (imports keras: slow).")
@JSON
def show_command(name: str, layers: bool, as_json: bool) -> None:
    """Show one backbone: what it expects, what it gives, where its weights are looked for."""
    from featx.zoo import find_backbone

    backbone = find_backbone(name)
    facts = _facts(backbone)
    if layers:
        facts["layers"] = _layers(backbone)
    if as_json:
        print_json(facts)
        return
    found = facts.pop("layers", [])
    width = max(map(len, facts))
    for key, value in facts.items():
        click.echo(f"{key.replace('_', ' '):{width}}  {_plain(value)}")
    if found:
        print_table(
            [("layer", "output"), *((item["name"], "x".join(map(str, item["shape"]))) for item in found)]
        )


@zoo.command("fetch")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch_command(names: tuple[str, ...]) -> None:
    """Download the published weights of backbones, so that a machine without a network has them.

    They go to the folder that FEATX_WEIGHTS_DIR names, else to Keras' own. Prints the files' paths.
    """
    from featx.zoo import fetch_weights, find_backbone

    from .bars import progress

    rows = [find_backbone(name) for name in names]
    for row in rows:
        click.echo(fetch_weights(row, progress()))


@zoo.command("convert")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--backbone", help="Architecture of the file; a MatConvNet file tells its own.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write, ending in .weights.h5.")
def convert_command(file: Path, backbone: str | None, output: Path | None) -> None:
    """Make a weights file of another framework into one of Keras. Prints the path of the new file."""
    from featx.zoo import convert_weights

    click.echo(convert_weights(file, backbone=backbone, output=output))


def _cells(row: Backbone) -> tuple[str, ...]:
    return (
        row.name,
        str(row.image_size),
        row.preprocessing,
        row.layer,
        str(row.width),
        f"{row.parameters:,}",
        "imagenet" if row.imagenet else "preset" if row.preset else "",
    )


def _facts(row: Backbone) -> dict[str, Any]:
    from featx.zoo import MULTIPLY_ADDS, weights_folder, weights_formats

    published, preset = row.published, row.preset
    file = published.file if published else preset.name if preset else None
    return {
        "name": row.name,
        "family": row.family,
        "reference": row.reference,
        "builder": row.builder,
        "arguments": dict(row.arguments),
        "image_size": row.image_size,
        "min_size": row.min_size,
        "preprocessing": row.preprocessing,
        "layer": row.layer,
        "width": row.width,
        "parameters": row.parameters,
        "multiply_adds": MULTIPLY_ADDS.get(row.name),
        "imagenet": row.imagenet,
        "formats": ["Keras", *weights_formats(row.name)],
        "preset": preset.name if preset else None,
        "trained_on": preset.trained_on if preset else None,
        "weights_url": published.url if published else f"kaggle:{preset.handle}" if preset else None,
        "weights_file": str(weights_folder() / file) if file else None,
    }


def _layers(row: Backbone) -> list[dict[str, Any]]:
    from featx.zoo import build_backbone, layer_names, resolve_weights

    model = build_backbone(row, resolve_weights("random", row)[0])
    named = layer_names(model)
    return [{"name": name, "shape": list(layer.output.shape[1:])} for name, layer in named.items()]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(value)
    return (
        f"{value:,}" if isinstance(value, int) and value > 9999 else "none" if value is None else str(value)
    )
