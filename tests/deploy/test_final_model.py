"""The verb `finalize`: an SVM of all images, the expected AUC, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from featx.data import training_set
from featx.deploy import finalize
from featx.errors import RunError
from featx.external import external_scores
from featx.features import FeatureStore, extract
from featx.images import content_keys
from featx.reporting import collect, report_runs
from featx.runs import inner_scores, read_run
from featx.svm import load_model, run_auc, train_svm
from featx.svm.model import MODEL

from .conftest import SIDE, colour, write_images


def test_it_is_a_run_of_all_images_without_a_test_set(place):
    run = place.final
    assert (run.record.kind, run.record.protocol, run.record.fold) == ("svm", "final", "all")
    assert run.record.counts["train"] == {"grey": 12, "red": 12}
    assert run.predictions == ()
    files = {path.stem: str(path) for path in (place.home / "images").glob("*.png")}
    keys = content_keys(files.values()).keys
    assert {image.id: image.key for image in training_set(run)} == {
        name: keys[path] for name, path in files.items()
    }
    assert {row.id for row in inner_scores(run)} == set(files)
    inner = {row.group: row.fold for row in inner_scores(run)}
    assert all(inner[row.group] == row.fold for row in inner_scores(run)), "a group is in two inner folds"


def test_its_svm_is_that_of_a_fold_that_trains_on_all_images(place, tmp_path):
    options = place.options(output=tmp_path / "runs")
    (plain,) = train_svm(place.manifest, protocol="none", **options)
    for one, other in zip(
        load_model(plain.path).decisions, load_model(place.final.path).decisions, strict=True
    ):
        np.testing.assert_array_equal(one.weights, other.weights)
    assert load_model(plain.path).calibration == load_model(place.final.path).calibration
    assert plain.record.search["thresholds"] == place.final.record.search["thresholds"]


def test_the_expected_auc_is_that_of_the_folds(place):
    aucs = [run_auc(run) for run in place.folds]
    expected = place.final.record.search["expected"]
    assert expected["auc"] == pytest.approx(np.mean(aucs))
    assert (expected["folds"], expected["protocol"], expected["pooled"]) == (2, "kfold:2", False)


def test_runs_given_later_change_the_record_only(place, tmp_path):
    options = place.options(output=tmp_path / "runs")
    first = finalize(place.manifest, **options)
    assert "expected" not in first.record.search
    before = {path.name: path.read_bytes() for path in first.path.iterdir()}
    second = finalize(place.manifest, runs=[run.path for run in place.folds], **options)
    assert second.record.search["expected"] == place.final.record.search["expected"]
    assert second.record.id == first.record.id
    after = {path.name: path.read_bytes() for path in second.path.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {"run.json", "complete.json"}
    assert read_run(second.path).record == second.record
    # Without runs, the finished model is kept as it is.
    assert finalize(place.manifest, **options).record == second.record


def test_a_model_that_was_changed_is_not_written_again_as_sound(place, tmp_path):
    options = place.options(output=tmp_path / "runs")
    run = finalize(place.manifest, **options)
    (run.path / MODEL).write_bytes((run.path / MODEL).read_bytes() + b" ")
    with pytest.raises(RunError, match="was changed after the run finished"):
        finalize(place.manifest, runs=[one.path for one in place.folds], **options)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"costs": (10.0,)}, r"settings.costs"),
        ({"arm": "other"}, r"arm: found 'tiny', wanted 'other'"),
        ({"task": "grey:red"}, r"classes"),
    ],
)
def test_runs_of_other_settings_are_refused_before_anything_is_trained(place, tmp_path, change, told):
    options = place.options(output=tmp_path / "runs", **change)
    with pytest.raises(
        RunError, match=f"is not of the arm and settings of the final model .*{told}"
    ) as error:
        finalize(place.manifest, runs=place.home / "runs", **options)
    assert error.value.exit_code == 2
    assert not (tmp_path / "runs").exists()


def test_runs_of_other_images_are_refused(place, tmp_path):
    folder = write_images(tmp_path / "fewer", range(20), lambda number: "red" if number % 2 else "grey")
    with pytest.raises(RunError, match=r"images of the classes"):
        finalize(folder, runs=place.runs, **place.options(output=tmp_path / "runs"))


def test_a_report_leaves_it_out_and_says_so(place, tmp_path, monkeypatch):
    series, training = collect([place.home / "runs"])
    assert [len(one.runs) for one in series] == [2]
    assert [run.path for run in training] == [place.final.path.resolve()]
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: {})
    done = report_runs(place.home / "runs", output=tmp_path / "report")
    (told,) = [text for text in done.warnings if "finalize" in text]
    assert told.endswith("have no test set and are not in this report: tiny on red:grey.")
    with pytest.raises(RunError, match="a final model of `featx finalize` has no test set") as error:
        report_runs(place.final.path, output=tmp_path / "none")
    assert error.value.exit_code == 2


def test_external_test_sets_are_scored_and_kept_when_the_expected_auc_is_recorded(place, tmp_path):
    write_images(tmp_path / "clinic", range(40, 60), colour)
    given = {"cache": tmp_path / "cache", "image_size": SIDE, "engine": "keras", "device": "cpu"}
    (done,) = extract(tmp_path / "clinic", backbone="tiny", weights="random:2", **given)
    outside = {
        "test": [tmp_path / "clinic" / "manifest.csv"],
        "test_features": [done.store],
        "overlap": "drop",
    }
    options = place.options(output=tmp_path / "runs")
    run = finalize(place.manifest, runs=place.runs, **outside, **options)
    assert run.record.search["expected"] == place.final.record.search["expected"]
    (scored,) = external_scores(run)
    assert scored.record.name == "clinic"
    assert scored.predictions
    scores = load_model(run.path).scores(
        FeatureStore(done.store).read(
            [
                content_keys([tmp_path / "clinic" / f"{row.id}.png"]).keys[
                    str(tmp_path / "clinic" / f"{row.id}.png")
                ]
                for row in scored.predictions
            ]
        ),
        FeatureStore(done.store).digest,
    )
    np.testing.assert_allclose([row.scores["red"] for row in scored.predictions], scores[:, 0], rtol=1e-6)
