"""Counts of a data set on its way to the folds."""

from __future__ import annotations

from pathlib import Path

from featx.data import apply_task, count_exclusions, read_manifest

ROWS = """image,label,group
a,melanoma,p1
b,nevus,p1
c,nevus,p2
d,wart,p2
e,wart,p3
f,scar,p4
"""


def test_every_image_is_counted_once_and_groups_wherever_they_have_an_image(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(ROWS)
    labelled = apply_task(read_manifest(tmp_path / "m.csv", check_files=False), "melanoma:nevus")
    found = count_exclusions(labelled, ["b", "c"], failed=["b"], changed=["c"])
    assert found["grouped"]
    assert found["listed"] == {"images": 6, "groups": 4}
    assert found["no_class"] == {"images": 3, "groups": 3, "labels": [["wart", 2], ["scar", 1]]}
    assert found["task"] == {
        "images": 3,
        "groups": 2,
        "classes": {"nevus": {"images": 2, "groups": 2}, "melanoma": {"images": 1, "groups": 1}},
    }
    assert found["no_features"] == {
        "images": 2,
        "groups": 2,
        "classes": {"nevus": {"images": 2, "groups": 2}, "melanoma": {"images": 0, "groups": 0}},
        "failed": 1,
        "changed": 1,
    }
    assert found["listed"]["images"] == found["no_class"]["images"] + found["task"]["images"]


def test_a_manifest_without_groups_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("image,label\na,x\nb,y\n")
    found = count_exclusions(apply_task(read_manifest(tmp_path / "m.csv", check_files=False), "x:y"))
    assert not found["grouped"]
    assert found["no_class"] == {"images": 0, "groups": 0, "labels": []}
    assert found["task"]["groups"] == found["task"]["images"] == 2
