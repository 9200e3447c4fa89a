"""Options of `featx robustness`."""

from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.images import CORRUPTIONS, SEVERITIES
from featx.stress_tests.robustness_settings import RobustnessSettings


def test_the_names_are_those_of_the_corruptions() -> None:
    options = RobustnessSettings(manifest="m.csv")
    assert options.kinds == tuple(CORRUPTIONS)
    assert options.levels == SEVERITIES


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"severities": [0]}, "from 1 to 5. Got 0"),
        ({"severities": ["six"]}, "from 1 to 5. Got 'six'"),
        ({"severities": []}, "'severities' parameter must have at least one item"),
        ({"corruptions": ["rain"]}, "must be some of blur"),
        ({"limit": 1}, "at least 2"),
    ],
)
def test_what_does_not_exist_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RobustnessSettings(manifest="m.csv", **given)  # type: ignore[arg-type]
