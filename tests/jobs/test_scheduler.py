"""The scheduler, at places that do no work but answer as they are told."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from featx.errors import ClusterError
from featx.images import read_keys
from featx.jobs.job_state import State, StudyJob, write_done, write_failed
from featx.jobs.machines.leases import Watch
from featx.jobs.machines.places import Place
from featx.jobs.scheduler import Scheduler
from featx.process import Interrupted
from featx.progress import Silent

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class Told(Silent):
    """A receiver that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


class StandIn:
    """A place whose jobs are answered by a function."""

    def __init__(self, answer: Answer, whole: bool = False) -> None:
        self.tasks: list[Mapping[str, Any]] = []
        self.up = True
        self._answer, self._pool = answer, ThreadPoolExecutor(1)
        self.place = Place(
            "the stand-in", self._submit, lambda: {"": 2}, lambda: 2, whole=whole, alive=lambda: self.up
        )

    def _submit(self, task: Mapping[str, Any]) -> Future[dict[str, Any]]:
        self.tasks.append(task)
        return self._pool.submit(lambda: dict(self._answer(task)))


def done(task: Mapping[str, Any]) -> Mapping[str, Any]:
    write_done(
        task["digest"],
        Path(task["folder"]),
        {"outputs": [], "features": [], "seconds": 1, **task["measures"]},
    )
    return {"event": "done", "seconds": 1}


def job(name: str, kind: str = "svm", **more: Any) -> StudyJob:
    return StudyJob(kind, name, {"name": name}, {"name": name}, **more)


def run(stand_in: StandIn, folder: Path, *jobs: StudyJob, **options: Any) -> Scheduler:
    states = {one.digest: State("pending") for one in jobs}
    scheduler = Scheduler(stand_in.place, folder, states, **{"retries": 2, "progress": Silent(), **options})
    with scheduler.on_duty():
        scheduler.do(jobs)
    return scheduler


def names(stand_in: StandIn) -> list[str]:
    return [task["label"] for task in stand_in.tasks]


def test_jobs_wait_for_what_they_need(tmp_path: Path) -> None:
    stand_in = StandIn(done)
    first = job("first", "extract")
    second = job("second", needs=(first.digest,), takes={"features": first.digest})
    scheduler = run(stand_in, tmp_path, second, first)
    assert names(stand_in) == ["extract first", "svm second"]
    assert stand_in.tasks[1]["arguments"] == {"name": "second", "features": []}
    assert [one.name for one in scheduler.done] == ["first", "second"]


def test_a_job_says_who_schedules_it_and_what_it_needs(tmp_path: Path) -> None:
    holders = []

    def look(task: Mapping[str, Any]) -> Mapping[str, Any]:
        holders.append(Watch(Path(task["scheduler"]["path"]), task["scheduler"]["token"]).holder())
        return done(task)

    stand_in = StandIn(look)
    run(stand_in, tmp_path, job("one", "extract"))
    assert holders[0] is not None
    assert holders[0]["pid"] == os.getpid()
    (task,) = stand_in.tasks
    assert (task["gpus"], task["slots"], task["cores"]) == (1, {"": 2}, None)
    assert Path(task["folder"]).is_absolute()
    assert not list(tmp_path.glob(".scheduler*"))


def test_parts_come_before_the_whole_which_joins_them(tmp_path: Path) -> None:
    stand_in = StandIn(done)
    scheduler = run(stand_in, tmp_path, job("big", "extract", images=4000))
    assert names(stand_in)[-1] == "extract big"
    assert len(stand_in.tasks) == 5
    assert [task["arguments"].get("compact") for task in stand_in.tasks] == [None] * 4 + [True]
    assert [one.name for one in scheduler.done] == ["big"]


def test_finished_parts_are_not_done_again(tmp_path: Path) -> None:
    lost = {"left": 1}

    def lose_one(task: Mapping[str, Any]) -> Mapping[str, Any]:
        if "part 3" in task["label"] and lost["left"]:
            lost["left"] = 0
            write_failed(task["digest"], Path(task["folder"]), "sick")
            return {"event": "failed", "reason": "sick"}
        return done(task)

    big = job("big", "extract", images=4000)
    first = run(StandIn(lose_one), tmp_path, big)
    assert first.failed == {"extract big": "sick"}
    stand_in = StandIn(lose_one)
    run(stand_in, tmp_path, big)
    assert names(stand_in) == ["extract big, part 3 of 4", "extract big"]


@pytest.mark.parametrize("event", [{"event": "died", "code": -9}, RuntimeError("machine gone")])
def test_what_died_is_tried_again_so_often_and_then_fails(event: Any, tmp_path: Path) -> None:
    def die(task: Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(event, Exception):
            raise event
        assert isinstance(event, dict)
        return event

    told, stand_in = Told(), StandIn(die)
    scheduler = run(stand_in, tmp_path, job("one"), progress=told)
    assert len(stand_in.tasks) == 3
    (reason,) = scheduler.failed.values()
    assert reason.endswith("(3 attempts)")
    assert ("SIGKILL" in reason) != ("machine gone" in reason)
    assert sum("starting it again" in line for line in told.lines) == 2
    assert scheduler.executions[job("one").digest] == 3


def test_a_job_whose_machine_leaves_goes_elsewhere_without_counting(tmp_path: Path) -> None:
    left = [4]

    def leave(task: Mapping[str, Any]) -> Mapping[str, Any]:
        left[0] -= 1
        return {"event": "interrupted"} if left[0] else done(task)

    scheduler = run(StandIn(leave), tmp_path, job("one"), retries=0)
    assert scheduler.failed == {}
    assert len(scheduler.done) == 1


def test_a_place_that_is_lost_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featx.jobs.scheduler._UNREACHED_SECONDS", 0.0)
    monkeypatch.setattr("featx.jobs.scheduler._LATE_SECONDS", 0.1)
    release = threading.Event()

    def wait(task: Mapping[str, Any]) -> Mapping[str, Any]:
        stand_in.up = False
        release.wait(10)
        return done(task)

    stand_in = StandIn(wait)
    with pytest.raises(ClusterError, match=r"the stand-in was lost; 0 jobs were finished by then.*resumes"):
        run(stand_in, tmp_path, job("one"))
    release.set()


def test_jobs_at_a_place_that_is_lost_are_not_cancelled_there(tmp_path: Path) -> None:
    class Deaf(Future[dict[str, Any]]):
        def cancel(self) -> bool:
            raise AssertionError("cancelled where nobody is")

    class Lost(StandIn):
        def _submit(self, task: Mapping[str, Any]) -> Future[dict[str, Any]]:
            self.tasks.append(task)
            if len(self.tasks) == 1:
                return Deaf()
            self.up = False
            failed: Future[dict[str, Any]] = Future()
            failed.set_exception(OSError("gone"))
            return failed

    stand_in = Lost(done)
    with pytest.raises(ClusterError, match="was lost"):
        run(stand_in, tmp_path, job("one"), job("two"))


def test_a_signal_is_told_through_the_lease_and_what_waits_is_not_begun(tmp_path: Path) -> None:
    def stop(task: Mapping[str, Any]) -> Mapping[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        watch = Watch(Path(task["scheduler"]["path"]))
        limit = time.monotonic() + 10
        while not ((holder := watch.holder()) and holder["stop"]) and time.monotonic() < limit:
            time.sleep(0.02)
        return {"event": "interrupted"}

    stand_in = StandIn(stop)
    with pytest.raises(Interrupted) as caught:
        run(stand_in, tmp_path, job("one"), job("two"), job("three"))
    assert caught.value.number == signal.SIGTERM


def test_content_keys_travel_with_jobs(tmp_path: Path) -> None:
    stand_in = StandIn(done)
    run(stand_in, tmp_path, job("one", "extract"), job("page", "report"), keys={"/a.png": "ab" * 32})
    files = [task["arguments"].get("keys") for task in stand_in.tasks]
    assert files[1] is None
    assert read_keys(files[0]) == {"/a.png": "ab" * 32}


def test_an_executor_that_is_broken_is_one_clear_error(tmp_path: Path) -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    place = Place("the stand-in", lambda task: pool.submit(dict, task), lambda: {"": 1}, lambda: 1)
    scheduler = Scheduler(
        place, tmp_path, {job("one").digest: State("pending")}, retries=0, progress=Silent()
    )
    with pytest.raises(ClusterError, match="the stand-in takes no more jobs"), scheduler.on_duty():
        scheduler.do([job("one")])
