from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from featx.errors import ConfigError
from featx.features.extract_settings import (
    POOLS,
    PREPARATIONS,
    VIEW_RANGES,
    ExtractSettings,
    FeatureOptions,
    shard_of,
)
from featx.images import PREPARATIONS as KNOWN_PREPARATIONS
from featx.images import PRESETS
from featx.zoo.network import POOLS as KNOWN_POOLS


def test_the_values_are_those_of_the_rooms_that_do_the_work():
    assert set(POOLS) == set(KNOWN_POOLS)
    assert set(PREPARATIONS) == set(KNOWN_PREPARATIONS)
    assert set(VIEW_RANGES) == set(PRESETS)


def test_the_options_import_no_heavy_library():
    code = (
        "import sys; from featx.features import ExtractSettings; "
        "print({'numpy', 'PIL', 'h5py', 'pandas', 'keras'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_reading_ahead_is_bounded_by_bytes_and_never_starves_the_threads():
    assert ExtractSettings(backbone="tiny", batch_size=32, workers=4).ahead(224) == 68
    assert ExtractSettings(backbone="tiny", batch_size=32, workers=4, views=50).ahead(224) == 5
    assert ExtractSettings(backbone="tiny", batch_size=4096, workers=4).ahead(224) == (256 << 20) // (
        3 * 224 * 224
    )


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "a/b", "-1/3", "1/0"])
def test_a_bad_shard_is_refused(text):
    with pytest.raises(ConfigError, match="shard"):
        shard_of(text)


def test_the_engine_is_openvino_only_where_it_is_installed_and_on_a_cpu(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert FeatureOptions(device="cpu").chosen_engine() == "keras"
    with pytest.raises(ConfigError, match="not installed"):
        FeatureOptions(engine="openvino").chosen_engine()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert FeatureOptions(device="cpu").chosen_engine() == "openvino"
    assert FeatureOptions(device="gpu").chosen_engine() == "keras"
    assert FeatureOptions(device="cpu", engine="keras").chosen_engine() == "keras"
    assert FeatureOptions(wait_gpu=100).chosen_engine() == "keras"
    for given in ({"device": "gpu"}, {"device": "gpu:any"}, {"wait_gpu": 100}):
        with pytest.raises(ConfigError, match="runs on the CPU"):
            FeatureOptions(engine="openvino", **given).chosen_engine()
