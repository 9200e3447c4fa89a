"""Where the weights of an arm come from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from featx.runs import RunRecord
from featx.zoo import list_backbones, published_weights

__all__ = ["Lineage", "lineage_of", "origin"]


@dataclass(frozen=True)
class Lineage:
    """A run's weights.

    Attributes
    ----------
    start : str
        ``"random"``, ``"imagenet"``, or the name of a weights file; empty where the run does not tell.
    sources : tuple of str
        Data sets that the network was trained on before the target.
    tuned : bool
        Whether it was then trained on the training part of the run's own fold.
    """

    start: str
    sources: tuple[str, ...]
    tuned: bool


def lineage_of(record: RunRecord) -> Lineage:
    """Take a run's lineage apart.

    Returns
    -------
    Lineage
        A step that was trained for one fold names it; with these weights of the fold it is the target's.
    """
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
    """Write a run's lineage for people, the same for every fold of an arm.

    Returns
    -------
    str
        Such as ``"imagenet → retina → fine-tuned"``; empty where the run does not tell.
    """
    found = lineage_of(record)
    return " → ".join((found.start, *found.sources, *(["fine-tuned"] if found.tuned else []))).strip(" →")
