"""Subgroups: AUC and rates in the levels of a column, and their differences, with groups as the unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc, stdtr

from featx.errors import InputError, listing
from featx.stats.intervals import (
    auc_components,
    bounds,
    logit_bounds,
)
from featx.stats.model_means import independent_difference
from featx.stats.operating import Estimate, effective_rows, wilson
from featx.stats.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    binary,
    count_codes,
    group_codes,
    normal_quantile,
)

__all__ = ["Subgroup", "SubgroupRows", "subgroup_aucs", "subgroup_rates"]

FEWEST = 10
"""Groups of a class below which a subgroup is shown, but not tested."""

_NONE = Estimate(float("nan"), float("nan"), float("nan"))
_ZERO = 1e-15  # a smaller variance is a rounding error


@dataclass(frozen=True)
class Subgroup:
    """An estimate for one level of a column, and its difference from the reference level.

    Attributes
    ----------
    level : str
        Value of the column.
    images, positives : int
        Images, and positive ones; an image that several folds test counts once.
    groups, positive_groups : int
        Groups (patients, cases or lesions), and groups with a positive image.
    fewest : int
        Groups of the class with fewer of them; for a rate, groups of the class that it is a fraction of.
    estimate : Estimate
        AUC or rate of the level.
    difference : Estimate
        Level minus reference; NaN for the reference itself.
    p : float
        p value of the difference; NaN if it was not tested, and a warning says why.
    reference : bool
        Whether this is the reference: the level whose smaller class has the most groups, the first of several.
    warnings : tuple of str
        Why there is no estimate, interval or test.

    Examples
    --------
    >>> levels, actual = ["f"] * 40 + ["m"] * 40, [0, 1] * 40
    >>> women, men = subgroup_aucs(levels, actual, np.arange(80) % 7)
    >>> women.level, women.images, women.positives, women.reference, men.reference
    ('f', 40, 20, True, False)
    """

    level: str
    images: int
    positives: int
    groups: int
    positive_groups: int
    fewest: int
    estimate: Estimate
    difference: Estimate = _NONE
    p: float = float("nan")
    reference: bool = False
    warnings: tuple[str, ...] = ()


def subgroup_aucs(
    levels: ArrayLike,
    actual: ArrayLike,
    scores: ArrayLike,
    *,
    images: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    folds: ArrayLike | None = None,
    order: Sequence[str] | None = None,
) -> tuple[Subgroup, ...]:
    """AUC in each level of a column, and its difference from that of the largest level.

    The AUC of a level is the mean over the folds that have both classes. Variances and covariances are those of DeLong,
    DeLong & Clarke-Pearson 1988 (Biometrics 44, 837-845), with the components of each row summed by group over all folds
    (Obuchowski 1997, Biometrics 53, 567-578): an image that several folds test counts once, and groups with images in
    several levels are allowed for. The test is DeLong's test of a contrast, with Welch's degrees of freedom from the
    groups of the smaller class of both levels. With one fold and rows that are groups, AUC and variance are DeLong's.
    Intervals and tests hold for these models and new patients.

    Parameters
    ----------
    levels : array_like of str, shape (n,)
        Level of each row.
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    scores : array_like of shape (n,)
        Higher for positive.
    images, groups : array_like of shape (n,), optional
        Image of each row, and its patient, case or lesion. By default each row is an image, and each image a group.
    folds : array_like of shape (n,), optional
        Fold of each row; only rows of one fold are compared with each other. By default all are one test set.
    order : sequence of str, optional
        Order of the levels. By default that of their names.

    Returns
    -------
    tuple of Subgroup
        The levels that have rows. A level with fewer than ten groups of a class is shown, but not tested.

    Raises
    ------
    InputError
        If the lengths differ, a label is neither 0 nor 1, a score is not finite, or `order` lacks a level.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> actual, sex = np.arange(200) % 2, np.repeat(["f", "m"], 100)
    >>> scores = rng.normal(size=200) + actual * np.where(sex == "f", 1.5, 0.5)
    >>> for one in subgroup_aucs(sex, actual, scores):
    ...     print(one.level, one.positives, round(one.estimate.value, 3), round(one.difference.value, 3), round(one.p, 3))
    f 50 0.887 nan nan
    m 50 0.682 -0.204 0.001
    """
    labels, values = binary(actual, scores)
    table = SubgroupRows.of(levels, labels, images, groups, order)
    parts = np.zeros(len(labels), np.int64) if folds is None else group_codes(folds, len(labels))
    found = [_level_auc(table, place, values, parts) for place in range(len(table.names))]
    base = _reference(table)
    return tuple(
        replace(one.subgroup, reference=True) if place == base else _auc_gap(one, found[base])
        for place, one in enumerate(found)
    )


def subgroup_rates(
    levels: ArrayLike,
    actual: ArrayLike,
    hits: ArrayLike,
    *,
    images: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    positive: bool = True,
    order: Sequence[str] | None = None,
) -> tuple[Subgroup, ...]:
    """Sensitivity or specificity in each level of a column, and its difference from that of the largest level.

    Rates and intervals are those of `proportion`. The test compares the rates by the chi-square test of two proportions,
    with the effective numbers of rows in place of the numbers of rows (Rao & Scott 1992, Biometrics 48, 577-585); the
    interval of the difference is Newcombe's (1998, Statistics in Medicine 17, 873-890) from both intervals. Both assume
    that levels are independent. Groups with images in several levels make them positively correlated, and test and
    interval then too cautious.

    Parameters
    ----------
    levels : array_like of str, shape (n,)
        Level of each row.
    actual : array_like of shape (n,)
        True or 1 for positive, False or 0 for negative.
    hits : array_like of shape (n,)
        Whether each row is classified correctly.
    images, groups : array_like of shape (n,), optional
        As in `subgroup_aucs`.
    positive : bool
        Sensitivity, the fraction of positives that are classified correctly; else specificity, that of negatives.
    order : sequence of str, optional
        Order of the levels. By default that of their names.

    Returns
    -------
    tuple of Subgroup
        The levels that have rows. A level with fewer than ten groups of the class is shown, but not tested.

    Raises
    ------
    InputError
        If the lengths differ, a label or hit is neither 0 nor 1, or `order` lacks a level.

    Examples
    --------
    >>> site, hits = np.repeat(["head", "trunk"], 50), np.repeat([1, 0, 1, 0], [45, 5, 30, 20])
    >>> for one in subgroup_rates(site, np.ones(100), hits):
    ...     print(one.level, one.fewest, one.estimate.value, round(one.difference.value, 3), round(one.p, 4))
    head 50 0.9 nan nan
    trunk 50 0.6 -0.3 0.0005
    """
    labels, values = binary(actual, hits)
    right = binary(hits, values)[0]
    return SubgroupRows.of(levels, labels, images, groups, order).rates(right, positive=positive)


@dataclass(frozen=True, eq=False)
class SubgroupRows:
    """Rows with their level, class, image and group as numbers, which the rates at several thresholds have in common.

    Examples
    --------
    >>> labels, right = np.array([True] * 4), np.array([True, False, True, True])
    >>> rows = SubgroupRows.of(["f", "f", "m", "m"], labels, None, None, None)
    >>> [(one.level, one.estimate.value) for one in rows.rates(right, positive=True)]
    [('f', 0.5), ('m', 1.0)]
    """

    names: tuple[str, ...]
    levels: IntArray
    labels: BoolArray
    images: IntArray
    groups: IntArray

    @classmethod
    def of(
        cls,
        levels: ArrayLike,
        labels: BoolArray,
        images: ArrayLike | None,
        groups: ArrayLike | None,
        order: Sequence[str] | None,
    ) -> SubgroupRows:
        """Check rows and number their levels; arguments of `subgroup_aucs`."""
        count, given = len(labels), np.asarray(levels).astype(str)
        rows = np.arange(count) if images is None else group_codes(images, count)
        codes = rows if groups is None else group_codes(groups, count)
        if given.shape != (count,):
            raise InputError(
                f"levels must contain one name for each of the {count} rows. Got shape {given.shape} instead."
            )
        present = set(given.tolist())
        names = tuple(sorted(present) if order is None else (name for name in order if name in present))
        if odd := present - set(names):
            raise InputError(f"'order' must name every level. Missing: {listing(sorted(odd))}.")
        numbers = np.zeros(count, np.int64)
        for place, name in enumerate(names):
            numbers[given == name] = place
        return cls(names, numbers, labels, rows, codes)

    def rates(self, right: BoolArray, *, positive: bool) -> tuple[Subgroup, ...]:
        """Estimate a rate of the rows that are classified right, in each level; see `subgroup_rates`."""
        found = [_level_rate(self, place, right, positive) for place in range(len(self.names))]
        base = _reference(self)
        return tuple(
            replace(one, reference=True)
            if place == base
            else _rate_gap(one, found[base][0], count, found[base][1])
            for place, (one, count) in enumerate(found)
        )

    @cached_property
    def sizes(self) -> tuple[Subgroup, ...]:
        """Counts of each level, without an estimate."""
        return tuple(map(self._size, range(len(self.names))))

    def _size(self, place: int) -> Subgroup:
        inside = self.levels == place
        sick = inside & self.labels
        images, positives, groups, with_positive, with_negative = (
            count_codes(codes[rows])
            for codes, rows in (
                (self.images, inside),
                (self.images, sick),
                (self.groups, inside),
                (self.groups, sick),
                (self.groups, inside & ~self.labels),
            )
        )
        fewest = min(with_positive, with_negative)
        return Subgroup(self.names[place], images, positives, groups, with_positive, fewest, _NONE)


def _reference(table: SubgroupRows) -> int:
    """Find the level with the most groups of its smaller class."""
    sizes = [one.fewest for one in table.sizes]
    return sizes.index(max(sizes)) if sizes else -1


@dataclass(frozen=True, eq=False)
class _Area:
    """AUC of a level, its variance, and the components of each group, shape (groups,)."""

    subgroup: Subgroup
    variance: float
    sums: FloatArray


def _level_auc(table: SubgroupRows, place: int, values: FloatArray, parts: IntArray) -> _Area:
    """Estimate the AUC of a level: the mean over the folds that have both classes."""
    size, inside = table.sizes[place], table.levels == place
    folds = []
    for part in np.unique(parts[inside]):
        rows = np.flatnonzero(inside & (parts == part))
        sick = table.labels[rows]
        if sick.any() and not sick.all():
            above, below = auc_components(sick, values[rows][:, None])
            folds.append(((rows[sick], above[:, 0]), (rows[~sick], below[:, 0])))
    nothing = np.zeros(int(table.groups.max()) + 1)
    if not folds:
        alone = replace(size, warnings=("only one class: the AUC is undefined",))
        return _Area(alone, float("nan"), nothing)
    mean = float(np.mean([above.mean() for (_, above), _ in folds]))
    sums = np.stack([nothing, nothing])
    for fold in folds:
        for kind, (rows, components) in enumerate(fold):
            np.add.at(sums[kind], table.groups[rows], (components - mean) / len(rows) / len(folds))
    held = (count_codes(table.groups[np.concatenate([fold[kind][0] for fold in folds])]) for kind in (0, 1))
    # As in `delong_covariance`: each class and their covariance have a small-sample correction of their own.
    variance = sum(float(one @ one) * _unbiased(count) for one, count in zip(sums, held, strict=True))
    variance += 2 * float(sums[0] @ sums[1]) * _unbiased(size.groups)
    notes = [_few(size.fewest, "the smaller class")] if size.fewest < FEWEST else []
    low = high = float("nan")
    if variance > _ZERO:
        low, high = logit_bounds(mean, normal_quantile(0.975) * variance**0.5)
    else:
        notes.append("the estimated variance is 0 or undefined, so there is no interval")
    return _Area(
        replace(size, estimate=Estimate(mean, low, high), warnings=tuple(notes)), variance, sums.sum(axis=0)
    )


def _unbiased(count: int) -> float:
    return count / (count - 1) if count > 1 else float("nan")


def _few(fewest: int, what: str) -> str:
    return f"too small for a test: {fewest} group{'s' * (fewest != 1)} in {what}, fewer than {FEWEST}"


def _auc_gap(one: _Area, base: _Area) -> Subgroup:
    """Compare the AUCs of two levels by DeLong's test of a contrast."""
    here, there = one.subgroup, base.subgroup
    value = here.estimate.value - there.estimate.value
    both = int(((one.sums != 0) | (base.sums != 0)).sum())
    variance = one.variance + base.variance - 2 * float(one.sums @ base.sums) * _unbiased(both)
    smallest = min(here.fewest, there.fewest)
    if smallest < FEWEST or not min(one.variance, base.variance, variance) > _ZERO:
        return _untested(here, there, Estimate(value, float("nan"), float("nan")))
    freedom = (one.variance + base.variance) ** 2 / sum(
        area.variance**2 / (area.subgroup.fewest - 1) for area in (one, base)
    )
    error = variance**0.5
    low, high = bounds(value, error, freedom)
    p = 2 * float(stdtr(freedom, -abs(value) / error))
    return replace(here, difference=Estimate(value, low, high), p=p)


def _untested(here: Subgroup, there: Subgroup, difference: Estimate) -> Subgroup:
    """Keep a difference without a test, and say why if the level itself does not."""
    why = (
        ()
        if here.warnings
        else (f"no test: the reference level {there.level!r} is too small, or does not vary",)
    )
    return replace(here, difference=difference, warnings=(*here.warnings, *why))


def _level_rate(table: SubgroupRows, place: int, right: BoolArray, positive: bool) -> tuple[Subgroup, float]:
    """Estimate a rate of a level, and its effective number of rows."""
    rows = (table.levels == place) & (table.labels == positive)
    size = replace(table.sizes[place], fewest=count_codes(table.groups[rows]))
    what = "the positive class" if positive else "the negative class"
    notes = (_few(size.fewest, what),) if size.fewest < FEWEST else ()
    share, count = effective_rows(right[rows], table.images[rows], table.groups[rows])
    if not count:
        return replace(size, warnings=notes), count
    low, high = wilson([share], [count])
    return replace(size, estimate=Estimate(share, float(low[0]), float(high[0])), warnings=notes), count


def _rate_gap(here: Subgroup, there: Subgroup, count: float, base: float) -> Subgroup:
    """Compare the rates of two levels by the chi-square test of Rao & Scott."""
    difference = independent_difference(here.estimate, there.estimate)
    if min(here.fewest, there.fewest) < FEWEST:
        return _untested(here, there, difference)
    pooled = (here.estimate.value * count + there.estimate.value * base) / (count + base)
    variance = pooled * (1 - pooled) * (1 / count + 1 / base)
    p = float(chdtrc(1, difference.value**2 / variance)) if variance > _ZERO else 1.0
    return replace(here, difference=difference, p=p)
