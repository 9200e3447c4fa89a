from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.data.data_warnings import (
    find_diagnosis,
    group_columns,
    group_remarks,
    is_under,
    meant_for,
    rare_labels,
    spelled_like,
    thesaurus,
)
from featx.data.manifest import Manifest, read_manifest
from featx.data.tasks import apply_task, doubtful_labels, read_task
from featx.errors import TaskError


def manifest_of(folder: Path, columns: dict[str, list[str]]) -> Manifest:
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(["image", *columns]), *(",".join([f"{n}.png", *row]) for n, row in enumerate(rows))]
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    return read_manifest(folder / "m.csv", check_files=False)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("lesion_id", [f"HAM_{n // 2:07}" for n in range(40)]),
        ("PatientID", [str(n // 5) for n in range(40)]),
        ("patient", ["Smith", "Jones", "Wu", "Diaz"] * 10),
        ("case_num", [str(n // 2) for n in range(40)]),
        ("accession", [f"A{n // 3}" for n in range(40)]),
        ("study number", [str(1000 + n // 2) for n in range(40)]),
    ],
)
def test_columns_that_look_like_groups(tmp_path: Path, column: str, values: list[str]) -> None:
    found = manifest_of(tmp_path, {"label": ["a", "b"] * (len(values) // 2), column: values})
    assert group_columns(found) == {column: len(set(values))}
    (remark,) = group_remarks(found)
    assert f"{column!r} ({len(set(values))} values); rename the right one to 'group'" in remark
    assert apply_task(found, "labels").remarks == (remark,)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("sex", ["male", "female"] * 20),
        ("age", [str(20 + n % 30) for n in range(40)]),
        ("age", [f"{20 + n % 30}.0" for n in range(40)]),
        ("site", ["back", "scalp", "face", "arm"] * 10),
        ("lesion type", ["flat", "raised", "ulcer", "other"] * 10),
        ("eye", ["left", "right"] * 20),
        ("patient_id", [f"P{n}" for n in range(40)]),  # no patient has two images
        ("bytes", [str(5000 + n // 2) for n in range(40)]),
        ("sha256", [f"a{n // 2:063}" for n in range(40)]),
        ("diameter", [f"{n % 20 + 0.25}" for n in range(40)]),
    ],
)
def test_strata_do_not_look_like_groups(tmp_path: Path, column: str, values: list[str]) -> None:
    found = manifest_of(tmp_path, {"label": ["a", "b"] * 20, column: values})
    assert group_columns(found) == {}
    assert "add a column 'group' (patient, case or lesion)" in group_remarks(found)[0]


def test_named_groups_need_no_remark(tmp_path: Path) -> None:
    found = manifest_of(tmp_path, {"label": ["a", "b"], "group": ["p", "q"], "lesion": ["1", "2"]})
    assert group_remarks(found) == ()
    assert apply_task(found, "labels").remarks == ()


COUNTS = {
    "melanoma": 1113, "melanom": 3, "Melanoma in situ": 40, "MEL": 5, "nevus": 6705, "basal cell carcinoma": 514,
    "benign keratosis": 1099, "dermatofibroma": 115, "melanosis": 9, "wart": 1,
}  # fmt: skip


@pytest.mark.parametrize("task", ["melanoma:rest", "melanoma-vs-rest"])
def test_labels_that_rest_should_not_hold(task: str) -> None:
    near, rare = doubtful_labels(read_task(task), COUNTS)
    assert "labels similar to a named class count as 'rest'" in near
    assert "'melanom' (3 images, similar to 'melanoma')" in near
    # The thesaurus knows that these are melanomas, where the task names the diagnosis.
    assert ("'MEL'" in near) == ("'Melanoma in situ'" in near) == (task == "melanoma:rest")
    assert not any(name in near for name in ("nevus", "carcinoma", "keratosis", "dermato", "melanosis"))
    assert "labels of one or two images count as 'rest': 'wart' (1 image)" in rare


def test_labels_that_are_left_out_and_labels_that_a_file_names(tmp_path: Path) -> None:
    (near,) = doubtful_labels(read_task("melanoma:nevus"), COUNTS)
    assert "are left out: " in near
    assert "'melanom'" in near
    text = 'positive = "melanoma"\n[classes]\nmelanoma = ["melanoma"]\nrest = ["MEL*", "wart", "*"]\n'
    (tmp_path / "t.toml").write_text(text)
    assert doubtful_labels(read_task(tmp_path / "t.toml"), COUNTS) == ()
    assert doubtful_labels(read_task("three-class"), {"melanoma": 9, "nevus": 9}) == ()


def test_strict_labels_are_an_error(tmp_path: Path) -> None:
    found = manifest_of(tmp_path, {"label": ["melanoma"] * 5 + ["nevus"] * 5 + ["melanom"]})
    remarks = apply_task(found, "melanoma:rest").remarks
    assert any("'melanom' (1 image, similar to 'melanoma')" in text for text in remarks)
    with pytest.raises(TaskError, match=r"m.csv: labels similar to a named class count as 'rest': 'melanom'"):
        apply_task(found, "melanoma:rest", strict_labels=True)
    assert len(apply_task(found, "nevus:melanoma+melanom", strict_labels=True)) == 11


def test_labels_meant_for_a_name() -> None:
    assert meant_for("squamous cell carcinoma", ["basal cell carcinoma"]) is None
    assert meant_for("seborheic keratosis", ["@benign"]) == "seborrheic keratosis"
    assert meant_for("clark nevus", ["nevus"]) == "nevus"
    assert meant_for("refrable", ["referable", "[234]", "*"]) == "referable"


def test_rare_beside_the_most_frequent() -> None:
    assert rare_labels({"a": 2, "b": 1}) == ()
    assert rare_labels({"a": 10, "b": 1, "c": 2}) == ("b",)
    assert rare_labels({}) == ()


@given(st.text(st.characters(codec="ascii", categories=("Ll",)), min_size=5, max_size=20), st.data())
def test_a_letter_left_out_is_alike(label: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(label) - 1))
    slip = label[:at] + label[at + 1 :]
    assert spelled_like(slip, [label]) == label


def test_every_diagnosis_leads_up_to_a_root_and_is_found_by_its_name() -> None:
    for name, row in thesaurus().items():
        assert row.under is None or row.under in thesaurus()
        assert find_diagnosis(name) == name
        assert is_under(name, name)
    roots = {name for name, row in thesaurus().items() if row.under is None}
    assert roots == {"benign", "malignant", "premalignant", "miscellaneous", "undetermined"}


def test_no_spelling_stands_under_two_diagnoses() -> None:
    for row in thesaurus().values():
        for text in row.spelled:
            if "*" not in text:
                assert find_diagnosis(text) == row.name, text


@pytest.mark.parametrize(
    ("label", "diagnosis"),
    [
        ("Clark Nevus", "atypical nevus"),
        ("dysplastic naevus", "atypical nevus"),
        ("NV", "nevus"),
        ("Melanoma (less than 0.76 mm)", "melanoma"),
        ("melanoma (0.76 to 1.5 mm)", "melanoma"),
        ("melanoma (in situ)", "melanoma in situ"),
        ("Seborrhoeic Keratosis", "seborrheic keratosis"),
        ("basal-cell_carcinoma", "basal cell carcinoma"),
        ("Haemangioma", "vascular lesion"),
        ("reed or spitz nevus", "spitz nevus"),
        ("bkl", "benign keratosis"),
        ("benign keratosis-like lesions", "benign keratosis"),
        ("melanomatosis", None),
        ("", None),
    ],
)
def test_labels_of_published_data_sets(label: str, diagnosis: str | None) -> None:
    assert find_diagnosis(label) == diagnosis


def test_kinds_are_under_their_wider_diagnosis() -> None:
    assert is_under("melanoma metastasis", "malignant")
    assert is_under("solar lentigo", "benign")
    assert not is_under("malignant", "melanoma")
    assert not is_under("actinic keratosis", "malignant")
