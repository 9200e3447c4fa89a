from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.reporting import ReportSettings


def test_a_comparison_names_arms() -> None:
    with pytest.raises(ConfigError, match="'compare' parameter must name arms"):
        ReportSettings(compare=[])


def test_only_options_that_were_given_replace_those_of_a_study() -> None:
    given = ReportSettings(title="Mine", prevalence=0.1, planned=["A:B"]).given()
    assert {name: given[name] for name in ("title", "prevalence", "planned")} == {
        "title": "Mine",
        "prevalence": 0.1,
        "planned": ("A:B",),
    }
    assert "strata" not in given
