"""From runs and images to pictures, and into the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featx.errors import ConfigError, RunError, WeightsError
from featx.features import extract
from featx.reporting import report_runs
from featx.reporting.maps.overlays import INDEX, gallery, read_index
from featx.saliency_maps.maps import saliency
from featx.svm import train_svm

COUNT, SIDE = 24, 32


def draw(number: int) -> np.ndarray:
    """Grey noise; every other image has a red patch in one quarter, one of these is labelled wrongly."""
    pixels = np.random.default_rng(number).integers(90, 110, (SIDE, SIDE, 3), np.uint8)
    if number % 2:
        row, column = number // 2 % 2 * SIDE // 2, number // 4 % 2 * SIDE // 2
        pixels[row : row + SIDE // 2, column : column + SIDE // 2] = (250, 40, 40)
    return pixels


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Images, features of `tiny` in a cache, and an SVM of two folds."""
    home = tmp_path_factory.mktemp("saliency")
    with (home / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "id", "label"))
        for number in range(COUNT):
            Image.fromarray(draw(number)).save(home / f"p{number:02}.png")
            red = bool(number % 2) != (number == 5)
            writer.writerow((f"p{number:02}.png", f"p{number:02}", "red" if red else "grey"))
    options = {"cache": home / "cache", "image_size": SIDE, "engine": "keras", "device": "cpu"}
    (done,) = extract(home / "manifest.csv", backbone="tiny", weights="random:2", **options)
    train_svm(
        home / "manifest.csv",
        features=[done.store],
        task="red:grey",
        protocol="kfold:2",
        arm="tiny",
        costs=(1.0,),
        output=home / "runs",
        cache=home / "cache",
    )
    return home


def maps(place: Path, output: Path, **given):
    options = {"manifest": place / "manifest.csv", "cache": place / "cache", "output": output, **given}
    return saliency(place / "runs", **options)


def test_chosen_images_have_maps_of_their_own_evidence(place, tmp_path):
    done = maps(place, tmp_path, images=["p03", "p07", "p04"])
    assert done.warnings == ()  # above all, none of a decision value that is not the run's
    assert read_index(tmp_path) == done.maps
    assert [(item.image, item.towards) for item in done.maps] == [
        ("p03", "red"),
        ("p07", "red"),
        ("p04", "grey"),
    ]
    for item in done.maps[:2]:
        number = int(item.image[1:])
        pixels = np.asarray(Image.open(tmp_path / item.file).convert("RGB"))
        plain = np.asarray(Image.fromarray(draw(number)).resize(pixels.shape[:2], Image.Resampling.BILINEAR))
        painted = np.abs(pixels.astype(float) - plain).sum(axis=2)
        half = len(painted) // 2
        quarters = painted.reshape(2, half, 2, half).mean(axis=(1, 3))
        assert np.unravel_index(np.argmax(quarters), (2, 2)) == (number // 2 % 2, number // 4 % 2)


def test_mistakes_are_mapped_by_default_and_shown_in_the_report(place, tmp_path, monkeypatch):
    first, again = maps(place, tmp_path / "a"), maps(place, tmp_path / "b")
    assert "p05" in [item.image for item in first.maps]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert again.maps == first.maps
    monkeypatch.setattr("featx.reporting.make_report.drawings", lambda summary: {})
    page = report_runs(place / "runs", output=tmp_path / "report", saliency=tmp_path / "a").html.read_text()
    assert page.count('<img src="data:image/png;base64,') == len(first.maps)
    assert 'alt="Saliency map of image p05: evidence for red"' in page


def test_other_weights_are_refused(place, tmp_path):
    with pytest.raises(WeightsError, match=r"the features of the run are not from the weights 'random:1'"):
        maps(place, tmp_path, weights="random:1")
    with pytest.raises(
        WeightsError, match=r"names the source of the weights of tiny; give the weights with --weights"
    ):
        maps(place, tmp_path, cache=tmp_path)
    assert maps(place, tmp_path, cache=tmp_path, weights="random:2", images=["p03"]).warnings == ()


def test_what_cannot_be_mapped_is_said(place, tmp_path):
    with pytest.raises(RunError, match="no run tests the image nobody; give ids"):
        maps(place, tmp_path, images=["p03", "nobody"])
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.fromarray(draw(0)).save(tmp_path / "other.png")
    (tmp_path / "m.csv").write_text("image,id,label\nbad.png,p03,red\nother.png,p07,red\n")
    done = maps(place, tmp_path / "out", manifest=tmp_path / "m.csv", images=["p03", "p05", "p07"])
    assert [item.image for item in done.maps] == ["p07"]
    assert ["p03" in done.warnings[0], "p05: not in the manifest, so it has no map" in done.warnings[1]] == [
        True,
        True,
    ]
    assert "in the run; check that the image file has not changed" in done.warnings[2]


def test_a_folder_without_maps_is_told(tmp_path):
    with pytest.raises(ConfigError, match="Give a folder that `featx saliency` has written"):
        gallery(tmp_path)
    (tmp_path / INDEX).write_text(json.dumps({"format": 0, "maps": []}))
    with pytest.raises(ConfigError, match="format 0, this featx reads 1"):
        gallery(tmp_path)
