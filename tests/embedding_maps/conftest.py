"""The runs of the tests of `deploy`, and their maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from featx.embedding_maps import Embedding, embedding
from tests.deploy.conftest import Place, place

__all__ = ["place"]


def mapped(place: Place, output: Path, **given: Any) -> Embedding:
    options = {"manifest": place.manifest, "cache": place.home / "cache", "method": "pca", "neighbours": 4}
    runs = given.pop("runs", place.runs)
    return embedding(runs, output=output, **{**options, "engine": "keras", "device": "cpu", **given})


@pytest.fixture(scope="session")
def made(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Embedding:
    """Maps by PCA; not to be written to."""
    return mapped(place, tmp_path_factory.mktemp("embedding") / "maps")
