"""AUC and rates of subgroups against R, and what their tests take for a unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.stats import t

from featx.errors import InputError
from featx.stats import (
    Subgroup,
    delong_covariance,
    delong_interval,
    holm,
    independent_difference,
    proportion,
    subgroup_aucs,
    subgroup_rates,
)

from .conftest import Reference


def by_name(found: Sequence[Subgroup]) -> dict[str, Subgroup]:
    return {one.level: one for one in found}


def drawn(seed: int = 0, rows: int = 240) -> dict[str, np.ndarray]:
    """Draw lesions of two images each, on three sites."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(rows // 2), 2)
    actual = groups % 3 == 0
    scores = rng.normal(size=rows // 2)[groups] + 0.3 * rng.normal(size=rows) + actual
    return {
        "levels": rng.choice(["arm", "arm", "leg", "trunk"], rows // 2)[groups],
        "actual": actual,
        "scores": scores,
        "groups": groups,
    }


def test_auc_variance_and_test_equal_r(reference: Reference) -> None:
    cohort, values = reference.cohort, reference.values
    found = by_name(subgroup_aucs(cohort["site"], cohort["event"], cohort["probability"]))
    assert found["a"].reference
    for level, one in found.items():
        rows = cohort["site"] == level
        assert one.estimate.value == pytest.approx(values[f"auc {level}"], abs=1e-12)
        interval = delong_interval(cohort["event"][rows], cohort["probability"][rows], scale="logit")
        assert (one.estimate.low, one.estimate.high) == pytest.approx((interval.low, interval.high))
        covariance = delong_covariance(cohort["event"][rows], cohort["probability"][rows]).covariance
        assert covariance[0, 0] == pytest.approx(values[f"variance {level}"], rel=1e-9)
    for level in "bc":
        one = found[level]
        error = np.sqrt(values[f"variance {level}"] + values["variance a"])
        assert one.difference.value / error == pytest.approx(values[f"statistic {level}"], rel=1e-9)
        # R counts the rows of both classes in the degrees of freedom, featx those of the smaller class.
        wanted = 2 * t.sf(abs(values[f"statistic {level}"]), values[f"freedom {level}"])
        assert wanted == pytest.approx(values[f"p {level}"], rel=1e-9)
        assert wanted < one.p < wanted + 0.01


def test_rates_and_their_test_equal_r(reference: Reference) -> None:
    cohort = reference.cohort
    hits = (cohort["probability"] >= 0.3) == cohort["event"]
    found = by_name(subgroup_rates(cohort["site"], cohort["event"], hits))
    for level in "bc":
        assert found[level].p == pytest.approx(reference.values[f"chi-square p {level}"], rel=1e-9)
        rows = (cohort["site"] == level) & (cohort["event"] == 1)
        assert found[level].estimate == proportion(hits[rows])
        assert found[level].difference == independent_difference(found[level].estimate, found["a"].estimate)


def test_holm_equals_r(reference: Reference) -> None:
    values = reference.values
    wanted = [values["holm b"], values["holm c"]]
    assert holm([values["p b"], values["p c"]]).tolist() == pytest.approx(wanted)


def test_groups_are_the_unit() -> None:
    data = drawn()
    found = subgroup_aucs(**data)
    for one in found:
        rows = data["levels"] == one.level
        wanted = delong_interval(
            data["actual"][rows], data["scores"][rows], groups=data["groups"][rows], scale="logit"
        )
        assert one.estimate[:] == pytest.approx((wanted.estimate, wanted.low, wanted.high))
        assert (one.images, one.groups) == (rows.sum(), rows.sum() // 2)
    # An image entered three times is not three images.
    thrice = {name: np.tile(values, 3) for name, values in data.items()}
    images = np.tile(np.arange(240), 3)
    for one, other in zip(found, subgroup_aucs(**thrice, images=images), strict=True):
        assert (other.images, other.positives, other.groups) == (one.images, one.positives, one.groups)
        assert other.estimate == pytest.approx(one.estimate)
        assert other.p == pytest.approx(one.p, nan_ok=True)


def test_groups_in_several_levels_are_paired() -> None:
    """The covariance of two levels of the same lesions is that of two columns of scores."""
    rng = np.random.default_rng(0)
    actual = np.arange(80) % 2
    signal = rng.normal(size=80) + actual
    a, b = (signal + 0.5 * rng.normal(size=80) for _ in range(2))
    levels, groups = np.repeat(["a", "b"], 80), np.tile(np.arange(80), 2)
    _, gap = subgroup_aucs(levels, np.tile(actual, 2), np.concatenate([a, b]), groups=groups)
    found = delong_covariance(actual, np.column_stack([b, a]), groups=np.arange(80))
    variance = found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1]
    assert gap.difference.value == pytest.approx(found.auc[0] - found.auc[1])
    reach = (gap.difference.high - gap.difference.low) / 2
    assert reach == pytest.approx(2 * np.sqrt(variance), rel=0.05)
    alone = subgroup_aucs(levels, np.tile(actual, 2), np.concatenate([a, b]))[1]
    assert alone.difference.high - alone.difference.low > 1.5 * 2 * reach


def test_folds_are_averaged_and_not_mixed() -> None:
    """Scores of folds on different scales: only rows of one fold are compared."""
    data = drawn()
    folds = data["groups"] % 2
    moved = data["scores"] + 100 * folds
    found = subgroup_aucs(data["levels"], data["actual"], moved, groups=data["groups"], folds=folds)
    for one in found:
        rows = data["levels"] == one.level
        areas = [
            delong_covariance(data["actual"][rows & (folds == k)], data["scores"][rows & (folds == k)]).auc[0]
            for k in (0, 1)
        ]
        assert one.estimate.value == pytest.approx(np.mean(areas))


def test_levels_that_are_too_small_are_shown_and_not_tested() -> None:
    data = drawn()
    few = np.flatnonzero(data["actual"] & (data["levels"] == "leg"))
    kept = np.setdiff1d(np.arange(240), few[6:])  # three lesions of the positive class
    small = {name: values[kept] for name, values in data.items()}
    found = by_name(subgroup_aucs(**small))
    assert found["leg"].fewest == found["leg"].positive_groups == 3
    assert np.isnan(found["leg"].p)
    assert 0 < found["leg"].estimate.value < 1
    assert found["leg"].warnings == ("too small for a test: 3 groups in the smaller class, fewer than 10",)
    hits = (small["scores"] > 0.5) == small["actual"]
    rates = {
        kind: by_name(
            subgroup_rates(small["levels"], small["actual"], hits, groups=small["groups"], positive=kind)
        )["leg"]
        for kind in (True, False)
    }
    assert rates[True].warnings == ("too small for a test: 3 groups in the positive class, fewer than 10",)
    assert np.isnan(rates[True].p)
    assert 0 < rates[False].p <= 1
    gone = np.setdiff1d(np.arange(240), few)
    (none,) = (one for one in subgroup_aucs(**{k: v[gone] for k, v in data.items()}) if one.level == "leg")
    assert np.isnan(none.estimate.value)
    assert none.warnings == ("only one class: the AUC is undefined",)


def test_perfect_levels_have_no_test_and_small_references_are_named() -> None:
    actual = np.arange(80) % 2
    levels = np.repeat(["a", "b"], 40)
    scores = np.where(levels == "a", actual, np.random.default_rng(0).normal(size=80) + actual)
    perfect, other = subgroup_aucs(levels, actual, scores)
    assert perfect.reference
    assert perfect.warnings == ("the estimated variance is 0 or undefined, so there is no interval",)
    assert np.isnan(other.p)
    assert other.warnings == ("no test: the reference level 'a' is too small, or does not vary",)
    always = subgroup_rates(levels, actual, np.ones(80))
    assert always[1].p == 1


def test_a_gap_is_found() -> None:
    rng = np.random.default_rng(0)
    actual, levels = np.arange(400) % 2, np.repeat(["dark", "light"], [150, 250])
    scores = rng.normal(size=400) + actual * np.where(levels == "light", 2.0, 0.3)
    dark, light = subgroup_aucs(levels, actual, scores)
    assert light.reference
    assert dark.p < 0.001
    assert dark.difference.low < dark.difference.value < dark.difference.high < 0
    rate, _ = subgroup_rates(levels, actual, (scores > 0.5) == actual)
    assert rate.p < 0.01
    assert rate.difference.high < 0


def test_levels_have_the_given_order_and_must_be_in_it() -> None:
    data = drawn()
    order = ["trunk", "neck", "leg", "arm"]
    assert [one.level for one in subgroup_aucs(**data, order=order)] == ["trunk", "leg", "arm"]
    with pytest.raises(InputError, match=r"'order' must name every level\. Missing: leg, trunk"):
        subgroup_aucs(**data, order=["arm"])
    with pytest.raises(InputError, match="one name for each of the 240 rows"):
        subgroup_aucs(**{**data, "levels": ["arm"]})
    assert subgroup_aucs([], [], []) == ()
