from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import featx
from featx.cells import csv_text, guarded, unguarded
from featx.data import import_dataset, read_folds, read_manifest

TEXTS = st.one_of(st.text(), st.text(alphabet="'=+-@\t\r\n＝12.e"))


@given(TEXTS)
def test_what_is_guarded_is_read_back_exactly(text):
    assert unguarded(guarded(text)) == text


@given(TEXTS)
def test_no_guarded_text_begins_like_a_formula_unless_it_is_a_number(text):
    written = guarded(text)
    if written[:1] in set("=+-@\t\r\n＝＋－＠"):
        float(written)


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), min_size=1))
def test_rows_come_back_from_a_file(rows):
    read = csv.reader(io.StringIO(csv_text(rows), newline=""))
    assert [[unguarded(cell) for cell in row] for row in read] == rows


@pytest.mark.parametrize("cell", [-1, -0.5, None, "-0.5", "+3", "-1e-3", "'tis", "'", ""])
def test_numbers_and_harmless_texts_stay_as_they_are(cell):
    assert guarded(cell) is cell
    assert unguarded(cell) is cell


@pytest.mark.parametrize("cell", ["=1", "+a", "-", "-1+1", "@x", "\tx", "\rx", "\nx", "-1\n", "-١"])
def test_what_may_run_is_guarded(cell):
    assert guarded(cell) == f"'{cell}"


def test_an_imported_manifest_and_a_fold_file_name_the_same_images(tmp_path):
    for name in ("=1+1", "@nevus"):
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / f"-{name}.png").write_bytes(b"not looked at")
    done = import_dataset("class-folders", tmp_path / "images", tmp_path / "m.csv")
    assert "\n=" not in done.manifest.read_text()
    table = read_manifest(done.manifest).table
    assert list(table["label"]) == ["=1+1", "@nevus"]
    rows = [("fold", "id", "part"), ("1", table["id"][0], "train"), ("1", table["id"][1], "test")]
    (tmp_path / "folds.csv").write_text(csv_text(rows))
    (fold,) = read_folds(tmp_path / "folds.csv").folds
    assert (*fold.train, *fold.test) == tuple(table["id"])


def test_all_csv_is_written_by_one_function():
    sources = Path(featx.__file__).parent.rglob("*.py")
    found = {path.name for path in sources if any(word in path.read_text() for word in ("csv.writer", "csv.DictWriter", "to_csv"))}  # fmt: skip
    assert found == {"cells.py"}
