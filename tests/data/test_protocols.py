from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.manifest import read_manifest
from featx.data.protocols import (
    Fold,
    Folds,
    check_folds,
    check_inner,
    merged_groups,
    read_folds,
    split_folds,
    write_folds,
)
from featx.data.splitting import inner_splits
from featx.data.tasks import Labelled, Task, apply_task
from featx.digest import digest_file
from featx.errors import LeakError, ProtocolError

LABELS = ["nevus"] * 14 + ["melanoma"] * 8


def labelled_by(
    folder: Path, labels: list[str], groups: list[str] | None = None, **columns: list[str]
) -> Labelled:
    table = {"image": [f"i{index:02d}.png" for index in range(len(labels))], "label": labels, **columns}
    if groups is not None:
        table["group"] = groups
    rows = [",".join(table)] + [",".join(values) for values in zip(*table.values(), strict=True)]
    (folder / "m.csv").write_text("\n".join(rows), encoding="utf-8")
    return apply_task(read_manifest(folder / "m.csv", check_files=False), "labels")


@pytest.fixture
def labelled(tmp_path: Path) -> Labelled:
    return labelled_by(tmp_path, LABELS, [f"g{index // 2}" for index in range(len(LABELS))])


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


def test_copies_never_straddle(tmp_path: Path) -> None:
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


def test_fold_files_go_round(tmp_path: Path, labelled: Labelled) -> None:
    folds = split_folds(labelled, "5x2", 7)
    write_folds(tmp_path / "folds.json", folds)
    assert read_folds(tmp_path / "folds.json") == folds
    assert split_folds(labelled, tmp_path / "folds.json") == folds
    assert set(json.loads((tmp_path / "folds.json").read_text())) == {"protocol", "seed", "folds"}


def test_fold_files_as_csv(tmp_path: Path, labelled: Labelled) -> None:
    (tmp_path / "mine.csv").write_text("fold,id,part\nA,i00,train\nA,i14,val\nA,i21,Test\nB,i02,train\n")
    folds = read_folds(tmp_path / "mine.csv")
    assert folds == Folds("mine", 0, (Fold("A", ("i00", "i14"), ("i21",)), Fold("B", ("i02",), ())))


def test_images_that_the_task_leaves_out_are_dropped_from_a_fold_file(
    tmp_path: Path, labelled: Labelled
) -> None:
    write_folds(tmp_path / "folds.json", split_folds(labelled, "kfold:2"))
    three = labelled_by(tmp_path, [*LABELS[:-2], "scar", "scar"])
    task = apply_task(three.manifest, "melanoma:nevus")
    folds = split_folds(task, tmp_path / "folds.json")
    assert sorted(folds.folds[0].train + folds.folds[0].test) == list(task.ids)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.json", "{", "cannot be read as a fold file"),
        ("f.json", "[]", "expected an object"),
        ("f.json", '{"protocol": "p", "folds": []}', "'seed' is missing"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": []}', "has no folds"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": "a", "test": []}]}', "must be lists"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": [], "test": ["a"]}]}', "has no training images"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": ["a", "a"], "test": []}]}', "repeats a in train"),
        ("f.csv", "fold,id\n1,a\n", "no column part; expected"),
        ("f.csv", "fold,id,part\n1,a,Train\n1,b,other\n", "must be train, val or test, got other"),
    ],
)  # fmt: skip
def test_bad_fold_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError, match=message):
        read_folds(tmp_path / name)


def test_fold_names_must_differ(tmp_path: Path) -> None:
    row = {"name": "1", "train": ["a"], "test": ["b"]}
    (tmp_path / "f.json").write_text(json.dumps({"protocol": "p", "seed": 0, "folds": [row, row]}))
    with pytest.raises(ProtocolError, match="the fold name 1 is repeated"):
        read_folds(tmp_path / "f.json")


def test_leaks_and_strangers_are_found(labelled: Labelled) -> None:
    rest = tuple(name for name in labelled.ids if name not in {"i00", "i15"})
    with pytest.raises(
        LeakError, match=r"training image i01 and test image i00 have the same group g0 \(2 such"
    ):
        check_folds(Folds("p", 0, (Fold("1", rest, ("i00", "i15")),)), labelled)
    with pytest.raises(LeakError, match="i00 are in both training and test set"):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids, ("i00",)),)), labelled)
    with pytest.raises(
        ProtocolError, match="has 1 images that are not in the manifest, or that the task leaves out: x"
    ):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids, ("x",)),)), labelled)
    with pytest.raises(ProtocolError, match="no training images of melanoma"):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids[:14], labelled.ids[14:]),)), labelled)


def test_oddities_are_warned_of(labelled: Labelled) -> None:
    train, test = labelled.ids[:10] + labelled.ids[14:], labelled.ids[10:12]
    folds = Folds("p", 0, (Fold("1", train, test), Fold("2", train, test)))
    assert check_folds(folds, labelled) == (
        "no test image of melanoma in fold 1, 2",
        "folds 1, 2 are equal",
        "2 images are in no fold: i12, i13",
    )


def test_folds_can_be_selected(labelled: Labelled) -> None:
    folds = split_folds(labelled, "5x2")
    assert folds.select(["2x1", "1x2"]).names == ("1x2", "2x1")
    assert folds.select([]) is folds
    with pytest.raises(ProtocolError, match="no fold 9x9 in the protocol 5x2; give some of 1x1"):
        folds.select(["9x9"])


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


AUTHORS = """

Fold_1:
  - [aal002.tiff, aal004, nml1.tiff]
  - [aal002bis.tiff, nml2.tiff, nml3.tiff]

Fold_2:
  - [aal002bis.tiff, nml2.tiff, nml3.tiff]
  - [aal002.tiff, aal004, nml1.tiff]
"""


def test_published_lists(tmp_path: Path) -> None:
    (tmp_path / "protocol1.yml").write_text(AUTHORS, encoding="utf-8")
    folds = read_folds(tmp_path / "protocol1.yml")
    assert folds.protocol == "1x2"
    assert folds.names == ("1x1", "1x2")
    assert folds.folds[0] == Fold("1x1", ("aal002", "aal004", "nml1"), ("aal002bis", "nml2", "nml3"))
    assert folds.notes == (
        "2 list entries lack the file ending (aal004); they are read as images",
        "Fold_1 to Fold_2 are 1 partitions, each in both directions; they are run as 1x1 to 1x2",
    )
    write_folds(tmp_path / "folds.json", folds)
    assert read_folds(tmp_path / "folds.json") == folds


def test_one_published_pair_is_a_holdout(tmp_path: Path) -> None:
    (tmp_path / "isic.yml").write_text("Fold_1:\n - [a.tiff, 12.tiff]\n - [no.tiff]\n", encoding="utf-8")
    assert read_folds(tmp_path / "isic.yml") == Folds("holdout", 0, (Fold("holdout", ("12", "a"), ("no",)),))


def test_published_lists_that_are_not_swapped_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("A: [[a], [b]]\nB: [[a], [c]]\n", encoding="utf-8")
    assert read_folds(tmp_path / "mine.yml") == Folds(
        "mine", 0, (Fold("A", ("a",), ("b",)), Fold("B", ("a",), ("c",)))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Fold_1: [[a], [b]", "not YAML"),
        ("- a\n", "expected Fold_1"),
        ("Fold_1: [[a], [b], [c]]\n", "Fold_1 must have two lists"),
        ("Fold_1: [[a, a.tiff], [b]]\n", "fold holdout repeats a in train"),
    ],
)
def test_bad_published_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError, match=message):
        read_folds(tmp_path / "p.yml")


def test_absent_images_are_refused_or_dropped_aloud(tmp_path: Path, labelled: Labelled) -> None:
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


def test_copies_of_another_class_are_warned_of(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    keys = [f"k{min(index, 20)}" for index in range(len(LABELS))]
    keys[0] = keys[20]
    folds = split_folds(labelled, "5x2", keys=keys)
    assert check_folds(folds, labelled, keys) == (
        "3 images are byte-identical to one of another class: i00, i20, i21",
    )


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


def test_a_fold_file_of_many_folds_is_read_row_by_row(tmp_path: Path, monkeypatch) -> None:
    rows = [
        f"{fold},i{image},{'test' if image == fold else 'train'}" for fold in range(20) for image in range(20)
    ]
    path = tmp_path / "folds.csv"
    path.write_text("\n".join(["fold,id,part", *rows]), encoding="utf-8")
    compared = []
    equal = pd.Series.__eq__

    def counted(self, other):
        compared.append(len(self))
        return equal(self, other)

    monkeypatch.setattr(pd.Series, "__eq__", counted)
    folds = read_folds(path)
    assert folds.names == tuple(map(str, range(20)))
    assert all(fold.test == (f"i{fold.name}",) and len(fold.train) == 19 for fold in folds.folds)
    assert sum(compared) <= 2 * len(rows)


def test_exchanged_parts_are_told(tmp_path: Path) -> None:
    splits = ["train"] * 8 + ["test"] * 6 + ["train"] * 4 + ["test"] * 4
    labelled = labelled_by(tmp_path, LABELS, split=splits)
    (given,) = split_folds(labelled, "holdout").folds
    assert check_folds(Folds("f", 0, (given,)), labelled) == ()
    turned = Folds("f", 0, (Fold("1", given.test, given.train),))
    (warning,) = check_folds(turned, labelled)
    assert warning.startswith(
        "fold 1: 10 of 10 training images are in the manifest's split test, and 12 of 12 test"
    )
    assert warning.endswith("are training and test set exchanged?")


def test_a_test_set_larger_than_the_training_set_is_told(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    ids = labelled.ids
    few = Folds("f", 0, (Fold("1", (*ids[:4], *ids[14:18]), (*ids[4:14], *ids[18:])),))
    assert check_folds(few, labelled) == (
        "fold 1: the test set is larger than the training set (14 and 8 images); are they exchanged?",
    )
    for protocol in ("5x2", "kfold:3", "bootstrap:5", "none"):
        assert check_folds(split_folds(labelled, protocol), labelled) == ()


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
