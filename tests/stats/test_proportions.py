"""Proportions of rows that repeat an image or come in groups: values, and how often intervals hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from featx.errors import ConfigError
from featx.stats.proportions import Estimate, predictive_values, proportion, wilson


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (3, 20), (20, 20), (118, 400)])
def test_independent_rows_have_wilsons_interval(hits: int, count: int) -> None:
    rows = np.arange(count) < hits
    wanted = proportion_confint(hits, count, method="wilson")
    assert proportion(rows)[1:] == pytest.approx(wanted, abs=1e-12)
    assert proportion(rows, groups=np.arange(count), images=np.arange(count))[1:] == pytest.approx(wanted)


@given(st.lists(st.booleans(), min_size=3, max_size=30), st.integers(2, 5))
def test_testing_an_image_again_is_no_new_evidence(hits: list[bool], times: int) -> None:
    once, often = proportion(hits), proportion(hits * times, images=list(range(len(hits))) * times)
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low >= (once.high - once.low) * (1 - 1e-9)


def test_groups_that_agree_have_the_interval_of_their_number() -> None:
    found = proportion(np.ones(30), groups=np.repeat(np.arange(6), 5))
    assert found[1:] == pytest.approx(tuple(float(end[0]) for end in wilson([1.0], [6])))


def test_no_rows_have_no_proportion() -> None:
    assert np.isnan(proportion([])).all()


@pytest.mark.parametrize("repeats", [1, 5])
@pytest.mark.parametrize("rate", [0.6, 0.9])
def test_intervals_of_rows_in_groups_hold_the_truth(repeats: int, rate: float) -> None:
    rng = np.random.default_rng(0)
    trials, held, naive = 600, 0, 0
    groups = np.repeat(np.arange(40), 4)
    for _ in range(trials):
        # Beta-binomial: images of a patient are alike; tests of an image, too.
        chance = rng.beta(2 * rate, 2 * (1 - rate), size=40)[groups]
        lean = chance + rng.normal(scale=0.05, size=len(groups))
        hits = rng.uniform(size=len(groups)) < lean
        rows = np.tile(np.arange(len(groups)), repeats)
        flips = rng.uniform(size=len(rows)) < 0.1 * (repeats > 1)
        seen = np.where(flips, rng.uniform(size=len(rows)) < rate, hits[rows])
        found = proportion(seen, images=rows, groups=groups[rows])
        held += found.low <= rate <= found.high
        plain = proportion(seen)
        naive += plain.low <= rate <= plain.high
    assert 0.91 <= held / trials <= 0.99
    assert naive / trials < held / trials - 0.04


def test_predictive_values_follow_bayes_and_their_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(1)
    sensitivity, specificity, prevalence = 0.85, 0.8, 0.1
    caught, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    truth = caught / (caught + false)
    other = specificity * (1 - prevalence)
    negative_truth = other / (other + (1 - sensitivity) * prevalence)
    held = np.zeros(2)
    for _ in range(1000):
        parts = [proportion(rng.uniform(size=60) < rate) for rate in (sensitivity, specificity)]
        positive, negative = predictive_values(*parts, prevalence)
        for place, (found, wanted) in enumerate(((positive, truth), (negative, negative_truth))):
            assert found.low <= found.value <= found.high
            held[place] += found.low <= wanted <= found.high
    assert ((held / 1000 >= 0.93) & (held / 1000 <= 0.98)).all()


def test_predictive_values_at_the_edges() -> None:
    all_right = proportion(np.ones(20))
    positive, negative = predictive_values(all_right, all_right, 0.2)
    assert positive.value == negative.value == 1.0
    assert 0.2 < positive.low < 1.0 == positive.high
    nobody = proportion(np.zeros(20))
    assert np.isnan(predictive_values(nobody, all_right, 0.2)[0].value)
    assert np.isnan(predictive_values(Estimate(np.nan, np.nan, np.nan), all_right, 0.2)[0]).all()
    with pytest.raises(ConfigError, match="prevalence"):
        predictive_values(all_right, all_right, 1.0)
