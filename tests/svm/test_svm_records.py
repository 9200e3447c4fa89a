"""What features cost, on its way from the store into the run."""

from __future__ import annotations

import dataclasses

from featx.features import FeatureStore
from featx.runs import read_run, run_cost
from featx.svm.train import train_svm

SPEED = {"images_per_second": 12.5, "device": "cpu:0", "engine": "keras", "networks": 1}
COST = {"parameters": 7, "multiply_adds": 900, **SPEED}


def test_a_run_takes_the_cost_along_and_is_not_decided_by_it(make, relu_features, tmp_path):
    features, positive = relu_features(60, 12)
    labels = ["ab"[int(value)] for value in positive]
    manifest, path = make(features, labels)
    store = FeatureStore(path)

    def train(place, **given):
        options = {"features": [path], "task": "a:b", "protocol": "kfold:2", "folds": ["1"], **given}
        return train_svm(manifest, output=tmp_path / place, cache=tmp_path / "cache", **options)[0]

    old = train("runs")
    assert store.cost is None
    assert run_cost(old) is None
    assert "cost" not in old.record.features
    store.write_cost(COST)
    assert train("runs") == old  # a finished run stays valid when its store learns what it cost
    new = train("new")
    assert new.record.id == old.record.id
    assert new.record.features["cost"] == {"parameters": 7, "multiply_adds": 900}
    assert run_cost(read_run(new.path)) == COST
    _, other = make(features[:, :6], labels, store="other", layer="early")
    FeatureStore(other).write_cost({**COST, "parameters": 3})
    chosen = train("chosen", features=[path, other], choose_features=True)
    for digest, parameters in ((store.digest, 7), (FeatureStore(other).digest, 3)):
        record = dataclasses.replace(chosen.record, search={"features": digest})
        assert run_cost(dataclasses.replace(chosen, record=record))["parameters"] == parameters
