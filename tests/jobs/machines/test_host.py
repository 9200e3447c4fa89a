"""The host of a job: worker processes that stay, that die, and that are told to stop."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featx.jobs.machines import host
from featx.jobs.machines.leases import Lease

Make = Callable[..., dict[str, Any]]


def calls(folder: Path) -> list[dict[str, Any]]:
    file = folder / "calls.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def await_call(folder: Path) -> int:
    """Wait until a worker is at work, and return its process."""
    while not (found := calls(folder)):
        time.sleep(0.02)
    return int(found[-1]["pid"])


def in_thread(task: dict[str, Any]) -> tuple[threading.Thread, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: events.append(host.run_job(task)))
    thread.start()
    return thread, events


def test_a_worker_stays_for_the_next_job_and_a_finished_job_is_not_run_again(
    fake_worker: Path, make_task: Make
) -> None:
    first, second = host.run_job(make_task("one")), host.run_job(make_task("two"))
    assert (first["event"], second["event"]) == ("done", "done")
    assert len({call["pid"] for call in calls(fake_worker)}) == 1
    again = host.run_job(make_task("one"))
    assert (again["event"], again["executions"]) == ("done", 0)
    assert len(calls(fake_worker)) == 2


def test_a_failed_job_s_worker_is_replaced(fake_worker: Path, make_task: Make) -> None:
    failed = host.run_job(make_task("sick"))
    assert (failed["event"], failed["reason"]) == ("failed", "the patient is sick; cure it")
    assert host.run_job(make_task("one"))["event"] == "done"
    assert len({call["pid"] for call in calls(fake_worker)}) == 2


def test_a_worker_that_dies_is_told_with_its_exit_code(fake_worker: Path, make_task: Make) -> None:
    assert host.run_job(make_task("killed"))["code"] == -signal.SIGKILL


def test_other_needs_get_another_worker(fake_worker: Path, make_task: Make) -> None:
    host.run_job(make_task("one", cores=1))
    host.run_job(make_task("two", slots={"": 1}))
    assert [call["threads"] for call in calls(fake_worker)] == [1, len(os.sched_getaffinity(0))]
    host.dismiss_workers()
    assert not [call for call in calls(fake_worker) if Path(f"/proc/{call['pid']}").exists()]


@pytest.mark.parametrize("ends", ["told", "gone"])
def test_the_scheduler_s_lease_stops_the_job(
    ends: str, fake_worker: Path, make_task: Make, lease: Lease, tmp_path: Path
) -> None:
    thread, events = in_thread(make_task("slow"))
    await_call(fake_worker)
    if ends == "told":
        lease.tell(1)
    else:
        lease.end()
    thread.join()
    assert events[0]["event"] == "interrupted"
    assert "interrupted; the next run resumes" in (tmp_path / "jobs" / "slow" / "log.txt").read_text()


@pytest.mark.linux
@pytest.mark.parametrize(("name", "event"), [("swallowing", "interrupted"), ("swallowing whole", "done")])
def test_a_swallowed_interruption_is_none_of_the_job_s_failures_and_its_worker_leaves(
    fake_worker: Path, make_task: Make, lease: Lease, name: str, event: str
) -> None:
    task = make_task(name)
    thread, events = in_thread(task)
    process = await_call(fake_worker)
    lease.tell(1)
    thread.join(60)
    assert [one["event"] for one in events] == [event]
    assert not (Path(task["folder"]) / "failed.json").exists()
    assert not Path(f"/proc/{process}").exists()


def test_a_job_that_comes_after_the_stop_is_not_begun(
    fake_worker: Path, make_task: Make, lease: Lease
) -> None:
    lease.tell(1)
    late = host.run_job(make_task("late"))
    assert (late["event"], late["executions"]) == ("interrupted", 0)
    assert calls(fake_worker) == []


def test_told_twice_it_is_killed(fake_worker: Path, make_task: Make, lease: Lease, tmp_path: Path) -> None:
    thread, events = in_thread(make_task("slow"))
    pid = await_call(fake_worker)
    lease.tell(2)
    thread.join()
    assert events[0]["event"] == "interrupted"
    assert not Path(f"/proc/{pid}").exists()
    assert "interrupted" not in (tmp_path / "jobs" / "slow" / "log.txt").read_text()


def test_a_job_that_does_not_stop_in_time_is_killed(fake_worker: Path, make_task: Make, lease: Lease) -> None:
    thread, events = in_thread(make_task("slow", grace=0))
    await_call(fake_worker)
    lease.tell(1)
    thread.join()
    assert events[0]["event"] == "interrupted"


def test_an_engine_that_leaves_interrupts_its_jobs(
    fake_worker: Path, make_task: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = host._Workers()
    monkeypatch.setattr(host, "_workers", lambda: workers)
    thread, events = in_thread(make_task("slow"))
    pid = await_call(fake_worker)
    host.interrupt_workers()
    thread.join()
    assert events[0]["event"] == "interrupted"
    assert not Path(f"/proc/{pid}").exists()


def test_a_job_that_another_worker_holds_waits_for_it(
    fake_worker: Path, make_task: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "jobs" / "one"
    folder.mkdir(parents=True)
    other = Lease(folder / "worker", "theirs")
    other.renew()
    thread, events = in_thread(make_task("one"))
    log = folder / "log.txt"
    while not (log.exists() and "waiting for process" in log.read_text()):
        time.sleep(0.05)
    assert calls(fake_worker) == []
    other.end()
    thread.join()
    assert events[0]["event"] == "done"


def test_idle_workers_end(fake_worker: Path, make_task: Make) -> None:
    host.run_job(make_task("one"))
    pid = await_call(fake_worker)
    host._workers().end_idle(0)
    assert not Path(f"/proc/{pid}").exists()


def test_trainings_have_the_threads_of_the_scheduler_on_any_share_of_cores(
    fake_worker: Path, make_task: Make
) -> None:
    for slots in (1, 2):
        host.run_job(make_task(f"training{slots}", slots={"": slots}, threads=3, trains=True))
    host.run_job(make_task("svm", cores=1, threads=1))
    pools = [call["pool"] for call in calls(fake_worker)]
    assert pools[1:] == ["3", "1"]
