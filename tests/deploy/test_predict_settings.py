"""Options of `predict`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from featx.deploy.predict_settings import PredictSettings
from featx.errors import ConfigError
from featx.features.extract_settings import ON_ERROR
from featx.options import options_of


def test_images_and_features_may_be_one_or_several():
    assert PredictSettings(images="new").sources == ("new",)
    assert PredictSettings(images=["a.png", "b.png"], features="store").places == (Path("store"),)


@pytest.mark.parametrize("output", ["p.txt", "p"])
def test_the_ending_of_the_output_is_known(output):
    with pytest.raises(ConfigError, match=r"must end with .csv, .jsonl, .parquet"):
        PredictSettings(images="new", output=output)


def test_parquet_without_pyarrow_is_an_error(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    with pytest.raises(ConfigError, match=r"run `pip install 'featx\[parquet\]'`"):
        PredictSettings(images="new", output="p.parquet")


def test_policies_are_those_of_extract():
    assert options_of(PredictSettings)["on_error"].values == ON_ERROR
