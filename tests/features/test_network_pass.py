from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.features.extract_settings import Device
from featx.features.network_pass import choose_device


def test_a_gpu_that_keras_does_not_find_is_refused():
    assert choose_device(Device("cpu")) == Device("cpu")
    assert choose_device(None) == Device("cpu")
    with pytest.raises(ConfigError, match=r"finds \d+ GPUs"):
        choose_device(Device("gpu", 99))
