"""Overlap of an external test set with the training data: each kind is found, counted and named."""

from __future__ import annotations

import dataclasses
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from featx.errors import LeakError
from featx.external import OVERLAP_KINDS, TrainedOn, find_overlap, overlap, refuse_overlap

from .conftest import Write, keys_of


def resaved(path: Path) -> bytes:
    """The image, smaller and in another format."""
    buffer = BytesIO()
    Image.open(path).convert("RGB").resize((48, 48)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_data_sets_of_other_images_and_patients_have_no_overlap(
    trained: TrainedOn, write: Write, pictures: list[Path]
) -> None:
    rows = [(f"b{n}.png", pictures[n].read_bytes(), "sick", f"q{n}") for n in range(4, 8)]
    external = write("clinic", rows, trained.labelled.task)
    found = find_overlap(external, keys_of(external), trained)
    assert found.found == {}
    assert found.kinds == {}
    refuse_overlap(found, external, "clinic")


def test_every_kind_of_overlap_is_found(trained: TrainedOn, write: Write, pictures: list[Path]) -> None:
    rows = [
        ("copy.png", pictures[0].read_bytes(), "sick", "q0"),
        ("smaller.jpg", resaved(pictures[1]), "well", "q1"),
        ("a2.png", pictures[5].read_bytes(), "sick", "q2"),
        ("visit.png", pictures[6].read_bytes(), "well", "p3"),
        ("other.png", pictures[7].read_bytes(), "well", "q4"),
        ("learnt.png", pictures[8].read_bytes(), "well", "q5"),
    ]
    external = write("clinic", rows, trained.labelled.task)
    keys = keys_of(external)
    known = dataclasses.replace(trained, weights=frozenset([keys[external.ids.index("learnt")]]))
    found = find_overlap(external, keys, known)
    assert {name: list(kinds) for name, kinds in found.found.items()} == {
        "copy": ["bytes"],
        "learnt": ["weights"],
        "smaller": ["near"],
        "a2": ["id"],
        "visit": ["group"],
    }
    assert found.found["copy"]["bytes"] == "a0"
    assert found.found["smaller"]["near"] == "a1"
    assert found.kinds == dict.fromkeys(OVERLAP_KINDS, 1)
    known = dataclasses.replace(trained, weights=frozenset([keys[external.ids.index("smaller")]]))
    again = find_overlap(external, keys, known).found["smaller"]
    assert again.keys() == {"weights", "near"}, (
        "what the network was trained on may be near to a training image too"
    )


def test_all_images_of_a_patient_with_one_known_image_overlap(
    trained: TrainedOn, write: Write, pictures: list[Path]
) -> None:
    rows = [
        ("copy.png", pictures[0].read_bytes(), "sick", "q"),
        ("second.png", pictures[5].read_bytes(), "sick", "q"),
        ("other.png", pictures[6].read_bytes(), "well", "r"),
    ]
    external = write("clinic", rows, trained.labelled.task)
    found = find_overlap(external, keys_of(external), trained)
    assert {name: list(kinds) for name, kinds in found.found.items()} == {
        "copy": ["bytes"],
        "second": ["group"],
    }


def test_own_names_are_no_overlap_but_equal_images_still_are(
    trained: TrainedOn, write: Write, pictures: list[Path]
) -> None:
    rows = [
        ("a2.png", pictures[5].read_bytes(), "sick", "p0"),
        ("copy.png", pictures[0].read_bytes(), "sick", "p1"),
    ]
    external = write("clinic", rows, trained.labelled.task)
    assert len(find_overlap(external, keys_of(external), trained).found) == 2
    found = find_overlap(external, keys_of(external), trained, own_names=True)
    assert {name: list(kinds) for name, kinds in found.found.items()} == {"copy": ["bytes"]}


def test_groups_are_not_compared_with_ids(trained: TrainedOn, write: Write, pictures: list[Path]) -> None:
    # Without a column of groups every image is its own group, by its id.
    external = write("clinic", [("p1.png", pictures[5].read_bytes(), "sick", "")], trained.labelled.task)
    assert find_overlap(external, keys_of(external), trained).found == {}


def test_images_outside_every_training_set_are_no_overlap(
    trained: TrainedOn, write: Write, pictures: list[Path]
) -> None:
    rows = [
        ("copy.png", pictures[0].read_bytes(), "sick", "p0"),
        ("a1.png", pictures[5].read_bytes(), "well", "q"),
    ]
    external = write("clinic", rows, trained.labelled.task)
    others = dataclasses.replace(trained, ids=frozenset(["a1", "a2"]))
    found = find_overlap(external, keys_of(external), others)
    assert {name: list(kinds) for name, kinds in found.found.items()} == {"a1": ["id"]}


def test_an_error_counts_by_kind_and_names_files(
    trained: TrainedOn, write: Write, pictures: list[Path]
) -> None:
    rows = [(f"c{n}.png", pictures[n].read_bytes(), "sick", f"q{n}") for n in range(4)]
    rows += [("visit.png", pictures[6].read_bytes(), "well", "p3")]
    external = write("clinic", rows, trained.labelled.task)
    with pytest.raises(LeakError) as caught:
        refuse_overlap(find_overlap(external, keys_of(external), trained), external, "clinic")
    said = str(caught.value)
    assert "5 of 5 images of the external test set 'clinic' overlap with the training data" in said
    assert "4 byte-identical to a training image (c0 in " in said
    assert "c0.png = a0, " in said
    assert " and 1 more)" in said
    assert "1 same group as a training image (visit in " in said
    assert "visit.png, group p3)" in said
    assert "--overlap drop" in said
    assert "--own-names" in said


def test_perceptual_hashes_are_remembered(
    trained: TrainedOn, write: Write, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    external = write("clinic", [("b.png", resaved(pictures[1]), "well", "")], trained.labelled.task)
    first = find_overlap(external, keys_of(external), trained, cache=tmp_path / "cache")
    assert list(first.found["b"]) == ["near"]

    def fail(*_: object) -> list[bytes]:
        raise AssertionError("decoded again")

    monkeypatch.setattr(overlap, "image_hashes", fail)
    again = find_overlap(external, keys_of(external), trained, cache=tmp_path / "cache")
    assert again == first


def test_images_that_cannot_be_read_are_no_near_duplicates(trained: TrainedOn, write: Write) -> None:
    external = write("clinic", [("b.png", b"no image", "well", "")], trained.labelled.task)
    broken = write("broken", [("x.png", b"none either", "well", ""), ("y.png", b"nor this", "sick", "")])
    others = TrainedOn(broken, tuple(keys_of(broken)), frozenset(broken.ids))
    assert find_overlap(external, keys_of(external), others).found == {}
