"""Two arms, or several, compared by the test that their protocol allows.

=======================  ==================================================  ================================
protocol                 test                                                also reported
=======================  ==================================================  ================================
one test set, 2 classes  DeLong; by groups where a group has several images
one test set, more       bootstrap of the images, or of the groups
5x2                      corrected resampled t (Nadeau & Bengio 2003)        combined 5x2cv F, 5x2cv paired t
any other folds          corrected resampled t (Nadeau & Bengio 2003)
=======================  ==================================================  ================================

Folds share training images, so none of these treats them as independent.

The 5x2cv tests take the two directions of a repeat as independent. With a linear classifier on many features
they are not: what is learnt on one half fits the other half as well as the reverse, both differences agree,
and the tests find too much (`benchmarks/null_rates.py`: 2 features, the level is kept; 10 features, three
times the level and more). So they are reported, and taken as the answer on request only
(``test="combined-f"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import ConfigError, InputError

from .arms import (
    FoldScores,
    align,
    count_images,
    fold_aucs,
    partition_warnings,
    size_ratio,
    two_fold_repeats,
)
from .findings import Finding
from .fold_tests import combined_f, corrected_t, dietterich_t
from .inputs import FloatArray
from .ranks import Ranking, rank_arms
from .row_tests import bootstrap_test, delong_test

__all__ = [
    "CORRECTIONS",
    "TESTS",
    "Comparison",
    "Comparisons",
    "adjust",
    "compare_arms",
    "compare_many",
    "holm",
]

CORRECTIONS = ("holm", "none")
TESTS = ("auto", "combined-f", "dietterich-t")
_EAGER = "finds too much where training noise matters, as with few images and many features"


@dataclass(frozen=True)
class Comparison:
    """Two arms compared.

    Attributes
    ----------
    arms : tuple of str
        Names of arm a and arm b.
    values : tuple of float
        Area under the ROC curve of each, the mean over the folds in which it exists.
    finding : Finding
        The test that the protocol allows; `finding.estimate` is a - b.
    adjusted_p : float
        `finding.p` corrected for the number of comparisons; equal to it where there was one.
    adjustment : str
        How it was corrected, such as ``"Holm over 3 comparisons"``; ``"none"``.
    undefined : int
        Folds left out because a class is missing in their test part.
    others : tuple of Finding
        Further tests of the same difference, for the record; the answer is `finding`.
    """

    arms: tuple[str, str]
    values: tuple[float, float]
    finding: Finding
    adjusted_p: float
    adjustment: str = "none"
    undefined: int = 0
    others: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Comparisons:
    """Several arms compared.

    Attributes
    ----------
    arms : tuple of str
        Names, in the order given.
    values : tuple of float
        Area under the ROC curve of each, the mean over the folds in which it exists.
    pairs : tuple of Comparison
        Every pair, with `adjusted_p`.
    ranking : Ranking or None
        Mean ranks over the folds with Friedman's test and Nemenyi's critical difference; None with fewer than
        three arms or two folds.
    """

    arms: tuple[str, ...]
    values: tuple[float, ...]
    pairs: tuple[Comparison, ...]
    ranking: Ranking | None

    def p_matrix(self) -> FloatArray:
        """Corrected p values of all pairs.

        Returns
        -------
        ndarray of float64, shape (arms, arms)
            Symmetric, with 1 on the diagonal.
        """
        matrix = np.eye(len(self.arms))
        for pair in self.pairs:
            row, column = (self.arms.index(name) for name in pair.arms)
            matrix[row, column] = matrix[column, row] = pair.adjusted_p
        return matrix


def compare_arms(
    a: Sequence[FoldScores],
    b: Sequence[FoldScores],
    *,
    protocol: str = "",
    test: str = "auto",
    names: tuple[str, str] = ("a", "b"),
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare the areas under the ROC curve of two arms by the test that their protocol allows.

    Parameters
    ----------
    a, b : sequence of FoldScores
        The folds of each arm, in any order; the same folds and images in both.
    protocol : str
        The protocol's name. ``"5x2"`` adds the 5x2cv tests; every other choice follows from the folds.
    test : str
        ``"auto"``: as the table above says. ``"combined-f"`` or ``"dietterich-t"``: that 5x2cv test is the
        answer.
    names : tuple of str
        Names of the arms.
    level : float
        Confidence of the interval of the difference.
    seed : int
        Seed of the bootstrap, which one test set of several classes needs.

    Returns
    -------
    Comparison
        With the interval of the mean difference; that of the combined F test, which has none, is the
        corrected resampled t interval. Folds whose test part lacks a class are left out, counted and named in
        the warnings; p is NaN where no test is possible.

    Raises
    ------
    InputError
        If the arms were not scored on the same folds and images.
    ConfigError
        If `level` is not between 0 and 1, `test` is unknown, or a 5x2cv test is asked of another protocol.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> a = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> b = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [3, 1, 5, 2, 4, 6])
    >>> found = compare_arms([a], [b])
    >>> found.finding.test, round(found.finding.p, 3)
    ('DeLong 1988', 0.157)
    """
    if test not in TESTS or (test != "auto" and protocol != "5x2"):
        raise ConfigError(
            f"The 'test' parameter must be one of {TESTS}, and 'auto' unless the protocol is 5x2. Got {test!r} "
            f"for protocol {protocol!r} instead."
        )
    first, second = align([a, b])
    if len(first) == 1:
        return _on_one_set(first[0], second[0], names, level, seed)
    return _on_folds(first, second, protocol == "5x2", test, names, level)


def compare_many(
    arms: Mapping[str, Sequence[FoldScores]],
    *,
    protocol: str = "",
    test: str = "auto",
    correction: str = "holm",
    level: float = 0.95,
    seed: int = 0,
) -> Comparisons:
    """Compare several arms, every pair by the test that the protocol allows.

    Parameters
    ----------
    arms : mapping of str to sequence of FoldScores
        The folds of each arm by name, at least two arms.
    protocol, test, level, seed
        As `compare_arms` takes them.
    correction : str
        ``"holm"`` (Holm 1979, Scandinavian Journal of Statistics 6, 65-70) keeps the chance of any false
        finding below the level; ``"none"`` leaves the p values as they are.

    Returns
    -------
    Comparisons
        Pairs in the order of the arms. Pairs without a p value do not count in the correction.

    Raises
    ------
    InputError
        If there are fewer than two arms, or they were not scored on the same folds and images.
    ConfigError
        For an unknown correction, or as `compare_arms`.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> scores = {"A": [1, 2, 4, 3, 5, 6], "B": [3, 1, 5, 2, 4, 6], "C": [6, 5, 1, 4, 3, 2]}
    >>> arms = {
    ...     name: [fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], one)] for name, one in scores.items()
    ... }
    >>> compare_many(arms).p_matrix().round(2)
    array([[1.  , 0.47, 0.47],
           [0.47, 1.  , 0.54],
           [0.47, 0.54, 1.  ]])
    """
    names = tuple(arms)
    if len(names) < 2:
        raise InputError(f"a comparison needs at least two arms. Got {len(names)} instead.")
    folds = align([arms[name] for name in names])
    pairs = [
        compare_arms(
            folds[row],
            folds[column],
            protocol=protocol,
            names=(names[row], names[column]),
            level=level,
            seed=seed,
        )
        for row in range(len(names))
        for column in range(row + 1, len(names))
    ]
    table = np.column_stack([fold_aucs(one) for one in folds])
    known = table[~np.isnan(table).any(axis=1)]
    return Comparisons(
        names,
        tuple(known.mean(axis=0).tolist()) if len(known) else (float("nan"),) * len(names),
        adjust(pairs, correction),
        rank_arms(known, names, overlapping=True) if len(names) > 2 and len(known) > 1 else None,
    )


def adjust(pairs: Sequence[Comparison], correction: str = "holm") -> tuple[Comparison, ...]:
    """Correct the p values of comparisons for their number.

    Parameters
    ----------
    pairs : sequence of Comparison
        Comparisons that are looked at together.
    correction : str
        ``"holm"`` or ``"none"``.

    Returns
    -------
    tuple of Comparison
        The same with `adjusted_p` and `adjustment`.

    Raises
    ------
    ConfigError
        For an unknown correction.

    Examples
    --------
    >>> pair = Comparison(("a", "b"), (0.8, 0.7), Finding("t", 0.03, 2.2, "t"), 0.03)
    >>> [one.adjusted_p for one in adjust([pair, pair])]
    [0.06, 0.06]
    """
    if correction not in CORRECTIONS:
        raise ConfigError(
            f"The 'correction' parameter must be one of {CORRECTIONS}. Got {correction!r} instead."
        )
    p = np.array([pair.finding.p for pair in pairs])
    known = ~np.isnan(p)
    if correction == "none" or known.sum() < 2:
        return tuple(replace(pair, adjusted_p=pair.finding.p, adjustment="none") for pair in pairs)
    p[known] = holm(p[known])
    label = f"Holm over {int(known.sum())} comparisons"
    return tuple(
        replace(pair, adjusted_p=float(value), adjustment=label) for pair, value in zip(pairs, p, strict=True)
    )


def holm(p: ArrayLike) -> FloatArray:
    """Correct p values by Holm's step-down method.

    Holm 1979 (Scandinavian Journal of Statistics 6, 65-70): the smallest times their number, the next times
    one less, and so on, never falling, at most 1. (statsmodels has it too, with a full garbage collection in
    each call.)

    Parameters
    ----------
    p : array_like of shape (tests,)
        p values, none NaN.

    Returns
    -------
    ndarray of float64, shape (tests,)
        In the order given.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def _on_one_set(a: FoldScores, b: FoldScores, names: tuple[str, str], level: float, seed: int) -> Comparison:
    """Compare two arms on one test set."""
    groups = a.groups if len(set(a.groups)) < len(a.groups) else None
    if a.binary:
        finding = delong_test(a.actual, a.scores, b.scores, groups=groups, level=level)
    else:
        finding = bootstrap_test(a.actual, a.scores, b.scores, groups=groups, level=level, seed=seed)
    values = fold_aucs([a, b])
    return Comparison(
        names, (float(values[0]), float(values[1])), finding, finding.p, undefined=int(np.isnan(values).any())
    )


def _on_folds(
    a: list[FoldScores], b: list[FoldScores], halves: bool, test: str, names: tuple[str, str], level: float
) -> Comparison:
    """Compare two arms over several folds."""
    values = np.column_stack([fold_aucs(a), fold_aucs(b)])
    kept = np.isfinite(values[:, 0] + values[:, 1])
    images, positives = count_images(a)
    notes = partition_warnings(a)
    if not kept.all():
        lost = [fold.name for fold, keep in zip(a, kept, strict=True) if not keep]
        notes += (f"folds left out, a class is missing in their test part: {', '.join(lost)}",)
    differences = values[:, 0] - values[:, 1]
    found = {"auto": _resampled(differences[kept], size_ratio(a), level)}
    if halves:
        found |= _five_by_two(differences, a, found["auto"])
    found = {
        name: replace(one, n=images, positives=positives, warnings=one.warnings + notes)
        for name, one in found.items()
    }
    answer = (
        found.pop(test)
        if test in found
        else _impossible(int(kept.sum()), "no repeat has both its directions")
    )
    mean = values[kept].mean(axis=0) if kept.any() else np.full(2, np.nan)
    return Comparison(
        names,
        (float(mean[0]), float(mean[1])),
        answer,
        answer.p,
        undefined=int((~kept).sum()),
        others=tuple(found.values()),
    )


def _resampled(differences: FloatArray, ratio: float | None, level: float) -> Finding:
    """Test differences over folds that may overlap, or say why that is impossible."""
    if len(differences) < 2:
        return _impossible(len(differences), "fewer than two folds have all classes")
    if ratio is None:
        return _impossible(len(differences), "the training parts' sizes are unknown")
    return corrected_t(differences, ratio, level)


def _five_by_two(differences: FloatArray, folds: list[FoldScores], resampled: Finding) -> dict[str, Finding]:
    """Make the 5x2cv tests over the repeats of which both directions have a difference."""
    places = [list(pair) for pair in two_fold_repeats(folds) or []]
    repeats = [differences[pair] for pair in places if np.isfinite(differences[pair]).all()]
    if not repeats:
        return {}
    combined, paired = (
        replace(one, warnings=(*one.warnings, _EAGER)) for one in (combined_f(repeats), dietterich_t(repeats))
    )
    combined = replace(
        combined,
        low=resampled.low,
        high=resampled.high,
        level=resampled.level,
        interval=resampled.interval,
    )
    return {"combined-f": combined, "dietterich-t": paired}


def _impossible(folds: int, why: str) -> Finding:
    """Say that there is no test."""
    nothing = float("nan")
    return Finding("none", nothing, nothing, "none", folds=folds, warnings=(f"{why}: no test is possible",))
