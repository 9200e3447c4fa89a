"""The mean AUC of several models on one test set, and differences of independent estimates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from featx.errors import InputError
from featx.stats import (
    Estimate,
    FoldScores,
    delong_interval,
    fold_aucs,
    fold_scores,
    independent_difference,
    summarise_arm,
    summarise_folds,
    summarise_models,
    summarise_repeats,
)
from featx.stats.intervals import logit_bounds


def models(
    count: int, rows: int = 80, seed: int = 0, grouped: bool = False, classes: int = 2
) -> list[FoldScores]:
    """Models whose scores have a part in common, as those of one arm have."""
    rng = np.random.default_rng(seed)
    actual = np.arange(rows) % classes
    groups = [f"g{row // 4}" if grouped else f"i{row}" for row in range(rows)]
    shape = (rows,) if classes == 2 else (rows, classes)
    signal = actual if classes == 2 else np.eye(classes)[actual]
    common = rng.normal(size=shape) + signal
    return [
        fold_scores(
            str(number),
            [f"{row:03}" for row in range(rows)],
            actual,
            common + 0.5 * rng.normal(size=shape),
            groups=groups,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("grouped", [False, True])
def test_one_model_has_delongs_interval(grouped: bool) -> None:
    (model,) = models(1, grouped=grouped)
    found = summarise_models([model])
    wanted = delong_interval(
        model.actual, model.scores, groups=model.groups if grouped else None, scale="logit"
    )
    assert (found.mean, found.low, found.high) == pytest.approx((wanted.estimate, wanted.low, wanted.high))
    assert np.isnan(found.sd)


def test_equal_models_have_the_interval_of_one() -> None:
    (model,) = models(1)
    one, five = summarise_models([model]), summarise_models([model] * 5)
    assert (five.mean, five.low, five.high) == pytest.approx((one.mean, one.low, one.high))
    assert five.sd == pytest.approx(0, abs=1e-12)


def test_mean_and_deviation_are_over_the_models() -> None:
    several = models(4)
    aucs = [roc_auc_score(model.actual, model.scores) for model in several]
    found = summarise_models(several)
    assert (found.mean, found.sd, found.n) == (
        pytest.approx(np.mean(aucs)),
        pytest.approx(np.std(aucs, ddof=1)),
        4,
    )
    assert found.low < found.mean < found.high


@pytest.mark.parametrize(("grouped", "classes"), [(False, 2), (True, 2), (False, 3), (True, 3)])
def test_the_interval_is_as_wide_as_that_of_a_bootstrap_over_groups(grouped: bool, classes: int) -> None:
    several = models(3, rows=240, grouped=grouped, classes=classes)
    groups = np.array(several[0].groups)
    names, rng, means = np.unique(groups), np.random.default_rng(1), []
    rows_of = {name: np.flatnonzero(groups == name) for name in names}
    for _ in range(400):
        rows = np.concatenate([rows_of[name] for name in rng.choice(names, len(names))])
        means.append(np.mean([_auc(model.actual[rows], model.scores[rows]) for model in several]))
    found = summarise_models(several)
    assert found.mean == pytest.approx(np.mean([_auc(model.actual, model.scores) for model in several]))
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(np.std(means), rel=0.15)


def _auc(actual: np.ndarray, scores: np.ndarray) -> float:
    if scores.ndim == 1:
        high, low = scores[actual == 1], scores[actual == 0]
        return float((high[:, None] > low).mean() + (high[:, None] == low).mean() / 2)
    return float(np.mean([_auc(actual == place, scores[:, place]) for place in range(scores.shape[1])]))


def test_one_class_has_no_auc() -> None:
    model = fold_scores("1", ["a", "b"], [1, 1], [0.1, 0.2])
    found = summarise_models([model, model])
    assert np.isnan([found.mean, found.low, found.high]).all()
    assert found.undefined == 2
    assert found.warnings == ("a class has no image: the AUC is undefined",)


def test_few_images_and_perfect_separation_are_said() -> None:
    model = fold_scores("1", list("abcd"), [0, 0, 1, 1], [1, 2, 3, 4])
    found = summarise_models([model])
    assert found.mean == 1
    assert np.isnan(found.low)
    assert [text.split(":")[0] for text in found.warnings] == [
        "only 2 rows in the smaller class",
        "the estimated variance is 0 or undefined, so there is no interval",
    ]


def test_models_of_other_images_are_refused() -> None:
    one, other = models(1)[0], models(1, rows=60)[0]
    with pytest.raises(InputError, match="Model '0' scored others"):
        summarise_models([one, other])
    with pytest.raises(InputError, match="at least one model"):
        summarise_models([])


def test_the_difference_of_independent_proportions_is_newcombes() -> None:
    # Newcombe 1998, table II, method 10: 56/70 and 48/80, from Wilson's intervals of both.
    one, other = Estimate(0.8, 0.6918, 0.8768), Estimate(0.6, 0.4904, 0.7004)
    found = independent_difference(one, other)
    assert [round(value, 3) for value in found] == [0.2, 0.052, 0.334]


def test_without_an_interval_there_is_none_of_the_difference() -> None:
    nothing = float("nan")
    found = independent_difference(Estimate(0.8, nothing, nothing), Estimate(0.6, 0.5, 0.7))
    assert found.value == pytest.approx(0.2)
    assert np.isnan(found.low)


def _draws(count: int, shift: float = 1.0, seed: int = 0, spread: float = 0.5) -> list[FoldScores]:
    """Scores of one test set by several trainings: the images' part is common, the rest is each training's own."""
    rng = np.random.default_rng(seed)
    actual = np.arange(80) % 2
    common = rng.normal(size=80) + shift * actual
    ids = [f"{row:02}" for row in range(80)]
    return [fold_scores("1", ids, actual, common + spread * rng.normal(size=80)) for _ in range(count)]


def test_one_training_in_a_fold_is_summarised_as_always() -> None:
    (draw,) = _draws(1)
    found, known = summarise_repeats([[draw]], ratio=None), summarise_arm([draw])
    assert (found.mean, found.low, found.high) == pytest.approx((known.mean, known.low, known.high))
    folds = [dataclasses.replace(_draws(1, seed=seed)[0], name=str(seed)) for seed in range(4)]
    found, known = summarise_repeats([[one] for one in folds], ratio=0.5), summarise_arm(folds, ratio=0.5)
    assert (found.mean, found.sd, found.low) == pytest.approx((known.mean, known.sd, known.low))


def test_repetitions_of_a_fold_are_one_value_of_it() -> None:
    folds = [_draws(3, seed=seed) for seed in range(4)]
    folds = [
        [dataclasses.replace(one, name=str(place)) for one in draws] for place, draws in enumerate(folds)
    ]
    found = summarise_repeats(folds, ratio=0.5)
    means = [float(fold_aucs(draws).mean()) for draws in folds]
    assert (found.n, found.mean, found.sd) == pytest.approx((4, np.mean(means), np.std(means, ddof=1)))
    # Averaging lowers the variance of a fold's value, not its covariance with other folds.
    values = np.array([fold_aucs(draws) for draws in folds])
    plain = summarise_folds(means, ratio=0.5, scale="logit")
    assert found.high - found.low > plain.high - plain.low
    variance = np.var(means, ddof=1) / 4 + 0.5 * values.var(axis=0, ddof=1).mean()
    assert found.low == pytest.approx(logit_bounds(found.mean, student.ppf(0.975, 3) * variance**0.5)[0])
    # Copies of a training are no evidence of anything.
    one, copied = (summarise_repeats([draws[:1] * n for draws in folds], ratio=0.5) for n in (1, 5))
    assert (copied.low, copied.high) == pytest.approx((one.low, one.high))


def test_draws_that_differ_make_the_interval_of_a_single_test_set_wider() -> None:
    draws = _draws(4, spread=2.0)
    found, alone = summarise_repeats([draws], ratio=None), summarise_models(draws)
    assert found.low < alone.low < alone.mean < alone.high < found.high
    assert (found.n, found.undefined) == (1, 0)
    assert np.isnan(found.sd)


def test_the_interval_of_repeated_draws_covers_the_expected_auc() -> None:
    """New test images and new draws each time; the expected AUC of a training is known from the normal model."""
    expected = float(norm.cdf(1.0 / np.sqrt(2 * (1 + 0.5**2))))
    intervals = [summarise_repeats([_draws(3, seed=seed)], ratio=None) for seed in range(150)]
    covered = sum(one.low <= expected <= one.high for one in intervals)
    assert covered >= 135


def test_repetitions_of_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="must score the same images"):
        summarise_repeats([[_draws(1)[0], fold_scores("1", ["x", "y"], [0, 1], [0.1, 0.2])]], ratio=None)
    with pytest.raises(InputError, match="at least one fold"):
        summarise_repeats([], ratio=None)
