"""Analysis of variance against scipy, by hand, and on designs with a known answer."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import f_oneway

from featx.errors import ConfigError, InputError
from featx.stats.anova import factorial_anova

NETS, STARTS, FOLDS = ("small", "deep", "wide"), ("random", "imagenet"), ("1", "2", "3", "4")


def design(seed: int, *, net: float = 0.0, start: float = 0.05, both: float = 0.0) -> list[dict[str, object]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "net": one,
            "start": other,
            "fold": fold,
            "auc": 0.8 + net * i + start * j + both * i * j + 0.02 * int(fold) + rng.normal() * 0.01,
        }
        for (i, one), (j, other), fold in product(enumerate(NETS), enumerate(STARTS), FOLDS)
    ]


def test_one_factor_equals_scipy() -> None:
    rows = design(0, net=0.01)
    found = factorial_anova(rows, "auc", ["net"], overlapping=False)
    expected = f_oneway(*([row["auc"] for row in rows if row["net"] == net] for net in NETS))
    assert (found.effects[0].statistic, found.effects[0].p) == pytest.approx(tuple(expected))
    assert (found.effects[0].freedom, found.residual_freedom, found.n) == (2, 21, 24)


def test_balanced_design_by_hand() -> None:
    rows = design(1, net=0.02, both=0.03)
    found = factorial_anova(rows, "auc", ["net", "start"], block="fold", overlapping=False)
    table = np.array([row["auc"] for row in rows], dtype=float).reshape(3, 2, 4)
    grand = table.mean()
    net, start, fold = (table.mean(axis=axes) - grand for axes in ((1, 2), (0, 2), (0, 1)))
    both = table.mean(axis=2) - grand - net[:, None] - start[None, :]
    squares = [8 * (net**2).sum(), 12 * (start**2).sum(), 4 * (both**2).sum(), 6 * (fold**2).sum()]
    total = ((table - grand) ** 2).sum()
    assert [one.name for one in found.effects] == ["net", "start", "net × start", "fold"]
    np.testing.assert_allclose([one.sum_of_squares for one in found.effects], squares)
    np.testing.assert_allclose([one.eta_squared for one in found.effects], np.array(squares) / total)
    residual = total - sum(squares)
    error = residual / 15
    for one, square, freedom in zip(found.effects, squares, (2, 1, 2, 3), strict=True):
        assert one.freedom == freedom
        assert one.statistic == pytest.approx(square / freedom / error)
        assert one.partial_eta_squared == pytest.approx(square / (square + residual))
        assert one.omega_squared == pytest.approx((square - freedom * error) / (total + error))
    assert found.residual_sum_of_squares == pytest.approx(residual)
    assert found.r_squared == pytest.approx(1 - residual / total)
    assert found.warnings == ()


def test_what_matters_is_found() -> None:
    analysed = factorial_anova(design(2), "auc", ["net", "start"], block="fold", overlapping=False)
    found = {one.name: one for one in analysed.effects}
    assert found["start"].p < 1e-6
    assert found["net"].p > 0.05
    assert found["start"].eta_squared > 10 * found["net"].eta_squared


def test_rows_that_share_images_have_effect_sizes_and_no_p() -> None:
    alone = factorial_anova(design(2), "auc", ["net", "start"], block="fold", overlapping=False)
    shared = factorial_anova(design(2), "auc", ["net", "start"], block="fold")
    assert np.isnan([one.p for one in shared.effects]).all()
    assert [one.omega_squared for one in shared.effects] == [one.omega_squared for one in alone.effects]
    assert shared.warnings == ("rows are folds that share images: effect sizes are valid, p values are not",)


def test_interactions_can_be_left_out() -> None:
    found = factorial_anova(design(0), "auc", ["net", "start"], interactions=1)
    assert [one.factors for one in found.effects] == [("net",), ("start",)]


def test_odd_names_and_numbers_are_levels() -> None:
    rows = [row | {"a b ~ +": index % 2} for index, row in enumerate(design(0))]
    assert factorial_anova(rows, "auc", ["a b ~ +"]).effects[0].freedom == 1


def test_warnings_name_overlap_and_imbalance() -> None:
    found = factorial_anova(design(0)[:-1], "auc", ["net", "start"])
    assert [note.split(":")[0] for note in found.warnings] == [
        "rows are folds that share images",
        "the design is not balanced",
    ]


def test_bad_designs_are_refused() -> None:
    rows = design(0)
    with pytest.raises(InputError, match="row 0 of the analysis has no value for view"):
        factorial_anova(rows, "auc", ["view"])
    with pytest.raises(InputError, match=r"at least two levels\. Factors with one level: net"):
        factorial_anova([row for row in rows if row["net"] == "deep"], "auc", ["net"])
    with pytest.raises(InputError, match=r"Got nan in row 3\. Exclude the rows"):
        factorial_anova([*rows[:3], rows[3] | {"auc": float("nan")}, *rows[4:]], "auc", ["net"])
    with pytest.raises(InputError, match="6 parameters for 6 rows"):
        factorial_anova([row for row in rows if row["fold"] == "1"], "auc", ["net", "start"])
    with pytest.raises(InputError, match="some combinations of the factors have no row"):
        factorial_anova(
            [row for row in rows if (row["net"], row["start"]) != ("deep", "random")], "auc", ["net", "start"]
        )
    twins = [row | {"layer": f"of {row['net']}"} for row in rows]
    with pytest.raises(InputError, match="factors are confounded"):
        factorial_anova(twins, "auc", ["net", "layer"], interactions=1)
    # Every pair of factors is crossed, but six arms cannot tell seven effects apart.
    arms = ["0 0 1", "0 1 0", "0 1 1", "1 0 0", "1 0 1", "1 1 1"]
    crossed = [dict(zip("abc", arm.split(), strict=True), auc=float(n)) for n in range(3) for arm in arms]
    with pytest.raises(InputError, match="factors are confounded"):
        factorial_anova(crossed, "auc", ["a", "b", "c"])
    with pytest.raises(ConfigError, match="different factors, other than the block"):
        factorial_anova(rows, "auc", ["net"], block="net")
    with pytest.raises(ConfigError, match="needs one or more different factors"):
        factorial_anova(rows, "auc", [])
