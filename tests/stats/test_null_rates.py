"""The benchmark of false-positive rates still runs, and claims nothing of tests that it does not make."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "null_rates.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("null_rates", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["null_rates"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_every_setting_yields_p_values(script: ModuleType, whole: bool) -> None:
    for setting in (one for one in script.SETTINGS if one.whole == whole):
        found = list(setting.draw(np.random.default_rng(0), 2))
        assert len(found) == 2
        assert setting.claims.keys() <= found[0].keys()
        assert all(0 <= p <= 1 for one in found for p in one.values())


def test_a_whole_study_goes_through_training_and_report(script: ModuleType) -> None:
    study = script.Study("holdout", groups=40, positive=16, images=2, fixed=True)
    (found,) = study.draw(np.random.default_rng(0), 1)
    assert 0 <= found[script.PAIR] <= 1


def test_parts_are_disjoint_and_stratified(script: ModuleType) -> None:
    masks = script.split(np.random.default_rng(0), 5, 2)
    assert masks.shape == (10, 200)
    np.testing.assert_array_equal(masks[:5].sum(axis=0), 1)
    np.testing.assert_array_equal(masks[:, :70].sum(axis=1), 14)


def test_broken_claims_fail(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw(rng: np.random.Generator, sets: int) -> list[dict[str, float]]:
        return [{"good": (index + 0.5) / sets, "eager": 0.01, "other": 0.01} for index in range(sets)]

    monkeypatch.setattr(sys, "argv", ["null_rates.py", "--sets", "100"])
    monkeypatch.setattr(script, "SETTINGS", [script.Setting("a setting", draw, {"good": script.EXACT})])
    assert script.main() == 0
    claims = {"good": script.EXACT, "eager": script.BOUND}
    monkeypatch.setattr(script, "SETTINGS", [script.Setting("a setting", draw, claims)])
    assert script.main() == 1
    printed = capsys.readouterr().out
    assert printed.count("NOT KEPT") == 1
    assert "1 claims not kept" in printed
