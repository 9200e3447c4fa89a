"""Files of predictions."""

from __future__ import annotations

import csv
import json

import pandas as pd
import pytest

from featx.deploy.prediction_files import write_predictions

ROWS = [
    {"id": "=a", "score:red": 0.1 + 0.2, "threshold": None, "in_training": 0},
    {"id": "bü", "score:red": -1e-300, "threshold": None, "in_training": 2},
]


def test_csv_has_every_digit_and_no_formula(tmp_path):
    write_predictions(tmp_path / "p.CSV", ROWS)
    with (tmp_path / "p.CSV").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["id"], second["id"]) == ("'=a", "bü")
    assert float(first["score:red"]) == 0.1 + 0.2
    assert float(second["score:red"]) == -1e-300
    assert first["threshold"] == ""


def test_json_lines_hold_the_rows(tmp_path):
    write_predictions(tmp_path / "p.jsonl", ROWS)
    assert [json.loads(line) for line in (tmp_path / "p.jsonl").read_text("utf-8").splitlines()] == ROWS


def test_parquet_holds_the_rows(tmp_path):
    pytest.importorskip("pyarrow")
    write_predictions(tmp_path / "p.parquet", ROWS)
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert found["score:red"].tolist() == [0.1 + 0.2, -1e-300]
    assert found["id"].tolist() == ["=a", "bü"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "p.jsonl"
    write_predictions(path, ROWS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_predictions(path, [*ROWS, {"id": "c", "score:red": float("nan")}])
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["p.jsonl"]
