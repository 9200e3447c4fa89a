from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from featx.data.folds import Fold, Folds, check_folds, read_folds, write_folds
from featx.data.protocols import split_folds
from featx.data.tasks import Labelled
from featx.errors import LeakError, ProtocolError

from .conftest import LABELS, labelled_by


def test_written_folds_are_read_back(tmp_path: Path, labelled: Labelled) -> None:
    folds = split_folds(labelled, "5x2", 7)
    write_folds(tmp_path / "folds.json", folds)
    assert read_folds(tmp_path / "folds.json") == folds
    assert split_folds(labelled, tmp_path / "folds.json") == folds
    assert set(json.loads((tmp_path / "folds.json").read_text())) == {"protocol", "seed", "folds"}


def test_fold_files_as_csv(tmp_path: Path, labelled: Labelled) -> None:
    (tmp_path / "mine.csv").write_text("fold,id,part\nA,i00,train\nA,i14,val\nA,i21,Test\nB,i02,train\n")
    folds = read_folds(tmp_path / "mine.csv")
    assert folds == Folds("mine", 0, (Fold("A", ("i00", "i14"), ("i21",)), Fold("B", ("i02",), ())))


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


def test_leaks_and_unknown_images_are_refused(labelled: Labelled) -> None:
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


def test_notes_on_odd_folds(labelled: Labelled) -> None:
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


def test_copies_of_another_class_are_warned_of(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    keys = [f"k{min(index, 20)}" for index in range(len(LABELS))]
    keys[0] = keys[20]
    folds = split_folds(labelled, "5x2", keys=keys)
    assert check_folds(folds, labelled, keys) == (
        "3 images are byte-identical to one of another class: i00, i20, i21",
    )


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


def test_exchanged_parts_are_warnings(tmp_path: Path) -> None:
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


def test_a_test_set_larger_than_the_training_set_is_a_warning(tmp_path: Path) -> None:
    labelled = labelled_by(tmp_path, LABELS)
    ids = labelled.ids
    few = Folds("f", 0, (Fold("1", (*ids[:4], *ids[14:18]), (*ids[4:14], *ids[18:])),))
    assert check_folds(few, labelled) == (
        "fold 1: the test set is larger than the training set (14 and 8 images); are they exchanged?",
    )
    for protocol in ("5x2", "kfold:3", "bootstrap:5", "none"):
        assert check_folds(split_folds(labelled, protocol), labelled) == ()
