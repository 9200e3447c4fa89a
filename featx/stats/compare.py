"""Two arms, or several, compared by the test that their protocol allows.

=======================  ==================================================  ================================
protocol                 test                                                also reported
=======================  ==================================================  ================================
one test set, 2 classes  DeLong; by groups where a group has several images
one test set, more       bootstrap of the images, or of the groups
5x2                      corrected resampled t (Nadeau & Bengio 2003)        combined 5x2cv F, 5x2cv paired t
any other folds          corrected resampled t (Nadeau & Bengio 2003)
=======================  ==================================================  ================================

Folds share training images, so none of these treats them as independent. Of several arms, every pair is compared
over the folds and images that the two of them share. DeLong's test and the bootstrap on one test set compare two
trained models, not two ways of training.

The 5x2cv tests take the two directions of a repeat as independent. With a linear classifier on many features
they are not: what is learnt on one half fits the other half as well as the reverse, both differences agree,
and the tests find too much (`benchmarks/null_rates.py`: 2 features, the level is kept; 10 features, three
times the level and more). So they are reported, and taken as the answer on request only
(``test="combined-f"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import ConfigError, InputError, listing

from .arms import (
    FoldScores,
    align,
    count_images,
    fold_aucs,
    partition_warnings,
    size_ratio,
    two_fold_repeats,
)
from .intervals import TestResult, bounds
from .ranks import Ranking, rank_arms
from .significance import bootstrap_test, combined_f, corrected_t, delong_test, dietterich_t
from .validation import FloatArray

__all__ = [
    "CORRECTIONS",
    "TESTS",
    "Comparison",
    "Comparisons",
    "adjust",
    "compare_many",
    "compare_pair",
    "holm",
    "untested",
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
        Area under the ROC curve of each, the mean over the folds that entered.
    finding : TestResult
        The test that the protocol allows; `finding.estimate` is a - b, and its interval is that of this pair
        alone. Without a test, `p` is NaN and the warnings say why.
    adjusted_p : float
        `finding.p` corrected for the number of comparisons; equal to it where there was one.
    adjustment : str
        How it was corrected, such as ``"Holm over 3 comparisons"``; ``"none"``.
    undefined : int
        Folds left out because a class is missing in their test part.
    others : tuple of TestResult
        Further tests of the same difference, for the record; the answer is `finding`.
    folds : tuple of str
        Names of the folds that entered: those in which both arms have an area.
    differences : tuple of float
        The difference a - b in each of them.
    family : int
        Number of comparisons that the correction counted.
    adjusted_low, adjusted_high : float
        Simultaneous interval of the difference: that of confidence 1 - (1 - level) / `family` (Bonferroni),
        so that all intervals of the family hold together with confidence `finding.level`. It can hold 0 where
        Holm's test, which is the sharper one, still gives an `adjusted_p` below 1 - level.
    planned : bool
        Whether the comparison was planned before the results were seen.
    """

    arms: tuple[str, str]
    values: tuple[float, float]
    finding: TestResult
    adjusted_p: float
    adjustment: str = "none"
    undefined: int = 0
    others: tuple[TestResult, ...] = ()
    folds: tuple[str, ...] = ()
    differences: tuple[float, ...] = ()
    family: int = 1
    adjusted_low: float = float("nan")
    adjusted_high: float = float("nan")
    planned: bool = False

    @property
    def tested(self) -> bool:
        """Whether there is a p value."""
        return bool(np.isfinite(self.finding.p))


@dataclass(frozen=True)
class Comparisons:
    """Several arms compared.

    Attributes
    ----------
    arms : tuple of str
        Names, in the order given.
    values : tuple of float
        Area under the ROC curve of each ranked arm, the mean over `folds`; NaN for arms that are not ranked.
    pairs : tuple of Comparison
        Every pair, with `adjusted_p`: planned ones first, as they were written, then the others. Pairs that
        cannot be compared are among them, without a p value.
    ranking : Ranking or None
        Mean ranks of the ranked arms over `folds` with Friedman's test and Nemenyi's critical difference; None
        with fewer than three such arms or two folds.
    folds : tuple of str
        Names of the folds over which arms are ranked. Ranked are the arms of which each pair was compared over
        exactly these folds, so that the ranks never contradict a pair; of several such sets, the one with the
        most arms times folds.
    """

    arms: tuple[str, ...]
    values: tuple[float, ...]
    pairs: tuple[Comparison, ...]
    ranking: Ranking | None
    folds: tuple[str, ...] = ()

    @property
    def ranked(self) -> tuple[str, ...]:
        """Names of the ranked arms, the highest value first."""
        known = [place for place, value in enumerate(self.values) if np.isfinite(value)]
        return tuple(self.arms[place] for place in sorted(known, key=lambda place: -self.values[place]))

    def p_matrix(self) -> FloatArray:
        """Corrected p values of all pairs.

        Returns
        -------
        ndarray of float64, shape (arms, arms)
            Symmetric, with 1 on the diagonal; NaN for pairs without a test.
        """
        places = {name: place for place, name in enumerate(self.arms)}
        matrix = np.eye(len(self.arms))
        for pair in self.pairs:
            if places.keys() >= set(pair.arms):
                row, column = (places[name] for name in pair.arms)
                matrix[row, column] = matrix[column, row] = pair.adjusted_p
        return matrix


def compare_pair(
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
    >>> found = compare_pair([a], [b])
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


def untested(names: tuple[str, str], why: str) -> Comparison:
    """Stand for two arms that cannot be compared.

    Examples
    --------
    >>> untested(("a", "b"), "scored on other folds").tested
    False
    """
    nothing = float("nan")
    finding = TestResult("none", nothing, nothing, "none", folds=0, warnings=(why,))
    return Comparison(names, (nothing, nothing), finding, nothing)


def compare_many(
    arms: Mapping[str, Sequence[FoldScores]],
    *,
    protocol: str = "",
    test: str = "auto",
    correction: str = "holm",
    planned: Sequence[tuple[str, str]] = (),
    apart: Mapping[tuple[str, str], str] | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Comparisons:
    """Compare several arms, every pair by the test that the protocol allows, over the folds that the two share.

    Parameters
    ----------
    arms : mapping of str to sequence of FoldScores
        The folds of each arm by name, at least two arms, or one where comparisons were planned.
    protocol, test, level, seed
        As `compare_pair` takes them.
    correction : str
        ``"holm"`` (Holm 1979, Scandinavian Journal of Statistics 6, 65-70) keeps the chance of any false
        finding below the level; ``"none"`` leaves the p values as they are.
    planned : sequence of (str, str)
        Pairs that were chosen before the results were seen, first minus second. They are corrected among
        themselves, all others, which are exploratory, among themselves.
    apart : mapping of (str, str) to str, optional
        Pairs, in the order of the arms, that must not be compared although their folds have the same names, and
        why.

    Returns
    -------
    Comparisons
        Pairs that share no fold are in it without a p value, their finding's warning says why. Such pairs do not
        count in the correction, except planned ones: their number was fixed before.

    Raises
    ------
    InputError
        If there are too few arms, a planned pair is not two different arms or stands twice, or the classes of
        two arms differ.
    ConfigError
        For an unknown correction, or as `compare_pair`.

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
    >>> [(pair.arms, pair.adjustment) for pair in compare_many(arms, planned=[("B", "A")]).pairs]
    [(('B', 'A'), 'none'), (('A', 'C'), 'Holm over 2 exploratory comparisons'), (('B', 'C'), 'Holm over 2 exploratory comparisons')]
    """
    names = tuple(arms)
    if len(names) < 2 and not planned:
        raise InputError(f"a comparison needs at least two arms. Got {len(names)} instead.")
    _check_planned(planned)
    asked = {frozenset(pair) for pair in planned}
    rest = [pair for pair in combinations(names, 2) if frozenset(pair) not in asked]
    reasons = {frozenset(pair): why for pair, why in (apart or {}).items()}
    pairs = [
        _pair(arms, pair, reasons.get(frozenset(pair)), protocol=protocol, test=test, level=level, seed=seed)
        for pair in (*planned, *rest)
    ]
    pairs = [replace(pair, planned=place < len(planned)) for place, pair in enumerate(pairs)]
    chosen, folds = _ranked(names, pairs)
    table = np.array([_areas(arms[name], folds) for name in chosen]).T
    values = dict(zip(chosen, table.mean(axis=0).tolist(), strict=True)) if chosen else {}
    return Comparisons(
        names,
        tuple(values.get(name, float("nan")) for name in names),
        adjust(pairs, correction),
        rank_arms(table, chosen, overlapping=True) if len(chosen) > 2 and len(folds) > 1 else None,
        folds,
    )


def adjust(pairs: Sequence[Comparison], correction: str = "holm") -> tuple[Comparison, ...]:
    """Correct the p values and intervals of comparisons for their number.

    Returns
    -------
    tuple of Comparison
        The same with `adjusted_p`, `adjustment`, `family` and the simultaneous interval. Comparisons without a p
        value do not count, except planned ones, which count as if their p were 1.

    Examples
    --------
    >>> pair = Comparison(("a", "b"), (0.8, 0.7), TestResult("t", 0.03, 2.2, "t"), 0.03)
    >>> [one.adjusted_p for one in adjust([pair, pair])]
    [0.06, 0.06]
    """
    if correction not in CORRECTIONS:
        raise ConfigError(
            f"The 'correction' parameter must be one of {CORRECTIONS}. Got {correction!r} instead."
        )
    p = np.array([pair.finding.p for pair in pairs])
    planned = np.array([pair.planned for pair in pairs], dtype=bool)
    kinds = {True: "planned ", False: "exploratory " if planned.any() else ""}
    adjusted, families, labels = p.copy(), np.ones(len(pairs), dtype=int), ["none"] * len(pairs)
    for kind, name in kinds.items():
        places = np.flatnonzero((planned == kind) & (planned | ~np.isnan(p)))
        if correction == "none" or len(places) < 2:
            continue
        adjusted[places] = np.where(np.isnan(p[places]), np.nan, holm(np.nan_to_num(p[places], nan=1.0)))
        families[places] = len(places)
        for place in places:
            labels[place] = f"Holm over {len(places)} {name}comparisons"
    return tuple(
        _corrected(pair, float(value), label, int(family))
        for pair, value, label, family in zip(pairs, adjusted, labels, families, strict=True)
    )


def _corrected(pair: Comparison, p: float, label: str, family: int) -> Comparison:
    """Enter a corrected p value and the simultaneous interval of its family."""
    found = pair.finding
    low, high = bounds(found.estimate, found.error, found.error_freedom, 1 - (1 - found.level) / family)
    return replace(
        pair,
        adjusted_p=p,
        adjustment=label,
        family=family,
        adjusted_low=_possible(low),
        adjusted_high=_possible(high),
    )


def _possible(difference: float) -> float:
    """Keep the end of an interval between -1 and 1: no two areas differ by more."""
    return float(np.clip(difference, -1.0, 1.0))


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


def _check_planned(planned: Sequence[tuple[str, str]]) -> None:
    """Refuse planned comparisons of an arm with itself, or that stand twice."""
    seen: set[frozenset[str]] = set()
    for pair in planned:
        if len(set(pair)) != 2 or frozenset(pair) in seen:
            raise InputError(
                f"a planned comparison must be of two different arms, and stand once. Got {' against '.join(pair)}."
            )
        seen.add(frozenset(pair))


def _pair(
    arms: Mapping[str, Sequence[FoldScores]],
    names: tuple[str, str],
    apart: str | None,
    *,
    protocol: str,
    test: str,
    level: float,
    seed: int,
) -> Comparison:
    """Compare two of several arms over the folds that both have scored on the same images."""
    missing = [name for name in names if name not in arms]
    if missing or apart:
        return untested(names, apart or f"no scores of {' and '.join(missing)}")
    first, second = (arms[name] for name in names)
    theirs = {fold.name: fold for fold in second}
    both = [(fold, theirs[fold.name]) for fold in first if fold.name in theirs]
    same = [pair for pair in both if pair[0].ids == pair[1].ids]
    if not same:
        return untested(names, "no fold on the same images" if both else "no fold that both have")
    a, b = map(list, zip(*same, strict=True))
    found = compare_pair(a, b, protocol=protocol, test=test, names=names, level=level, seed=seed)
    notes = _left_out(names, (len(first), len(second)), both, same)
    finding = replace(found.finding, warnings=found.finding.warnings + notes)
    return replace(found, finding=finding) if notes else found


def _left_out(
    names: tuple[str, str],
    counts: tuple[int, int],
    both: Sequence[tuple[FoldScores, FoldScores]],
    same: Sequence[tuple[FoldScores, FoldScores]],
) -> tuple[str, ...]:
    """Say which folds of two arms do not enter their comparison."""
    notes = []
    if max(counts) > len(both):
        had = " and ".join(f"{count} of {name}" for count, name in zip(counts, names, strict=True))
        notes.append(f"over the {len(both)} fold{'s' * (len(both) > 1)} that both have, of {had}")
    if len(both) > len(same):
        odd = [first.name for first, second in both if first.ids != second.ids]
        notes.append(f"folds left out, not scored on the same images: {listing(odd)}")
    return tuple(notes)


def _ranked(names: tuple[str, ...], pairs: Sequence[Comparison]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the arms to rank, each pair of which was compared over exactly the same folds, and these folds."""
    shared = {frozenset(pair.arms): frozenset(pair.folds) for pair in pairs}
    best: tuple[int, list[str], tuple[str, ...]] = (0, [], ())
    for pair in pairs:
        chosen, folds = list(pair.arms), frozenset(pair.folds)
        for name in names:
            if name not in chosen and all(shared.get(frozenset((name, one))) == folds for one in chosen):
                chosen.append(name)
        if folds and len(chosen) * len(folds) > best[0]:
            best = (len(chosen) * len(folds), chosen, pair.folds)
    return tuple(name for name in names if name in best[1]), best[2]


def _areas(arm: Sequence[FoldScores], names: Sequence[str]) -> FloatArray:
    """Areas of an arm in some of its folds."""
    folds = {fold.name: fold for fold in arm}
    return fold_aucs([folds[name] for name in names])


def _on_one_set(a: FoldScores, b: FoldScores, names: tuple[str, str], level: float, seed: int) -> Comparison:
    """Compare two arms on one test set."""
    values = fold_aucs([a, b])
    if np.isnan(values).any():
        nothing = float("nan")
        lost = _impossible(0, "a class is missing in the test part")
        return Comparison(names, (nothing, nothing), lost, nothing, undefined=1)
    groups = a.groups if len(set(a.groups)) < len(a.groups) else None
    if a.binary:
        finding = delong_test(a.actual, a.scores, b.scores, groups=groups, level=level)
    else:
        finding = bootstrap_test(a.actual, a.scores, b.scores, groups=groups, level=level, seed=seed)
    finding = replace(finding, low=_possible(finding.low), high=_possible(finding.high))
    return Comparison(
        names,
        (float(values[0]), float(values[1])),
        finding,
        finding.p,
        folds=(a.name,),
        differences=(float(values[0] - values[1]),),
    )


def _on_folds(
    a: list[FoldScores], b: list[FoldScores], halves: bool, test: str, names: tuple[str, str], level: float
) -> Comparison:
    """Compare two arms over several folds."""
    values = np.column_stack([fold_aucs(a), fold_aucs(b)])
    kept = np.isfinite(values[:, 0] + values[:, 1])
    entered = [fold for fold, keep in zip(a, kept, strict=True) if keep]
    images, positives = count_images(entered)
    notes = partition_warnings(entered)
    if not kept.all():
        lost = [fold.name for fold, keep in zip(a, kept, strict=True) if not keep]
        notes += (f"folds left out, a class is missing in their test part: {', '.join(lost)}",)
    differences = values[:, 0] - values[:, 1]
    found = {"auto": _resampled(differences[kept], _ratio(a, b), level)}
    if halves:
        found |= _five_by_two(differences, a, found["auto"])
    found = {
        name: replace(
            one,
            n=images,
            positives=positives,
            low=_possible(one.low),
            high=_possible(one.high),
            warnings=one.warnings + notes,
        )
        for name, one in found.items()
    }
    answer = (
        found.pop(test) if test in found else _impossible(len(entered), "no repeat has both its directions")
    )
    mean = values[kept].mean(axis=0) if kept.any() else np.full(2, np.nan)
    return Comparison(
        names,
        (float(mean[0]), float(mean[1])),
        answer,
        answer.p,
        undefined=int((~kept).sum()),
        others=tuple(found.values()),
        folds=tuple(fold.name for fold in entered),
        differences=tuple(differences[kept].tolist()),
    )


def _ratio(a: list[FoldScores], b: list[FoldScores]) -> float | None:
    """Take the larger ratio of test to training part of two arms: that of the one trained on less."""
    return max((ratio for one in (a, b) if (ratio := size_ratio(one)) is not None), default=None)


def _resampled(differences: FloatArray, ratio: float | None, level: float) -> TestResult:
    """Test differences over folds that may overlap, or say why that is impossible."""
    if len(differences) < 2:
        return _impossible(len(differences), "fewer than two folds have all classes")
    if ratio is None:
        return _impossible(len(differences), "the training parts' sizes are unknown")
    return corrected_t(differences, ratio, level)


def _five_by_two(
    differences: FloatArray, folds: list[FoldScores], resampled: TestResult
) -> dict[str, TestResult]:
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
        error=resampled.error,
        error_freedom=resampled.error_freedom,
    )
    return {"combined-f": combined, "dietterich-t": paired}


def _impossible(folds: int, why: str) -> TestResult:
    """Say that there is no test."""
    nothing = float("nan")
    return TestResult(
        "none", nothing, nothing, "none", folds=folds, warnings=(f"{why}: no test is possible",)
    )
