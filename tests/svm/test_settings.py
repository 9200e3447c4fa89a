"""Settings: presets, what wins over them, and messages that name the bad value."""

from __future__ import annotations

import pytest

from featx import stats
from featx.errors import ConfigError
from featx.svm.settings import POOLINGS, SvmSettings


def test_the_paper_preset_is_the_papers_decision_layer() -> None:
    paper = SvmSettings.make({"preset": "paper"})
    assert (paper.loss, paper.bias, paper.class_weight, paper.scaling) == (
        "hinge",
        "free",
        "balanced",
        ("l2",),
    )
    assert paper.costs == (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1e3, 1e4)
    assert (paper.inner, paper.inner_splits, paper.held_out, paper.rule) == ("stratified", 10, 0.1, "best")
    assert not paper.widen


def test_a_loss_brings_its_bias() -> None:
    assert SvmSettings.make({"loss": "hinge"}).bias == "free"
    assert SvmSettings.make({"preset": "paper", "loss": "squared_hinge"}).bias == "penalised"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "papers"}, "'preset' parameter must be one of"),
        ({"los": "hinge"}, "Unknown parameter 'los'; did you mean 'loss'"),
        ({"loss": "log"}, "'loss' parameter must be one of squared_hinge, hinge. Got 'log'"),
        ({"loss": "hinge", "bias": "penalised"}, "must be 'free' for the loss 'hinge'"),
        ({"scaling": ["l2", "l2"]}, "each scaling once"),
        ({"costs": [1.0, 0.1]}, "ascending"),
        ({"costs": [0.0]}, "above 0"),
        ({"inner_splits": 0}, "at least 1"),
        ({"held_out": 1.0}, "between 0 and 1"),
    ],
)
def test_bad_values_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SvmSettings.make(settings)


def test_the_poolings_are_those_of_the_statistics() -> None:
    assert POOLINGS == stats.POOLINGS
