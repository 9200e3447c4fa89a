"""What the jobs that are left need of the machine: published weights, an engine, layers that their networks have."""

from __future__ import annotations

import os
from functools import partial

from featx.features import ExtractSettings
from featx.progress import Progress, Silent
from featx.study.checks import Problems
from featx.study.inputs import weights_source
from featx.study.jobs import Job, read_state
from featx.study.layers import layer_problems
from featx.study.plan import Plan
from featx.zoo import (
    WEIGHTS_DIR,
    Backbone,
    fetch_weights,
    find_backbone,
    find_preset,
    find_published,
    weights_folder,
)

__all__ = ["check_ready"]

_NETWORKS = ("source", "finetune", "extract")


def check_ready(plan: Plan, called: str, *, download: bool, progress: Progress | None = None) -> None:
    """Check what the jobs that are left will need, before the first of them begins.

    Parameters
    ----------
    plan : Plan
        The study.
    called : str
        What errors call it: its file.
    download : bool
        Whether published weights that are missing are fetched now, unless ``FEATX_WEIGHTS_DIR`` is set.
    progress : Progress, optional
        Told of downloads.

    Raises
    ------
    InputError
        If weights are missing, damaged or cannot be fetched, the engine cannot run here, or a network has no such
        layer; the message names all of them.
    """
    left = [job for job in plan.jobs if job.kind in _NETWORKS and read_state(job, plan.output).name != "done"]
    found = Problems()
    _check_published(plan, left, found, download, progress or Silent())
    extractions = [job for job in left if job.kind == "extract"]
    if extractions:
        options = plan.study.extract
        settings = ExtractSettings(engine=options.engine, device=options.device)
        found.attempt("extract.engine", options.engine, settings.chosen_engine)
        _check_layers(plan, extractions, found)
    found.tell(called)


def _check_published(
    plan: Plan, left: list[Job], found: Problems, download: bool, progress: Progress
) -> None:
    study = plan.study
    wanted = {(job.arguments["weights"], job.arguments["backbone"]) for job in left}
    for name, arm in study.arms.items():
        for backbone in arm.backbones or study.backbones:
            text = weights_source(study, arm, backbone)
            if text in ("imagenet", "preset") and (text, backbone) in wanted:
                wanted.remove((text, backbone))
                have = partial(_have, text, find_backbone(backbone), download, progress)
                found.attempt(f"arms.{name}.weights", text, have)


def _have(text: str, row: Backbone, download: bool, progress: Progress) -> None:
    published = row.published if text == "imagenet" else None
    name = published.file if published else row.preset.name if row.preset else ""
    if (weights_folder() / name).exists() or os.environ.get(WEIGHTS_DIR):
        (find_published if text == "imagenet" else find_preset)(row)
    elif download:
        fetch_weights(row, progress)


def _check_layers(plan: Plan, extractions: list[Job], found: Problems) -> None:
    """Build the networks of which another layer or pooling is asked than the table says."""
    options = plan.study.extract
    asked = [
        name
        for name in dict.fromkeys(str(job.arguments["backbone"]) for job in extractions)
        if options.pool != "avg" or options.layers not in ((), (find_backbone(name).layer,))
    ]
    problems = layer_problems(asked, options.layers, options.pool, options.image_size) if asked else ()
    key, value = ("layers", options.layers[0]) if options.layers else ("pool", options.pool)
    for problem in problems:
        found.add(f"extract.{key}", value, problem)
