from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.features import device_choice
from featx.features.device_choice import choose_device
from featx.gpus import Device


def test_a_gpu_that_keras_does_not_find_is_refused():
    assert choose_device(Device("cpu")) == Device("cpu")
    with pytest.raises(ConfigError, match=r"finds \d+ GPUs"):
        choose_device(Device("gpu", 99))


@pytest.mark.parametrize(("gpus", "device"), [(0, "cpu:0"), (2, "gpu:0")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch, gpus, device):
    tensorflow = pytest.importorskip("tensorflow")
    grown = []
    monkeypatch.setattr(device_choice, "keras_backend", lambda: "tensorflow")
    monkeypatch.setattr(tensorflow.config, "list_physical_devices", lambda kind: [f"{kind}:0"] * gpus)
    monkeypatch.setattr(
        tensorflow.config.experimental, "set_memory_growth", lambda gpu, wanted: grown.append(wanted)
    )
    assert str(choose_device(None)) == device
    assert grown == [True] * gpus
    if gpus:
        assert choose_device(Device("gpu", 1)) == Device("gpu", 1)
