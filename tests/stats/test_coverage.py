"""The benchmark of coverage still runs, and shows what it is for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def test_logit_intervals_cover_where_those_cut_off_do_not() -> None:
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    sys.modules["coverage_of_intervals"] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    found = script.rates(np.random.default_rng(0), script.SETTINGS[2], 100)
    assert found["logit"] > 0.95
    assert found["plain"] < 0.8
    assert found["none"] == found["no width"] > 0.2
