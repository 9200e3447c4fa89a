"""The threshold of a predicted class, and rows of one model."""

from __future__ import annotations

import dataclasses

import pytest

from featx.deploy.new_features import NewFeatures
from featx.deploy.prediction_table import BOUNDARY, Cut, choose_cut, prediction_rows
from featx.deploy.run_model import read_models
from featx.features import FeatureStore


def with_thresholds(model, thresholds):
    record = dataclasses.replace(
        model.run.record, search={**model.run.record.search, "thresholds": thresholds}
    )
    return dataclasses.replace(model, run=dataclasses.replace(model.run, record=record))


@pytest.fixture
def model(place):
    (model,) = read_models(place.final.path)
    return model


def test_youden_is_the_usual_rule_where_all_runs_record_it(model):
    other = with_thresholds(model, {"red": {"Youden": 1.5}})
    assert choose_cut([other, other], None) == Cut("Youden", (1.5, 1.5))
    assert choose_cut([other], BOUNDARY) == Cut(BOUNDARY, (0.0,))
    without = with_thresholds(model, {})
    assert choose_cut([other, without], None) == Cut(BOUNDARY, (0.0, 0.0))


def test_an_infinite_threshold_predicts_no_image_positive(model, place):
    store = FeatureStore(place.store)
    keys = tuple(sorted(store.keys()))
    features = NewFeatures(keys, keys, keys, {store.digest: store})
    rows = prediction_rows([model], features, Cut("Youden", (float("inf"),)))
    assert {row["predicted"] for row in rows} == {"grey"}
    assert {row["threshold"] for row in rows} == {None}
    rows = prediction_rows([model], features, Cut(BOUNDARY, (-99.0,)))
    assert {row["predicted"] for row in rows} == {"red"}
