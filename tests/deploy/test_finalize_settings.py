"""Options of `finalize`."""

from __future__ import annotations

import pytest

from featx.deploy.finalize_settings import FinalizeSettings
from featx.errors import ConfigError
from featx.options import options_of
from featx.svm import TrainSvmSettings


def test_they_are_those_of_training_without_folds():
    here, there = options_of(FinalizeSettings), options_of(TrainSvmSettings)
    assert set(here) - set(there) == {"runs"}
    assert set(there) - set(here) == {"protocol", "folds", "train_fraction", "shots", "train_seeds"}
    assert all(here[name] == there[name] for name in set(here) & set(there))


def test_features_or_an_arm_are_needed():
    with pytest.raises(ConfigError, match="Neither features nor an arm was given"):
        FinalizeSettings.make({})
