"""A copy of the runs and images of the tests of `deploy`, into which scores of corrupted images may be written."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from featx.stress_tests import RobustnessScores, robustness
from tests.deploy.conftest import Place, place

__all__ = ["place"]


@dataclass(frozen=True)
class Lab:
    """Runs of two folds, their images, and their cache."""

    runs: Path
    manifest: Path
    cache: Path

    def score(self, **given: Any) -> RobustnessScores:
        options = {
            "manifest": self.manifest,
            "cache": self.cache,
            "engine": "keras",
            "device": "cpu",
            **given,
        }
        return robustness(self.runs, **options)


def copied(place: Place, home: Path) -> Lab:
    for name in ("images", "runs", "cache"):
        shutil.copytree(place.home / name, home / name)
    return Lab(home / place.runs.relative_to(place.home), home / "images" / "manifest.csv", home / "cache")


@pytest.fixture
def lab(place: Place, tmp_path: Path) -> Lab:
    return copied(place, tmp_path)


@pytest.fixture(scope="session")
def scored(place: Place, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, RobustnessScores]:
    """Two corruptions at two severities, scored; not to be written to."""
    lab = copied(place, tmp_path_factory.mktemp("stress"))
    return lab, lab.score(corruptions=["darkness", "hair"], severities=[1, 5])
