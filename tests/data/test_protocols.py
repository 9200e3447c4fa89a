from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.folds import Fold, Folds, check_folds, read_folds, write_folds
from featx.data.manifest import read_manifest
from featx.data.protocols import (
    check_inner,
    describe_folds,
    make_fold_file,
    make_folds,
    merged_groups,
    split_folds,
)
from featx.data.splitting import inner_splits
from featx.data.tasks import Labelled, Task, apply_task
from featx.digest import digest_file
from featx.errors import LeakError, ManifestError, ProtocolError

from .conftest import LABELS, labelled_by


def parts_of(labelled: Labelled, ids: tuple[str, ...]) -> tuple[set[str], dict[str, int]]:
    at = [labelled.ids.index(name) for name in ids]
    names, counts = np.unique(labelled.classes[at], return_counts=True)
    return set(labelled.groups[at].tolist()), dict(zip(names.tolist(), counts.tolist(), strict=True))


def test_five_by_two(labelled: Labelled) -> None:
    folds = split_folds(labelled, "5x2")
    assert folds.names == ("1x1", "1x2", "2x1", "2x2", "3x1", "3x2", "4x1", "4x2", "5x1", "5x2")
    for first, second in zip(folds.folds[::2], folds.folds[1::2], strict=True):
        assert (first.train, first.test) == (second.test, second.train)
        assert sorted(first.train + first.test) == list(labelled.ids)
        groups, classes = parts_of(labelled, first.train)
        assert not groups & parts_of(labelled, first.test)[0]
        assert classes["melanoma"] == 4
        assert classes["nevus"] in (6, 8)
    assert len({frozenset((fold.train, fold.test)) for fold in folds.folds}) == 5
    assert check_folds(folds, labelled) == ()


@given(st.integers(2, 7), st.integers(0, 50))
def test_k_fold_tests_every_image_once(number: int, seed: int) -> None:
    labelled = stand_in()
    folds = split_folds(labelled, f"kfold:{number}", seed)
    assert folds.names == tuple(str(part) for part in range(1, number + 1))
    assert sorted(name for fold in folds.folds for name in fold.test) == list(labelled.ids)
    for fold in folds.folds:
        assert sorted(fold.train + fold.test) == list(labelled.ids)
        assert not parts_of(labelled, fold.train)[0] & parts_of(labelled, fold.test)[0]


def stand_in() -> Labelled:
    """Labelled images without a manifest: groups of one to three images."""
    groups = np.array([f"g{index:02d}" for index in range(20) for _ in range(1 + index % 3)])
    targets = np.array([int(group[1:]) % 2 for group in groups])
    ids = tuple(f"i{index:02d}" for index in range(len(groups)))
    task = apply_task_stub()
    classes = np.array([task.classes[target] for target in targets])
    return Labelled(None, task, ids, ids, classes, targets, groups, np.array([""] * len(ids)), {}, 0)  # type: ignore[arg-type]


def apply_task_stub() -> object:
    from featx.data.tasks import Task

    return Task("t", ("a", "b"), (("a", "a"), ("b", "b")), positive="b")


def test_folds_depend_on_content_and_seed_only(tmp_path: Path, labelled: Labelled) -> None:
    other = tmp_path / "shuffled"
    other.mkdir()
    lines = (tmp_path / "m.csv").read_text().splitlines()
    (other / "n.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    shuffled = apply_task(read_manifest(other / "n.csv", check_files=False), "labels")
    assert split_folds(labelled, "5x2", 3).digest == split_folds(shuffled, "5x2", 3).digest
    assert split_folds(labelled, "5x2", 3).digest != split_folds(labelled, "5x2", 4).digest


def test_copies_are_never_in_both_sets(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    keys = [f"{label}{index % 7}" for index, label in enumerate(LABELS)]
    folds = split_folds(labelled, "5x2", keys=keys)
    assert check_folds(folds, labelled, keys) == ()
    with pytest.raises(LeakError, match=r"have the same SHA-256 nevus\d"):
        check_folds(split_folds(labelled, "5x2"), labelled, keys)


def test_merged_groups_follow_chains_of_copies() -> None:
    groups = ["a", "b", "b", "c", "c", "d"]
    assert merged_groups(groups, ["1", "1", "2", "2", "3", "4"]).tolist() == ["a"] * 5 + ["d"]
    assert merged_groups(groups, list("123456")).tolist() == groups


def test_holdout_follows_the_split_column(tmp_path: Path) -> None:
    splits = ["train", "Val", "test", "test", ""] * 4
    labelled = labelled_by(tmp_path, ["a", "b"] * 10, split=splits)
    folds = split_folds(labelled, "holdout")
    assert folds.names == ("holdout",)
    assert len(folds.folds[0].train) == 8
    assert len(folds.folds[0].test) == 8
    assert check_folds(folds, labelled) == ("4 images are in no fold: i04, i09, i14, i19",)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "private"], "needs the splits train, val and test, the manifest has private"),
        (["train", "train"], "needs images in the split test"),
        (["", ""], "needs images in the split train"),
    ],
)
def test_holdout_needs_both_parts(tmp_path: Path, splits: list[str], message: str) -> None:
    labelled = labelled_by(tmp_path, ["a", "b"], split=splits, extra=["", "1"])
    with pytest.raises(ProtocolError, match=message):
        split_folds(labelled, "holdout")


def test_none_trains_on_everything(labelled: Labelled) -> None:
    folds = split_folds(labelled, "none")
    assert folds.folds == (Fold("all", labelled.ids, ()),)
    assert check_folds(folds, labelled) == ()


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("5by2", "no protocol '5by2'; give 5x2"),
        ("holdout:3", "has no number"),
        ("5x1", "at least 1 repeat and at least 2 folds, such as 5x2; got '5x1'"),
        ("bootstrap", "bootstrap needs the number of resamples"),
        ("kfold", "kfold needs the number of folds"),
        ("kfold:1", "at least 2"),
        ("kfold:ten", "got 'ten'"),
        ("kfold:12", "needs at least 12 groups, the data set has 11"),
        ("gone.json", r"gone.json: cannot be read as a fold file"),
    ],
)
def test_bad_protocols(labelled: Labelled, protocol: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        split_folds(labelled, protocol)


def test_every_class_needs_two_groups(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS, [f"g{min(index, 14)}" for index in range(len(LABELS))])
    with pytest.raises(ProtocolError, match="two groups of every class, 'melanoma' has 1"):
        split_folds(labelled, "5x2")


def test_images_that_the_task_leaves_out_are_dropped_from_a_fold_file(
    tmp_path: Path, labelled: Labelled
) -> None:
    write_folds(tmp_path / "folds.json", split_folds(labelled, "kfold:2"))
    three = labelled_by(tmp_path, [*LABELS[:-2], "scar", "scar"])
    task = apply_task(three.manifest, "melanoma:nevus")
    folds = split_folds(task, tmp_path / "folds.json")
    assert sorted(folds.folds[0].train + folds.folds[0].test) == list(task.ids)


def test_repeated_k_fold(labelled: Labelled) -> None:
    folds = split_folds(labelled, "3x4", 2)
    assert folds.names == tuple(f"{repeat}x{part}" for repeat in (1, 2, 3) for part in (1, 2, 3, 4))
    for first in (0, 4, 8):
        assert sorted(name for fold in folds.folds[first : first + 4] for name in fold.test) == list(
            labelled.ids
        )
    repeats = {frozenset(fold.test for fold in folds.folds[first : first + 4]) for first in (0, 4, 8)}
    assert len(repeats) == 3
    check_folds(folds, labelled)


def test_leave_one_group_out(labelled: Labelled) -> None:
    folds = split_folds(labelled, "leave-one-group-out")
    assert folds.names == tuple(sorted(set(labelled.groups.tolist())))
    for fold in folds.folds:
        assert parts_of(labelled, fold.test)[0] == {fold.name}
        assert len(fold.train) + len(fold.test) == len(labelled)
    mixed = [
        name for name in folds.names if len(parts_of(labelled, folds.select([name]).folds[0].test)[1]) == 2
    ]
    assert check_folds(folds, labelled) == (
        f"{len(folds.folds) - len(mixed)} of {len(folds.folds)} folds have a test set that lacks a class, so they have "
        "no AUC of their own; reports compute one AUC from the decision function values of all folds",
    )


def test_bootstrap_tests_what_was_not_drawn(labelled: Labelled) -> None:
    folds = split_folds(labelled, "bootstrap:40", 1)
    shares = []
    for fold in folds.folds:
        assert sorted(fold.train + fold.test) == list(labelled.ids)
        groups, classes = parts_of(labelled, fold.test)
        assert not groups & parts_of(labelled, fold.train)[0]
        assert set(classes) == {"nevus", "melanoma"}
        shares.append(len(fold.train) / len(labelled))
    # Drawn with replacement, groups are out of the bag with chance (1 - 1/n) ** n; a little less where
    # draws of all groups of a class are drawn again.
    assert np.mean(shares) == pytest.approx(0.65, abs=0.05)
    assert len({fold.train for fold in folds.folds}) == 40


def test_absent_images_are_refused_or_dropped_with_a_note(tmp_path: Path, labelled: Labelled) -> None:
    train, test = [*labelled.ids[:-4], "gone1"], [*labelled.ids[-4:], "gone2"]
    path = tmp_path / "folds.json"
    write_folds(path, Folds("p", 0, (Fold("1", tuple(sorted(train)), tuple(sorted(test))),)))
    with pytest.raises(
        ProtocolError,
        match="2 images that are not in the manifest, or that the task leaves out: gone1, gone2",
    ):
        check_folds(split_folds(labelled, path), labelled)
    folds = split_folds(labelled, path, absent="drop")
    assert folds.folds[0].test == labelled.ids[-4:]
    assert "2 of 24 listed images are not in the manifest and were dropped: gone1, gone2" in check_folds(
        folds, labelled
    )


def test_copies_of_test_images_are_left_out_of_a_given_training_part(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, ["a", "b"] * 8, split=["train"] * 8 + ["test"] * 8)
    keys = [f"k{index % 14}" for index in range(16)]
    folds = split_folds(labelled, "holdout", keys=keys)
    assert folds.folds[0].train == labelled.ids[2:8]
    assert folds.folds[0].test == labelled.ids[8:]
    note = "fold holdout: 2 training images are byte-identical to test images and were left out of training: i00, i01"
    assert check_folds(folds, labelled, keys) == (note, "2 images are in no fold: i00, i01")
    write_folds(tmp_path / "f.json", split_folds(labelled, "holdout"))
    assert split_folds(labelled, tmp_path / "f.json", keys=keys).folds == folds.folds


@pytest.mark.real
def test_the_official_split_of_isic_2017(real_data: Path) -> None:
    """Three training images are byte-identical to test images."""
    manifest = read_manifest(real_data / "derm" / "isic2017.csv", root=real_data / "derm" / "isic2017_256")
    manifest.table["label"] = manifest.table["melanoma"]
    labelled = apply_task(manifest, "labels")
    keys = [digest_file(path) for path in labelled.paths]
    folds = split_folds(labelled, "holdout", keys=keys)
    warnings = check_folds(folds, labelled, keys)
    assert len(folds.folds[0].test) == 600
    assert len(folds.folds[0].train) == 2147
    assert warnings == (
        "fold holdout: 3 training images are byte-identical to test images and were left out of training: "
        "ISIC_0012175, ISIC_0012221, ISIC_0012271",
        "3 images are in no fold: ISIC_0012175, ISIC_0012221, ISIC_0012271",
    )


class CountedIds(tuple):
    """Ids that count how often one is looked up, or searched for one by one."""

    lookups = searches = 0

    def __getitem__(self, place):
        CountedIds.lookups += isinstance(place, int)
        return super().__getitem__(place)

    def __contains__(self, name: object) -> bool:
        CountedIds.searches += 1
        return super().__contains__(name)


class CountedName(str):
    """An id that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedName.compared += 1
        return str.__eq__(self, other)


def test_leaving_groups_out_looks_each_image_up_once(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, ["a", "b"] * 40, [f"g{index % 30}" for index in range(80)])
    plain = split_folds(labelled, "leave-one-group-out")
    CountedIds.lookups = 0
    counted = split_folds(replace(labelled, ids=CountedIds(labelled.ids)), "leave-one-group-out")
    assert counted == plain
    assert CountedIds.lookups == 80
    for fold in plain.folds:
        tests = labelled.groups == fold.name
        assert fold.test == tuple(np.array(labelled.ids)[tests])
        assert fold.train == tuple(np.array(labelled.ids)[~tests])


def test_dropping_copies_searches_no_list(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, ["a", "b"] * 60, split=["train", "train", "test"] * 40)
    labelled = replace(labelled, ids=tuple(map(CountedName, labelled.ids)))
    CountedName.compared = 0
    folds = split_folds(labelled, "holdout", keys=[str(int(name[1:]) // 3) for name in labelled.ids])
    assert folds.folds[0].train == ()
    assert "80 training images" in folds.notes[0]
    assert CountedName.compared < 5 * 120


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=12))
def test_training_sets_that_cannot_be_split_again_are_refused_beforehand(rows: list[tuple[int, int]]) -> None:
    """What is refused is what `inner_splits` would refuse."""
    ids = tuple(f"i{number:02}" for number in range(len(rows)))
    targets, groups = (np.array(values) for values in zip(*rows, strict=True))
    task = Task("t", ("a", "b", "c"), ())
    names = np.array(["a", "b", "c"])[targets]
    labelled = Labelled(None, task, ids, ids, names, targets, groups.astype(str), names, {}, 0)  # type: ignore[arg-type]

    def refused(work: Callable[[], object]) -> bool:
        try:
            work()
        except ProtocolError:
            return True
        return False

    folds = (Fold("1", ids, ()),)
    for grouped in (True, False):
        together = groups if grouped else None
        splits = refused(lambda g=together: inner_splits(targets, g, splits=2, held_out=0.2))  # type: ignore[misc]
        assert refused(lambda g=grouped: check_inner(folds, labelled, grouped=g)) == splits  # type: ignore[misc]
    fewest = min(len(set(groups[targets == target])) for target in set(targets.tolist()))
    assert refused(lambda: check_inner(folds, labelled, every_class=True)) == (fewest < 2)


def test_a_fold_file_is_made_from_a_manifest_and_described(tmp_path: Path) -> None:
    labels = ["nevus", "melanoma", "wart"] * 8
    rows = [f"i{index}.png,{label},g{index // 2}" for index, label in enumerate(labels)]
    (tmp_path / "m.csv").write_text("image,label,group\n" + "\n".join(rows), encoding="utf-8")
    for index in range(len(labels)):
        (tmp_path / f"i{index}.png").write_bytes(bytes([index % 20]))
    given = {"task": "melanoma:rest", "protocol": "kfold:2"}
    made = make_fold_file(tmp_path / "m.csv", tmp_path / "f.json", **given)
    assert (made.images, made.warnings) == (24, ())
    assert read_folds(tmp_path / "f.json") == made.folds
    assert make_folds(tmp_path / "m.csv", cache=tmp_path / "cache", **given) == made.folds
    for fold in made.folds.folds:
        assert ("i0" in fold.train) == ("i20" in fold.train)
    (tmp_path / "i3.png").unlink()
    with pytest.raises(ManifestError, match="1 of 24 image files are missing"):
        make_fold_file(tmp_path / "m.csv", tmp_path / "f.json", **given)
    with pytest.raises(ManifestError, match="1 of 24 image files are missing"):
        make_folds(tmp_path / "m.csv", cache=tmp_path / "cache", **given)
    named = make_fold_file(tmp_path / "m.csv", tmp_path / "n.json", names_only=True, **given)
    listed = apply_task(read_manifest(tmp_path / "m.csv", check_files=False), "melanoma:rest")
    assert named.folds == split_folds(listed, "kfold:2")
    facts = describe_folds(tmp_path / "f.json", tmp_path / "m.csv", task="melanoma:rest")
    assert facts["digest"] == made.folds.digest
    assert list(facts["folds"][0]["test_classes"]) == ["rest", "melanoma"]
    assert sum(fold["test_classes"]["melanoma"] for fold in facts["folds"]) == 8
