"""Exported models of the runs of `place`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from featx.deploy.exports.exported_model import ExportedModel, export_model


@pytest.fixture(scope="session")
def export(place) -> Callable[..., ExportedModel]:
    """Export a run of `place`, by default its final model, on its own images."""

    def work(output: Any, run: Any = None, **given: Any) -> ExportedModel:
        options = {"manifest": place.manifest, "cache": place.home / "cache", "check_images": 6, **given}
        return export_model(run or place.final.path, output=output, **options)

    return work


@pytest.fixture(scope="session")
def onnx_model(export, tmp_path_factory) -> ExportedModel:
    """The final model as ONNX."""
    return export(tmp_path_factory.mktemp("onnx") / "model.onnx", licence="MIT")


@pytest.fixture(scope="session")
def keras_model(export, place, tmp_path_factory) -> ExportedModel:
    """The first fold as a file of Keras."""
    return export(tmp_path_factory.mktemp("keras") / "model.keras", place.folds[0].path)
