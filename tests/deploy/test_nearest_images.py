"""Nearest training images, against a direct computation."""

from __future__ import annotations

import numpy as np
import pytest

from featx.data import training_set
from featx.errors import MissingFeaturesError
from featx.features import FeatureStore
from featx.images import content_keys
from featx.svm import load_model, train_svm


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("scaling", ["l2", "zscore"])
def test_they_have_the_largest_cosine_of_the_scaled_features(place, tmp_path, scaling):
    options = place.options(arm=scaling, scaling=(scaling,), output=tmp_path / "runs")
    runs = train_svm(place.manifest, protocol="kfold:2", **options)
    done = place.predict(tmp_path / "runs", tmp_path / "p.csv", nearest=3)
    store = FeatureStore(place.store)
    files = sorted(str(path) for path in place.new.glob("*.png"))
    keys = content_keys(files).keys
    found = {}
    for run in runs:
        scaler, images = load_model(run.path).decisions[0].scaler, training_set(run)
        new = unit(scaler.apply(store.read([keys[path] for path in files])[:, 0]))
        known = unit(scaler.apply(store.read([image.key for image in images])[:, 0]))
        for column, image in enumerate(images):
            found[image.id] = (new @ known.T)[:, column]
    for place_, row in enumerate(done.rows):
        wanted = sorted(found, key=lambda name: -found[name][place_])[:3]
        assert [row[f"nearest_{rank}"] for rank in (1, 2, 3)] == wanted
        assert [row[f"nearest_{rank}_similarity"] for rank in (1, 2, 3)] == pytest.approx(
            [found[name][place_] for name in wanted], abs=1e-6
        )
        assert {row[f"nearest_{rank}_class"] for rank in (1, 2, 3)} <= {"red", "grey"}


def test_an_image_of_the_training_set_finds_itself(place, tmp_path):
    image = place.home / "images" / "p05.png"
    (row,) = place.predict(place.final.path, tmp_path / "p.csv", images=image, nearest=99).rows
    assert (row["nearest_1"], row["nearest_1_class"]) == ("p05", "red")
    assert row["nearest_1_similarity"] == pytest.approx(1)
    assert "nearest_24" in row
    assert "nearest_25" not in row


def test_training_images_without_features_are_an_error(place, tmp_path):
    with pytest.raises(MissingFeaturesError, match=r"24 of 24 training images .* which --nearest needs"):
        place.predict(
            place.final.path, tmp_path / "p.csv", cache=tmp_path / "cache", weights="random:2", nearest=1
        )
    assert not (tmp_path / "p.csv").exists()
