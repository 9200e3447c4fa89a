"""Counts of a data set on its way to the folds: listed images, images without a class, images without features."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from featx.data.tasks import Labelled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["count_exclusions"]


def count_exclusions(
    labelled: Labelled,
    without_features: Collection[str] = (),
    failed: Collection[str] = (),
    changed: Collection[str] = (),
) -> dict[str, Any]:
    r"""Count what a task and missing features leave of a manifest.

    Parameters
    ----------
    labelled : Labelled
        The images that the task keeps.
    without_features : collection of str
        Ids of those without features.
    failed, changed : collection of str
        Ids in it whose extraction failed, and whose files were changed after it.

    Returns
    -------
    dict
        In JSON types: ``grouped`` (whether the manifest has groups); ``listed``, ``no_class``, ``task`` and
        ``no_features`` with ``images``, ``groups`` (groups with an image there) and, of the last two, ``classes`` (class to
        images and groups); ``no_class`` has ``labels`` (pairs of label and images, most frequent first), ``no_features`` has
        ``failed`` and ``changed`` (images).

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from featx.data import apply_task, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "m.csv").write_text("image,label,group\nb,nevus,1\na,melanoma,2\nc,nevus,3\nd,wart,3\n")
    ...     labelled = apply_task(read_manifest(f"{folder}/m.csv", check_files=False), "melanoma:nevus")
    >>> found = count_exclusions(labelled, ["c"])
    >>> found["listed"], found["no_class"]
    ({'images': 4, 'groups': 3}, {'images': 1, 'groups': 1, 'labels': [['wart', 1]]})
    >>> found["task"]["classes"]
    {'nevus': {'images': 2, 'groups': 2}, 'melanoma': {'images': 1, 'groups': 1}}
    """
    listed = labelled.manifest.table
    kept = listed[listed["id"].isin(set(labelled.ids))]
    kept = kept.assign(
        **{"class": kept["id"].map(dict(zip(labelled.ids, labelled.classes.tolist(), strict=True)))}
    )
    outside = listed[~listed["id"].isin(set(labelled.ids))]
    lacking = kept[kept["id"].isin(set(without_features))]
    labels = sorted(Counter(outside["label"]).items(), key=lambda item: (-item[1], item[0]))
    return {
        "grouped": labelled.manifest.has_groups,
        "listed": _sizes(listed),
        "no_class": {**_sizes(outside), "labels": [list(item) for item in labels]},
        "task": _by_class(kept, labelled),
        "no_features": {**_by_class(lacking, labelled), "failed": len(failed), "changed": len(changed)},
    }


def _sizes(table: pd.DataFrame) -> dict[str, Any]:
    return {"images": len(table), "groups": int(table["group"].nunique())}


def _by_class(table: pd.DataFrame, labelled: Labelled) -> dict[str, Any]:
    classes = {name: _sizes(table[table["class"] == name]) for name in labelled.task.classes}
    return {**_sizes(table), "classes": classes}
