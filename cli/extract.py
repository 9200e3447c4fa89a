"""`featx extract`: images to features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from featx.features import ExtractSettings
from featx.jobs import ClusterOptions

from . import batch, flags
from .bars import progress


@click.command(epilog=flags.example("featx extract lesions.csv -m resnet50 -w imagenet --arm frozen"))
@flags.MANIFEST
@flags.of(ExtractSettings)
@flags.of(ClusterOptions)
@flags.JSON
@flags.CONFIG
@batch.recorded
def extract(manifest: Path, as_json: bool, **values: Any) -> None:
    """Extract features of the images in MANIFEST with pre-trained networks, and store them.

    Prints the folder of each feature store. Rows that are already stored are not recomputed: the same command
    resumes an interrupted extraction. A store's failures.csv lists the images that failed.
    """
    from featx.errors import ExtractionError
    from featx.features import failure_message, summarise_extraction
    from featx.jobs import verb_on_cluster

    given, cluster = flags.parted(values, ClusterOptions)
    # The library would raise before anything is printed.
    finish = given.get("on_error", "finish") == "finish"
    if finish:
        given["on_error"] = "skip"
    done = verb_on_cluster(
        "extract", manifest, {**given, "progress": progress(), "own_process": True}, cluster
    )
    batch.say(summarise_extraction(done))
    batch.results(item.store for item in done)
    if as_json:
        flags.print_json([item.record() for item in done])
    else:
        click.echo("\n".join(str(item.store) for item in done))
    message = failure_message(done)
    if message and finish:
        raise ExtractionError(message)
    if message:
        batch.say(f"featx: warning: {message}")
