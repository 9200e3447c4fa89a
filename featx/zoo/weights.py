"""Weights sources: the values of ``--weights``, resolved to a digest and a lineage."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from featx.digest import digest, digest_file
from featx.errors import RunError, WeightsError, listing
from featx.runs import COMPLETE, Run, RunRecord, checked_digest, find_runs, read_run
from featx.zoo.backbones import Backbone
from featx.zoo.downloads import check_preset, find_preset, find_published, is_preset
from featx.zoo.initial import VERSION
from featx.zoo.own_backbone import own_facts

__all__ = [
    "BACKBONE_FILE",
    "RUNS",
    "TRAINED_ON_FILE",
    "Weights",
    "backend_name",
    "file_label",
    "resolve_weights",
]

# Files of a fine-tuning run beside its record.
BACKBONE_FILE = "backbone.weights.h5"
TRAINED_ON_FILE = "trained-on.json"
# Folder in which `run:ID` is looked up, and the minimum number of its digits.
RUNS = Path("reports")
_SHORTEST_ID = 4
_ENDINGS = (".keras", ".h5", ".hdf5", ".weights", ".mat", ".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Weights:
    """Source of a network's weights.

    Attributes
    ----------
    source : str
        ``random:0``, ``imagenet``, the name of a preset, or a path.
    digest : str
        SHA-256 that identifies the values of the weights.
    lineage : tuple of str
        The sources of the weights, oldest first.
    path : Path, optional
        The file; None for random weights.
    seed : int, optional
        Seed of random weights.
    trained_on : mapping, optional
        For fine-tuned weights, the training data: ``arm``, ``task``, ``protocol``, ``fold``,
        ``folds_digest``, ``manifest_digest``, ``train_keys_digest``.
    trained_with : mapping, optional
        For fine-tuned weights, the settings of training: ``image_size`` in pixels, name of the ``preparation`` of
        images, and ``precision`` as extraction names it.
    label : str
        A short name for folders.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> (start,) = resolve_weights("random:7", find_backbone("tiny"))
    >>> start.source, start.lineage
    ('random:7', ('random:7',))
    """

    source: str
    digest: str
    lineage: tuple[str, ...]
    path: Path | None = None
    seed: int | None = None
    trained_on: Mapping[str, Any] | None = None
    trained_with: Mapping[str, Any] | None = None
    label: str = "weights"


def resolve_weights(source: str | Path, backbone: Backbone) -> tuple[Weights, ...]:
    """Resolve a weights source.

    Parameters
    ----------
    source : str or Path
        ``random`` or ``random:SEED``; ``imagenet``; ``preset`` for an architecture of KerasHub; a weights file or
        the folder of a preset; the folder of a fine-tuning run, or ``run:ID`` with the first digits of its id,
        looked up below ``reports``; or a folder of such runs, one for each fold.
    backbone : Backbone
        The architecture of the weights.

    Returns
    -------
    tuple of Weights
        One source; for a folder of runs, one for each fold, sorted by fold.

    Raises
    ------
    WeightsError
        If the source is malformed, missing or of another kind. The shapes in a file are compared with the
        architecture when the network is built.

    Examples
    --------
    >>> from featx.zoo.backbones import find_backbone
    >>> (start,) = resolve_weights("random", find_backbone("tiny"))
    >>> start.source, len(start.digest)
    ('random:0', 64)
    """
    text = str(source)
    if backbone.is_own:
        return (_own(text, backbone),)
    if text.partition(":")[0] == "random":
        return (_random(text, backbone),)
    if text == "imagenet":
        return (_imagenet(backbone),)
    if text == "preset":
        return (_preset(find_preset(backbone), backbone),)
    if text.startswith("run:"):
        return (_run_by_id(text, backbone),)
    path = Path(source).expanduser()
    if path.is_dir():
        return (_preset(path, backbone),) if is_preset(path) else _runs(path, backbone)
    if path.is_file():
        return (_file(path, backbone),)
    raise WeightsError(
        f"weights {text!r}: no such file or folder; give random, random:SEED, imagenet, preset, a weights file, "
        "the folder of a fine-tuning run, or run:ID"
    )


def _own(text: str, backbone: Backbone) -> Weights:
    """Identify a user's own network, which brings its weights; the default source stands for these."""
    if text not in ("imagenet", backbone.name):
        raise WeightsError(
            f"weights {text!r}: {backbone.name} is your own function, which brings its weights; leave out --weights"
        )
    facts = own_facts(backbone.name)
    lineage = (f"{backbone.name}, version {facts['version']}",)
    return Weights(backbone.name, digest(facts), lineage, label=f"version{facts['version']}")


def _random(text: str, backbone: Backbone) -> Weights:
    number = text.partition(":")[2] or "0"
    if not (number.isascii() and number.isdigit()) or text.endswith(":"):
        raise WeightsError(f"weights {text!r}: the seed must be an integer, as in random:0")
    seed = int(number)
    facts = {
        "kind": "random",
        "seed": seed,
        "backbone": backbone.name,
        "keras": version("keras"),
        "drawing": VERSION,
    }
    return Weights(f"random:{seed}", digest(facts), (f"random:{seed}",), seed=seed, label=f"random{seed}")


def backend_name() -> str:
    """Return the name of Keras' backend without importing Keras, which takes seconds.

    Returns
    -------
    str
        ``tensorflow``, ``jax``, ``torch`` or another backend that Keras is configured for.

    Examples
    --------
    >>> backend_name() in ("tensorflow", "jax", "torch")
    True
    """
    if "keras" in sys.modules:
        return str(sys.modules["keras"].backend.backend())
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError):
        return "tensorflow"


def _imagenet(backbone: Backbone) -> Weights:
    path = find_published(backbone)
    return Weights("imagenet", digest_file(path), ("imagenet",), path, label="imagenet")


def _preset(folder: Path, backbone: Backbone) -> Weights:
    path = check_preset(folder, backbone)
    name = folder.resolve().name
    return Weights(name, digest_file(path), (name,), path, label=name)


def _file(path: Path, backbone: Backbone) -> Weights:
    if path.name == BACKBONE_FILE and (path.parent / COMPLETE).is_file():
        return _run(read_run(path.parent), backbone)
    return Weights(str(path), digest_file(path), (path.name,), path, label=file_label(path))


def file_label(path: Path) -> str:
    """Return the name of a weights file without its extensions.

    Examples
    --------
    >>> file_label(Path("net/mine.weights.h5"))
    'mine'
    """
    name = path.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name


def _runs(folder: Path, backbone: Backbone) -> tuple[Weights, ...]:
    try:
        runs = [read_run(path) for path in find_runs([folder])]
    except RunError as error:
        raise WeightsError(f"weights {folder}: {error}") from error
    runs = [run for run in runs if run.record.kind == "finetune"]
    if not runs:
        raise WeightsError(f"weights {folder}: contains no fine-tuning run; create one with `featx finetune`")
    chains = sorted({f"{run.record.arm}/{run.record.task}/{run.record.protocol}" for run in runs})
    if len(chains) > 1:
        raise WeightsError(
            f"weights {folder}: contains runs of several arms, tasks or protocols ({listing(chains)}); "
            "give the folder of one of them"
        )
    return tuple(_run(run, backbone) for run in sorted(runs, key=lambda run: run.record.fold))


def _run_by_id(text: str, backbone: Backbone) -> Weights:
    wanted = text.removeprefix("run:").lower()
    if len(wanted) < _SHORTEST_ID or set(wanted) - set("0123456789abcdef"):
        raise WeightsError(f"weights {text!r}: a run id has {_SHORTEST_ID} or more hexadecimal digits")
    try:
        runs = [read_run(path) for path in find_runs([RUNS])]
    except RunError as error:
        raise WeightsError(f"weights {text!r}: {error}") from error
    found = [run for run in runs if run.record.kind == "finetune" and run.record.id.startswith(wanted)]
    if len(found) != 1:
        paths = (
            f": {listing([str(run.path) for run in found])}; give more digits" if found else f" below {RUNS}"
        )
        raise WeightsError(f"weights {text!r}: {len(found) or 'no'} fine-tuning runs have this id{paths}")
    return _run(found[0], backbone)


def _run(run: Run, backbone: Backbone) -> Weights:
    file, record = run.path / BACKBONE_FILE, run.record
    try:
        trained_on = json.loads((run.path / TRAINED_ON_FILE).read_text(encoding="utf-8"))
        keys = sorted(trained_on["train_keys"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"weights {run.path}: {TRAINED_ON_FILE} is missing or damaged; run `featx finetune` again with --overwrite"
        ) from error
    try:
        checked_digest(run.path, TRAINED_ON_FILE)
        found = checked_digest(run.path, BACKBONE_FILE)
    except RunError as error:
        raise WeightsError(f"weights {error}") from error
    facts = {
        "arm": record.arm,
        "task": record.task,
        "protocol": record.protocol,
        "fold": record.fold,
        "folds_digest": record.folds_digest,
        "manifest_digest": record.manifest.get("digest"),
        "train_keys_digest": digest(keys),
    }
    label = f"{record.arm}-{record.fold}"
    return Weights(
        str(run.path),
        found,
        record.lineage,
        file,
        trained_on=facts,
        trained_with=_trained_with(record),
        label=label,
    )


def _trained_with(record: RunRecord) -> dict[str, Any]:
    network = record.features.get("recipe") or {}
    facts = {
        "image_size": network.get("image_size"),
        "preparation": (network.get("preparation") or {}).get("name"),
        # Training in a lower precision stores its weights in float32, which Keras calls mixed.
        "precision": str(record.settings.get("precision", "float32")).removeprefix("mixed_"),
    }
    return {name: value for name, value in facts.items() if value is not None}
