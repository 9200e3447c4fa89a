"""Reports in MLflow: what is logged, once, and brought up to date by the next report."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.errors import ConfigError
from featx.reporting.make_report import report_runs
from featx.reporting.mlflow_log import DIGEST, mlflow_client, series_digest, series_metrics, series_params
from featx.reporting.summary import summarise
from featx.runs import Run

from .conftest import every, score_outside
from .test_participants import TEST, TRAIN, write_runs


def test_metrics_are_the_numbers_of_the_tables_with_their_intervals(tmp_path: Path) -> None:
    summary = summarise([score_outside(write_runs(tmp_path, arms=("a", "b")), rows=4)])
    found = series_metrics(summary.series[0], every(summary))
    (auc,) = (table for table in every(summary) if table.name == "auc")
    row = dict(zip((column.name for column in auc.columns), auc.rows[0], strict=True))
    assert (found["auc"], found["auc_low"], found["auc_high"]) == (row["mean"], row["low"], row["high"])
    assert found["strata.images.sex.f.malignant"] == 2
    assert "external.external low.clinic.malignant" in found
    assert not any(name.startswith("mistakes") for name in found)
    assert all(isinstance(value, float) for value in found.values())


def test_parameters_are_what_the_runs_share(write: Callable[..., Run], tmp_path: Path) -> None:
    for fold, seed in (("1x1", 1), ("1x2", 2)):
        write("A|1", fold, seed=seed, settings={"scaling": "l2", "nested": {"a b?": 1}, "long": "x" * 9000})
    (series,) = summarise([tmp_path / "runs"]).series
    found = series_params(series)
    assert found["features.backbone"] == "tiny"
    assert found["settings.nested.a b_"] == "1"
    assert found["folds"] == "1x1, 1x2"
    assert "seed" not in found
    assert len(found["settings.long"]) == 500


def test_the_digest_changes_with_runs_and_external_scores(tmp_path: Path) -> None:
    runs = write_runs(tmp_path)
    before = series_digest(summarise([runs]).series[0])
    assert series_digest(summarise([runs]).series[0]) == before
    score_outside(runs, rows=4)
    assert series_digest(summarise([runs]).series[0]) != before


def test_without_mlflow_the_report_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = builtins.__import__

    def missing(name: str, *given: Any, **more: Any) -> Any:
        if name.partition(".")[0] == "mlflow":
            raise ModuleNotFoundError("No module named 'mlflow'")
        return original(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install 'featx\[mlflow\]'"):
        report_runs(tmp_path, output=tmp_path / "report", mlflow="file:/nowhere")
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_an_arm_is_logged_once_and_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    uri = (tmp_path / "tracking").as_uri()
    runs = write_runs(tmp_path, [(TRAIN, TEST), (TEST, TRAIN)], arms=("a",), protocol="5x2")
    for more in ({}, {"checklist": ["claim"], "prevalence": 0.1}):
        done = report_runs(runs, output=tmp_path / "report", figures=False, mlflow=uri, **more)
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("featx")
    assert experiment is not None
    logged = client.search_runs([experiment.experiment_id], order_by=["attributes.run_name"])
    assert [run.info.run_name for run in logged] == ["a, malignant-vs-benign (5x2)"]
    first = logged[0]
    assert first.info.status == "FINISHED"
    assert first.data.tags[DIGEST] == series_digest(summarise([runs]).series[0])
    assert first.data.params["protocol"] == "5x2"
    assert first.data.metrics["auc"] == done.main.rows[0][4]
    assert len(client.get_metric_history(first.info.run_id, "auc_fold")) == 2
    assert len(client.get_metric_history(first.info.run_id, "auc")) == 1
    names = {item.path for item in client.list_artifacts(first.info.run_id)}
    assert names == {"report.html", "tables", "checklists"}
    tables = {item.path for item in client.list_artifacts(first.info.run_id, "tables")}
    assert tables == {f"tables/{path.name}" for path in done.tables if path.suffix == ".csv"}


@pytest.mark.slow
def test_a_store_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    with pytest.raises(
        ConfigError, match=r"--mlflow nonsense:x: .*give the address of a server, or file:FOLDER"
    ):
        mlflow_client("nonsense:x")
