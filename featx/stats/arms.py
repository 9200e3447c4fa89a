"""The scores of an arm on its folds: alignment of arms, AUCs, subgroups, and the summary of an arm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import InputError, listing

from .auc import fold_auc
from .intervals import FoldSummary, delong_interval, few_warning, summarise_folds
from .validation import FloatArray, IntArray

__all__ = [
    "POOLED",
    "FoldScores",
    "align",
    "count_images",
    "fold_aucs",
    "fold_scores",
    "partition_warnings",
    "pool_folds",
    "select_rows",
    "size_ratio",
    "summarise_arm",
    "two_fold_repeats",
]

POOLED = "pooled"
"""Name of the fold that `pool_folds` returns."""
_DIRECTION = re.compile(r"(\d+)x([12])")


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores of an arm on the test set of one fold. Create it with `fold_scores`, which checks the arrays.

    Attributes
    ----------
    name : str
        Name of the fold; in 5x2 the repeat and the direction, such as ``"3x1"``.
    ids : tuple of str
        Image ids, unique.
    groups : tuple of str
        Patient, case or lesion of each image; the image id if there are no groups.
    actual : ndarray of int64, shape (n,)
        Class index of each image; 1 is positive in a two-class task.
    scores : ndarray of float64, shape (n,) or (n, k)
        Decision values: one per row in a two-class task, else one per class.
    train_size : int or None
        Number of images in the training set; None if unknown.
    train_groups : int or None
        Number of groups in the training set; None if unknown.
    models : int
        Number of trained models that gave the decision values; more than one only if folds were pooled.

    Examples
    --------
    >>> fold = fold_scores("1x1", ["b", "a"], [1, 0], [0.7, 0.2])
    >>> fold.name, fold.ids, fold.scores.tolist(), fold.binary
    ('1x1', ('a', 'b'), [0.2, 0.7], True)
    """

    name: str
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    actual: IntArray
    scores: FloatArray
    train_size: int | None = None
    train_groups: int | None = None
    models: int = 1

    @property
    def train_rows(self) -> int | None:
        """Size of the training set in the unit of the rows: groups if each row is a group, else images."""
        grouped = self.train_groups is not None and self.ids == self.groups
        return self.train_groups if grouped else self.train_size

    @property
    def binary(self) -> bool:
        """Whether this is a two-class task."""
        return self.scores.ndim == 1

    @cached_property
    def auc(self) -> float:
        """`fold_auc` of the fold; NaN if a class is missing or there are no images. Each pair of arms needs it."""
        return fold_auc(self.actual, self.scores) if self.ids else float("nan")


def fold_scores(
    name: str,
    ids: Sequence[str],
    actual: ArrayLike,
    scores: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    train_size: int | None = None,
    train_groups: int | None = None,
) -> FoldScores:
    """Collect and check the scores of one fold.

    Parameters
    ----------
    name : str
        Name of the fold.
    ids : sequence of str
        Image ids, unique.
    actual : array_like of int, shape (n,)
        Class index of each image; 1 is positive in a two-class task.
    scores : array_like of shape (n,), (n, 1) or (n, k)
        Decision values.
    groups : sequence of str, optional
        Patient, case or lesion of each image. By default the image ids.
    train_size, train_groups : int, optional
        Number of images and groups in the training set, for the correction for overlapping training sets.

    Returns
    -------
    FoldScores
        Rows sorted by image id, so that the rows of several arms match.

    Raises
    ------
    InputError
        If lengths differ, an id is repeated, or `fold_auc` refuses the arrays.

    Examples
    --------
    >>> fold_scores("1x1", ["b", "a"], [1, 0], [[0.7], [0.2]]).scores
    array([0.2, 0.7])
    """
    values = np.asarray(scores, dtype=np.float64)
    values = values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values
    owners = tuple(ids) if groups is None else tuple(groups)
    if not len(ids) == len(owners) == len(values) or len(set(ids)) < len(ids):
        raise InputError(
            f"fold {name!r} needs one group and one score for each image id, and unique image ids. Got {len(ids)} "
            f"ids ({len(set(ids))} distinct), {len(owners)} groups and {len(values)} scores."
        )
    fold_auc(actual, values)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return FoldScores(
        name,
        tuple(ids[row] for row in order),
        tuple(owners[row] for row in order),
        np.asarray(actual).astype(np.int64)[order],
        values[order],
        train_size,
        train_groups,
    )


def align(arms: Sequence[Sequence[FoldScores]]) -> list[list[FoldScores]]:
    """Put the folds of several arms into the same order, and check that the arms scored the same images.

    Examples
    --------
    >>> a = [fold_scores("1", ["x"], [1], [0.3]), fold_scores("2", ["y"], [0], [0.1])]
    >>> [fold.name for fold in align([a, a[::-1]])[1]]
    ['1', '2']
    """
    names = [fold.name for fold in arms[0]]
    aligned = []
    for folds in arms:
        found = {fold.name: fold for fold in folds}
        if not folds or len(found) < len(folds) or found.keys() != set(names):
            odd = sorted(found.keys() ^ set(names)) or sorted(fold.name for fold in folds)
            raise InputError(
                f"arms must have the same folds, without repeats, to be compared. These differ: {listing(odd)}."
            )
        aligned.append([found[name] for name in names])
    for row in zip(*aligned, strict=True):
        for fold in row[1:]:
            _check_same(row[0], fold)
    return aligned


def fold_aucs(folds: Sequence[FoldScores]) -> FloatArray:
    """AUC of each fold; the macro average of the one-vs-rest AUCs if there are several classes.

    Parameters
    ----------
    folds : sequence of FoldScores
        The folds of one arm.

    Returns
    -------
    ndarray of float64, shape (folds,)
        NaN for a fold in which a class is missing or that has no images.

    Examples
    --------
    >>> fold_aucs([fold_scores("1", ["x", "y"], [1, 0], [0.3, 0.1])])
    array([1.])
    """
    return np.array([fold.auc for fold in folds])


def count_images(folds: Sequence[FoldScores]) -> tuple[int, int | None]:
    """Count the distinct test images, and those of the positive class (None if there are several classes).

    Examples
    --------
    >>> fold = fold_scores("1", ["x", "y"], [1, 0], [0.3, 0.1])
    >>> count_images([fold, fold])
    (2, 1)
    """
    classes: dict[str, int] = {}
    for fold in folds:
        classes.update(zip(fold.ids, fold.actual.tolist(), strict=True))
    return len(classes), sum(classes.values()) if all(fold.binary for fold in folds) else None


def size_ratio(folds: Sequence[FoldScores]) -> float | None:
    """Mean ratio of the test set size to the training set size.

    Parameters
    ----------
    folds : sequence of FoldScores
        The folds of one arm. Test and training sets are counted in the same unit: groups if each row is a group, else
        images. If the training size is unknown, all rows that other folds test count as training rows, which is right
        for (repeated) k-fold and 5x2.

    Returns
    -------
    float or None
        The ratio; None if the sizes of the training sets are unknown.

    Examples
    --------
    >>> one, two = (fold_scores(name, [name], [1], [0.3]) for name in "ab")
    >>> size_ratio([one, two])
    1.0
    """
    known = [fold.train_rows for fold in folds]
    images = len({image for fold in folds for image in fold.ids}) if None in known else 0
    sizes = [
        images - len(fold.ids) if rows is None else rows for fold, rows in zip(folds, known, strict=True)
    ]
    if min(sizes) <= 0:
        return None
    return float(np.mean([len(fold.ids) / size for fold, size in zip(folds, sizes, strict=True)]))


def two_fold_repeats(folds: Sequence[FoldScores]) -> list[tuple[int, int]] | None:
    """Find the positions of directions 1 and 2 of each complete repeat of a repeated two-fold split.

    None if a fold has another name, or if no repeat is complete.

    Examples
    --------
    >>> folds = [fold_scores(name, ["x"], [1], [0.3]) for name in ("1x1", "1x2", "2x1")]
    >>> two_fold_repeats(folds)
    [(0, 1)]
    """
    matches = [_DIRECTION.fullmatch(fold.name) for fold in folds]
    if not all(matches):
        return None
    places = {(int(match[1]), match[2]): index for index, match in enumerate(matches) if match}
    repeats = sorted({repeat for repeat, _ in places})
    pairs = [
        (places[one, "1"], places[one, "2"]) for one in repeats if {(one, "1"), (one, "2")} <= places.keys()
    ]
    return pairs or None


def pool_folds(folds: Sequence[FoldScores]) -> FoldScores:
    """Pool the decision values of folds with different test images, as if one model had given all of them.

    For folds without all classes in their test sets, such as leave-one-group-out folds: such a fold has no AUC. The
    decision values of each fold come from a different model, so the pooled AUC also depends on how well the scales of
    the models agree, and is usually lower than the AUC of each model (Airola et al. 2011, Computational Statistics &
    Data Analysis 55, 1828-1844).

    Parameters
    ----------
    folds : sequence of FoldScores
        The folds of one arm, without common images.

    Returns
    -------
    FoldScores
        One fold named `POOLED`, with the mean size of the training sets.

    Raises
    ------
    InputError
        If there are no folds, or two folds have a common image.

    Examples
    --------
    >>> a, b = fold_scores("a", ["x"], [1], [0.3]), fold_scores("b", ["w", "y"], [0, 0], [0.4, 0.1])
    >>> pooled = pool_folds([a, b])
    >>> pooled.ids, pooled.actual.tolist(), pooled.models, fold_aucs([pooled])
    (('w', 'x', 'y'), [0, 1, 0], 2, array([0.5]))
    """
    if not folds:
        raise InputError("pooling needs at least one fold. Got none.")
    sizes = [fold.train_size for fold in folds if fold.train_size is not None]
    pooled = fold_scores(
        POOLED,
        [image for fold in folds for image in fold.ids],
        np.concatenate([fold.actual for fold in folds]),
        np.concatenate([fold.scores for fold in folds]),
        groups=[group for fold in folds for group in fold.groups],
        train_size=round(float(np.mean(sizes))) if len(sizes) == len(folds) else None,
    )
    return replace(pooled, models=sum(fold.models for fold in folds))


def partition_warnings(folds: Sequence[FoldScores]) -> tuple[str, ...]:
    """Warn of folds with the same test images, which are no additional evidence.

    Examples
    --------
    >>> partition_warnings([fold_scores(name, ["x"], [1], [0.3]) for name in ("1", "2")])
    ('repeated test sets: 2 = 1',)
    """
    seen: dict[tuple[str, ...], str] = {}
    repeated = [
        f"{fold.name} = {seen[fold.ids]}"
        for fold in folds
        if seen.setdefault(fold.ids, fold.name) != fold.name
    ]
    return (f"repeated test sets: {listing(repeated)}",) if repeated else ()


def select_rows(folds: Sequence[FoldScores], images: set[str]) -> list[FoldScores]:
    """Select images of each fold, such as those of one subgroup.

    Parameters
    ----------
    folds : sequence of FoldScores
        The folds of one arm.
    images : set of str
        Image ids to select.

    Returns
    -------
    list of FoldScores
        The folds with only these images; folds without any of them are omitted.

    Examples
    --------
    >>> fold = fold_scores("1", ["x", "y"], [1, 0], [0.3, 0.1])
    >>> select_rows([fold], {"y"})[0].ids
    ('y',)
    """
    kept = []
    for fold in folds:
        rows = [row for row, image in enumerate(fold.ids) if image in images]
        if rows:
            kept.append(
                replace(
                    fold,
                    ids=tuple(fold.ids[row] for row in rows),
                    groups=tuple(fold.groups[row] for row in rows),
                    actual=fold.actual[rows],
                    scores=fold.scores[rows],
                )
            )
    return kept


def summarise_arm(
    folds: Sequence[FoldScores], *, ratio: float | None = None, level: float = 0.95
) -> FoldSummary:
    """Summarise the AUC of an arm with the confidence interval that fits its protocol.

    Parameters
    ----------
    folds : sequence of FoldScores
        The folds of one arm.
    ratio : float, optional
        Size of the test set divided by that of the training set. By default `size_ratio` of the folds. For a subgroup,
        pass the ratio of the complete folds.
    level : float
        Confidence level.

    Returns
    -------
    FoldSummary
        One two-class fold: its AUC with DeLong's interval on the logit scale, by groups if a group has several
        images. Several folds: mean, standard deviation and the corrected resampled t interval on the logit scale. One
        fold with several classes: the AUC without an interval. Warnings name few images or groups of a class, and
        decision values that are pooled from several models.

    Raises
    ------
    InputError
        If there are no folds.

    Examples
    --------
    >>> fold = fold_scores("holdout", ["a", "b", "c", "d"], [0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])
    >>> summarise_arm([fold]).method
    'DeLong, logit'
    """
    if not folds:
        raise InputError("the summary of an arm needs at least one fold. Got none.")
    if len(folds) == 1 and folds[0].binary:
        summary = _by_delong(folds[0], level)
        notes: tuple[str, ...] = ()
    else:
        names = [fold.name for fold in folds]
        summary = summarise_folds(
            fold_aucs(folds), ratio=ratio or size_ratio(folds), level=level, scale="logit", names=names
        )
        notes = (*partition_warnings(folds), *_few(folds))
    return replace(summary, warnings=(*summary.warnings, *notes, *_pooled(folds)))


def _by_delong(fold: FoldScores, level: float) -> FoldSummary:
    """Summarise one two-class fold."""
    clustered = len(set(fold.groups)) < len(fold.groups)
    found = delong_interval(
        fold.actual, fold.scores, groups=fold.groups if clustered else None, level=level, scale="logit"
    )
    known = int(np.isfinite(found.estimate))
    return FoldSummary(
        found.estimate,
        float("nan"),
        known,
        1 - known,
        found.low,
        found.high,
        level,
        found.method,
        found.warnings,
    )


def _few(folds: Sequence[FoldScores]) -> list[str]:
    """Warn of few independent images or groups of the smaller class over all folds."""
    units: dict[int, set[str]] = {}
    for fold in folds:
        for group, index in zip(fold.groups, fold.actual.tolist(), strict=True):
            units.setdefault(index, set()).add(group)
    grouped = any(len(set(fold.groups)) < len(fold.groups) for fold in folds)
    few = few_warning(min(map(len, units.values()), default=0), grouped=grouped)
    return [f"{few}: the estimate is imprecise"] if few else []


def _pooled(folds: Sequence[FoldScores]) -> list[str]:
    """Warn of decision values that are pooled from several models."""
    return [
        f"decision values of {fold.models} models are pooled for one AUC, assuming that their scales agree"
        for fold in folds
        if fold.models > 1
    ]


def _check_same(first: FoldScores, other: FoldScores) -> None:
    """Refuse folds of two arms with different images or different classes."""
    if first.ids != other.ids and (odd := sorted(set(first.ids) ^ set(other.ids))):
        raise InputError(
            f"arms must score the same images in fold {first.name!r}. These differ: {listing(odd)}."
        )
    if (first.actual != other.actual).any() or first.scores.shape != other.scores.shape:
        raise InputError(f"arms must have the same task in fold {first.name!r}. Their classes differ.")
