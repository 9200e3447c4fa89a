from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from featx.data.manifest import Manifest, read_manifest
from featx.data.tasks import apply_task, apply_trained_task, read_task, shipped_tasks
from featx.errors import TaskError


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return labelled_by(
        tmp_path, ["nevus", "Melanoma", "basal cell carcinoma", "seborrheic keratosis", "nevus"]
    )


def labelled_by(folder: Path, labels: list[str]) -> Manifest:
    rows = "".join(
        f"i{index}.png,{label},g{index // 2}\n" for index, label in reversed(list(enumerate(labels)))
    )
    (folder / "m.csv").write_text("image,label,group\n" + rows, encoding="utf-8")
    return read_manifest(folder / "m.csv", check_files=False)


def classes(manifest: Manifest, task: str | Path) -> dict[str, int]:
    return dict(Counter(apply_task(manifest, task).classes.tolist()))


def test_shipped_tasks_on_drawn_labels(manifest: Manifest) -> None:
    assert classes(manifest, "malignant-vs-benign") == {"malignant": 2, "benign": 3}
    assert classes(manifest, "melanoma-vs-benign") == {"melanoma": 1, "benign": 3}
    assert classes(manifest, "melanoma-vs-rest") == {"melanoma": 1, "rest": 4}
    assert classes(manifest, "three-class") == {"basal cell carcinoma": 1, "melanoma": 1, "benign": 3}


@pytest.mark.parametrize("name", shipped_tasks())
def test_shipped_tasks_are_well_formed(name: str) -> None:
    task = read_task(name)
    assert task.name == name
    assert {target for _, target in task.mapping} == set(task.classes)
    if len(task.classes) == 2:
        assert task.positive == task.classes[-1]
        assert task.scored == task.classes[-1:]
    else:
        assert task.positive is None
        assert task.scored == task.classes


def test_rows_are_sorted_by_id_and_aligned(manifest: Manifest) -> None:
    labelled = apply_task(manifest, "melanoma-vs-benign")
    assert labelled.ids == ("i0", "i1", "i3", "i4")
    assert labelled.classes.tolist() == ["benign", "melanoma", "benign", "benign"]
    assert labelled.targets.tolist() == [0, 1, 0, 0]
    assert labelled.groups.tolist() == ["g0", "g0", "g1", "g2"]
    assert [Path(path).stem for path in labelled.paths] == list(labelled.ids)
    assert labelled.left_out == 1


def test_labels_make_classes_in_natural_order(tmp_path: Path) -> None:
    labelled = apply_task(labelled_by(tmp_path, ["grade10", "grade9", "grade0"]), "labels")
    assert labelled.task.classes == ("grade0", "grade9", "grade10")
    assert labelled.task.positive is None


def test_two_labels_make_a_two_class_task(tmp_path: Path) -> None:
    task = apply_task(labelled_by(tmp_path, ["1", "0"]), "labels").task
    assert (task.classes, task.positive) == (("0", "1"), "1")


def test_labels_with_pattern_characters_are_themselves(tmp_path: Path) -> None:
    labelled = apply_task(labelled_by(tmp_path, ["a*", "ab", "a[b]"]), "labels")
    assert labelled.classes.tolist() == ["a*", "ab", "a[b]"]


def test_inline_tasks(manifest: Manifest) -> None:
    labelled = apply_task(manifest, "melanoma+basal*:nevus")
    assert labelled.task.classes == ("nevus", "melanoma+basal*")
    assert labelled.left_out == 1
    assert classes(manifest, "nevus:rest") == {"nevus": 2, "rest": 3}


def test_a_slip_in_an_inline_task_is_found(manifest: Manifest) -> None:
    with pytest.raises(TaskError, match="no image has the label bbc of the task"):
        apply_task(manifest, "melanoma+bbc:nevus")


def test_task_files_and_exclusion(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'positive = "bad"\nexclude = ["*carcinoma"]\n[classes]\nbad = ["mel*"]\ngood = ["*"]\n',
        encoding="utf-8",
    )
    labelled = apply_task(manifest, path)
    assert labelled.task.name == "mine"
    assert labelled.task.classes == ("good", "bad")
    assert labelled.left_out == 1


def test_first_match_wins(manifest: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text('positive = "a"\n[classes]\na = ["n*"]\nb = ["nevus", "*"]\n', encoding="utf-8")
    assert classes(manifest, path) == {"a": 2, "b": 3}


def test_an_unmapped_label_lists_the_counts(tmp_path: Path) -> None:
    labels = labelled_by(tmp_path, ["melanoma", "nevus", "wart", "wart"])
    with pytest.raises(TaskError, match=r"no class for the labels 'wart' \(2 images\)"):
        apply_task(labels, "malignant-vs-benign")


def test_others_can_be_left_out(tmp_path: Path) -> None:
    labels = labelled_by(tmp_path, ["melanoma", "nevus", "wart", "wart"])
    path = tmp_path / "t.toml"
    path.write_text(
        'positive = "m"\nothers = "leave-out"\n[classes]\nm = ["mel*"]\nn = ["nevus"]\n', encoding="utf-8"
    )
    assert apply_task(labels, path).left_out == 2


def test_one_class_and_empty_classes(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="only one class, from the labels 'nevus': 2"):
        apply_task(labelled_by(tmp_path, ["nevus", "nevus"]), "labels")
    with pytest.raises(TaskError, match="no image of malignant"):
        apply_task(labelled_by(tmp_path, ["nevus", "nevus"]), "malignant-vs-benign")


def test_labels_are_needed(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image\na.png\n", encoding="utf-8")
    with pytest.raises(TaskError, match="no labels for the task"):
        apply_task(read_manifest(tmp_path / "m.csv", check_files=False), "labels")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[classes", "not TOML"),
        ("klasses = 1\n", "unknown key klasses; known: classes"),
        ('[classes]\na = ["x"]\n', "at least two classes"),
        ('positive = "a"\n[classes]\na = "x"\nb = ["y"]\n', "a must be a list of label patterns"),
        ('[classes]\na = ["x"]\nb = ["y"]\n', "positive must name one of the two classes a and b"),
        ('positive = "a"\n[classes]\na = ["x"]\nb = ["y"]\nc = ["z"]\n', "positive is for two classes only"),
        ('positive = "a"\nothers = "drop"\n[classes]\na = ["x"]\nb = ["y"]\n', "others must be one of fail"),
        ('exclude = "x"\npositive = "a"\n[classes]\na = ["x"]\nb = ["y"]\n', "exclude must be a list"),
    ],
)
def test_bad_task_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "t.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TaskError, match=message):
        read_task(path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("melanomas", "no task 'melanomas'; give one of labels, isic2018"),
        ("gone.toml", "cannot be read"),
        ("a:b:c", "must be POSITIVE:NEGATIVE"),
        ("a:", "must be POSITIVE:NEGATIVE"),
        ("a+:b", "must be POSITIVE:NEGATIVE"),
        ("a:a", "same labels on both sides"),
    ],
)
def test_bad_specifications(spec: str, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read_task(spec)


def test_diagnoses_map_alike_however_they_are_spelled(tmp_path: Path) -> None:
    labels = [
        "MEL",
        "Lentigo Maligna",
        "Clark naevus",
        "bkl",
        "BCC",
        "SCC",
        "AKIEC",
        "miscellaneous",
        "unknown",
    ]
    manifest = labelled_by(tmp_path, labels)
    expected = ["malignant", "malignant", "benign", "benign", "malignant", "malignant", "benign"]
    assert apply_task(manifest, "malignant-vs-benign").classes.tolist() == expected
    assert classes(manifest, "melanoma-vs-benign") == {"melanoma": 2, "benign": 3}
    assert classes(manifest, "three-class") == {"basal cell carcinoma": 1, "melanoma": 2, "benign": 3}
    assert classes(manifest, "melanoma-vs-rest") == {"melanoma": 2, "rest": 6}
    assert classes(manifest, "@melanoma:@nevus+@benign keratosis") == {
        "@melanoma": 2,
        "@nevus+@benign keratosis": 2,
    }


def test_tasks_of_the_challenges(tmp_path: Path) -> None:
    codes = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    labelled = apply_task(labelled_by(tmp_path, codes), "isic2019")
    assert labelled.targets.tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert labelled.left_out == 1


def test_grades_of_retinopathy(tmp_path: Path) -> None:
    labelled = apply_task(labelled_by(tmp_path, ["grade0", "1", "2", "grade4"]), "referable-retinopathy")
    assert labelled.targets.tolist() == [0, 0, 1, 1]


def test_an_unknown_diagnosis_in_a_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no diagnosis @melanom; known: actinic keratosis"):
        read_task("@melanom:rest")


def test_a_label_that_begins_with_an_at_sign_is_itself(tmp_path: Path) -> None:
    assert apply_task(labelled_by(tmp_path, ["@nevus", "nevus"]), "labels").classes.tolist() == [
        "@nevus",
        "nevus",
    ]


def test_a_trained_task_keeps_its_classes_on_other_labels(manifest: Manifest, tmp_path: Path) -> None:
    # Every label is a class, and other labels are left out: of the classes of training only.
    trained = apply_task(manifest, "labels").task
    (tmp_path / "other").mkdir()
    other = labelled_by(tmp_path / "other", ["MELANOMA", "nevus", "nevus", "wart"])
    found = apply_trained_task(other, trained)
    assert found.task is trained
    assert found.classes.tolist() == ["Melanoma", "nevus", "nevus"]
    assert [trained.classes[place] for place in found.targets] == found.classes.tolist()
    assert found.left_out == 1
    assert found.remarks == ("labels without a class in the task 'labels' are left out: 'wart' (1 images)",)


def test_a_trained_task_needs_neither_every_label_nor_every_class(tmp_path: Path) -> None:
    task = read_task("melanoma+naevus:nevus")
    found = apply_trained_task(labelled_by(tmp_path, ["nevus", "nevus"]), task)
    assert found.classes.tolist() == ["nevus", "nevus"]
    with pytest.raises(TaskError, match=r"has a class of the task .* its labels are 'a' \(2 images\)"):
        apply_trained_task(labelled_by(tmp_path, ["a", "a"]), task)


def test_a_trained_task_needs_labels(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,group\na.png,g\n")
    with pytest.raises(TaskError, match="add a column 'label'"):
        apply_trained_task(read_manifest(tmp_path / "m.csv", check_files=False), read_task("melanoma:rest"))
