"""The mean AUC of several models on one test set, and differences of independent estimates."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from featx.errors import InputError
from featx.stats import (
    Estimate,
    FoldScores,
    delong_interval,
    fold_scores,
    independent_difference,
    summarise_models,
)


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
