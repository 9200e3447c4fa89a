"""The demo at a small size: every verb, all three arms, reuse."""

from __future__ import annotations

import pytest

from featx.runs import find_runs, read_run
from featx.study.demo import ARMS, Sizes, demo

SMALL = Sizes(source_images=40, target_images=80, source_epochs=1, target_epochs=1)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return {"output": folder / "output", "cache": folder / "cache"}


@pytest.fixture(scope="module")
def done(places):
    return demo(**places, sizes=SMALL)


def test_every_arm_scores_every_fold_of_the_same_folds(done):
    runs = [read_run(path) for path in find_runs([done.runs])]
    assert len(runs) == 30
    assert {run.record.arm for run in runs} == set(ARMS.values())
    assert len({run.record.folds_digest for run in runs}) == 1
    lineages = {run.record.arm: run.record.lineage for run in runs if run.record.fold == "1x2"}
    assert [len(lineages[arm]) for arm in ARMS.values()] == [1, 2, 3]


def test_the_groups_stay_together_in_every_fold(done):
    for path in find_runs([done.runs]):
        run = read_run(path)
        tested = {row.group for row in run.predictions}
        assert run.record.counts["groups"]["test"] == len(tested)
        assert {row.strata["difficulty"] for row in run.predictions} == {"low", "medium", "high"}


def test_it_ends_in_a_report_by_difficulty(done):
    page = done.report.html.read_text(encoding="utf-8")
    assert all(arm in page for arm in ARMS.values())
    assert "difficulty" in page
    assert "source + fine-tuned" in done.report.text


def test_a_second_demo_computes_nothing_and_writes_the_same_page(done, places):
    class Heard:
        lines: list[str] = []  # noqa: RUF012

        def start(self, task, total, unit="images"): ...
        def advance(self, count=1): ...
        def finish(self): ...
        def say(self, message):
            self.lines.append(message)

    heard = Heard()
    page = done.report.html.read_bytes()
    demo(**places, sizes=SMALL, progress=heard)
    assert done.report.html.read_bytes() == page
    assert not any("epoch" in line for line in heard.lines)
    assert sum("finished before" in line for line in heard.lines) >= 30
