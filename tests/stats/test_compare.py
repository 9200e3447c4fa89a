"""The front of the comparisons: which test is taken, what is left out, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from featx.errors import ConfigError, InputError
from featx.stats.arms import FoldScores, fold_aucs, fold_scores
from featx.stats.compare import adjust, compare_many, compare_pair, holm
from featx.stats.significance import bootstrap_test, combined_f, corrected_t, delong_test, dietterich_t

NAMES_5X2 = [f"{repeat}x{direction}" for repeat in range(1, 6) for direction in (1, 2)]


def draw(
    seed: int, names: list[str], *, images: int = 80, shift: float = 1.0, classes: int = 2
) -> list[FoldScores]:
    """Scores of one arm over folds: repeated halves for names such as 2x1, else disjoint parts."""
    rng = np.random.default_rng(seed)
    actual = np.random.default_rng(99).integers(0, classes, images)
    folds = []
    for index, name in enumerate(names):
        if "x" in name:
            order = np.random.default_rng(int(name.split("x")[0])).permutation(images)
            rows = np.sort(np.array_split(order, 2)[int(name.split("x")[1]) - 1])
        else:
            rows = np.array_split(np.arange(images), len(names))[index]
        centres = actual[rows] if classes == 2 else np.eye(classes)[actual[rows]]
        scores = rng.normal(size=centres.shape) + shift * centres
        folds.append(fold_scores(name, [f"image {row:03}" for row in rows], actual[rows], scores))
    return folds


def test_one_test_set_is_compared_by_delong() -> None:
    (a,), (b,) = draw(1, ["holdout"]), draw(2, ["holdout"])
    found = compare_pair([a], [b], protocol="holdout", names=("A", "B"))
    assert found.finding == delong_test(a.actual, a.scores, b.scores)
    assert found.values == pytest.approx(tuple(fold_aucs([a, b])))
    assert (found.arms, found.adjusted_p, found.adjustment, found.others) == (
        ("A", "B"),
        found.finding.p,
        "none",
        (),
    )


def test_groups_of_several_images_ask_for_the_grouped_delong() -> None:
    (a,), (b,) = draw(1, ["holdout"]), draw(2, ["holdout"])
    groups = tuple(f"lesion {row // 2}" for row in range(80))
    found = compare_pair([replace(a, groups=groups)], [replace(b, groups=groups)])
    assert found.finding == delong_test(a.actual, a.scores, b.scores, groups=groups)
    assert found.finding.correction == "variance by 40 groups"


def test_one_test_set_of_several_classes_is_bootstrapped() -> None:
    (a,), (b,) = draw(1, ["holdout"], classes=3), draw(2, ["holdout"], classes=3)
    found = compare_pair([a], [b], seed=5)
    assert found.finding == bootstrap_test(a.actual, a.scores, b.scores, seed=5)
    assert found.finding.positives is None


def test_5x2_is_compared_by_the_corrected_t_and_shows_the_5x2cv_tests() -> None:
    a, b = draw(1, NAMES_5X2, shift=1.5), draw(2, NAMES_5X2)
    found = compare_pair(a, b[::-1], protocol="5x2")
    differences = fold_aucs(a) - fold_aucs(b)
    resampled = corrected_t(differences, ratio=1.0)
    assert (found.finding.p, found.finding.statistic) == (resampled.p, resampled.statistic)
    assert (found.finding.n, found.finding.folds) == (80, 10)
    assert found.finding.positives == a[0].actual.sum() + a[1].actual.sum()
    combined, paired = found.others
    assert all(
        "too many false positives with few images and many features" in one.warnings[-1]
        for one in found.others
    )
    assert combined.p == combined_f(differences.reshape(5, 2)).p
    assert paired.p == dietterich_t(differences.reshape(5, 2)).p
    assert (combined.low, combined.high) == (resampled.low, resampled.high)
    assert combined.interval == "corrected resampled t"


@pytest.mark.parametrize("test", ["combined-f", "dietterich-t"])
def test_a_5x2cv_test_is_the_answer_on_request(test: str) -> None:
    a, b = draw(1, NAMES_5X2, shift=1.5), draw(2, NAMES_5X2)
    pairs = (fold_aucs(a) - fold_aucs(b)).reshape(5, 2)
    found = compare_pair(a, b, protocol="5x2", test=test)
    assert (
        found.finding.p
        == found.adjusted_p
        == {"combined-f": combined_f, "dietterich-t": dietterich_t}[test](pairs).p
    )
    assert len(found.others) == 2
    lonely = compare_pair(a[::2], b[::2], protocol="5x2", test=test)
    assert np.isnan(lonely.finding.p)
    assert lonely.finding.warnings == ("no repeat has both directions: no test is possible",)


@pytest.mark.parametrize("protocol", ["kfold:5", "folds.json", ""])
def test_other_folds_are_compared_by_the_corrected_t(protocol: str) -> None:
    names = list("12345")
    a, b = draw(1, names), draw(2, names)
    found = compare_pair(a, b, protocol=protocol)
    expected = corrected_t(fold_aucs(a) - fold_aucs(b), ratio=0.25)
    assert found.finding == replace(expected, n=80, positives=int(sum(fold.actual.sum() for fold in a)))


def test_known_training_sizes_are_used() -> None:
    a, b = draw(1, list("12345")), draw(2, list("12345"))
    small = compare_pair([replace(fold, train_size=16) for fold in a], b)
    assert small.finding.p > compare_pair(a, b).finding.p
    assert "1/5 + 1" in small.finding.correction


def test_folds_of_one_class_are_left_out_and_named() -> None:
    a, b = draw(1, list("12345")), draw(2, list("12345"))
    alone = np.flatnonzero(a[0].actual == 1)

    def shrink(folds: list[FoldScores]) -> list[FoldScores]:
        first = folds[0]
        return [
            fold_scores("1", [first.ids[row] for row in alone], first.actual[alone], first.scores[alone]),
            *folds[1:],
        ]

    found = compare_pair(shrink(a), shrink(b))
    assert (found.undefined, found.finding.folds) == (1, 4)
    assert "folds excluded, since a class is missing in their test set: 1" in found.finding.warnings
    assert found.values[0] == pytest.approx(fold_aucs(a)[1:].mean())


def test_one_defined_fold_allows_no_test() -> None:
    folds = [
        [fold_scores("1", "abc", [0, 1, 1], scores), fold_scores("2", "def", [1, 1, 1], scores)]
        for scores in ([1, 2, 3], [2, 1, 3])
    ]
    found = compare_pair(*folds)
    assert np.isnan(found.finding.p)
    assert found.finding.warnings[0] == "fewer than two folds have all classes: no test is possible"
    assert found.values == (1.0, 0.5)


def test_incomplete_repeats_are_left_out_of_the_5x2_tests() -> None:
    a, b = draw(1, NAMES_5X2[:-1]), draw(2, NAMES_5X2[:-1])
    found = compare_pair(a, b, protocol="5x2", test="combined-f")
    assert found.finding.freedom == (8, 4)
    assert any(
        "only 4 repeats: the 5x2cv tests are designed for five" in note for note in found.finding.warnings
    )
    assert found.others[0].folds == 9


def test_repeated_partitions_are_named() -> None:
    a, b = draw(1, ["1x1", "1x2"]), draw(2, ["1x1", "1x2"])
    again = [[*folds, replace(folds[0], name="2x1"), replace(folds[1], name="2x2")] for folds in (a, b)]
    found = compare_pair(*again, protocol="5x2")
    assert "repeated test sets: 2x1 = 1x1, 2x2 = 1x2" in found.finding.warnings


def test_no_test_where_nothing_is_known_of_training_parts() -> None:
    a, b = draw(1, ["1", "2"]), draw(2, ["1", "2"])
    same = [[folds[0], replace(folds[0], name="2")] for folds in (a, b)]
    found = compare_pair(*same)
    assert np.isnan(found.finding.p)
    assert "the sizes of the training sets are unknown: no test is possible" in found.finding.warnings


def test_an_arm_equals_itself() -> None:
    for names, protocol in ((["holdout"], "holdout"), (NAMES_5X2, "5x2"), (list("123"), "kfold:3")):
        arm = draw(1, names)
        found = compare_pair(arm, arm, protocol=protocol)
        assert (found.finding.p, found.finding.estimate) == (1.0, 0.0)
        assert found.finding.warnings


def test_order_of_the_arms_only_turns_the_sign() -> None:
    for names, protocol in ((["holdout"], "holdout"), (NAMES_5X2, "5x2"), (list("12345"), "kfold:5")):
        a, b = draw(1, names), draw(2, names)
        one, other = compare_pair(a, b, protocol=protocol), compare_pair(b, a, protocol=protocol)
        assert one.finding.p == pytest.approx(other.finding.p)
        assert one.finding.estimate == pytest.approx(-other.finding.estimate)
        assert one.finding.low == pytest.approx(-other.finding.high)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folds: folds[:-1], "same folds, without repeats, to be compared. These differ: 3"),
        (lambda folds: [*folds, folds[0]], "same folds, without repeats"),
        (lambda folds: [], "same folds"),
        (
            lambda folds: [replace(folds[0], ids=("other", *folds[0].ids[1:])), *folds[1:]],
            "same images in fold '1'",
        ),
        (lambda folds: [replace(folds[0], actual=1 - folds[0].actual), *folds[1:]], "same task in fold '1'"),
    ],
)
def test_arms_that_do_not_match_are_refused(change: object, message: str) -> None:
    a, b = draw(1, list("123")), draw(2, list("123"))
    with pytest.raises(InputError, match=message):
        compare_pair(a, change(b))  # type: ignore[operator]


def test_several_arms_are_corrected_by_holm() -> None:
    arms = {name: draw(seed, NAMES_5X2, shift=seed / 2) for seed, name in enumerate("ABCD")}
    found = compare_many(arms, protocol="5x2")
    assert [pair.arms for pair in found.pairs] == [
        ("A", "B"),
        ("A", "C"),
        ("A", "D"),
        ("B", "C"),
        ("B", "D"),
        ("C", "D"),
    ]
    raw = [pair.finding.p for pair in found.pairs]
    np.testing.assert_allclose(
        [pair.adjusted_p for pair in found.pairs], multipletests(raw, method="holm")[1]
    )
    assert {pair.adjustment for pair in found.pairs} == {"Holm over 6 comparisons"}
    matrix = found.p_matrix()
    np.testing.assert_array_equal(matrix, matrix.T)
    assert matrix[0, 3] == found.pairs[2].adjusted_p
    assert found.values == pytest.approx([fold_aucs(arm).mean() for arm in arms.values()])
    assert found.ranking is not None
    assert found.ranking.ranks.index(min(found.ranking.ranks)) == 3
    assert "share images" in found.ranking.finding.warnings[0]


@pytest.mark.parametrize("seed", range(5))
def test_holm_equals_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).random(9) ** 4
    p[3] = p[5]
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])


def test_two_arms_need_no_correction() -> None:
    found = compare_many({"A": draw(1, list("123")), "B": draw(2, list("123"))}, protocol="kfold:3")
    assert found.pairs[0].adjusted_p == found.pairs[0].finding.p
    assert found.pairs[0].adjustment == "none"
    assert found.ranking is None


def test_pairs_without_a_p_value_do_not_count() -> None:
    pairs = compare_many({name: draw(seed, list("123")) for seed, name in enumerate("ABC")}).pairs
    broken = replace(pairs[0], finding=replace(pairs[0].finding, p=float("nan")))
    adjusted = adjust([broken, *pairs[1:]])
    assert np.isnan(adjusted[0].adjusted_p)
    assert adjusted[1].adjustment == "Holm over 2 comparisons"


def test_bad_comparisons_are_refused() -> None:
    with pytest.raises(InputError, match="at least two arms"):
        compare_many({"A": draw(1, ["holdout"])})
    with pytest.raises(ConfigError, match="protocols other than 5x2 allow only 'auto'"):
        compare_pair(draw(1, list("123")), draw(2, list("123")), protocol="kfold:3", test="combined-f")
    with pytest.raises(ConfigError, match="'test' parameter must be one of"):
        compare_pair(draw(1, list("123")), draw(2, list("123")), test="t")
    with pytest.raises(ConfigError, match="'correction' parameter must be one of"):
        compare_many({"A": draw(1, ["holdout"]), "B": draw(2, ["holdout"])}, correction="bonferroni")


def test_every_pair_is_compared_on_the_folds_it_shares() -> None:
    arms = {name: draw(seed, NAMES_5X2, shift=seed / 2) for seed, name in enumerate("ABCD")}
    alone = {pair.arms: pair for pair in compare_many(arms, protocol="5x2").pairs}
    arms["C"] = arms["C"][:1]
    arms["D"] = [replace(fold, ids=tuple(f"other {name}" for name in fold.ids)) for fold in arms["D"]]
    found = compare_many(arms, protocol="5x2")
    pairs = {pair.arms: pair for pair in found.pairs}
    assert pairs["A", "B"].finding == alone["A", "B"].finding
    assert pairs["A", "B"].folds == tuple(NAMES_5X2)
    assert pairs["A", "C"].finding.test == "DeLong 1988"
    assert (pairs["A", "C"].folds, pairs["A", "C"].finding.n) == (("1x1",), 40)
    assert pairs["A", "D"].finding.warnings == ("no common fold with the same images",)
    assert np.isnan(found.p_matrix()[0, 3])
    assert (found.ranked, found.folds, found.ranking) == (("B", "A"), tuple(NAMES_5X2), None)
    assert pairs["A", "B"].adjustment == "Holm over 3 comparisons"


def test_arms_that_must_stay_apart_are_untested_and_not_ranked_together() -> None:
    arms = {name: draw(seed, list("12345")) for seed, name in enumerate("ABC")}
    found = compare_many(arms, apart={("A", "C"): "other manifest", ("B", "C"): "other manifest"})
    assert [pair.tested for pair in found.pairs] == [True, False, False]
    assert found.pairs[2].finding.warnings == ("other manifest",)
    assert set(found.ranked) == {"A", "B"}


@pytest.mark.parametrize("seed", range(6))
def test_ranks_never_contradict_a_pair(seed: int) -> None:
    """Whatever folds are finished, the order of the ranked arms is that of each of their pairs."""
    rng = np.random.default_rng(seed)
    arms = {}
    for number, name in enumerate("ABCDE"):
        folds = draw(100 * seed + number, NAMES_5X2, shift=1.0)
        arms[name] = [fold for fold in folds if rng.random() < 0.8] or folds[:1]
    found = compare_many(arms, protocol="5x2")
    pairs = {frozenset(pair.arms): pair for pair in found.pairs}
    for place, first in enumerate(found.ranked):
        for second in found.ranked[place + 1 :]:
            pair = pairs[frozenset((first, second))]
            assert set(pair.folds) == set(found.folds)
            assert (pair.finding.estimate >= 0) == (pair.arms[0] == first)


def test_counts_are_of_the_folds_that_entered() -> None:
    def last_of_one_class(folds: list[FoldScores]) -> list[FoldScores]:
        return [*folds[:-1], replace(folds[-1], actual=np.ones_like(folds[-1].actual))]

    a, b = (last_of_one_class(draw(seed, list("12345"))) for seed in (1, 2))
    found = compare_pair(a, b)
    assert (found.finding.n, found.folds) == (64, tuple("1234"))
    assert found.finding.positives == sum(int(fold.actual.sum()) for fold in a[:-1])


def test_rows_that_stand_for_groups_are_counted_against_groups() -> None:
    def grouped(folds: list[FoldScores]) -> list[FoldScores]:
        return [replace(fold, groups=fold.ids, train_size=320, train_groups=64) for fold in folds]

    a, b = draw(1, list("12345")), draw(2, list("12345"))
    assert "+ 0.25)" in compare_pair(grouped(a), grouped(b)).finding.correction
    images = [replace(fold, groups=("p",) * len(fold.ids), train_size=320, train_groups=64) for fold in a]
    assert "+ 0.05)" in compare_pair(images, images).finding.correction


def test_the_simultaneous_interval_is_bonferronis() -> None:
    arms = {name: draw(seed, NAMES_5X2, shift=seed / 2) for seed, name in enumerate("ABC")}
    for pair in compare_many(arms, protocol="5x2").pairs:
        wide = corrected_t(pair.differences, 1.0, level=1 - 0.05 / 3)
        assert (pair.adjusted_low, pair.adjusted_high) == pytest.approx((wide.low, wide.high))
        assert (pair.adjusted_low > 0 or pair.adjusted_high < 0) == (3 * pair.finding.p < 0.05)
    (alone,) = compare_many({name: arms[name] for name in "AB"}).pairs
    assert (alone.adjusted_low, alone.adjusted_high) == (alone.finding.low, alone.finding.high)


def test_no_interval_reaches_beyond_what_areas_can_differ_by_and_none_is_of_no_width() -> None:
    a = [
        fold_scores(name, "abcd", [0, 0, 1, 1], scores)
        for name, scores in (("1", [1, 2, 3, 4]), ("2", [1, 3, 2, 4]))
    ]
    b = [
        fold_scores(name, "abcd", [0, 0, 1, 1], scores)
        for name, scores in (("1", [4, 3, 2, 1]), ("2", [1, 3, 2, 4]))
    ]
    known = [[replace(fold, train_size=4) for fold in arm] for arm in (a, b)]
    found = adjust([compare_pair(*known)])[0]
    assert (found.finding.low, found.finding.high) == (found.adjusted_low, found.adjusted_high) == (-1.0, 1.0)
    same = adjust([compare_pair(a, a)])[0]
    assert np.isnan([same.finding.low, same.finding.high, same.adjusted_low, same.adjusted_high]).all()


def test_planned_comparisons_are_a_family_of_their_own() -> None:
    arms = {name: draw(seed, NAMES_5X2, shift=seed / 2) for seed, name in enumerate("ABCD")}
    found = compare_many(arms, protocol="5x2", planned=[("D", "A"), ("C", "B")])
    first, second, *rest = found.pairs
    assert (first.arms, second.arms) == (("D", "A"), ("C", "B"))
    np.testing.assert_allclose(
        [first.adjusted_p, second.adjusted_p], holm([first.finding.p, second.finding.p])
    )
    np.testing.assert_allclose([pair.adjusted_p for pair in rest], holm([pair.finding.p for pair in rest]))
    assert {pair.adjustment for pair in rest} == {"Holm over 4 exploratory comparisons"}
    assert found.p_matrix()[0, 3] == first.adjusted_p


def test_a_planned_pair_without_scores_still_counts() -> None:
    arms = {"A": draw(1, list("12345")), "B": draw(2, list("12345"), shift=2.0)}
    found = compare_many(arms, planned=[("B", "A"), ("B", "gone")])
    assert found.pairs[0].adjusted_p == min(1.0, 2 * found.pairs[0].finding.p)
    assert not found.pairs[1].tested
    with pytest.raises(InputError, match="must not be repeated"):
        compare_many(arms, planned=[("A", "B"), ("B", "A")])
