from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.manifest import read_manifest
from featx.data.protocols import (
    Fold,
    Folds,
    check_folds,
    make_folds,
    merged_groups,
    read_folds,
    write_folds,
)
from featx.data.tasks import Labelled, apply_task
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
    folds = make_folds(labelled, "5x2")
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
    folds = make_folds(labelled, f"kfold:{number}", seed)
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
    assert make_folds(labelled, "5x2", 3).digest == make_folds(shuffled, "5x2", 3).digest
    assert make_folds(labelled, "5x2", 3).digest != make_folds(labelled, "5x2", 4).digest


def test_copies_never_straddle(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    keys = [f"k{index % 18}" for index in range(len(LABELS))]
    folds = make_folds(labelled, "5x2", keys=keys)
    assert check_folds(folds, labelled, keys) == ()
    with pytest.raises(LeakError, match=r"byte-identical copies, SHA-256 k\d+ straddles"):
        check_folds(make_folds(labelled, "5x2"), labelled, keys)


def test_merged_groups_follow_chains_of_copies() -> None:
    groups = ["a", "b", "b", "c", "c", "d"]
    assert merged_groups(groups, ["1", "1", "2", "2", "3", "4"]).tolist() == ["a"] * 5 + ["d"]
    assert merged_groups(groups, list("123456")).tolist() == groups


def test_holdout_follows_the_split_column(tmp_path: Path) -> None:
    splits = ["train", "Val", "test", "test", ""] * 4
    labelled = labelled_by(tmp_path, ["a", "b"] * 10, split=splits)
    folds = make_folds(labelled, "holdout")
    assert folds.names == ("holdout",)
    assert len(folds.folds[0].train) == 8
    assert len(folds.folds[0].test) == 8
    assert check_folds(folds, labelled) == ("4 images are in no fold: i04, i09, i14, i19",)


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", "private"], "knows the splits train, val and test, the manifest has private"),
        (["train", "train"], "needs images in the split test"),
        (["", ""], "needs images in the split train"),
    ],
)
def test_holdout_needs_both_parts(tmp_path: Path, splits: list[str], message: str) -> None:
    labelled = labelled_by(tmp_path, ["a", "b"], split=splits, extra=["", "1"])
    with pytest.raises(ProtocolError, match=message):
        make_folds(labelled, "holdout")


def test_none_trains_on_everything(labelled: Labelled) -> None:
    folds = make_folds(labelled, "none")
    assert folds.folds == (Fold("all", labelled.ids, ()),)
    assert check_folds(folds, labelled) == ()


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("10x2", "no protocol '10x2'; give 5x2"),
        ("5x2:3", "takes no number"),
        ("kfold", "kfold needs the number of folds"),
        ("kfold:1", "at least 2"),
        ("kfold:ten", "got 'ten'"),
        ("kfold:12", "needs at least 12 groups, the data set has 11"),
        ("gone.json", r"gone.json: cannot be read as a fold file"),
    ],
)
def test_bad_protocols(labelled: Labelled, protocol: str, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        make_folds(labelled, protocol)


def test_every_class_needs_two_groups(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS, [f"g{min(index, 14)}" for index in range(len(LABELS))])
    with pytest.raises(ProtocolError, match="two groups of every class, 'melanoma' has 1"):
        make_folds(labelled, "5x2")


def test_fold_files_go_round(tmp_path: Path, labelled: Labelled) -> None:
    folds = make_folds(labelled, "5x2", 7)
    write_folds(tmp_path / "folds.json", folds)
    assert read_folds(tmp_path / "folds.json") == folds
    assert make_folds(labelled, tmp_path / "folds.json") == folds
    assert set(json.loads((tmp_path / "folds.json").read_text())) == {"protocol", "seed", "folds"}


def test_fold_files_as_csv(tmp_path: Path, labelled: Labelled) -> None:
    (tmp_path / "mine.csv").write_text("fold,id,part\nA,i00,train\nA,i14,val\nA,i21,Test\nB,i02,train\n")
    folds = read_folds(tmp_path / "mine.csv")
    assert folds == Folds("mine", 0, (Fold("A", ("i00", "i14"), ("i21",)), Fold("B", ("i02",), ())))


def test_images_that_the_task_leaves_out_are_dropped_from_a_fold_file(
    tmp_path: Path, labelled: Labelled
) -> None:
    write_folds(tmp_path / "folds.json", make_folds(labelled, "kfold:2"))
    three = labelled_by(tmp_path, [*LABELS[:-2], "scar", "scar"])
    task = apply_task(three.manifest, "melanoma:nevus")
    folds = make_folds(task, tmp_path / "folds.json")
    assert sorted(folds.folds[0].train + folds.folds[0].test) == list(task.ids)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.json", "{", "cannot be read as a fold file"),
        ("f.json", "[]", "the top must be an object"),
        ("f.json", '{"protocol": "p", "folds": []}', "it lacks 'seed'|holds no folds"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": []}', "holds no folds"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": "a", "test": []}]}', "must be a list"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": [], "test": ["a"]}]}', "trains on no image"),
        ("f.json", '{"protocol": "p", "seed": 0, "folds": [{"name": "1", "train": ["a", "a"], "test": []}]}', "lists a more than once in train"),
        ("f.csv", "fold,id\n1,a\n", "it lacks"),
        ("f.csv", "fold,id,part\n1,a,Train\n1,b,other\n", "must hold train, val or test, got other"),
    ],
)  # fmt: skip
def test_bad_fold_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ProtocolError, match=message):
        read_folds(tmp_path / name)


def test_fold_names_must_differ(tmp_path: Path) -> None:
    row = {"name": "1", "train": ["a"], "test": ["b"]}
    (tmp_path / "f.json").write_text(json.dumps({"protocol": "p", "seed": 0, "folds": [row, row]}))
    with pytest.raises(ProtocolError, match="fold 1 stands there more than once"):
        read_folds(tmp_path / "f.json")


def test_leaks_and_strangers_are_found(labelled: Labelled) -> None:
    rest = tuple(name for name in labelled.ids if name not in {"i00", "i15"})
    with pytest.raises(LeakError, match=r"fold 1: group g0 straddles: i01 trains, i00 tests \(2 such"):
        check_folds(Folds("p", 0, (Fold("1", rest, ("i00", "i15")),)), labelled)
    with pytest.raises(LeakError, match="i00 both train and test"):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids, ("i00",)),)), labelled)
    with pytest.raises(ProtocolError, match="names 1 images that the manifest and task do not hold: x"):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids, ("x",)),)), labelled)
    with pytest.raises(ProtocolError, match="no training image of melanoma"):
        check_folds(Folds("p", 0, (Fold("1", labelled.ids[:14], labelled.ids[14:]),)), labelled)


def test_oddities_are_warned_of(labelled: Labelled) -> None:
    train, test = labelled.ids[:10] + labelled.ids[14:], labelled.ids[10:12]
    folds = Folds("p", 0, (Fold("1", train, test), Fold("2", train, test)))
    assert check_folds(folds, labelled) == (
        "fold 1 has no test image of melanoma",
        "fold 2 has no test image of melanoma",
        "folds 1, 2 are the same split",
        "2 images are in no fold: i12, i13",
    )


def test_folds_can_be_selected(labelled: Labelled) -> None:
    folds = make_folds(labelled, "5x2")
    assert folds.select(["2x1", "1x2"]).names == ("1x2", "2x1")
    assert folds.select([]) is folds
    with pytest.raises(ProtocolError, match="no fold 9x9 in 5x2; folds: 1x1"):
        folds.select(["9x9"])
