"""Scores of corrupted test images: what is scored by what, what is kept, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.deploy import predict, read_models
from featx.errors import ManifestError, RunError, StaleStoreError
from featx.external import corrupted_scores
from featx.features import FeatureStore, find_stores
from featx.images import content_keys, corrupt_image
from featx.runs import find_runs, read_run
from featx.stress_tests import RobustnessScores
from featx.stress_tests.corrupted_images import CLEAN, find_images, write_images
from featx.stress_tests.robustness_settings import RobustnessSettings

from .conftest import Lab


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_fold_scores_its_own_test_images(scored: tuple[Lab, RobustnessScores]) -> None:
    lab, done = scored
    assert (done.computed, done.reused, len(done.folders)) == (8, 0, 8)
    for path in find_runs([lab.runs]):
        run = read_run(path)
        found = corrupted_scores(run)
        assert [(one.record.name, one.record.severity) for one in found] == [
            ("darkness", 1), ("darkness", 5), ("hair", 1), ("hair", 5),
        ]  # fmt: skip
        for one in found:
            assert [(row.id, row.actual, row.group) for row in one.predictions] == [
                (row.id, row.actual, row.group) for row in run.predictions
            ]
            assert all(row.probabilities for row in one.predictions)
            assert any(
                row.scores != before.scores
                for row, before in zip(one.predictions, run.predictions, strict=True)
            )


def test_scores_are_those_that_predict_gives_to_the_corrupted_files(
    scored: tuple[Lab, RobustnessScores], tmp_path: Path
) -> None:
    lab, _ = scored
    run = read_run(find_runs([lab.runs])[0])
    (one,) = (one for one in corrupted_scores(run) if (one.record.name, one.record.severity) == ("hair", 5))
    folder = tmp_path / "corrupted"
    folder.mkdir()
    for row in one.predictions:
        file = lab.manifest.parent / f"{row.id}.png"
        key = content_keys([file])[0][str(file)]
        pixels = corrupt_image(np.asarray(Image.open(file)), "hair", 5, key)
        Image.fromarray(pixels).save(folder / file.name)
    options = {"cache": tmp_path / "cache", "weights": "random:2", "engine": "keras", "device": "cpu"}
    rows = predict(run.path, images=folder, output=tmp_path / "p.csv", **options).rows
    assert [row.scores["red"] for row in one.predictions] == pytest.approx(
        [row["score:red"] for row in rows], abs=1e-4
    )


def test_no_corrupted_feature_is_in_the_cache(scored: tuple[Lab, RobustnessScores]) -> None:
    lab, _ = scored
    manifest = {str(path) for path in lab.manifest.parent.glob("*.png")}
    known = set(content_keys(manifest)[0].values())
    for store in find_stores([lab.cache]):
        assert FeatureStore(store).keys() <= known
    assert [path.name for path in lab.cache.iterdir() if path.name.startswith(".featx")] == []


def test_the_drop_is_the_paired_difference(scored: tuple[Lab, RobustnessScores]) -> None:
    _, done = scored
    table = done.to_frame()
    assert table[["corruption", "severity", "folds", "images", "positives"]].to_numpy().tolist() == [
        ["darkness", 1, 2, 24, 12], ["darkness", 5, 2, 24, 12], ["hair", 1, 2, 24, 12], ["hair", 5, 2, 24, 12],
    ]  # fmt: skip
    assert table["difference"].to_numpy() == pytest.approx((table["corrupted"] - table["clean"]).to_numpy())
    assert table["clean"].nunique() == 1
    assert "value -0.5" in done.text


def test_finished_scores_are_kept_and_new_ones_added(lab: Lab) -> None:
    first = lab.score(corruptions=["jpeg"], severities=[2])
    before = files_below(lab.runs)
    again = lab.score(corruptions=["jpeg"], severities=[2])
    assert (again.computed, again.reused, again.folders) == (0, 2, first.folders)
    assert files_below(lab.runs) == before
    more = lab.score(corruptions=["jpeg"], severities=[2, 3])
    assert (more.computed, more.reused) == (2, 2)
    with pytest.raises(RunError, match=r"other inputs exist here \(images.*--overwrite"):
        lab.score(corruptions=["jpeg"], severities=[2], limit=6)
    limited = lab.score(corruptions=["jpeg"], severities=[2], limit=6, overwrite=True)
    assert [one.record.count for path in find_runs([lab.runs]) for one in corrupted_scores(read_run(path))] == [
        6, 12, 6, 12,
    ]  # fmt: skip
    assert limited.to_frame()["images"].tolist() == [12]
    replaced = lab.score(corruptions=["jpeg"], severities=[2], overwrite=True)
    assert replaced.computed == 2
    after = files_below(lab.runs)
    assert {name: after[name] for name in before} == before


def test_other_image_files_than_those_of_the_run_are_refused(lab: Lab) -> None:
    for number in range(24):
        Image.new("RGB", (32, 32), (number, 250, 0)).save(lab.manifest.parent / f"p{number:02}.png")
    with pytest.raises(StaleStoreError, match=r"the uncorrupted image p.* has the decision value"):
        lab.score(corruptions=["blur"], severities=[1])
    assert corrupted_scores(read_run(find_runs([lab.runs])[0])) == ()


def test_a_manifest_without_a_test_image_is_refused(lab: Lab) -> None:
    lines = lab.manifest.read_text().splitlines()
    lab.manifest.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(ManifestError, match=r"lacks 1 of 24 test images of the runs .p23."):
        lab.score(corruptions=["blur"], severities=[1])


def test_changed_scores_are_an_error(lab: Lab) -> None:
    done = lab.score(corruptions=["noise"], severities=[1])
    record = done.folders[0] / "robustness.json"
    value = json.loads(record.read_text())
    record.write_text(json.dumps({**value, "corruption": {}}))
    with pytest.raises(RunError, match="scores of corrupted images cannot be read"):
        corrupted_scores(read_run(find_runs([lab.runs])[0]))
    record.write_text(json.dumps(value))
    (done.folders[0] / "predictions.csv").write_text("id\n")
    with pytest.raises(RunError, match="was changed after it was written"):
        corrupted_scores(read_run(find_runs([lab.runs])[0]))


def test_clean_copies_have_the_pixels_of_the_images(lab: Lab, tmp_path: Path) -> None:
    options = RobustnessSettings(manifest=lab.manifest, cache=lab.cache)
    images = find_images(read_models(lab.runs, without_final=True), options)
    copies = write_images(tmp_path / "copies", images, [("p01", CLEAN), ("p01", 3)], "ink")
    assert copies == {"00000000": (CLEAN, "p01"), "00000001": (3, "p01")}
    original = np.asarray(Image.open(lab.manifest.parent / "p01.png"))
    assert (np.asarray(Image.open(tmp_path / "copies" / "00000000.png")) == original).all()
    assert (np.asarray(Image.open(tmp_path / "copies" / "00000001.png")) != original).any()
