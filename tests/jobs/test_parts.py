"""Parts of a job, and what it needs of a machine."""

from __future__ import annotations

from featx.jobs.job_state import KINDS, StudyJob
from featx.jobs.parts import needs_of, split

EXTRACTION = StudyJob("extract", "a", {"b": 1}, {"backbone": "tiny"}, images=10_000, needs=("x",))
SVMS = StudyJob("svm", "a", {}, {"arm": "a"}, images=100, parts=tuple("abcdefghij"))


def test_every_kind_states_what_it_needs() -> None:
    for kind in KINDS:
        needs = needs_of(StudyJob(kind, "a", {}, {}))
        assert needs["gpus"] == (kind in {"source", "finetune", "extract"})
        assert needs["memory"] >= 1 << 30


def test_more_images_need_more_memory_for_svms() -> None:
    assert needs_of(StudyJob("svm", "a", {}, {}, images=10**6))["memory"] > needs_of(SVMS)["memory"]


def test_an_extraction_is_cut_by_its_size() -> None:
    parts = split(EXTRACTION, 2, whole=False)
    assert [part.arguments["shard"] for part in parts] == [f"{number}/8" for number in range(1, 9)]
    assert len({part.digest for part in parts} | {EXTRACTION.digest}) == 9
    assert all(part.needs == ("x",) and part.images == 1250 for part in parts)
    assert len(split(EXTRACTION, 100, whole=False)) == 10


def test_a_wanted_number_is_kept_on_one_machine_too() -> None:
    assert split(EXTRACTION, 2, whole=True) == ()
    assert len(split(EXTRACTION, 2, whole=True, wanted=3)) == 3
    assert split(EXTRACTION, 2, whole=False, wanted=1) == ()


def test_small_extractions_and_trainings_are_left_whole() -> None:
    assert split(StudyJob("extract", "a", {}, {}, images=1999), 9, whole=False) == ()
    assert split(StudyJob("finetune", "a", {}, {}, images=10**6), 9, whole=False) == ()


def test_svms_are_cut_by_folds_as_far_as_there_are_slots() -> None:
    parts = split(SVMS, 4, whole=False)
    assert sorted(fold for part in parts for fold in part.arguments["folds"]) == list("abcdefghij")
    assert len(parts) == 4
    assert split(SVMS, 4, whole=False, jobs=4) == ()
    assert split(SVMS, 4, whole=True) == ()
