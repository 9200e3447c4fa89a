"""The demo's study at a small size, with real verbs and real processes; killed on its way, it ends the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources as package_files
from pathlib import Path

import pytest

from featx.progress import Silent
from featx.runs import find_runs, read_run
from featx.study.studies import plan_study, run_study
from featx.jobs.worker import WorkerResources, do_job

SMALLER = {
    "images = 600": "images = 20, size = 32",
    "images = 400": "images = 40, size = 32",
    '"5x2"': '"kfold:2"',
    "epochs = 20": "epochs = 1, image_size = 32",
    "epochs = 15": "epochs = 2\nimage_size = 32",
    "[finetune]": '[extract]\nengine = "keras"\nimage-size = 32\n\n[finetune]',
}


def start(folder: Path) -> subprocess.Popen[str]:
    """Run the study in a folder of its own. Features are shared, by the digest of the weights that made them."""
    folder.mkdir(exist_ok=True)
    text = (package_files.files("featx.study") / "files" / "demo.toml").read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "mine.toml").write_text(text)
    command = [sys.executable, "-c", "from featx_cli.main import main; main()", "study", "run", "mine.toml"]
    environment = {**os.environ, "FEATX_CACHE": "../cache", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def scored(folder: Path) -> dict[str, bytes]:
    """Read what has to be equal: each run but for times and places. A report is a function of these bytes."""
    files = [path for name in ("run.json", "predictions.csv") for path in (folder / "runs").rglob(name)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was killed while it trained its second fold, and went on to its end."""
    folder = tmp_path_factory.mktemp("study") / "killed"
    jobs = folder / "reports" / "demo" / "jobs"
    process = start(folder)
    while len(list(jobs.glob("finetune*/job.json"))) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not list(jobs.glob("report*"))
    last = start(folder)
    out, err = last.communicate()
    assert last.returncode == 0, err
    assert out.strip() == str(folder / "reports" / "demo" / "report" / "dermoscopy" / "report.html")
    assert "10 jobs done" not in err
    return folder


@pytest.mark.slow
def test_every_arm_scores_the_same_folds(killed: Path) -> None:
    runs = [read_run(path) for path in find_runs([killed / "reports" / "demo" / "runs"])]
    assert len({run.record.folds_digest for run in runs}) == 1
    lineages = {(run.record.arm, run.record.fold): len(run.record.lineage) for run in runs}
    arms = {"random": 1, "source": 2, "source + fine-tuned": 3}
    assert lineages == {(arm, fold): steps for arm, steps in arms.items() for fold in ("1", "2")}
    for run in runs:
        tested = {row.group for row in run.predictions}
        assert run.record.counts["groups"]["test"] == len(tested)
        assert {row.strata["difficulty"] for row in run.predictions} == {"low", "medium", "high"}


@pytest.mark.slow
def test_logs_hold_nothing_of_tensorflow(killed: Path) -> None:
    logs = [log.read_text() for log in (killed / "reports" / "demo" / "jobs").glob("*/log.txt")]
    assert len(logs) == 10
    assert not [log for log in logs if "oneDNN" in log or "absl::InitializeLog" in log]


@pytest.mark.slow
def test_it_ends_in_a_report_by_difficulty_and_words(killed: Path) -> None:
    outcome = run_study(
        killed / "mine.toml", output=killed / "reports" / "demo", cache=killed.with_name("cache")
    )
    assert (len(outcome.done), len(outcome.reused)) == (0, 10)
    (report,) = outcome.reports
    assert "source + fine-tuned" in report.table
    assert len(report.findings) == 1
    assert (report.folder / "tables" / "strata.csv").read_text().count("difficulty") >= 9


@pytest.mark.slow
def test_a_killed_study_ends_as_one_that_nothing_interrupted(killed: Path) -> None:
    """The same jobs, done by their verbs in this process one after another."""
    straight = killed.with_name("straight")
    plan = plan_study(killed / "mine.toml", output=straight, cache=killed.with_name("cache"))
    resources, results = WorkerResources(threads=1), {}
    for job in plan.jobs:
        if job.kind != "report":
            taken = {name: results[key][name] for name, key in job.takes.items()}
            results[job.digest] = do_job(job.kind, {**job.arguments, **taken}, resources, Silent())
    assert scored(killed / "reports" / "demo") == scored(straight)
    assert len(scored(straight)) == 12


def test_each_verb_returns_what_other_jobs_take(tmp_path: Path, write_study: Callable[..., Path]) -> None:
    arms = '[arms.frozen]\nweights = "random"\n[extract]\nengine = "keras"\nimage-size = 32\n'
    plan = plan_study(write_study(arms), output=tmp_path / "out", cache=tmp_path / "cache")
    extraction, svm, report = plan.jobs
    resources, results = WorkerResources(threads=1), []
    for job, taken in ((extraction, "features"), (svm, "paths")):
        given = {"features": results[0]["features"]} if results else {}
        results.append(do_job(job.kind, {**job.arguments, **given}, resources, Silent()))
        assert all(Path(path).exists() for path in (*results[-1]["outputs"], *results[-1][taken]))
    given = {**report.arguments, "paths": results[1]["paths"], "figures": False}
    done = do_job("report", given, resources, Silent())
    assert "frozen" in done["table"]
    assert len(done["findings"]) == 1
