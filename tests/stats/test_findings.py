from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from featx.errors import ConfigError
from featx.stats.findings import bounds


def test_bounds_are_of_the_t_or_the_normal_distribution() -> None:
    assert bounds(0.1, 0.02, level=0.9) == pytest.approx(norm.interval(0.9, 0.1, 0.02))
    assert bounds(0.1, 0.02, 4, 0.9) == pytest.approx(t.interval(0.9, 4, 0.1, 0.02))


def test_there_is_no_interval_without_an_error() -> None:
    assert np.isnan([bounds(0.1, 0.0), bounds(0.1, float("nan"))]).all()
    with pytest.raises(ConfigError, match="'level' parameter"):
        bounds(0.1, 0.1, level=95)
