"""Two arms, or several, compared by the test that their protocol allows.

========================  =====================================================  ===============================
protocol                  test                                                   also reported
========================  =====================================================  ===============================
one test set, 2 classes   DeLong; by groups where a group has several images
one test set, more        bootstrap of the images, or of the groups
5x2                       combined F (Alpaydin 1999)                             5x2cv t, corrected resampled t
any other folds           corrected resampled t (Nadeau & Bengio 2003)
========================  =====================================================  ===============================

Folds share training images, so none of these treats them as independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

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

__all__ = ["CORRECTIONS", "Comparison", "Comparisons", "adjust", "compare_arms", "compare_many"]

CORRECTIONS = ("holm", "none")


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
        The protocol's name. ``"5x2"`` asks for the 5x2cv tests; every other choice follows from the folds.
    names : tuple of str
        Names of the arms.
    level : float
        Confidence of the interval of the difference.
    seed : int
        Seed of the bootstrap, which one test set of several classes needs.

    Returns
    -------
    Comparison
        The table above says which test. In 5x2 the interval of the difference is the corrected resampled t
        interval, since the F test has none. Folds whose test part lacks a class are left out, counted and named in
        the warnings; p is NaN where no test is possible.

    Raises
    ------
    InputError
        If the arms were not scored on the same folds and images.
    ConfigError
        If `level` is not between 0 and 1.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> a = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> b = fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], [3, 1, 5, 2, 4, 6])
    >>> found = compare_arms([a], [b])
    >>> found.finding.test, round(found.finding.p, 3)
    ('DeLong 1988', 0.157)
    """
    first, second = align([a, b])
    if len(first) == 1:
        return _on_one_set(first[0], second[0], names, level, seed)
    return _on_folds(first, second, protocol, names, level)


def compare_many(
    arms: Mapping[str, Sequence[FoldScores]],
    *,
    protocol: str = "",
    correction: str = "holm",
    level: float = 0.95,
    seed: int = 0,
) -> Comparisons:
    """Compare several arms, every pair by the test that the protocol allows.

    Parameters
    ----------
    arms : mapping of str to sequence of FoldScores
        The folds of each arm by name, at least two arms.
    protocol, level, seed
        As `compare_arms` takes them.
    correction : str
        ``"holm"`` (Holm 1979, Scandinavian Journal of Statistics 6, 65-70) keeps the chance of any false finding
        below the level; ``"none"`` leaves the p values as they are.

    Returns
    -------
    Comparisons
        Pairs in the order of the arms. Pairs without a p value do not count in the correction.

    Raises
    ------
    InputError
        If there are fewer than two arms, or they were not scored on the same folds and images.
    ConfigError
        For an unknown correction, or a level that is not between 0 and 1.

    Examples
    --------
    >>> from featx.stats.arms import fold_scores
    >>> arms = {
    ...     name: [fold_scores("holdout", list("uvwxyz"), [0, 0, 0, 1, 1, 1], scores)]
    ...     for name, scores in {"A": [1, 2, 4, 3, 5, 6], "B": [3, 1, 5, 2, 4, 6], "C": [6, 5, 1, 4, 3, 2]}.items()
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
    from statsmodels.stats.multitest import multipletests

    p[known] = multipletests(p[known], method="holm")[1]
    label = f"Holm over {int(known.sum())} comparisons"
    return tuple(
        replace(pair, adjusted_p=float(value), adjustment=label) for pair, value in zip(pairs, p, strict=True)
    )


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
    a: list[FoldScores], b: list[FoldScores], protocol: str, names: tuple[str, str], level: float
) -> Comparison:
    """Compare two arms over several folds."""
    values = np.column_stack([fold_aucs(a), fold_aucs(b)])
    kept = np.isfinite(values[:, 0] + values[:, 1])
    images, positives = count_images(a)
    notes = partition_warnings(a)
    if not kept.all():
        lost = [fold.name for fold, keep in zip(a, kept, strict=True) if not keep]
        notes += (f"folds left out, a class is missing in their test part: {', '.join(lost)}",)
    found = [
        replace(one, n=images, positives=positives, warnings=one.warnings + notes)
        for one in _fold_findings(values[:, 0] - values[:, 1], a, protocol, level)
    ]
    mean = values[kept].mean(axis=0) if kept.any() else np.full(2, np.nan)
    return Comparison(
        names,
        (float(mean[0]), float(mean[1])),
        found[0],
        found[0].p,
        undefined=int((~kept).sum()),
        others=tuple(found[1:]),
    )


def _fold_findings(
    differences: FloatArray, folds: list[FoldScores], protocol: str, level: float
) -> list[Finding]:
    """Test the differences over folds, the answer first; NaN stands for a fold without one."""
    known, ratio = differences[~np.isnan(differences)], size_ratio(folds)
    if len(known) < 2 or ratio is None:
        why = (
            "fewer than two folds have both classes"
            if len(known) < 2
            else "the training parts' sizes are unknown"
        )
        return [Finding("none", float("nan"), float("nan"), "none", folds=len(known), warnings=(why,))]
    corrected = corrected_t(known, ratio, level)
    pairs = two_fold_repeats(folds) if protocol == "5x2" else None
    repeats = [differences[list(pair)] for pair in pairs or [] if not np.isnan(differences[list(pair)]).any()]
    if not repeats:
        return [corrected]
    combined = replace(
        combined_f(repeats),
        estimate=corrected.estimate,
        low=corrected.low,
        high=corrected.high,
        level=level,
        interval=corrected.interval,
    )
    return [combined, dietterich_t(repeats), corrected]
