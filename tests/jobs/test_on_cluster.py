"""Single verbs on a cluster: real verbs in real worker processes, with the results of a run without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import featx
from featx.errors import ConfigError, TrainingError
from featx.jobs import ClusterOptions, verb_on_cluster
from featx.jobs import on_cluster as module

HERE = ClusterOptions(cluster="local", parts=2)
NETWORK = {"backbone": ["tiny"], "weights": ["random"], "image_size": 32, "engine": "keras", "batch_size": 4}


def test_without_a_cluster_the_verb_is_called_as_it_is(data: Path, tmp_path: Path) -> None:
    given = {**NETWORK, "cache": tmp_path / "cache", "dry_run": True}
    for options in (ClusterOptions(), HERE):
        (planned,) = verb_on_cluster("extract", data, given, options)
        assert planned.pending == 24
    assert not (tmp_path / "cache" / "jobs").exists()


def test_bad_options_are_refused_before_a_cluster_is_started(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "open_place", refuse)
    with pytest.raises(ConfigError, match="pool"):
        verb_on_cluster("extract", data, {**NETWORK, "pool": "middle"}, HERE)


def test_a_name_that_is_also_a_folder_stays_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "imagenet", "tuned"):
        (tmp_path / name).mkdir()
    given = {"backbone": ["tiny"], "weights": ["imagenet", "tuned"]}
    found = module._portable(featx.features.ExtractSettings, given)
    assert found["backbone"] == ["tiny"]
    assert found["weights"] == ["imagenet", str(tmp_path / "tuned")]
    assert found["cache"] == str(tmp_path / "cache")


def test_external_test_sets_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    given = {"arm": "a", "test": ("ph2=ph2.csv", "clinic/labels.csv"), "test_root": "images"}
    found = module._portable(featx.svm.TrainSvmSettings, given)
    assert found["test"] == [
        {"name": "ph2", "manifest": str(tmp_path / "ph2.csv"), "root": None},
        {"name": None, "manifest": str(tmp_path / "clinic" / "labels.csv"), "root": None},
    ]
    assert found["test_root"] == str(tmp_path / "images")


@pytest.mark.slow
def test_an_extraction_and_its_svms_are_those_of_one_process(data: Path, tmp_path: Path) -> None:
    given = {**NETWORK, "arm": "frozen"}
    rows, scores = [], []
    for name, options in (("here", ClusterOptions()), ("there", HERE)):
        place = {"cache": tmp_path / name, "workers": 2}
        (done,) = verb_on_cluster("extract", data, {**given, **place}, options)
        assert (done.computed, done.reused) == ((24, 0) if name == "here" else (0, 24))
        rows.append(featx.FeatureStore(done.store).to_frame())
        svm = {
            "arm": "frozen",
            "task": "melanoma:rest",
            "protocol": "kfold:2",
            "output": tmp_path / f"{name}-runs",
        }
        runs = verb_on_cluster("train-svm", data, {**svm, **place}, options)
        scores.append([(run.path / "predictions.csv").read_bytes() for run in runs])
        assert not (tmp_path / name / "jobs").exists()
    assert rows[0].sort_index().equals(rows[1].sort_index())
    assert scores[0] == scores[1]
    assert len(scores[0]) == 2


def test_failed_jobs_are_one_error_that_names_the_logs(data: Path, tmp_path: Path, fake_worker: Path) -> None:
    given = {**NETWORK, "arm": "sick", "cache": tmp_path / "cache", "workers": 1}
    with pytest.raises(
        TrainingError, match=r"1 of 1 jobs failed \(extract sick\).*the patient is sick"
    ) as caught:
        verb_on_cluster("extract", data, given, ClusterOptions(cluster="local"))
    logs = Path(str(caught.value).rpartition("logs: ")[2].rstrip(")"))
    assert list(logs.glob("*/log.txt"))


def test_each_fold_of_a_fine_tuning_is_a_job(
    data: Path, tmp_path: Path, fake_worker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        module._VERBS, "finetune", (*module._VERBS["finetune"][:1], lambda *_, **given: given, "finetune")
    )
    given = {
        "backbone": "tiny",
        "weights": "random",
        "task": "melanoma:rest",
        "protocol": "kfold:3",
        "arm": "one",
    }
    place = {"cache": tmp_path / "cache", "workers": 1, "overwrite": True}
    left = verb_on_cluster("finetune", data, {**given, **place}, ClusterOptions(cluster="local"))
    calls = (fake_worker / "calls.jsonl").read_text().splitlines()
    assert len(calls) == 3
    assert all('"overwrite": true' in line for line in calls)
    assert left["overwrite"] is False
