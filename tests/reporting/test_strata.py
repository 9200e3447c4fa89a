from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.reporting.series import collect
from featx.reporting.summary import MOST_LEVELS, SubgroupColumn, find_strata, levels
from featx.runs import Prediction, Run

Write = Callable[..., Run]


def stratum(write: Write, folder: Path, values: list[str]) -> SubgroupColumn:
    """What is made of a column with these values, each image tested in two folds."""
    for fold in ("1x1", "2x1"):
        made = [
            Prediction(
                f"i{n}", fold, "", ("benign", "malignant")[n % 2], {"malignant": 0.0}, {}, {"x": value}
            )
            for n, value in enumerate(values)
        ]
        write("A", fold, made)
    (found,), _ = find_strata(collect([folder / "runs"])[0], ["x"])
    return found


def test_known_scales_stand_in_their_order() -> None:
    assert levels(["High", "low"]) == ["low", "High"]
    assert levels(["high", "low", "unknown"]) == ["high", "low", "unknown"]


def test_few_numbers_are_taken_as_they_are(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, ["10", "9", "nan", ""] * 3)
    assert (found.labels, found.edges) == (("9", "10"), ())
    assert [found.level(text) for text in ("9", "nan", " ")] == ["9", "", ""]


def test_other_numbers_are_binned_at_quartiles_of_distinct_images(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, [f"{index / 10}" for index in range(1, 21)])
    assert found.labels == ("≤ 0.5", "> 0.5 to 1", "> 1 to 1.5", "> 1.5")
    assert [found.level(text) for text in ("0.1", "0.5", "0.6", "1.5", "2.0", "nan", "")] == [
        *("≤ 0.5", "≤ 0.5", "> 0.5 to 1", "> 1 to 1.5", "> 1.5"),
        *("", ""),
    ]


def test_a_column_that_is_mostly_one_number_still_has_two_bins(write: Write, tmp_path: Path) -> None:
    found = stratum(write, tmp_path, ["20.5"] * 90 + [f"{index}" for index in range(20)])
    assert found.labels == ("≤ 19", "> 19")


@pytest.mark.parametrize(
    ("values", "label"),
    [
        ([str(n) for n in range(18, 90)], "10 to 19"),
        ([f"{n}.0" for n in range(0, 90, 5)], "0 to 9"),
        ([str(n) for n in range(1900, 1990)], "≤ 1922"),  # years
        ([str(n - 5) for n in range(60)], "≤ 9"),
        ([str(n) for n in range(20)], "≤ 4"),
    ],
)
def test_whole_numbers_like_ages_are_binned_by_tens(
    write: Write, tmp_path: Path, values: list[str], label: str
) -> None:
    assert stratum(write, tmp_path, values).labels[0] == label


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=MOST_LEVELS + 1, unique=True))
def test_every_number_has_a_bin_and_every_bin_a_number(numbers: list[float]) -> None:
    from featx.reporting.summary import _bins

    edges, labels = _bins(np.array(numbers))
    found = {
        SubgroupColumn("x", edges, tuple(map(str, range(len(labels))))).level(repr(value))
        for value in numbers
    }
    if len(labels) <= 4:  # decades may be empty, quartiles are not
        assert found == set(map(str, range(len(labels))))
    assert len(labels) == len(edges) + 1 <= MOST_LEVELS
