from __future__ import annotations

import csv
from pathlib import Path

import pytest

from featx.data.audit import FoldAudit, audit_fold_files, audit_folds
from featx.data.folds import Fold, Folds, write_folds
from featx.data.manifest import Manifest, read_manifest
from featx.errors import ProtocolError

REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "menegola2017"


def lists(folder: Path, *pairs: tuple[str, str]) -> Path:
    """Write published lists: pairs of comma separated names."""
    text = "#comment\n\n"
    for number, (first, second) in enumerate(pairs, 1):
        text += f"Fold_{number}:\n  - [{first}]\n  - [{second}]\n\n"
    path = folder / "protocol1.yml"
    path.write_text(text, encoding="utf-8")
    return path


def labels(folder: Path, *names: str, groups: dict[str, str] | None = None) -> Manifest:
    head, rows = "image,level", [f"{name},0" for name in names]
    if groups:
        head, rows = f"{head},group", [f"{row},{groups[row.split(',')[0]]}" for row in rows]
    (folder / "protocol1.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return read_manifest(folder / "protocol1.csv", check_files=False)


def kinds(audit: FoldAudit) -> list[str]:
    return [finding.kind for finding in audit.findings]


def five_by_two() -> list[tuple[str, str]]:
    halves = [
        ("a1.tiff, b1.tiff, c1.tiff", "d1.tiff, e1.tiff, f1.tiff"),
        ("a1.tiff, d1.tiff, e1.tiff", "b1.tiff, c1.tiff, f1.tiff"),
    ]
    halves += [
        ("a1.tiff, e1.tiff, f1.tiff", "b1.tiff, c1.tiff, d1.tiff"),
        ("a1.tiff, b1.tiff, e1.tiff", "c1.tiff, d1.tiff, f1.tiff"),
    ]
    halves += [("a1.tiff, c1.tiff, e1.tiff", "b1.tiff, d1.tiff, f1.tiff")]
    return [pair for first, second in halves for pair in ((first, second), (second, first))]


def test_what_the_published_script_would_train(tmp_path: Path) -> None:
    audit = audit_folds(lists(tmp_path, *five_by_two()), labels(tmp_path, *(f"{x}1" for x in "abcdef")))
    assert (audit.folds, audit.partitions, audit.images) == (10, 5, 6)
    assert kinds(audit) == ["both-directions-listed"]
    assert (
        "only 6 distinct train/test pairs in 10 runs and never uses 2 of the partitions"
        in audit.findings[0].text
    )


def test_entries_without_ending(tmp_path: Path) -> None:
    audit = audit_folds(lists(tmp_path, ("a1.tiff, b1", "c1.tiff"), ("c1.tiff", "a1.tiff, b1")))
    (finding,) = [item for item in audit.findings if item.kind == "no-ending"]
    assert finding.items == ("b1",)
    assert "Fold_1, first list: b1, Fold_2, second list: b1" in finding.text
    assert "no-ending" not in kinds(audit_folds(lists(tmp_path, ("a1, b1", "c1"))))


def test_labels_and_lists_are_held_against_each_other(tmp_path: Path) -> None:
    audit = audit_folds(
        lists(tmp_path, ("a1.tiff", "b1.tiff, x1.tiff")), labels(tmp_path, "a1", "b1", "fhl022")
    )
    assert [(item.kind, item.items) for item in audit.findings] == [
        ("in-no-fold", ("fhl022",)),
        ("no-label", ("x1",)),
    ]


def test_labels_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "a1.tiff").write_bytes(b"")
    manifest = labels(tmp_path, "a1", "b1")
    audit = audit_folds(lists(tmp_path, ("a1.tiff", "b1.tiff")), manifest)
    assert [(item.kind, item.items) for item in audit.findings] == [("no-image", ("b1",))]


def test_second_pictures_in_different_halves(tmp_path: Path) -> None:
    path = lists(tmp_path, ("aal002.tiff, m1.tiff, q7.tiff", "aal002bis.tiff, m2.tiff, q7b.tiff"))
    finding = audit_folds(path).findings[-1]
    assert finding.kind == "second-picture"
    assert finding.items == ("aal002 / aal002bis", "q7 / q7b")
    cases = {"aal002": "4A12", "aal002bis": "4A12", "q7": "1", "q7b": "2"}
    told = audit_folds(path, groups=cases)
    assert "aal002 / aal002bis (the same group, in 1 of 1 folds)" in told.findings[-1].text
    assert "q7 / q7b (groups 1 and 2, in 1 of 1 folds)" in told.findings[-1].text
    assert told.findings[0].kind == "group-straddles"
    assert told.findings[0].items == ("4A12",)


def test_second_pictures_in_one_half_are_fine(tmp_path: Path) -> None:
    assert audit_folds(lists(tmp_path, ("aal002.tiff, aal002bis.tiff", "m2.tiff"))).findings == ()


def test_groups_of_the_labels_are_looked_at(tmp_path: Path) -> None:
    manifest = labels(tmp_path, "a1", "b1", groups={"a1": "p", "b1": "p"})
    audit = audit_folds(lists(tmp_path, ("a1.tiff", "b1.tiff")), manifest)
    assert kinds(audit) == ["group-straddles"]


def test_repeats_overlaps_and_gaps_in_featx_files(tmp_path: Path) -> None:
    folds = (Fold("1", ("a", "b"), ("c",)), Fold("2", ("a", "b"), ("c",)), Fold("3", ("a",), ("a", "b")))
    write_folds(tmp_path / "folds.json", Folds("mine", 0, folds))
    audit = audit_folds(tmp_path / "folds.json")
    assert [(item.kind, item.items) for item in audit.findings] == [
        ("same-split", ("1", "2")),
        ("left-out", ("c",)),
        ("overlap", ("a",)),
    ]


@pytest.mark.real
def test_the_authors_files() -> None:
    if not REFERENCE.is_dir():
        pytest.skip(f"no reference files: {REFERENCE} is not there")
    with (REFERENCE / "atlas-metadata.csv").open(encoding="utf-8") as file:
        cases = {row["image"]: row["case"] for row in csv.DictReader(file, delimiter=";")}
    found = {}
    for name in ("protocol1", "protocol2", "protocol3", "isic"):
        manifest = read_manifest(REFERENCE / "folds" / f"{name}.csv", check_files=False)
        found[name] = audit_folds(REFERENCE / "folds" / f"{name}.yml", manifest, cases)
    assert [(audit.folds, audit.partitions, audit.images) for audit in found.values()] == [
        (10, 5, 974),
        (10, 5, 932),
        (10, 5, 974),
        (1, 1, 1279),
    ]
    assert found["isic"].findings == ()
    assert kinds(found["protocol1"]) == [
        "both-directions-listed",
        "no-ending",
        "in-no-fold",
        "second-picture",
    ]
    items = {item.kind: item.items for item in found["protocol1"].findings}
    assert items["in-no-fold"] == ("fhl022",)
    assert {"nml108", "nml114"} <= set(items["no-ending"])
    assert items["second-picture"] == ("adl387 / adl387bis",)
    assert "only 6 distinct train/test pairs in 10 runs" in found["protocol3"].findings[0].text


class CountedPart(tuple):
    """A part of a fold that counts how often it is iterated."""

    passes = 0

    def __iter__(self):
        CountedPart.passes += 1
        return super().__iter__()


def test_second_images_need_no_more_passes_over_a_fold_for_more_images(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes = []
    for count in (5, 50):
        first = CountedPart(f"i{number}" for number in range(count))
        second = CountedPart(f"i{number}bis" for number in range(count))
        folds = Folds("mine", 0, (Fold("1", first, second),))
        monkeypatch.setattr("featx.data.audit.read_folds", lambda path, folds=folds: folds)
        CountedPart.passes = 0
        (finding,) = audit_folds("folds.json").findings
        assert len(finding.items) == count
        passes.append(CountedPart.passes)
    assert passes[0] == passes[1]


def test_all_lists_of_a_folder_with_labels_beside_and_groups(tmp_path: Path) -> None:
    (tmp_path / "p.yml").write_text("Fold_1: [[a1.tiff], [b1.tiff]]\n")
    (tmp_path / "q.yaml").write_text("Fold_1: [[a1.tiff], [c1.tiff]]\n")
    (tmp_path / "p.csv").write_text("image,label\na1,0\nb1,1\nd1,1\n")
    (tmp_path / "groups.csv").write_text("image,case\na1.tiff,7\nc1.tiff,7\nb1.tiff,\n")
    first, second = audit_fold_files(tmp_path, groups=tmp_path / "groups.csv", group_column="case")
    assert [(item.kind, item.items) for item in first.findings] == [("in-no-fold", ("d1",))]
    assert [(item.kind, item.items) for item in second.findings] == [("group-straddles", ("7",))]


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="no fold lists"):
        audit_fold_files(tmp_path)
