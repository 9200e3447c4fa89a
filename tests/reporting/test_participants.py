"""Flow of images and Table 1: counts that add up, ranges over the folds, and what earlier runs did not record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from featx.data import (
    TRAINING_SET,
    TrainingImage,
    apply_task,
    count_exclusions,
    read_manifest,
    training_set_bytes,
)
from featx.reporting.figures.canvas import NARROW, WIDE
from featx.reporting.figures.flow_chart import flow_chart
from featx.reporting.make_report import report_runs
from featx.reporting.participants import KEPT, OUT, PART, SET, flows
from featx.reporting.summary import summarise
from featx.runs import Prediction, run_folder, write_run

from .conftest import filled, record, score_outside

SETTING = ("malignant-vs-benign", "holdout")
TRAIN, TEST = range(6), range(6, 10)


def manifest_of(folder: Path, *, groups: bool = True) -> Path:
    """Twelve images of six patients: ten of the task, two warts; every third is malignant; sex and age."""
    head = "image,label,sex,age" + (",group" if groups else "")
    rows = [
        f"i{n},{'wart' if n > 9 else 'malignant' if n % 3 == 0 else 'benign'},{'' if n == 5 else 'fm'[n % 2]},{30 + n}"
        + (f",p{n // 2}" if groups else "")
        for n in range(12)
    ]
    folder.mkdir(exist_ok=True)
    (folder / "m.csv").write_text("\n".join([head, *rows]) + "\n")
    return folder / "m.csv"


def write_runs(
    folder: Path,
    folds: Sequence[tuple[Sequence[int], Sequence[int]]] = ((TRAIN, TEST),),
    arms: Sequence[str] = ("frozen",),
    *,
    protocol: str = "holdout",
    old: bool = False,
    columns: bool = True,
    groups: bool = True,
    lacking: Sequence[str] = (),
    **changes: Any,
) -> Path:
    """Write runs as `featx train-svm` does, on the manifest's images by number."""
    read = read_manifest(manifest_of(folder, groups=groups), check_files=False)
    labelled = apply_task(read, "malignant:benign")
    place = {name: row for row, name in enumerate(labelled.ids)}
    flow = count_exclusions(labelled, lacking, failed=lacking[:1])

    def facts(n: int) -> tuple[str, str, str, dict[str, str]]:
        row = place[f"i{n}"]
        strata = {name: values[row] for name, values in labelled.strata.items()} if columns else {}
        return labelled.ids[row], str(labelled.classes[row]), str(labelled.groups[row]), strata

    for arm in arms:
        for number, (train, test) in enumerate(folds, 1):
            parts = {"train": list(map(facts, train)), "test": list(map(facts, test))}
            counts: dict[str, Any] = {
                part: {name: sum(one[1] == name for one in rows) for name in ("benign", "malignant")}
                for part, rows in parts.items()
            }
            if not old:
                counts |= {"groups": {part: len({one[2] for one in rows}) for part, rows in parts.items()}}
                counts |= {"flow": flow, "left_out": len(lacking), "excluded": 2}
            told = {"name": "m", "digest": read.digest}
            made = record(arm, str(number), protocol=protocol, counts=counts, manifest=told, **changes)
            rows = [
                Prediction(name, str(number), group, actual, {"malignant": float(n % 5)}, strata=strata)
                for n, (name, actual, group, strata) in zip(test, parts["test"], strict=True)
            ]
            listed = [
                TrainingImage(name, actual, group, "", strata)
                for name, actual, group, strata in parts["train"]
            ]
            files = {} if old else {TRAINING_SET: training_set_bytes(listed)}
            write_run(
                run_folder(folder / "runs", arm, made.task, protocol, str(number)), made, rows, {}, files
            )
    return folder / "runs"


def rows_of(name: str, *paths: Path, **more: Any) -> dict[tuple[str, ...], tuple[Any, ...]]:
    """Return the rows of a table, by their first two cells."""
    (table,) = filled(name, summarise(paths))
    return {(str(row[0]), str(row[1] or "")): row[2:] for row in table.rows}


def test_the_flow_adds_up_from_the_manifest_to_the_parts(tmp_path: Path) -> None:
    rows = rows_of("flow-{slug}", write_runs(tmp_path))
    assert rows == {
        ("Images listed", "in the manifest"): (12, 6, None, None),
        ("Left out: label without a class in the task", "wart (2)"): (2, 1, None, None),
        ("Images of the task", ""): (10, 5, 4, 4),
        ("Training set", ""): (6, 3, 2, 2),
        ("Test set", ""): (4, 2, 2, 2),
    }


def test_images_without_features_and_in_neither_part_are_boxes_of_their_own(tmp_path: Path) -> None:
    runs = write_runs(
        tmp_path, [(range(5), range(6, 9)), (range(4), range(6, 9))], protocol="mine", lacking=["i5"]
    )
    rows = rows_of("flow-{slug}", runs)
    assert rows["Left out: without features", "1 failed in extraction"] == (1, 1, 0, 0)
    assert rows["Left out: in neither part of the fold", "by the protocol or its fold file"][0] == "1 to 2"
    assert rows["Training set", ""] == ("4 to 5", "2 to 3", 2, 2)
    (table,) = filled("flow-{slug}", summarise([runs]))
    assert "Ranges are over the 2 folds." in table.note


def test_runs_of_earlier_versions_say_what_is_not_recorded(tmp_path: Path) -> None:
    rows = rows_of("flow-{slug}", write_runs(tmp_path, old=True))
    assert rows["Images listed", "in the manifest"][0] == "not recorded"
    assert rows["Left out: without features", ""][0] == "not recorded"
    assert rows["Training set", ""] == (6, "not recorded", 2, "not recorded")
    assert rows["Test set", ""] == (4, 2, 2, 2)


def test_arms_with_other_exclusions_have_a_flow_of_their_own(tmp_path: Path) -> None:
    for name, lacking in (("a", ()), ("b", ()), ("c", ("i5",))):
        write_runs(tmp_path, [(range(5), TEST)], arms=[name], lacking=lacking)
    found = flows(summarise([tmp_path / "runs"]), SETTING)
    assert [flow.arms for flow in found] == [("a", "b"), ("c",)]
    (table,) = filled("flow-{slug}", summarise([tmp_path / "runs"]))
    assert table.columns[0].title == "Arms"


def test_table_1_describes_the_parts(tmp_path: Path) -> None:
    rows = rows_of("characteristics-{slug}", write_runs(tmp_path))
    assert rows["Images", ""] == ("10", "6", "4")
    assert rows["Groups", ""] == ("5", "3", "2")
    assert rows["Class", "malignant"] == ("4 (40.0 %)", "2 (33.3 %)", "2 (50.0 %)")
    assert rows["sex", "f"] == ("5 (50.0 %)", "3 (50.0 %)", "2 (50.0 %)")
    assert rows["sex", "missing"] == ("1 (10.0 %)", "1 (16.7 %)", "0 (0.0 %)")
    assert rows["age", "30"][0] == "1 (10.0 %)"  # ten ages are no more than can be listed


def test_numbers_have_mean_and_deviation_and_folds_a_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.reporting.sections.participant_tables.MOST_LEVELS", 5)
    runs = write_runs(tmp_path, [(TRAIN, TEST), (TEST, TRAIN)], protocol="5x2")
    rows = rows_of("characteristics-{slug}", runs)
    assert rows["age", "mean ± SD"] == ("34.5 ± 3.0", "32.5 to 37.5", "32.5 to 37.5")
    assert rows["Images", ""] == ("10", "4 to 6", "4 to 6")
    assert rows["Class", "malignant"][1] == "2 (33.3 to 50.0 %)"


def test_a_manifest_fills_what_the_runs_did_not_record(tmp_path: Path) -> None:
    runs = write_runs(tmp_path, columns=False)
    assert not any(name == "sex" for name, _ in rows_of("characteristics-{slug}", runs))
    done = report_runs(runs, output=tmp_path / "report", figures=False, manifest=tmp_path / "m.csv")
    (table,) = (one for one in done.contents if one.name.startswith("characteristics"))
    assert [row[2:] for row in table.rows if row[:2] == ("sex", "f")] == [
        ("5 (50.0 %)", "3 (50.0 %)", "2 (50.0 %)")
    ]
    (tmp_path / "m.csv").write_text("image,label\na,malignant\nb,benign\n")
    done = report_runs(runs, output=tmp_path / "report", figures=False, manifest=tmp_path / "m.csv")
    assert any("not the manifest of these runs" in text for text in done.warnings)


def test_external_test_sets_have_a_box_and_a_column(tmp_path: Path) -> None:
    runs = score_outside(write_runs(tmp_path), rows=4)
    found = rows_of("flow-{slug}", runs)
    assert found["Left out: external test set clinic: without features", ""][0] == 3
    assert found["External test set clinic", ""] == (4, 2, 2, 2)
    assert rows_of("characteristics-{slug}", runs)["Class", "malignant"][-1] == "2 (50.0 %)"


def test_images_without_groups_are_said_to_have_none(tmp_path: Path) -> None:
    (table,) = filled("flow-{slug}", summarise([write_runs(tmp_path, groups=False)]))
    assert "Images have no groups" in table.note


@pytest.mark.parametrize("most", [WIDE, NARROW])
def test_boxes_of_the_diagram_do_not_overlap_and_hold_their_text(tmp_path: Path, most: float) -> None:
    runs = score_outside(write_runs(tmp_path, [(range(5), range(6, 9))], lacking=["i5"]), rows=3)
    summary = summarise([runs])
    figure = flow_chart(summary, SETTING, most)
    assert figure.get_figwidth() <= most
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches if type(patch).__name__ == "FancyBboxPatch"]
    kinds = [box.kind for box in flows(summary, SETTING)[0].boxes]
    assert [kinds.count(kind) for kind in (KEPT, PART, SET)] == [2, 2, 1]
    assert len(boxes) == len(kinds) - kinds[kinds.index(PART) :].count(OUT)
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])
    for text in (one for one in axes.texts if one.get_text()):
        extent = text.get_window_extent()
        assert any(
            box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0 and extent.y1 <= box.y1
            for box in boxes
        )


def test_table_1_takes_sizes_that_runs_counted_without_listing_images(tmp_path: Path) -> None:
    rows = rows_of("characteristics-{slug}", write_runs(tmp_path, old=True))
    assert rows["Images", ""] == ("not recorded", "6", "4")
    assert rows["Groups", ""] == ("not recorded", "not recorded", "2")
    assert rows["Class", "malignant"] == ("not recorded", "not recorded", "2 (50.0 %)")
