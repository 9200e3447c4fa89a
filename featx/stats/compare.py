"""Comparison of two or more arms by the test that fits their protocol.

=========================  ==================================================  ================================
protocol                   test                                                also reported
=========================  ==================================================  ================================
one test set, 2 classes    DeLong; by groups if a group has several images
one test set, 3 or more    bootstrap of the images, or of the groups
5x2                        corrected resampled t (Nadeau & Bengio 2003)        combined 5x2cv F, 5x2cv paired t
any other folds            corrected resampled t (Nadeau & Bengio 2003)
=========================  ==================================================  ================================

Folds share training images, so none of these tests treats them as independent. With several arms, each pair is
compared over the folds and images that both arms share. DeLong's test and the bootstrap on one test set compare two
trained models, not two training procedures.

The 5x2cv tests assume that the two directions of a repeat are independent. With a linear classifier on many features
they are correlated, and the tests have too many false positives (`benchmarks/null_rates.py`: 5 % with 2 features, 14 to
17 % with 10 features). They are therefore reported beside the corrected resampled t, and are the main test only on
request (``test="combined-f"``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from featx.errors import ConfigError, InputError, listing

from .anova import Ranking, rank_arms
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
_EAGER = "too many false positives with few images and many features, where the variance of training matters"


@dataclass(frozen=True)
class Comparison:
    """Comparison of two arms.

    Attributes
    ----------
    arms : tuple of str
        Names of arm a and arm b.
    values : tuple of float
        AUC of each arm, the mean over `folds`.
    finding : TestResult
        The test that fits the protocol. `finding.estimate` is a - b, and its interval is not corrected for other
        comparisons. If no test is possible, `p` is NaN and the warnings say why.
    adjusted_p : float
        `finding.p` corrected for the number of comparisons; the same value if there is only one comparison.
    adjustment : str
        The correction, such as ``"Holm over 3 comparisons"``, or ``"none"``.
    undefined : int
        Number of folds that are excluded because a class is missing in their test set.
    others : tuple of TestResult
        Further tests of the same difference, for information; the main test is `finding`.
    folds : tuple of str
        Names of the folds used: those in which both arms have an AUC.
    differences : tuple of float
        The difference a - b in each of these folds.
    family : int
        Number of comparisons in the correction.
    adjusted_low, adjusted_high : float
        Simultaneous interval of the difference, with confidence 1 - (1 - level) / `family` (Bonferroni): all intervals
        of the family contain the true differences together with confidence `finding.level`. It can contain 0 although
        Holm's test, which has more power, gives an `adjusted_p` below 1 - level.
    planned : bool
        Whether the comparison was planned before the results were known.
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
    """Comparison of several arms.

    Attributes
    ----------
    arms : tuple of str
        Names in the given order.
    values : tuple of float
        AUC of each ranked arm, the mean over `folds`; NaN for arms that are not ranked.
    pairs : tuple of Comparison
        Every pair with its `adjusted_p`: planned pairs first, in the given order, then the others. Pairs that cannot
        be compared are included without a p value.
    ranking : Ranking or None
        Mean ranks of the ranked arms over `folds`, with Friedman's test and Nemenyi's critical difference; None if
        there are fewer than three such arms or fewer than two folds.
    folds : tuple of str
        Names of the folds over which arms are ranked. All pairs of ranked arms were compared over exactly these folds.
        If several sets of arms fulfil this, the set with the largest number of arms times folds is used.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> scores = {"A": [1, 2, 4, 3, 5, 6], "B": [3, 1, 5, 2, 4, 6]}
    >>> found = compare_many(
    ...     {name: [fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], one)] for name, one in scores.items()}
    ... )
    >>> found.arms, [round(value, 2) for value in found.values]
    (('A', 'B'), [0.89, 0.67])
    """

    arms: tuple[str, ...]
    values: tuple[float, ...]
    pairs: tuple[Comparison, ...]
    ranking: Ranking | None
    folds: tuple[str, ...] = ()

    @property
    def ranked(self) -> tuple[str, ...]:
        """Names of the ranked arms, in the order of decreasing AUC."""
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
    """Compare the AUCs of two arms by the test that fits their protocol.

    Parameters
    ----------
    a, b : sequence of FoldScores
        The folds of each arm, in any order. Both arms need the same folds and images.
    protocol : str
        Name of the protocol. ``"5x2"`` adds the 5x2cv tests; all other choices follow from the folds.
    test : str
        ``"auto"``: the test that fits the protocol. ``"combined-f"`` or ``"dietterich-t"``: this 5x2cv test is the
        main test.
    names : tuple of str
        Names of the arms.
    level : float
        Confidence level of the interval of the difference.
    seed : int
        Random seed of the bootstrap, which is used for one test set with several classes.

    Returns
    -------
    Comparison
        With the interval of the mean difference. The combined F test has no interval; the corrected resampled t
        interval is given instead. Folds without all classes in the test set are excluded, counted, and named in the
        warnings. p is NaN if no test is possible.

    Raises
    ------
    InputError
        If the arms were not scored on the same folds and images.
    ConfigError
        If `level` is not between 0 and 1, `test` is unknown, or a 5x2cv test is requested for another protocol.

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
            f"The 'test' parameter must be one of {TESTS}; protocols other than 5x2 allow only 'auto'. "
            f"Got {test!r} for the protocol {protocol!r} instead."
        )
    first, second = align([a, b])
    if len(first) == 1:
        return _on_one_set(first[0], second[0], names, level, seed)
    return _on_folds(first, second, protocol == "5x2", test, names, level)


def untested(names: tuple[str, str], why: str) -> Comparison:
    """Make a `Comparison` without a test, for two arms that cannot be compared.

    Examples
    --------
    >>> untested(("a", "b"), "scored on different folds").tested
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
    """Compare every pair of several arms by the test that fits the protocol, over the folds that both arms share.

    Parameters
    ----------
    arms : mapping of str to sequence of FoldScores
        Name of each arm to its folds. At least two arms, or one if comparisons are planned.
    protocol, test, level, seed
        As in `compare_pair`.
    correction : str
        ``"holm"`` (Holm 1979, Scandinavian Journal of Statistics 6, 65-70) controls the probability of one or more
        false positives; ``"none"`` does not correct the p values.
    planned : sequence of (str, str)
        Pairs that were chosen before the results were known, first minus second. Planned pairs are corrected as one
        family, and all other pairs, which are exploratory, as another.
    apart : mapping of (str, str) to str, optional
        Pairs, in the order of the arms, that must not be compared although their folds have the same names, and the
        reason.

    Returns
    -------
    Comparisons
        Pairs that share no fold have no p value, and the warnings of their `finding` say why. They do not count in the
        correction unless they are planned: the number of planned comparisons was fixed in advance.

    Raises
    ------
    InputError
        If there are too few arms, a planned pair is repeated or names the same arm twice, or the classes of two arms
        differ.
    ConfigError
        If `correction` is unknown, or as in `compare_pair`.

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

    Comparisons without a p value do not count, except planned ones, which count as if their p were 1.

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
    """Add a corrected p value and the simultaneous interval of its family."""
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
    """Clip the bound of an interval to -1 and 1, since two AUCs cannot differ by more."""
    return float(np.clip(difference, -1.0, 1.0))


def holm(p: ArrayLike) -> FloatArray:
    """Correct p values by Holm's step-down method (Holm 1979, Scandinavian Journal of Statistics 6, 65-70).

    The smallest of m values is multiplied by m, the next by m - 1, and so on; the results are made non-decreasing and at
    most 1. (statsmodels runs a full garbage collection in each call, which is slow.)

    Parameters
    ----------
    p : array_like of shape (tests,)
        p values, none NaN.

    Returns
    -------
    ndarray of float64, shape (tests,)
        In the given order.

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
    """Refuse planned comparisons of an arm with itself, and repeated ones."""
    seen: set[frozenset[str]] = set()
    for pair in planned:
        if len(set(pair)) != 2 or frozenset(pair) in seen:
            raise InputError(
                f"planned comparisons must be of two different arms and must not be repeated. Got {':'.join(pair)}."
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
    """Compare two of several arms over the folds in which both scored the same images."""
    missing = [name for name in names if name not in arms]
    if missing or apart:
        return untested(names, apart or f"no scores of {' and '.join(missing)}")
    first, second = (arms[name] for name in names)
    theirs = {fold.name: fold for fold in second}
    both = [(fold, theirs[fold.name]) for fold in first if fold.name in theirs]
    same = [pair for pair in both if pair[0].ids == pair[1].ids]
    if not same:
        return untested(names, "no common fold with the same images" if both else "no common fold")
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
    """Name the folds of two arms that are excluded from their comparison."""
    notes = []
    if max(counts) > len(both):
        had = " and ".join(f"{count} of {name}" for count, name in zip(counts, names, strict=True))
        notes.append(f"over the {len(both)} common fold{'s' * (len(both) > 1)}, of {had}")
    if len(both) > len(same):
        odd = [first.name for first, second in both if first.ids != second.ids]
        notes.append(f"folds excluded, since the arms scored different images: {listing(odd)}")
    return tuple(notes)


def _ranked(names: tuple[str, ...], pairs: Sequence[Comparison]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose the arms to rank, all pairs of which were compared over exactly the same folds, and these folds."""
    shared = {frozenset(pair.arms): frozenset(pair.folds) for pair in pairs}
    best: tuple[int, list[str], tuple[str, ...]] = (0, [], ())
    most = len(names) * max((len(folds) for folds in shared.values()), default=0)
    for pair in pairs:
        chosen, folds = list(pair.arms), frozenset(pair.folds)
        for name in names:
            if name not in chosen and all(shared.get(frozenset((name, one))) == folds for one in chosen):
                chosen.append(name)
        if folds and len(chosen) * len(folds) > best[0]:
            best = (len(chosen) * len(folds), chosen, pair.folds)
        if best[0] == most:
            break
    return tuple(name for name in names if name in best[1]), best[2]


def _areas(arm: Sequence[FoldScores], names: Sequence[str]) -> FloatArray:
    """AUCs of an arm in the folds with these names."""
    folds = {fold.name: fold for fold in arm}
    return fold_aucs([folds[name] for name in names])


def _on_one_set(a: FoldScores, b: FoldScores, names: tuple[str, str], level: float, seed: int) -> Comparison:
    """Compare two arms on one test set."""
    values = fold_aucs([a, b])
    if np.isnan(values).any():
        nothing = float("nan")
        lost = _impossible(0, "a class is missing in the test set")
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
        notes += (f"folds excluded, since a class is missing in their test set: {', '.join(lost)}",)
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
    answer = found.pop(test) if test in found else _impossible(len(entered), "no repeat has both directions")
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
    """Larger ratio of test set to training set size of two arms: that of the arm with less training data."""
    return max((ratio for one in (a, b) if (ratio := size_ratio(one)) is not None), default=None)


def _resampled(differences: FloatArray, ratio: float | None, level: float) -> TestResult:
    """Test differences over folds with overlapping training sets, or say why that is not possible."""
    if len(differences) < 2:
        return _impossible(len(differences), "fewer than two folds have all classes")
    if ratio is None:
        return _impossible(len(differences), "the sizes of the training sets are unknown")
    return corrected_t(differences, ratio, level)


def _five_by_two(
    differences: FloatArray, folds: list[FoldScores], resampled: TestResult
) -> dict[str, TestResult]:
    """Run the 5x2cv tests over the repeats in which both directions have a difference."""
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
    """Make a result without a p value that says why there is no test."""
    nothing = float("nan")
    return TestResult(
        "none", nothing, nothing, "none", folds=folds, warnings=(f"{why}: no test is possible",)
    )
