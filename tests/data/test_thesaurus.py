from __future__ import annotations

import pytest

from featx.data.data_warnings import find_diagnosis, is_under, thesaurus


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
