"""Execution with stand-in verbs: order, failure, retry, death, signals, shares of the machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from featx.errors import ConfigError, StoreError
from featx.jobs.job_state import locked
from featx.jobs.machines import host
from featx.process import Interrupted
from featx.progress import Silent
from featx.study.execute import StudyOutcome, Written
from featx.study.studies import run_study, study_overview

ONE = '[arms.one]\nweights = "random:1"\n'
TWO = ONE + '[arms.two]\nweights = "random:2"\n'


class Told(Silent):
    """A receiver that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def run(path: Path, **options: Any) -> StudyOutcome:
    here = path.parent
    return run_study(path, output=here / "out", cache=here / "cache", **options)


def states(path: Path) -> dict[str, str]:
    found = study_overview(path, output=path.parent / "out", cache=path.parent / "cache")
    return {
        f"{row.job.kind} {row.job.arguments.get('arm', row.job.arguments.get('weights', ''))}".strip(): row.state
        for row in found.rows
    }


def calls(folder: Path) -> list[dict[str, Any]]:
    file = folder / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_a_study_is_done_once(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(TWO)
    first = run(path)
    assert [job.kind for job in first.done] == ["extract", "svm", "extract", "svm", "report"]
    assert first.reports == [Written(path.parent / "out" / "report" / "skin", "a table", ("a finding",))]
    second = run(path)
    assert (len(second.done), len(second.reused), second.failed, second.blocked) == (0, 5, {}, [])
    assert second.reports == first.reports
    assert len(calls(fake_worker)) == 5
    assert set(states(path).values()) == {"done"}


def test_results_are_handed_on(write_study: Callable[..., Path], fake_worker: Path) -> None:
    run(write_study(ONE))
    extraction, svm, report = calls(fake_worker)
    assert extraction["backbone"] == "tiny"
    assert Path(svm["features"][0]).parent == fake_worker
    assert Path(report["paths"][0]).parent == fake_worker
    assert svm["features"] != report["paths"]


def test_a_failed_job_stops_only_what_needs_it(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE + '[arms.sick]\nweights = "random:3"\n[arms.broken]\nweights = "random:2"\n')
    told = Told()
    outcome = run(path, progress=told)
    assert outcome.failed == {
        "svm sick on skin melanoma:rest": "the patient is sick; cure it",
        "svm broken on skin melanoma:rest": "ZeroDivisionError: no error of featx",
    }
    assert [job.kind for job in outcome.done].count("extract") == 3
    assert len(calls(fake_worker)[-1]["paths"]) == 1
    assert any("failed: the patient is sick" in line and "log.txt" in line for line in told.lines)
    assert states(path)["svm sick"] == "failed"


def test_failed_jobs_are_retried_on_request(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE + '[arms.sick]\nweights = "random:3"\n')
    run(path)
    (fake_worker / "cured").touch()
    before = len(calls(fake_worker))
    again = run(path)
    assert list(again.failed) == ["svm sick on skin melanoma:rest"]
    assert len(calls(fake_worker)) == before
    retried = run(path, retry_failed=True)
    assert retried.failed == {}
    # The report is made again, since it has an arm more.
    assert [job.kind for job in retried.done] == ["svm", "report"]
    assert len(calls(fake_worker)[-1]["paths"]) == 2


def test_what_needs_a_failed_job_is_blocked(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(
        '[weights.sick]\ntiny = "random:3"\n[arms.tuned]\nweights = "sick"\nfinetune = true\n' + ONE
    )
    (fake_worker / "hurry").touch()
    # The stand-in goes by the arm, here the slug of the weights' way: "sick-skin".
    outcome = run(path)
    assert len(outcome.failed) == 2
    assert sorted(job.kind for job in outcome.blocked) == ["extract", "svm"]
    assert outcome.reports
    assert states(path)["svm tuned"] == "blocked"


def test_a_worker_that_dies_is_a_failure_and_is_replaced(
    write_study: Callable[..., Path], fake_worker: Path
) -> None:
    path = write_study('[arms.killed]\nweights = "random:3"\n' + ONE)
    told = Told()
    outcome = run(path, progress=told, retries=1)
    reason = "its process was killed by SIGKILL; it may have been out of memory"
    assert outcome.failed == {"svm killed on skin melanoma:rest": f"{reason} (2 attempts)"}
    assert [line for line in told.lines if "starting it again" in line] == [
        f"svm killed on skin melanoma:rest: {reason}; starting it again (1 of 1 retries)"
    ]
    assert [job.kind for job in outcome.done] == ["extract", "extract", "svm", "report"]


def test_a_child_that_a_library_has_forked_holds_nothing_up(
    write_study: Callable[..., Path], fake_worker: Path
) -> None:
    path = write_study('[arms.killed-forking]\nweights = "random:3"\n' + ONE)
    outcome = run(path, retries=0)
    assert list(outcome.failed) == ["svm killed-forking on skin melanoma:rest"]
    assert len(outcome.done) == 4
    child = int((fake_worker / "child").read_text())
    status = Path(f"/proc/{child}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_worker_that_cannot_start_is_a_failure(
    write_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_WORKER", (sys.executable, "-c", "raise SystemExit(3)"))
    outcome = run(write_study(TWO), retries=0)
    assert set(outcome.failed.values()) == {"its process ended with exit code 3"}
    assert len(outcome.failed) == len(outcome.blocked) == 2
    assert outcome.reports == []


def test_logs_are_kept_over_attempts(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study('[arms.sick]\nweights = "random:3"\n')
    run(path)
    run(path, retry_failed=True)
    (log,) = (path.parent / "out" / "jobs").glob("svm-sick*/log.txt")
    text = log.read_text()
    assert text.count("failed: the patient is sick; cure it") == 2
    assert text.count("a line from below Python's progress") == 2
    (broken,) = (path.parent / "out" / "jobs").glob("extract*/log.txt")
    assert "done in" in broken.read_text()


def test_unforeseen_errors_leave_their_traceback_in_the_log(
    write_study: Callable[..., Path], fake_worker: Path
) -> None:
    path = write_study('[arms.broken]\nweights = "random:3"\n')
    run(path)
    (log,) = (path.parent / "out" / "jobs").glob("svm-broken*/log.txt")
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" in log.read_text()


def test_lost_outputs_are_made_again(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE)
    run(path)
    Path(calls(fake_worker)[1]["features"][0]).unlink()
    assert [job.kind for job in run(path).done] == ["extract"]


def test_jobs_at_once_share_the_machine(
    write_study: Callable[..., Path], fake_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be shared out")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    path = write_study('[arms.meet1]\nweights = "random:1"\n[arms.meet2]\nweights = "random:2"\n')
    (fake_worker / "meeting").touch()
    outcome = run(path, jobs=2)
    assert len(outcome.done) == 5
    # The two extractions wait for each other, and so do the two SVMs.
    networks = [call for call in calls(fake_worker) if "weights" in call]
    svms = [call for call in calls(fake_worker) if str(call.get("arm", "")).startswith("meet")]
    for pair in (networks, svms):
        assert sorted(pair[0]["cpus"] + pair[1]["cpus"]) == cores
        assert {call["omp"] for call in pair} == {str(call["threads"]) for call in pair}
    assert {call["gpu"] for call in networks} == {"4", "7"}
    assert {call["gpu"] for call in svms} == {"-1"}


def test_a_single_job_has_the_whole_machine(write_study: Callable[..., Path], fake_worker: Path) -> None:
    run(write_study(ONE))
    (call, *_) = calls(fake_worker)
    assert call["cpus"] == sorted(os.sched_getaffinity(0))
    assert call["threads"] == len(call["cpus"])
    assert call["omp"] == os.environ.get("OMP_NUM_THREADS")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_job_and_the_next_run_goes_on(
    number: signal.Signals, write_study: Callable[..., Path], fake_worker: Path
) -> None:
    path = write_study('[arms.slow]\nweights = "random:1"\n')
    told = Told()
    before = signal.getsignal(number)

    def send() -> None:
        while len(calls(fake_worker)) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(Interrupted) as caught:
        run(path, progress=told)
    sender.join()
    assert caught.value.number == number
    assert signal.getsignal(number) is before
    assert any("stopping the running jobs at their next checkpoint" in line for line in told.lines)
    (log,) = (path.parent / "out" / "jobs").glob("svm-slow*/log.txt")
    assert "interrupted; the next run resumes" in log.read_text()
    assert states(path) == {"extract random:1": "done", "svm slow": "pending", "report": "pending"}
    (fake_worker / "hurry").touch()
    assert [job.kind for job in run(path).done] == ["svm", "report"]


def test_workers_of_a_killed_study_end_by_themselves(
    write_study: Callable[..., Path], fake_worker: Path
) -> None:
    path = write_study('[arms.slow]\nweights = "random:1"\n')
    here = str(path.parent)
    program = (
        "import sys; from featx.jobs.machines import host; from featx.study import studies as run\n"
        "host._WORKER = tuple(sys.argv[3:])\n"
        "run.run_study(sys.argv[1], output=sys.argv[2] + '/out', cache=sys.argv[2] + '/cache')\n"
    )
    study = subprocess.Popen([sys.executable, "-c", program, str(path), here, *host._WORKER])
    while len(calls(fake_worker)) < 2:
        assert study.poll() is None
        time.sleep(0.05)
    assert states(path)["svm slow"] == "running"
    study.kill()
    study.wait()
    worker = Path("/proc") / str(calls(fake_worker)[-1]["pid"])
    limit = time.monotonic() + 5
    while worker.exists() and time.monotonic() < limit:
        time.sleep(0.01)
    assert not worker.exists()
    assert states(path)["svm slow"] == "pending"
    (fake_worker / "hurry").touch()
    assert [job.kind for job in run(path).done] == ["svm", "report"]


def test_two_runs_of_a_study_do_not_meet(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE)
    (path.parent / "out").mkdir()
    with (
        locked(path.parent / "out"),
        pytest.raises(StoreError, match="another `featx study run` is running"),
    ):
        run(path)
    assert calls(fake_worker) == []


def test_the_study_is_kept_beside_its_results(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE)
    run(path)
    kept = json.loads((path.parent / "out" / "study.json").read_text())
    assert kept["arms"]["one"]["weights"] == "random:1"
    assert kept["svm"]["preset"] == "default"


def test_a_study_may_run_beside_the_main_thread(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(ONE)
    outcomes: list[StudyOutcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(run(path)))
    thread.start()
    thread.join()
    assert len(outcomes[0].done) == 3


def test_no_jobs_at_once_is_an_error(write_study: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="'jobs' parameter must be at least 1"):
        run(write_study(ONE), jobs=0)


def test_a_study_runs_on_any_executor(write_study: Callable[..., Path], fake_worker: Path) -> None:
    path = write_study(TWO)
    with ThreadPoolExecutor(2) as executor:
        outcome = run(path, executor=executor)
        assert len(outcome.done) == 5
        assert executor.submit(int).result() == 0
    # Executors with several slots get the folds of SVMs apart; the whole finds them done.
    folds = [call.get("folds") for call in calls(fake_worker) if "weights" not in call]
    assert folds.count(None) == 3
    with pytest.raises(ConfigError, match="'cluster' and 'executor' parameters exclude each other"):
        run(path, executor=executor, cluster="dask")


class _LosesAnswers(ThreadPoolExecutor):
    """An engine that runs jobs and loses their results."""

    def submit(self, function: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        def run_and_lose() -> None:
            function(*given, **named)
            raise ConnectionError("the machine has gone")

        return super().submit(run_and_lose)


def test_a_job_whose_answer_is_lost_is_not_done_again(
    write_study: Callable[..., Path], fake_worker: Path
) -> None:
    with _LosesAnswers(1) as executor:
        outcome = run(write_study(ONE), executor=executor, retries=0)
    assert (len(outcome.done), outcome.failed) == (3, {})
    assert len(calls(fake_worker)) == 3
    assert not list((fake_worker.parent / "out").glob("jobs/*/worker"))
