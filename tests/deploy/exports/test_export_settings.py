"""Options of `featx export` and `featx card`: the format follows from the ending."""

from __future__ import annotations

import pytest

from featx.deploy.exports.export_formats import FORMATS
from featx.deploy.exports.export_settings import CardSettings, ExportSettings
from featx.errors import ConfigError


@pytest.mark.parametrize(
    ("output", "name"), [("m.onnx", "onnx"), ("m.keras", "keras"), ("folder", "openvino")]
)
def test_the_ending_gives_the_format(output, name):
    assert ExportSettings(output=output).chosen_format == name
    assert ExportSettings(output=output, format=name).chosen_format == name
    assert output.endswith(FORMATS[name].ending)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"output": "model.pb"}, r"must end in .onnx or .keras, or be a folder's name.* Got 'model.pb'"),
        ({"output": "model.onnx", "format": "keras"}, r"must end in .keras for the format keras"),
        (
            {"output": "m.onnx", "format": "openvino"},
            r"must be a folder's name without an ending for the format",
        ),
        ({"output": "m.onnx", "format": "torch"}, r"must be one of onnx, openvino, keras. Got 'torch'"),
        ({"output": "m.onnx", "check_images": 1}, r"of at least 2"),
        ({}, r"The 'output' parameter is required"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        ExportSettings.make(given)


def test_a_card_is_markdown_or_html():
    assert CardSettings(output="card.html").licence is None
    with pytest.raises(ConfigError, match=r"must end in .md or .html. Got 'card.pdf'"):
        CardSettings(output="card.pdf")
