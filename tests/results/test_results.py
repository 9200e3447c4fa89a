"""The results table: shipped rows, rows of one's own runs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from featx.data import canonical_splits, read_canonical
from featx.errors import InputError, RunError
from featx.results import add_results, read_results, write_results_page
from featx.results.result_rows import COLUMNS
from featx.runs import Prediction, RunRecord, write_run


def write(
    home: Path, arm: str = "A", fold: str = "holdout", protocol: str = "holdout", data: str = "1"
) -> Path:
    recipe = {"backbone": "resnet50", "image_size": 224, "layer": "avg_pool", "weights": "ab"}
    record = RunRecord(
        "svm", arm, "t", ("n", "y"), ("y",), protocol, fold, "f", 0, {"digest": data},
        {"digest": "d", "recipe": recipe}, {}, lineage=("imagenet",), versions={"featx": "0.1.0"},
    )  # fmt: skip
    rows = [Prediction(f"{fold}{i}", fold, str(i), "ny"[i % 3 > 1], {"y": i / 9}) for i in range(12)]
    return write_run(home / arm / fold, record, rows, {}).path


def test_shipped_rows_are_whole() -> None:
    table = read_results()
    assert len(table) >= 40
    assert list(table) == list(COLUMNS)
    assert not table[["auc", "dataset", "task", "split_digest", "runs_digest", "command"]].isna().any().any()
    assert table.runs_digest.is_unique
    assert (table.auc.between(0, 1) & (table.images > table.positives.fillna(0))).all()


def test_rows_hold_what_decides_them(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    done = add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv", command="featx train-svm ...")
    (row,) = read_results(tmp_path / "r.csv").to_dict("records")
    assert (done.added, done.known) == (1, 0)
    assert (row["images"], row["positives"], row["transfer"], row["backbone"]) == (
        12,
        4,
        "frozen",
        "resnet50",
    )
    assert (row["split_digest"], row["weights_digest"], row["featx"]) == ("f", "ab", "0.1.0")
    assert row["low"] < row["auc"] < row["high"]


def test_rows_are_added_once(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv")
    before = (tmp_path / "r.csv").read_bytes()
    assert add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv").known == 1
    assert (tmp_path / "r.csv").read_bytes() == before
    write(tmp_path / "runs", "=B")
    assert add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv").added == 1
    assert (tmp_path / "r.csv").read_bytes().startswith(before)
    assert set(read_results(tmp_path / "r.csv").arm) == {"A", "=B"}


def test_missing_folds_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "runs", fold="1x1", protocol="5x2")
    with pytest.raises(RunError, match="1 of the 10 folds of 5x2"):
        add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv")
    assert not (tmp_path / "r.csv").exists()


def test_missing_folds_of_a_canonical_split_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "runs", fold="1x1", protocol="canonical:uda1")
    with pytest.raises(RunError, match="1 of the 10 folds"):
        add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv")


def test_several_data_sets_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "runs")
    write(tmp_path / "runs", "B", data="2")
    with pytest.raises(RunError, match="2 manifests"):
        add_results(tmp_path / "runs", "mine", path=tmp_path / "r.csv")


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"r.csv: no column dataset"):
        read_results(tmp_path / "r.csv")
    with pytest.raises(InputError, match="no column 'colour'"):
        read_results(colour="red")


@pytest.mark.parametrize("name", canonical_splits())
def test_canonical_splits_are_folds(name: str) -> None:
    for train, test in read_canonical(name).values():
        assert set(train).isdisjoint(test)
        assert train
        assert test


def test_the_page_escapes_and_can_be_filtered(tmp_path: Path) -> None:
    for name in ("<b>A", *"BCDEFGH"):
        write(tmp_path / "runs", name.replace("<", "lt"))
    add_results(tmp_path / "runs", "<mine>", path=tmp_path / "r.csv")
    text = write_results_page(tmp_path / "r.html", tmp_path / "r.csv").read_text()
    assert "&lt;mine&gt;" in text
    assert "<mine>" not in text
    assert 'id="filter-results"' in text
