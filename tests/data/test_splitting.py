from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.splitting import deal, inner_splits, validation_split
from featx.errors import ProtocolError


@st.composite
def grouped(draw: st.DrawFn, mixed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Targets and groups of up to three classes; groups of one class each unless mixed."""
    groups = draw(st.integers(6, 40))
    sizes = draw(st.lists(st.integers(1, 6), min_size=groups, max_size=groups))
    classes = draw(st.integers(2, 3))
    of_group = [
        index % classes if index < 2 * classes else draw(st.integers(0, classes - 1))
        for index in range(groups)
    ]
    targets = np.repeat(of_group, sizes)
    if mixed:
        flips = draw(st.lists(st.booleans(), min_size=len(targets), max_size=len(targets)))
        targets = np.where(flips, 0, targets)
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(targets))
    return targets[order], np.repeat([f"g{index}" for index in range(groups)], sizes)[order]


def groups_by_class(targets: np.ndarray, groups: np.ndarray) -> dict[int, int]:
    return {int(target): len(np.unique(groups[targets == target])) for target in np.unique(targets)}


@given(grouped(mixed=True), st.integers(2, 5), st.integers(0, 3))
def test_groups_are_dealt_whole(data: tuple[np.ndarray, np.ndarray], number: int, seed: int) -> None:
    targets, groups = data
    parts = deal(targets, groups, (1 / number,) * number, np.random.default_rng(seed))
    assert set(parts.tolist()) <= set(range(number))
    for group in np.unique(groups):
        assert len(set(parts[groups == group].tolist())) == 1


@given(grouped(), st.integers(2, 4), st.integers(0, 3))
def test_every_class_with_enough_groups_is_in_every_part(
    data: tuple[np.ndarray, np.ndarray], number: int, seed: int
) -> None:
    targets, groups = data
    parts = deal(targets, groups, (1 / number,) * number, np.random.default_rng(seed))
    for target, count in groups_by_class(targets, groups).items():
        if count >= number:
            assert set(parts[targets == target].tolist()) == set(range(number))


@given(st.lists(st.integers(2, 40), min_size=2, max_size=4), st.integers(0, 5))
def test_single_images_are_dealt_evenly_to_the_row(sizes: list[int], seed: int) -> None:
    targets = np.repeat(np.arange(len(sizes)), sizes)
    parts = deal(targets, np.arange(len(targets)), (0.5, 0.5), np.random.default_rng(seed))
    for target, size in enumerate(sizes):
        assert abs(2 * np.sum(parts[targets == target] == 0) - size) <= 1
    assert abs(2 * np.sum(parts == 0) - len(targets)) <= len(sizes)


@given(grouped(), st.integers(0, 3))
def test_halves_differ_by_less_than_the_largest_group(data: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    targets, groups = data
    parts = deal(targets, groups, (0.5, 0.5), np.random.default_rng(seed))
    for target in np.unique(targets):
        rows = targets == target
        largest = np.unique(groups[rows], return_counts=True)[1].max()
        assert abs(2 * np.sum(parts[rows] == 0) - np.sum(rows)) <= largest


def test_pairs_and_singles_of_many_lesions_come_out_even() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.choice([1, 2, 3], 600)
    targets = np.repeat((rng.random(600) < 0.15).astype(int), sizes)
    groups = np.repeat(np.arange(600), sizes)
    parts = deal(targets, groups, (0.5, 0.5), rng)
    for target in (0, 1):
        assert abs(2 * np.sum(parts[targets == target] == 0) - np.sum(targets == target)) <= 1


def test_large_groups_reach_the_held_out_part_too() -> None:
    sizes = [10] + [1] * 400
    groups = np.repeat(np.arange(len(sizes)), sizes)
    targets = (groups % 2).astype(int)
    seen = [np.any(groups[rows] == 0) for _, rows in inner_splits(targets, groups, splits=60)]
    assert 0 < sum(seen) < 30


def test_no_shares_are_lost_to_unsplittable_classes() -> None:
    # A class in one group can be in one part only; the others still halve.
    parts = deal([0] * 10 + [1] * 3, [*range(10), "x", "x", "x"], (0.5, 0.5), np.random.default_rng(0))
    assert np.sum(parts[:10] == 0) == 5
    assert len(set(parts[10:].tolist())) == 1


@given(grouped(mixed=True), st.sampled_from([0.1, 0.25, 0.5]), st.integers(0, 3))
def test_inner_splits_keep_groups_and_hold_out_about_the_share(
    data: tuple[np.ndarray, np.ndarray], held_out: float, seed: int
) -> None:
    targets, groups = data
    splits = inner_splits(targets, groups, splits=4, held_out=held_out, seed=seed)
    assert len(splits) == 4
    for fit, validate in splits:
        assert sorted([*fit, *validate]) == list(range(len(targets)))
        assert not set(groups[fit]) & set(groups[validate])
        assert 0 < len(validate) < len(targets)


@given(grouped(), st.integers(0, 3))
def test_validation_parts_hold_every_class_where_they_can(
    data: tuple[np.ndarray, np.ndarray], seed: int
) -> None:
    targets, groups = data
    for fit, validate in inner_splits(targets, groups, splits=4, seed=seed):
        for target, count in groups_by_class(targets, groups).items():
            assert target in targets[fit]
            assert (target in targets[validate]) == (count > 1)


def test_ungrouped_splits_are_the_papers() -> None:
    from sklearn.model_selection import StratifiedShuffleSplit

    targets = np.array([0] * 70 + [1] * 30)
    splitter = StratifiedShuffleSplit(n_splits=10, test_size=0.1, random_state=3)
    wanted = [sorted(rows) for _, rows in splitter.split(targets, targets)]
    assert [rows.tolist() for _, rows in inner_splits(targets, seed=3)] == wanted
    one_each = [f"p{index}" for index in range(100)]
    assert [rows.tolist() for _, rows in inner_splits(targets, one_each, seed=3)] == wanted


def test_a_rare_class_reaches_validation_without_groups() -> None:
    targets = np.array([0] * 60 + [1] * 3)
    for fit, validate in inner_splits(targets, splits=20):
        assert targets[validate].sum() == 1
        assert targets[fit].sum() == 2


def test_splits_differ_among_each_other_and_by_seed_only() -> None:
    targets, groups = np.tile([0, 1, 1], 30), np.arange(90) // 2
    first, again, other = (inner_splits(targets, groups, seed=seed) for seed in (0, 0, 1))
    rows = [tuple(validate.tolist()) for _, validate in first]
    assert len(set(rows)) == len(rows)
    assert rows == [tuple(validate.tolist()) for _, validate in again]
    assert rows != [tuple(validate.tolist()) for _, validate in other]


def test_validation_split_is_the_first_inner_split() -> None:
    targets, groups = np.tile([0, 1, 1], 30), np.arange(90) // 2
    fit, validate = validation_split(targets, groups, held_out=0.2, seed=5)
    (wanted_fit, wanted_validate), *_ = inner_splits(targets, groups, held_out=0.2, seed=5, splits=1)
    assert (fit.tolist(), validate.tolist()) == (wanted_fit.tolist(), wanted_validate.tolist())


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(ProtocolError, match="no class has two groups"):
        inner_splits([0, 0, 1, 1], ["a", "a", "b", "b"])
    with pytest.raises(ProtocolError, match="held_out must be between 0 and 1"):
        inner_splits([0, 1, 0, 1], held_out=1.0)
