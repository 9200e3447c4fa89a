"""Small data sets, and studies on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write_study(tmp_path: Path, data: Path) -> Callable[[str], Path]:
    """Write a study file: two folds on the small data set, and the arms given."""

    def write(arms: str, name: str = "small") -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(
            f'name = "{name}"\nbackbones = ["tiny"]\n'
            '[targets.skin]\nmanifest = "skin/manifest.csv"\ntasks = ["melanoma:rest"]\nprotocol = "kfold:2"\n'
            + arms
        )
        return path

    return write
