"""Options of running on a cluster."""

from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.jobs import ClusterOptions


def test_defaults_run_here_and_try_three_times() -> None:
    options = ClusterOptions()
    assert (options.cluster, options.retries, options.cores, options.parts) == (None, 2, None, None)


@pytest.mark.parametrize("given", [{"retries": -1}, {"cores": 0}, {"parts": 0}, {"cluster": ""}])
def test_values_out_of_bounds_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(given))):
        ClusterOptions.make(given)
