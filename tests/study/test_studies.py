"""Studies as functions: reports over hand-made runs, the demo, and the study on real images as it is planned."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from featx.errors import ConfigError, RunError
from featx.external import external_scores
from featx.files import write_json
from featx.jobs.job_state import StudyJob, write_done
from featx.runs import Prediction, RunRecord, find_runs, read_run, run_folder, write_run
from featx.study import studies
from featx.study.plan import Plan
from featx.study.schema import Study
from featx.study.studies import demo_study, plan_study, report, report_study, run_study, watched
from featx.study.study_files import KEPT, read_study
from featx_cli.main import run

ARMS = '[arms.frozen]\nweights = "random"\n[arms.tuned]\ntitle = "with the target"\nweights = "random"\nfinetune = true\n'


@pytest.fixture
def begun(tmp_path: Path, write_study: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A study of which nothing is finished, in the folder ``out``; its reports have no figures."""
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: {})
    plan = plan_study(write_study(ARMS), output=tmp_path / "out", cache=tmp_path / "cache")
    write_json(plan.output / KEPT, plan.study.model_dump(mode="json"))
    return plan


def finish(plan: Plan, *kinds: str) -> None:
    for job in plan.jobs:
        if job.kind in kinds:
            paths = [str(_run(job, fold)) for fold in job.arguments.get("folds", ("1", "2"))]
            write_done(job.digest, job.folder(plan.output), {"outputs": paths, "paths": paths, "seconds": 1})


def _run(job: StudyJob, fold: str) -> Path:
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
    (by_folder,) = report([begun.output], cache=tmp_path / "cache", output=tmp_path / "mine")
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
    assert done.findings[0].lead.startswith("Planned comparison: with the target minus frozen")
    (other,) = report_study(path, **place, planned=["frozen:with the target"])
    assert other.findings[0].lead.startswith("Planned comparison: frozen minus with the target")


def test_what_is_not_finished_is_left_out(begun: Plan, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="study small: no SVM is finished yet"):
        report([begun.output], cache=tmp_path / "cache")
    with pytest.raises(ConfigError, match="A study is reported alone"):
        report([begun.output, tmp_path], cache=tmp_path / "cache")


def test_the_study_that_is_kept_is_the_study(begun: Plan) -> None:
    assert read_study(begun.output) == begun.study


def test_the_study_is_the_shipped_one_with_a_seed_everywhere() -> None:
    assert demo_study(0) == read_study("demo")
    seeded = demo_study(7)
    told = seeded.model_dump_json()
    assert seeded.seed == 7
    assert told.count('"seed":7') == 3
    assert '"seed":0' not in told


def test_the_command_ends_with_table_words_and_path(
    tmp_path: Path,
    data: Path,
    fake_worker: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    head, *rows = data.read_text().splitlines()
    data.write_text("\n".join([f"{head},difficulty", *(f"{row},low" for row in rows)]))

    def small(seed: int) -> Study:
        return read_study("demo", {"retina": data, "dermoscopy": data})

    monkeypatch.setattr(studies, "demo_study", small)
    given = ["demo", "--output", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert run(given) == 0
    told = capsys.readouterr()
    page = tmp_path / "out" / "report" / "dermoscopy" / "report.html"
    assert told.out == f"a table\na finding\nReport: {page}\n"
    assert "18 jobs done, 0 finished before" in told.err
    kinds = [line for line in told.err.splitlines() if line.endswith(" ...")]
    assert kinds == [
        "extracting features ...",
        "training SVMs ...",
        "training on a source ...",
        "fine-tuning, fold by fold ...",
        "writing the reports ...",
    ]


ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("real_mini", ROOT / "benchmarks" / "real_mini.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.real
def test_the_study_fits_the_files_at_hand(real_data: Path, tmp_path: Path, script: ModuleType) -> None:
    folds = real_data.parent / "reference" / "menegola2017" / "folds" / "isic.yml"
    if not folds.is_file():
        pytest.skip(f"no official lists: {folds} is not there")
    study = script.prepare(real_data, folds, tmp_path)
    parts = {
        name: pd.read_csv(tmp_path / f"{name}.csv")["split"].value_counts()
        for name in ("isic2016", "isic2017")
    }
    assert parts["isic2017"].to_dict() == {"train": 2000, "test": 600, "val": 150}
    assert parts["isic2016"].to_dict() == {"train": 749, "test": 305}
    plan = plan_study(study, output=tmp_path / "out", cache=tmp_path / "cache", allow_outside=True)
    kinds = [job.kind for job in plan.jobs]
    # Three backbones random, frozen and tuned, and one trained from random weights, on two targets.
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "finetune": 8,
        "extract": 20,
        "svm": 20,
        "report": 2,
    }
    weights = {str(job.arguments["weights"]) for job in plan.jobs if job.kind == "extract"}
    assert {Path(text).name for text in weights if text.endswith(".h5")} == {
        "mobilenet_2_5_224_tf_no_top.h5",
        "mobilenet_7_5_224_tf_no_top.h5",
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
    }


def test_the_command_prints_the_reports_and_what_they_find(
    tmp_path: Path, write_study: Callable[[str], Path], fake_worker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(write_study(ARMS)), "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert run(["study", "run", *given, "--workers", "1"]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out' / 'report' / 'skin' / 'report.html'}\n"
    assert "a finding" in told.err


def test_the_command_reports_what_is_finished(
    begun: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(begun, "svm")
    given = [str(tmp_path / "small.toml"), "-o", str(begun.output), "--cache", str(tmp_path / "cache")]
    assert run(["study", "report", *given]) == 0
    told = capsys.readouterr()
    assert told.out == f"{begun.output / 'report' / 'skin' / 'report.html'}\n"
    assert told.err


@pytest.mark.slow
def test_the_network_of_each_fold_scores_the_external_target(
    tmp_path: Path, write_study: Callable[[str], Path], make_data: Callable[..., Path]
) -> None:
    make_data(tmp_path / "clinic", 20)
    clinic = '[targets.clinic]\nmanifest = "clinic/manifest.csv"\ntasks = ["melanoma:rest"]\nprotocol = "kfold:2"\n'
    training = '[finetune]\nrecipe = "scratch"\nepochs = 1\nhead_epochs = 0\n'
    tuned = '[arms.tuned]\nweights = "random"\nfinetune = true\n'
    path = write_study(clinic + tuned + training)
    added = 'protocol = "kfold:2"\ntest = ["clinic"]\nown_names = true\n'
    path.write_text(path.read_text().replace('protocol = "kfold:2"\n', added, 1))
    outcome = run_study(path, output=tmp_path / "out", cache=tmp_path / "cache")
    assert not outcome.failed
    runs = [read_run(place) for place in find_runs([tmp_path / "out" / "runs" / "skin"])]
    found = [external_scores(made) for made in runs]
    assert [len(scores) for scores in found] == [1, 1]
    for made, (scores,) in zip(runs, found, strict=True):
        assert scores.record.features == made.record.search["features"]
        assert len(scores.predictions) == 20
    assert len({scores.record.features for (scores,) in found}) == 2
    table = pd.read_csv(tmp_path / "out" / "report" / "skin" / "tables" / "external.csv")
    assert table["set"].tolist() == ["clinic"]
    assert not (tmp_path / "out" / "report" / "clinic" / "tables" / "external.csv").exists()
