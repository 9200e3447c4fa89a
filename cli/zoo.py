"""`featx zoo`: which networks there are, and their weights files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .flags import JSON, example, print_json, print_table

if TYPE_CHECKING:
    from featx.zoo import Backbone


@click.group()
def zoo() -> None:
    """List the pre-trained networks, and download or convert their weights."""


@zoo.command("list", epilog=example("featx zoo list"))
@JSON
def list_command(as_json: bool) -> None:
    """List all backbones: input size, penultimate layer, feature width, weights."""
    from featx.zoo import describe_backbone, list_backbones

    rows = list_backbones()
    if as_json:
        print_json([describe_backbone(row) for row in rows])
        return
    head = ("backbone", "input", "preprocessing", "layer", "width", "parameters", "weights")
    print_table([head, *(_cells(row) for row in rows)])


@zoo.command("show", epilog=example("featx zoo show resnet50"))
@click.argument("name")
@click.option(
    "--layers",
    is_flag=True,
    help="Also build the network and list its layers; this imports Keras and takes seconds.",
)
@JSON
def show_command(name: str, layers: bool, as_json: bool) -> None:
    """Show one backbone: its input, its features, and where its weights are expected."""
    from featx.zoo import describe_backbone, find_backbone

    facts = describe_backbone(find_backbone(name), layers=layers)
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


@zoo.command("fetch", epilog=example("featx zoo fetch resnet50 mobilenet_v2"))
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def fetch_command(names: tuple[str, ...]) -> None:
    """Download the published weights of backbones, for later use offline.

    They are stored in the folder that FEATX_WEIGHTS_DIR names, else in Keras' own. Prints the paths of the files.
    """
    from featx.zoo import fetch_weights, find_backbone

    from .bars import progress

    rows = [find_backbone(name) for name in names]
    for row in rows:
        click.echo(fetch_weights(row, progress()))


@zoo.command("convert", epilog=example("featx zoo convert imagenet-vgg-m.mat -o vgg_m.weights.h5"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--backbone",
    "-m",
    help="Pre-trained network of the zoo that the file holds; a MatConvNet file names its own.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File to write, ending in .weights.h5.")
def convert_command(file: Path, backbone: str | None, output: Path | None) -> None:
    """Convert a weights file of PyTorch or MatConvNet to Keras. Prints the path of the new file."""
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
