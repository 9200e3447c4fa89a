from __future__ import annotations

import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx.digest import digest_file
from featx.errors import RunError
from featx.machine import environment, versions
from featx.runs import (
    COMPLETE,
    Prediction,
    RunRecord,
    find_runs,
    finished_run,
    inner_scores,
    read_run,
    read_runs,
    run_folder,
    write_run,
)


def record(**changes) -> RunRecord:
    base = RunRecord(
        kind="svm",
        arm="frozen",
        task="melanoma:rest",
        classes=("rest", "melanoma"),
        scored=("melanoma",),
        protocol="5x2",
        fold="1x2",
        folds_digest="ab",
        seed=0,
        manifest={"name": "atlas.csv", "digest": "cd"},
        features={"digest": "ef", "recipe": {"backbone": "tiny"}},
        settings={"C": [0.1, 1.0]},
        lineage=("random:0",),
        warnings=("few positives",),
    )
    return dataclasses.replace(base, **changes)


ROWS = (
    Prediction("a,1", "1x2", "g1", "melanoma", {"melanoma": 0.1 + 0.2}, strata={"difficulty": "low"}),
    Prediction("b", "1x2", "g2", "rest", {"melanoma": -1e-300}, strata={"difficulty": ""}),
)


def write(folder, **changes):
    return write_run(folder, record(**changes), ROWS, environment({"fit": 1.5}))


def test_a_run_is_read_back_as_it_was_written(tmp_path):
    run = write(tmp_path / "run")
    assert run.record == record()
    assert run.predictions == ROWS
    assert read_run(tmp_path / "run") == run


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(exclude_categories=["C"])))
def test_any_score_and_any_id_survive(tmp_path_factory, score, name):
    row = Prediction(name, "1", name, "rest", {"melanoma": score})
    run = write_run(tmp_path_factory.mktemp("run") / "run", record(), [row], {})
    assert run.predictions[0].scores["melanoma"] == score
    assert run.predictions[0].id == name


def test_equal_inputs_give_equal_bytes(tmp_path):
    one, other = write(tmp_path / "one").path, write(tmp_path / "other").path
    for name in ("run.json", "predictions.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_the_id_depends_on_inputs_and_on_nothing_that_came_out():
    assert record().id == record(warnings=(), convergence={"iterations": 3}, counts={"test": 2}).id
    assert record().id == record(manifest={"name": "renamed.csv", "digest": "cd"}).id
    for changes in ({"seed": 1}, {"fold": "2x1"}, {"manifest": {"digest": "xx"}}, {"settings": {"C": [1.0]}}):
        assert record(**changes).id != record().id


def test_files_are_kept_with_the_run(tmp_path):
    moved = tmp_path / "weights"
    moved.write_bytes(b"w")
    run = write_run(tmp_path / "run", record(), (), {}, {"model.skops": b"m", "best.weights.h5": moved})
    assert (run.path / "model.skops").read_bytes() == b"m"
    assert (run.path / "best.weights.h5").read_bytes() == b"w"
    assert not moved.exists()


def test_a_folder_without_the_mark_is_no_run(tmp_path):
    run = write(tmp_path / "run")
    (run.path / COMPLETE).unlink()
    with pytest.raises(RunError, match="not a finished run"):
        read_run(run.path)
    assert finished_run(run.path, record()) is None


@pytest.mark.parametrize("name", ["run.json", "predictions.csv"])
def test_a_changed_file_is_noticed(tmp_path, name):
    run = write(tmp_path / "run")
    path = run.path / name
    path.write_text(path.read_text() + "\n")
    with pytest.raises(RunError, match=f"{name} was changed"):
        read_run(run.path)


def test_a_missing_file_is_noticed(tmp_path):
    run = write_run(tmp_path / "run", record(), (), {}, {"model.skops": b"m"})
    (run.path / "model.skops").unlink()
    with pytest.raises(RunError, match=r"model.skops is missing"):
        read_run(run.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 99}, "run format 99"), ({"odd": 1}, "unknown fields: odd")],
)
def test_another_layout_is_refused(tmp_path, change, message):

    run = write(tmp_path / "run")
    path = run.path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    mark = json.loads((run.path / COMPLETE).read_text())
    mark["files"]["run.json"] = digest_file(path)
    (run.path / COMPLETE).write_text(json.dumps(mark))
    with pytest.raises(RunError, match=message):
        read_run(run.path)


def test_find_runs_looks_below_and_names_what_it_cannot_use(tmp_path):
    write(tmp_path / "runs" / "b")
    write(tmp_path / "runs" / "a")
    found = find_runs([tmp_path / "runs", tmp_path / "runs" / "a"])
    assert [path.name for path in found] == ["a", "b"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="holds no finished run"):
        find_runs([tmp_path / "empty"])
    with pytest.raises(RunError, match="no such folder"):
        find_runs([tmp_path / "absent"])


def test_a_finished_run_is_reused_only_for_equal_inputs(tmp_path):
    run = write(tmp_path / "run")
    assert finished_run(run.path, record(warnings=())) == run
    assert finished_run(run.path, record(), overwrite=True) is None
    with pytest.raises(RunError, match=r"seed: found 0, wanted 7.*--overwrite"):
        finished_run(run.path, record(seed=7))


def test_inner_scores_are_kept_read_back_and_guarded(tmp_path):
    inner = [dataclasses.replace(row, fold="3", strata={}) for row in ROWS]
    run = write_run(tmp_path / "run", record(format=2), ROWS, {}, inner=inner)
    assert inner_scores(run) == tuple(inner)
    assert inner_scores(write(tmp_path / "old")) == ()
    path = run.path / "inner_scores.csv"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(RunError, match=r"inner_scores.csv was changed"):
        read_run(run.path)


def test_a_run_of_an_earlier_version_is_read_and_not_taken_for_a_new_one(tmp_path):
    run = write(tmp_path / "run")
    assert read_run(run.path).record.format == 1
    with pytest.raises(
        RunError, match=r"earlier version of featx .*format 1, now 2.*still be reported.*--overwrite"
    ):
        finished_run(run.path, record(format=2))
    assert finished_run(run.path, record()) == run


def test_run_folder_has_no_part_that_leaves_the_output():
    assert run_folder("out", "..", "a/b", "5x2", "1").as_posix() == "out/-/a-b/5x2/1"


def test_versions_leaves_out_what_is_not_installed():
    found = versions(["click", "no-such-distribution"])
    assert set(found) == {"python", "click"}


def test_a_run_that_a_writer_has_not_put_in_its_place_does_not_count(tmp_path):
    write(tmp_path / "arm" / "1x2")
    write(tmp_path / "arm" / ".aside-killed" / "1x2")
    assert find_runs([tmp_path]) == [tmp_path / "arm" / "1x2"]


def test_texts_of_a_run_are_no_formulas_and_come_back(tmp_path):
    odd = [
        dataclasses.replace(row, id=f"=id{number}", group="@g", strata={"-age": "+1 day", "site": "-1.5"})
        for number, row in enumerate(ROWS)
    ]
    run = write_run(tmp_path / "run", record(format=2), odd, {}, inner=odd)
    text = (run.path / "predictions.csv").read_text()
    assert not re.search(r"(?m)(^|,)[=@+]", text)
    assert "'=id0," in text
    assert ",-1.5" in text
    assert run.predictions == inner_scores(run) == tuple(odd)


def test_a_run_written_before_texts_were_guarded_keeps_its_ids(tmp_path):
    run = write(tmp_path / "run")
    path, mark = run.path / "predictions.csv", json.loads((run.path / COMPLETE).read_text())
    path.write_text(path.read_text().replace(ROWS[0].id, "'-1 or 1"))
    mark["files"]["predictions.csv"] = digest_file(path)
    del mark["cells"]
    (run.path / COMPLETE).write_text(json.dumps(mark))
    assert read_run(run.path).predictions[0].id == "'-1 or 1"


def test_predictions_of_many_runs_are_one_table(tmp_path):
    for arm, fold in (("a", "1x1"), ("a", "1x2"), ("b", "1x1")):
        write(tmp_path / arm / fold, arm=arm, fold=fold)
    table = read_runs(tmp_path)
    assert list(table.columns[:7]) == ["arm", "task", "protocol", "fold", "id", "group", "class"]
    assert table.columns[-1] == "run"
    runs = [read_run(folder) for folder in find_runs([tmp_path])]
    assert len(table) == sum(len(run.predictions) for run in runs)
    first = runs[0].predictions[0]
    row = table.iloc[0]
    assert (row["arm"], row["id"], row["class"], row["run"]) == (
        "a",
        first.id,
        first.actual,
        str(runs[0].path),
    )
    assert {name: row[f"score:{name}"] for name in first.scores} == first.scores
