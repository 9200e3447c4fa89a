"""Tasks: mappings of a data set's labels to classes.

A task lists patterns of labels for each class, labels to leave out, and the positive one of two classes. The pattern
``@melanoma`` matches every spelling and kind of a diagnosis (see `featx.data.data_warnings`). The tasks of Menegola et
al. 2017 and of the ISIC challenges are included; others are TOML files of the same form, or written on the command line
as ``POSITIVE:NEGATIVE``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.data.data_warnings import (
    find_diagnosis,
    group_remarks,
    is_under,
    label_remarks,
    rare_labels,
    thesaurus,
)
from featx.data.manifest import Manifest
from featx.digest import digest
from featx.documents import parse_toml, read_text
from featx.errors import TaskError, listing

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Labelled",
    "Task",
    "apply_task",
    "apply_trained_task",
    "count_exclusions",
    "doubtful_labels",
    "read_task",
    "shipped_tasks",
]

LABELS = "labels"
_ALL = "*"
_OTHERS = ("fail", "leave-out")
_KEYS = {"name", "description", "positive", "exclude", "others", "classes"}


@dataclass(frozen=True)
class Task:
    """A mapping of labels to classes.

    Attributes
    ----------
    name : str
        Name in reports.
    classes : tuple of str
        All classes; in a two-class task the positive one last. Empty in the task ``"labels"`` until it is
        applied to a manifest.
    mapping : tuple of (str, str)
        Label pattern (``*``, ``?`` and ``[...]`` as in file names, case ignored; ``@`` and the name of a
        diagnosis for all its spellings and kinds) and its class; the first match counts.
    exclude : tuple of str
        Patterns of labels to leave out; they override `mapping`.
    positive : str or None
        The positive class of a two-class task.
    others : str
        What to do with labels that no pattern matches: ``"fail"`` or ``"leave-out"``.
    complete : bool
        Whether every pattern must match a label; True for tasks written on the command line, to find typing errors.

    Examples
    --------
    >>> task = read_task("melanoma:nevus,keratosis")
    >>> task.classes, task.positive
    (('nevus,keratosis', 'melanoma'), 'melanoma')
    """

    name: str
    classes: tuple[str, ...]
    mapping: tuple[tuple[str, str], ...]
    exclude: tuple[str, ...] = ()
    positive: str | None = None
    others: str = "fail"
    complete: bool = False

    @property
    def scored(self) -> tuple[str, ...]:
        """Classes that get a score: the positive one of two, else all."""
        return (self.positive,) if self.positive is not None else self.classes


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images of a manifest with their classes under a task, sorted by id.

    Attributes
    ----------
    manifest : Manifest
        All rows.
    task : Task
        The task, with its classes.
    ids, paths : tuple of str, length n
        Of the images that the task keeps.
    classes : numpy.ndarray of str, shape (n,)
        Class of each image.
    targets : numpy.ndarray of int64, shape (n,)
        Index of the class in ``task.classes``.
    groups, splits : numpy.ndarray of str, shape (n,)
        As in the manifest.
    strata : dict of str to tuple of str
        Value of each image, for each stratum.
    left_out : int
        Number of images that the task leaves out.
    remarks : tuple of str
        Possible mistakes: no groups, doubtful labels.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import apply_task, draw_dermoscopy, read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     labelled = apply_task(read_manifest(draw_dermoscopy(folder, images=4, size=16)), "melanoma:rest")
    >>> labelled.task.classes, labelled.ids[:2]
    (('rest', 'melanoma'), ('derm00000', 'derm00001'))
    """

    manifest: Manifest
    task: Task
    ids: tuple[str, ...]
    paths: tuple[str, ...]
    classes: npt.NDArray[np.str_]
    targets: npt.NDArray[np.int64]
    groups: npt.NDArray[np.str_]
    splits: npt.NDArray[np.str_]
    strata: dict[str, tuple[str, ...]]
    left_out: int
    remarks: tuple[str, ...] = ()

    @cached_property
    def class_digests(self) -> dict[str, str]:
        """SHA-256 of the image ids of each class; equal for tasks that differ only in their names."""
        ids = np.array(self.ids)
        return {
            name: digest(ids[self.targets == place].tolist()) for place, name in enumerate(self.task.classes)
        }

    def __len__(self) -> int:
        """Count the rows kept."""
        return len(self.ids)


def shipped_tasks() -> tuple[str, ...]:
    """List the names of the tasks that featx includes.

    Examples
    --------
    >>> "melanoma-vs-rest" in shipped_tasks()
    True
    """
    folder = resources.files("featx.data") / "declared" / "tasks"
    return tuple(
        sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))
    )


def read_task(spec: str | Path | Task) -> Task:
    """Read a task.

    Parameters
    ----------
    spec : str, Path or Task
        ``"labels"`` (every label is a class); the name of an included task; a TOML file;
        ``"POSITIVE:NEGATIVE"`` with labels or patterns joined by ``+``, where NEGATIVE may be ``rest`` (all
        other labels; without it they are left out). A `Task` is returned unchanged.

    Returns
    -------
    Task
        The task ``"labels"`` has no classes until it is applied.

    Raises
    ------
    TaskError
        If there is no such task, or it is not valid.

    Examples
    --------
    >>> task = read_task("melanoma+basal cell carcinoma:nevus")
    >>> task.classes
    ('nevus', 'melanoma+basal cell carcinoma')
    >>> read_task("melanoma:rest").mapping
    (('melanoma', 'melanoma'), ('*', 'rest'))
    """
    if isinstance(spec, Task):
        return spec
    text = str(spec)
    if text == LABELS:
        return Task(LABELS, (), ())
    if text in shipped_tasks():
        source = resources.files("featx.data") / "declared" / "tasks" / f"{text}.toml"
        return _parse(source.read_text(encoding="utf-8"), f"included task {text}", text)
    path = Path(spec)
    if path.suffix.lower() == ".toml" or path.is_file():
        try:
            content = read_text(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise TaskError(f"{path}: the task file cannot be read: {reason}") from error
        return _parse(content, str(path), path.stem)
    if ":" in text:
        return _inline(text)
    raise TaskError(
        f"no task {text!r}; give one of {', '.join((LABELS, *shipped_tasks()))}, a TOML file, or POSITIVE:NEGATIVE"
    )


def _inline(text: str) -> Task:
    sides = [[label.strip() for label in side.split("+")] for side in text.split(":")]
    if len(sides) != 2 or not all(label for side in sides for label in side):
        raise TaskError(
            f"the task must be POSITIVE:NEGATIVE with labels joined by +, such as melanoma+bcc:nevus; got {text!r}"
        )
    positive, negative = ("+".join(side) for side in sides)
    if positive == negative:
        raise TaskError(f"the task {text!r} has the same labels on both sides; give two different classes")
    rest = sides[1] == ["rest"]
    _check_diagnoses([label for side in sides for label in side], f"task {text!r}")
    mapping = [(label, positive) for label in sides[0]]
    mapping += [(_ALL, negative)] if rest else [(label, negative) for label in sides[1]]
    return Task(
        text, (negative, positive), tuple(mapping), (), positive, "fail" if rest else "leave-out", True
    )


def _parse(text: str, where: str, name: str) -> Task:
    try:
        table = parse_toml(text)
    except ValueError as error:
        raise TaskError(f"{where}: not TOML: {error}") from error
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise TaskError(f"{where}: unknown key {listing(unknown)}; known: {', '.join(sorted(_KEYS))}")
    classes = table.get("classes")
    if not isinstance(classes, dict) or len(classes) < 2:
        raise TaskError(
            f"{where}: no table [classes] with at least two classes; list the label patterns of each class there"
        )
    for key in ("exclude", *classes):
        patterns = table.get(key, []) if key == "exclude" else classes[key]
        if not isinstance(patterns, list) or not all(isinstance(item, str) for item in patterns):
            raise TaskError(f"{where}: {key} must be a list of label patterns, got {patterns!r}")
    mapping = tuple((pattern, key) for key, patterns in classes.items() for pattern in patterns)
    _check_diagnoses([*table.get("exclude", ()), *(pattern for pattern, _ in mapping)], where)
    positive = _positive(table, list(classes), where)
    ordered = tuple(key for key in classes if key != positive) + ((positive,) if positive else ())
    others = table.get("others", "fail")
    if others not in _OTHERS:
        raise TaskError(f"{where}: others must be one of {', '.join(_OTHERS)}, got {others!r}")
    return Task(
        str(table.get("name", name)), ordered, mapping, tuple(table.get("exclude", ())), positive, others
    )


def _check_diagnoses(patterns: Iterable[str], where: str) -> None:
    unknown = [text for text in patterns if text.startswith("@") and text[1:] not in thesaurus()]
    if unknown:
        raise TaskError(f"{where}: no diagnosis {listing(unknown)}; known: {', '.join(sorted(thesaurus()))}")


def _positive(table: dict[str, Any], classes: Sequence[str], where: str) -> str | None:
    positive = table.get("positive")
    if len(classes) == 2 and positive not in classes:
        raise TaskError(
            f"{where}: positive must name one of the two classes {' and '.join(classes)}, got {positive!r}"
        )
    if len(classes) > 2 and positive is not None:
        raise TaskError(f"{where}: positive is for two classes only, got {len(classes)} classes; remove it")
    return positive


def apply_task(manifest: Manifest, task: Task | str | Path, *, strict_labels: bool = False) -> Labelled:
    r"""Map the labels of a manifest to classes.

    Parameters
    ----------
    manifest : Manifest
        Images with labels.
    task : Task, str or Path
        Task, as `read_task` takes it.
    strict_labels : bool
        Raise an error for doubtful labels instead of a warning: labels that count as others although they may be meant
        for a named class.

    Returns
    -------
    Labelled
        The images that the task keeps, sorted by id.

    Raises
    ------
    TaskError
        If a label has no class, a class has no image, or there are fewer than two classes; the message lists the number
        of images of each label. With `strict_labels` also if a label is doubtful.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "m.csv").write_text("image,label,group\nb,nevus,1\na,melanoma,2\nc,nevus,3\n")
    ...     labelled = apply_task(read_manifest(f"{folder}/m.csv", check_files=False), "melanoma:rest")
    >>> labelled.ids, labelled.classes.tolist(), labelled.targets.tolist()
    (('a', 'b', 'c'), ['melanoma', 'rest', 'rest'], [1, 0, 0])
    """
    resolved = read_task(task)
    counts = _label_counts(manifest, resolved)
    if not resolved.classes:
        resolved = _every_label(resolved, counts)
    classes = {label: _class_of(label, resolved) for label in counts}
    _check_mapping(resolved, classes, counts, manifest)
    doubts = doubtful_labels(resolved, counts)
    if strict_labels and doubts:
        raise TaskError(f"{manifest.source}: {'; '.join(doubts)}")
    labelled = _labelled(manifest, resolved, classes, (*group_remarks(manifest), *doubts))
    _check_classes(resolved, Counter(labelled.classes.tolist()), manifest)
    return labelled


def apply_trained_task(manifest: Manifest, task: Task) -> Labelled:
    r"""Map the labels of an external test set to the classes of the task that a model was trained on.

    Labels to which the task gives no class are left out, and named in the remarks. A class may have no image.

    Parameters
    ----------
    manifest : Manifest
        Images with labels.
    task : Task
        The task with its classes, as ``Labelled.task`` of the training manifest has them.

    Returns
    -------
    Labelled
        The images that the task keeps, sorted by id.

    Raises
    ------
    TaskError
        If no image has a class of the task.

    Examples
    --------
    >>> import tempfile
    >>> from featx.data import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "m.csv").write_text("image,label\nb,nevus\na,keratosis\n")
    ...     manifest = read_manifest(f"{folder}/m.csv", check_files=False)
    >>> labelled = apply_trained_task(manifest, read_task("melanoma:nevus"))
    >>> labelled.ids, labelled.remarks[-1]
    (('b',), "labels without a class in the task 'melanoma:nevus' are left out: 'keratosis' (1 images)")
    """
    counts = _label_counts(manifest, task)
    lenient = replace(task, others="leave-out")
    classes: dict[str, str | None] = {label: _class_of(label, lenient) for label in counts}
    shown = [f"{label!r} ({counts[label]} images)" for label in sorted(counts) if not classes[label]]
    if not any(classes.values()):
        raise TaskError(
            f"{manifest.source}: no image of this external test set has a class of the task {task.name!r} "
            f"({', '.join(task.classes)}), its labels are {listing(shown, 12)}; give a task file whose patterns fit the "
            "labels of both manifests"
        )
    left_out = f"labels without a class in the task {task.name!r} are left out: {listing(shown, 12)}"
    grouped = "the manifest has no column 'group', so intervals take its images as independent"
    remarks = (*doubtful_labels(task, counts), *([left_out] if shown else []))
    return _labelled(manifest, task, classes, remarks if manifest.has_groups else (grouped, *remarks))


def _label_counts(manifest: Manifest, task: Task) -> Counter[str]:
    counts = Counter(manifest.table["label"])
    if set(counts) == {""}:
        raise TaskError(f"{manifest.source}: no labels for the task {task.name!r}; add a column 'label'")
    return counts


def _labelled(
    manifest: Manifest, task: Task, classes: Mapping[str, str | None], remarks: Iterable[str]
) -> Labelled:
    table = manifest.table.assign(**{"class": manifest.table["label"].map(classes)})
    kept = table[table["class"] != ""].sort_values("id")
    place = {name: index for index, name in enumerate(task.classes)}
    return Labelled(
        manifest,
        task,
        tuple(kept["id"]),
        tuple(kept["path"]),
        np.array(kept["class"].tolist(), dtype=np.str_),
        np.array([place[name] for name in kept["class"]], dtype=np.int64),
        np.array(kept["group"].tolist(), dtype=np.str_),
        np.array(kept["split"].tolist(), dtype=np.str_),
        {name: tuple(kept[name]) for name in manifest.strata},
        len(table) - len(kept),
        tuple(remarks),
    )


def doubtful_labels(task: Task, counts: Mapping[str, int]) -> tuple[str, ...]:
    """Describe the labels that a task counts as others although they may be meant for one of its classes.

    These are labels that only ``*`` matches, or none: those similar to a label that the task names and, under ``*``,
    those of one or two images.

    Examples
    --------
    >>> doubtful_labels(read_task("melanoma:rest"), {"melanoma": 9, "nevus": 30, "melanom": 3})[0].split(";")[0]
    "labels similar to a named class count as 'rest': 'melanom' (3 images, similar to 'melanoma')"
    """
    named = [pattern for pattern, _ in task.mapping if pattern != _ALL]
    excluded = {label for label in counts if any(_matches(label, pattern) for pattern in task.exclude)}
    others = {
        label: count
        for label, count in counts.items()
        if label not in excluded and not any(_matches(label, pattern) for pattern in named)
    }
    absorbing = dict(task.mapping).get(_ALL)
    if absorbing is not None:
        return label_remarks(others, named, f"count as {absorbing!r}", rare_labels(counts))
    return label_remarks(others, named, "are left out")


def _every_label(task: Task, counts: Counter[str]) -> Task:
    classes = tuple(sorted(counts, key=_natural))
    # Brackets, stars and a leading @ in a label are its own here, not a pattern's.
    mapping = tuple((re.sub(r"([*?[]|^@)", r"[\1]", label), label) for label in classes)
    return replace(
        task, classes=classes, mapping=mapping, positive=classes[-1] if len(classes) == 2 else None
    )


def _natural(label: str) -> list[tuple[int, int, str]]:
    """Sort key that puts grade10 after grade9."""
    parts = re.split(r"(\d+)", label)
    return [(1, 0, part) if index % 2 == 0 else (0, int(part), part) for index, part in enumerate(parts)]


def _class_of(label: str, task: Task) -> str | None:
    """Find a label's class: empty if it is left out, None if no pattern matches."""
    if any(_matches(label, pattern) for pattern in task.exclude):
        return ""
    for pattern, name in task.mapping:
        if _matches(label, pattern):
            return name
    return "" if task.others == "leave-out" else None


def _matches(label: str, pattern: str) -> bool:
    if pattern.startswith("@"):
        diagnosis = find_diagnosis(label)
        return diagnosis is not None and is_under(diagnosis, pattern[1:])
    return fnmatchcase(label.casefold(), pattern.casefold())


def _check_mapping(
    task: Task, classes: dict[str, str | None], counts: Counter[str], manifest: Manifest
) -> None:
    unmapped = sorted(label for label, name in classes.items() if name is None)
    if unmapped:
        shown = listing([f"{label!r} ({counts[label]} images)" for label in unmapped], 12)
        raise TaskError(
            f"{manifest.source}: the task {task.name!r} has no class for the labels {shown}; add patterns for them, or exclude them"
        )
    unused = [pattern for pattern, _ in task.mapping if not any(_matches(label, pattern) for label in counts)]
    if task.complete and unused:
        raise TaskError(
            f"{manifest.source}: no image has the label {listing(unused)} of the task {task.name!r}; "
            f"the labels are {listing(sorted(counts), 20)}"
        )


def _check_classes(task: Task, found: Counter[str], manifest: Manifest) -> None:
    empty = [name for name in task.classes if not found[name]]
    labels = Counter(manifest.table["label"])
    counts = listing([f"{label!r}: {count}" for label, count in sorted(labels.items())], 20)
    if len(task.classes) < 2:
        raise TaskError(
            f"{manifest.source}: the task {task.name!r} has only one class, from the labels {counts}; give a task with at least two"
        )
    if empty:
        raise TaskError(
            f"{manifest.source}: the task {task.name!r} has no image of {listing(empty)}, the labels are {counts}; "
            "correct the task or the manifest"
        )


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
