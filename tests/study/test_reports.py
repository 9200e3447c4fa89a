"""Reports of studies, over hand-made runs that stand where the jobs would have put them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.errors import ConfigError, RunError
from featx.files import write_json
from featx.runs import Prediction, RunRecord, run_folder, write_run
from featx.study.jobs import Job, write_done
from featx.study.plan import Plan
from featx.study.schema import KEPT, read_study
from featx.study.studies import plan_study, report_runs_or_study, report_study, watched

ARMS = '[arms.frozen]\nweights = "random"\n[arms.tuned]\ntitle = "with the target"\nweights = "random"\nfinetune = true\n'


@pytest.fixture
def begun(tmp_path: Path, write_study: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A study of which nothing is finished, in the folder ``out``; its reports have no figures."""
    drawn: list[Any] = []
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: tuple(drawn))
    plan = plan_study(write_study(ARMS), output=tmp_path / "out", cache=tmp_path / "cache")
    write_json(plan.output / KEPT, plan.study.model_dump(mode="json"))
    return plan


def finish(plan: Plan, *kinds: str) -> None:
    for job in plan.jobs:
        if job.kind in kinds:
            paths = [str(_run(job, fold)) for fold in job.arguments.get("folds", ("1", "2"))]
            write_done(job.digest, job.folder(plan.output), {"outputs": paths, "paths": paths, "seconds": 1})


def _run(job: Job, fold: str) -> Path:
    record = RunRecord(
        kind=job.kind,
        arm=job.arguments["arm"],
        task=job.arguments["task"],
        classes=("rest", "melanoma"),
        scored=("melanoma",),
        protocol=job.arguments["protocol"],
        fold=fold,
        folds_digest="f",
        seed=0,
        manifest={"name": "skin", "digest": "m"},
        features={},
        settings={},
    )
    rows = [
        Prediction(str(n), fold, f"p{n}", "melanoma" if n % 4 < 2 else "rest", {"melanoma": n % 5 - 1.5})
        for n in range(24)
    ]
    place = run_folder(job.arguments["output"], record.arm, record.task, record.protocol, fold)
    return write_run(place, record, rows if job.kind == "svm" else (), {}).path


def test_a_study_is_reported_by_its_file_and_by_its_folder_alike(begun: Plan, tmp_path: Path) -> None:
    finish(begun, "svm", "finetune")
    (by_file,) = report_study(tmp_path / "small.toml", folder=begun.output, cache=tmp_path / "cache")
    assert by_file.output == begun.output / "report" / "skin"
    rows = [(row[0], row[2], row[8]) for row in by_file.main.rows]
    assert rows == [("melanoma:rest", "frozen", 2), ("melanoma:rest", "with the target", 2)]
    page = by_file.html.read_bytes()
    # The trainings behind the SVMs come along, and so their provenance and curves.
    assert b"fine-tuning on melanoma:rest" in page
    (by_folder,) = report_runs_or_study([begun.output], cache=tmp_path / "cache", output=tmp_path / "mine")
    assert by_folder.output == tmp_path / "mine"
    assert by_folder.html.read_bytes() == page
    assert watched([begun.output, "reports/runs"]) == [begun.output / "runs", Path("reports/runs")]


def test_options_of_the_report_go_before_the_studys_own(begun: Plan, tmp_path: Path) -> None:
    finish(begun, "svm")
    place: dict[str, Any] = {"folder": begun.output, "cache": tmp_path / "cache"}
    (done,) = report_study(
        tmp_path / "small.toml", **place, title="Mine", compare=["frozen"], strata=None, thumbnails=True
    )
    page = done.html.read_text(encoding="utf-8")
    assert "<h1>Mine</h1>" in page
    assert len(done.main.rows) == 1
    assert page.count('src="data:image/jpeg') > 0


def test_planned_comparisons_of_the_study_are_reported_and_may_be_replaced(
    begun: Plan, tmp_path: Path
) -> None:
    path = tmp_path / "small.toml"
    path.write_text(
        path.read_text().replace("backbones =", 'planned = [["tuned", "frozen"]]\nbackbones =', 1)
    )
    finish(begun, "svm")
    place: dict[str, Any] = {"folder": begun.output, "cache": tmp_path / "cache"}
    (done,) = report_study(path, **place)
    assert done.findings[0].lead.startswith("Planned comparison: with the target against frozen")
    (other,) = report_study(path, **place, planned=["frozen:with the target"])
    assert other.findings[0].lead.startswith("Planned comparison: frozen against with the target")


def test_what_is_not_finished_is_left_out(begun: Plan, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="study small: no SVM is finished yet"):
        report_runs_or_study([begun.output], cache=tmp_path / "cache")
    with pytest.raises(ConfigError, match="a study is reported alone"):
        report_runs_or_study([begun.output, tmp_path], cache=tmp_path / "cache")


def test_the_study_that_is_kept_is_the_study(begun: Plan) -> None:
    assert read_study(begun.output) == begun.study
