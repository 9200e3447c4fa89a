from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from featx.data.check import (
    HASH_BYTES,
    ManifestCheck,
    check_manifest,
    image_hashes,
    near_matches,
    near_pairs,
)
from featx.data.manifest import read_manifest
from featx.data.synthetic import draw_dermoscopy


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six synthetic images of different lesions, a byte-identical copy, a smaller copy, and a broken file."""
    draw_dermoscopy(tmp_path, images=7, size=64)
    folder = tmp_path / "images"
    (folder / "copy.jpg").write_bytes((folder / "derm00000.jpg").read_bytes())
    with Image.open(folder / "derm00001.jpg") as image:
        image.resize((48, 48)).save(folder / "smaller.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    return tmp_path


def check(folder: Path, rows: list[str], **options: object) -> ManifestCheck:
    (folder / "m.csv").write_text("\n".join(["image,label,group,split", *rows]))
    manifest = read_manifest(folder / "m.csv", root=folder / "images", check_files=False)
    return check_manifest(manifest, workers=1, **options)  # type: ignore[arg-type]


CLEAN = [
    "derm00000,nevus,g0,train",
    "derm00001,nevus,g1,test",
    "derm00002,mel,g2,train",
    "derm00005,mel,g3,test",
]


def kinds(found: ManifestCheck) -> list[str]:
    return [finding.kind for finding in found.findings]


def test_a_clean_data_set_has_counts_and_no_findings(images: Path) -> None:
    found = check(images, CLEAN)
    assert (found.images, found.readable, found.groups) == (4, 4, 4)
    assert found.classes == {"mel": 2, "nevus": 2}
    assert found.splits == {"train": {"nevus": 1, "mel": 1}, "test": {"nevus": 1, "mel": 1}}
    assert found.sizes == {"64x64": 4}
    assert found.findings == ()


def test_unreadable_and_missing_images_are_errors(images: Path) -> None:
    found = check(images, [*CLEAN, "broken,mel,g4,", "gone.jpg,mel,g5,"])
    assert found.readable == 4
    assert kinds(found) == ["unreadable"]
    assert found.findings[0].severity == "error"
    assert found.findings[0].items == ("broken", "gone")


def test_copies_with_other_labels_splits_and_groups(images: Path) -> None:
    found = check(images, [*CLEAN, "copy,mel,g4,test"])
    assert [(finding.kind, finding.severity) for finding in found.findings] == [
        ("copies-with-other-labels", "error"),
        ("copies-across-splits", "error"),
        ("copies", "warning"),
        ("copies-across-groups", "warning"),
    ]
    assert found.findings[0].items == ("derm00000 = copy",)
    assert found.near == ()


def test_near_duplicates_are_found_with_what_they_would_leak(images: Path) -> None:
    found = check(images, [*CLEAN, "smaller,mel,g4,train"])
    (pair,) = found.near
    assert (pair.first, pair.second) == ("derm00001", "smaller")
    assert pair.distance <= 32
    assert kinds(found) == [
        "near-duplicates",
        "near-duplicates-with-other-labels",
        "near-duplicates-across-splits",
        "near-duplicates-across-groups",
    ]
    assert found.sizes == {"64x64": 4, "48x48": 1}
    assert check(images, [*CLEAN, "smaller,mel,g4,train"], near=None).findings == ()


def test_a_label_with_one_group_is_a_warning(images: Path) -> None:
    found = check(images, ["derm00000,nevus,g0,", "derm00001,nevus,g1,", "derm00002,mel,g2,"])
    assert kinds(found) == ["one-group"]
    assert found.findings[0].items == ("mel",)


def test_it_goes_into_json(images: Path) -> None:
    value = json.loads(json.dumps(check(images, [*CLEAN, "copy,mel,g4,test"]).to_dict()))
    assert value["images"] == 5
    assert value["sizes"] == [{"size": "64x64", "images": 5}]
    assert value["findings"][0]["items"] == ["derm00000 = copy"]


@given(st.integers(2, 60), st.integers(0, 12), st.integers(0, 99))
def test_near_pairs_are_those_of_a_double_loop(number: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**6, (number, 2)).astype(np.uint64)
    wanted = [
        (a, b, distance)
        for a in range(number)
        for b in range(a + 1, number)
        if (distance := sum(int(x ^ y).bit_count() for x, y in zip(hashes[a], hashes[b], strict=True)))
        <= most
    ]
    assert list(near_pairs(hashes, most)) == wanted


def test_near_pairs_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.data.check._BLOCK", 2)
    hashes = np.array([[1], [64], [2], [1], [64]], dtype=np.uint64)
    assert list(near_pairs(hashes, 0)) == [(0, 3, 0), (1, 4, 0)]


def test_near_matches_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.data.check._BLOCK", 2)
    some = np.array([[1], [64], [2]], dtype=np.uint64)
    others = np.array([[2], [1]], dtype=np.uint64)
    assert list(near_matches(some, others, 0)) == [(0, 1, 0), (2, 0, 0)]


def test_hashes_of_copies_are_alike_and_unreadable_images_have_none(images: Path) -> None:
    names = ("derm00001.jpg", "smaller.png", "derm00002.jpg", "broken.jpg")
    hashes = image_hashes([str(images / "images" / name) for name in names], workers=1)
    assert [len(one) for one in hashes] == [HASH_BYTES] * 3 + [0]
    values = np.frombuffer(b"".join(hashes), dtype=np.uint64).reshape(3, -1)
    assert [pair[:2] for pair in near_matches(values[:1], values, 32)] == [(0, 0), (0, 1)]


def test_groups_across_splits_are_found_not_refused(images: Path) -> None:
    (images / "m.csv").write_text("image,label,group,split\nderm00000,a,g,train\nderm00001,b,g,test\n")
    manifest = read_manifest(images / "m.csv", root=images / "images", check_groups=False)
    found = check_manifest(manifest, near=None)
    assert [(finding.kind, finding.severity) for finding in found.findings] == [
        ("groups-across-splits", "error"),
        ("one-group", "warning"),
    ]


def test_missing_groups_and_doubtful_labels_are_warnings(tmp_path: Path) -> None:
    rows = [f"{n}.png,{'melanoma' if n % 2 else 'nevus'},L{n // 2}" for n in range(30)]
    rows += ["30.png,melanom,L15", "31.png,melanoma in situ,L15"]
    (tmp_path / "m.csv").write_text("image,label,lesion_id\n" + "\n".join(rows) + "\n")
    manifest = read_manifest(tmp_path / "m.csv", check_files=False)

    def findings(task: str | None) -> dict[str, str]:
        check = check_manifest(manifest, task=task, near=None)
        return {finding.kind: finding.text for finding in check.findings if finding.severity == "warning"}

    found = findings(None)
    assert "'lesion_id' (16 values); rename" in found["no-groups"]
    assert found["labels-alike"] == "labels spelled like a more frequent one: 'melanom' (1, 'melanoma' 15)"
    assert found["rare-labels"] == "labels of one or two images: melanom, melanoma in situ"
    assert "doubtful-labels" not in found
    assert (
        "'melanoma in situ' (1 image, similar to 'melanoma')" in findings("melanoma:rest")["doubtful-labels"]
    )
