"""States and times of a study's jobs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featx.errors import StoreError
from featx.features import FeatureOptions, FeatureStore, targets
from featx.jobs.job_state import StudyJob, write_done, write_failed, write_started
from featx.study.plan import Plan
from featx.study.status import Overview, overview
from featx.study.studies import plan_study

ARMS = """
[arms.frozen]
weights = "random:1"
[arms.other]
weights = "random:2"
[arms.tuned]
weights = "random:1"
finetune = true
"""


@pytest.fixture
def plan(tmp_path: Path, write_study: Callable[..., Path]) -> Plan:
    return plan_study(write_study(ARMS), output=tmp_path / "out", cache=tmp_path / "cache")


def jobs(plan: Plan, kind: str) -> list[StudyJob]:
    return [job for job in plan.jobs if job.kind == kind]


def finish(plan: Plan, job: StudyJob, seconds: float) -> None:
    result = {
        "outputs": [],
        "seconds": seconds,
        "images": job.images,
        "speed": job.speed,
        "features": [],
        "paths": [],
    }
    write_done(job.digest, write_started(job, plan.output), result)


def state(found: Overview, job: StudyJob) -> str:
    return next(row.state for row in found.rows if row.job.digest == job.digest)


def test_nothing_is_done_nor_known_at_first(plan: Plan) -> None:
    found = overview(plan)
    assert found.counts() == {"pending": len(plan.jobs)}
    assert found.seconds_left() == (0, len(plan.jobs))
    assert not found.running
    assert not plan.output.exists()
    assert (
        found.lines()[-1]
        == "left: about 0 s, one job at a time, and 9 jobs without an estimate, because no similar job has finished"
    )


def test_the_rest_is_estimated_from_what_is_alike(plan: Plan) -> None:
    frozen, other, tuned = jobs(plan, "extract")
    finish(plan, frozen, seconds=24.0)
    finish(plan, jobs(plan, "finetune")[0], seconds=60.0)
    found = overview(plan)
    seconds = {row.job.digest: row.seconds for row in found.rows}
    assert seconds[frozen.digest] == 24
    assert seconds[other.digest] == 24
    assert seconds[tuned.digest] == 48
    assert seconds[jobs(plan, "finetune")[1].digest] == 60
    assert found.seconds_left() == (24 + 48 + 60, 4)
    assert found.lines()[-1].startswith("left: about 2 min, one job at a time, and 4 jobs")


def test_features_of_other_studies_are_told_and_not_counted_twice(plan: Plan, tmp_path: Path) -> None:
    frozen, other, tuned = jobs(plan, "extract")
    finish(plan, other, seconds=24.0)
    (target,) = targets(["tiny"], ["random:1"], FeatureOptions(), tmp_path / "cache")
    (keys,) = (sorted(found) for found in plan.contents.values())
    store = FeatureStore.open_or_create(target.folders[0], target.recipes[0])
    store.write_block(keys[:18], np.zeros((18, 1, 8), np.float32))
    rows = {row.job.digest: row for row in overview(plan).rows}
    assert (rows[frozen.digest].seconds, rows[frozen.digest].note) == (6, "18 of 24 images in the cache")
    assert (rows[tuned.digest].seconds, rows[tuned.digest].note) == (48, "")
    store.write_block(keys[18:], np.zeros((6, 1, 8), np.float32))
    assert next(row.seconds for row in overview(plan).rows if row.job.digest == frozen.digest) == 0


def test_failures_block_what_needs_them(plan: Plan) -> None:
    tuned = jobs(plan, "finetune")[0]
    write_failed(tuned.digest, write_started(tuned, plan.output), "no\nmemory")
    found = overview(plan)
    assert found.counts() == {"pending": 6, "failed": 1, "blocked": 2}
    assert f"failed   {tuned.label}: no memory" in found.lines()
    assert state(found, jobs(plan, "report")[0]) == "pending"


def test_a_report_without_any_svm_is_blocked(plan: Plan) -> None:
    for job in jobs(plan, "svm"):
        write_failed(job.digest, write_started(job, plan.output), "bad")
    assert state(overview(plan), jobs(plan, "report")[0]) == "blocked"


def test_a_begun_job_runs_only_while_the_study_does(plan: Plan) -> None:

    from featx.jobs.job_state import locked

    job = jobs(plan, "extract")[0]
    folder = write_started(job, plan.output)
    (folder / "log.txt").write_text("one\nextract: 3/24 images\n")
    assert state(overview(plan), job) == "pending"
    with locked(plan.output):
        found = overview(plan)
    assert state(found, job) == "running"
    assert f"running  {job.label}: extract: 3/24 images" in found.lines()
    assert found.as_json()["running"] is True


def test_a_mark_of_another_job_does_not_count(plan: Plan) -> None:
    job, other, _ = jobs(plan, "extract")
    finish(plan, other, seconds=1)
    write_done(other.digest, write_started(job, plan.output), {"outputs": [], "seconds": 1})
    assert state(overview(plan), job) == "pending"


def test_a_damaged_mark_is_named(plan: Plan) -> None:
    job = jobs(plan, "extract")[0]
    (write_started(job, plan.output) / "done.json").write_text("{")
    with pytest.raises(StoreError, match=r"done\.json: cannot be read .* delete it"):
        overview(plan)


def test_json_tells_all_jobs(plan: Plan) -> None:
    told = overview(plan).as_json()
    assert [job["digest"] for job in told["jobs"]] == [job.digest for job in plan.jobs]
    assert told["jobs_without_estimate"] == len(plan.jobs)
