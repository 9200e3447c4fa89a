"""`featx extract`: images to features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import flags
from .bars import progress


@click.command()
@flags.MANIFEST
@flags.CONFIG
@click.option("--backbone", "-m", multiple=True, required=True, help="Network of the zoo; may be repeated.")
@click.option(
    "--weights",
    "-w",
    multiple=True,
    default=("imagenet",),
    show_default=True,
    help="random[:SEED], imagenet, a weights file, a fine-tuning run, or a folder of such runs; may be repeated. "
    "With several backbones: one for all, or one each in the same order.",
)
@click.option(
    "--layer", "layers", multiple=True, help="Layer to read; may be repeated.  [default: penultimate]"
)
@click.option("--pool", default="avg", show_default=True, help="How a feature map becomes a vector.")
@click.option(
    "--image-size",
    type=click.IntRange(min=1),
    help="Input size in pixels.  [default: as fine-tuned weights were trained, else the network's]",
)
@click.option(
    "--preparation",
    help="resize, center-square, atlas or retina.  [default: as fine-tuned weights were trained, else resize]",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "tf32", "bfloat16", "float16"]),
    help="Arithmetic of the forward pass; tf32 on GPUs.  [default: as fine-tuned weights were trained, else float32]",
)
@click.option(
    "--views", type=click.IntRange(min=1), default=1, show_default=True, help="Augmented views of an image."
)
@click.option("--view-ranges", default="paper", show_default=True, help="Ranges that views are drawn from.")
@click.option(
    "--view-pool",
    type=click.Choice(["mean", "keep"]),
    default="mean",
    show_default=True,
    help="Average an image's views, or keep them apart.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "keras", "openvino"]),
    default="auto",
    show_default=True,
    help="What runs the forward pass.",
)
@click.option(
    "--batch-size", "-b", type=click.IntRange(min=1), default=32, show_default=True, help="Rows of a batch."
)
@flags.WORKERS
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads of the forward pass.  [default: the engine's]"
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, gpu or gpu:N.")
@click.option(
    "--shard", metavar="I/N", help="Extract the I-th of N parts only, for several machines at once."
)
@click.option(
    "--on-error",
    type=click.Choice(["finish", "skip", "fail"]),
    default="finish",
    show_default=True,
    help="A bad image: exit 1 at the end, exit 0 all the same, or stop at once.",
)
@flags.ROOT
@flags.CACHE
@flags.OVERWRITE
@flags.DRY_RUN
@flags.JSON
def extract(
    manifest: Path, backbone: tuple[str, ...], weights: tuple[str, ...], as_json: bool, **given: Any
) -> None:
    """Extract the features of the images in MANIFEST and store them.

    Prints the folder of each feature store. What is stored already is not computed again, so that the same
    command goes on where it was interrupted. Images that fail are listed in the store's failures.csv.
    """
    from featx.errors import ExtractionError
    from featx.features import extract as run_extract
    from featx.features import failure_message, summarise_extraction

    # The lines below come before the error that failed images end in.
    later = given["on_error"] == "finish"
    given["on_error"] = "skip" if later else given["on_error"]
    done = run_extract(manifest, backbone=backbone, weights=weights, progress=progress(), **given)
    click.echo(summarise_extraction(done), err=True)
    if as_json:
        flags.print_json([item.record() for item in done])
    else:
        click.echo("\n".join(str(item.store) for item in done))
    message = failure_message(done)
    if message and later:
        raise ExtractionError(message)
    if message:
        click.echo(f"featx: warning: {message}", err=True)
