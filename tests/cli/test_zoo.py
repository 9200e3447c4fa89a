"""`featx zoo`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from featx.zoo import list_backbones
from featx_cli.main import featx, run


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(featx, ["zoo", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_has_a_line_for_each_backbone():
    lines = invoke("list").splitlines()
    assert lines[0].split()[:3] == ["backbone", "input", "preprocessing"]
    assert [line.split()[0] for line in lines[1:]] == [row.name for row in list_backbones()]
    assert "fc2" in next(line for line in lines if line.startswith("vgg16"))
    assert [line.split()[-1] for line in lines if line.startswith(("resnet50 ", "dinov2_base"))] == [
        "imagenet",
        "preset",
    ]


def test_list_as_json():
    rows = json.loads(invoke("list", "--json"))
    assert {row["name"]: row["width"] for row in rows} == {row.name: row.width for row in list_backbones()}


def test_show_tells_what_to_expect_and_where_weights_are_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    text = invoke("show", "MobileNetV2")
    assert "preprocessing  tf" in text
    assert "parameters     2,257,984" in text
    assert "multiply adds  299,494,272" in text
    facts = json.loads(invoke("show", "resnet50", "--json"))
    assert facts["weights_file"].startswith(str(tmp_path))
    assert facts["reference"].startswith("He et al. 2016")
    assert "trained on     LVD-142M" in invoke("show", "dinov2_base")


def test_show_names_the_layers():
    facts = json.loads(invoke("show", "tiny", "--layers", "--json"))
    assert {"name": "block2_relu", "shape": [16, 16, 32]} in facts["layers"]
    assert "block2_relu  16x16x32" in " ".join(invoke("show", "tiny", "--layers").split("\n")).replace(
        "   ", "  "
    )


def test_fetch_prints_what_is_there_and_fails_on_what_cannot_be_had(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    path = tmp_path / "mobilenet_2_5_224_tf_no_top.h5"
    path.write_bytes(b"weights")
    assert invoke("fetch", "mobilenet_0.25") == f"{path}\n"
    assert run(["zoo", "fetch", "tiny"]) == 2
    assert "no ImageNet weights are published for tiny" in capsys.readouterr().err


def test_convert_ends_with_2_where_the_network_is_not_told(tmp_path, capsys):
    file = tmp_path / "a.h5"
    file.write_bytes(b"anything")
    assert run(["zoo", "convert", str(file)]) == 2
    assert "the architecture cannot be found from the file; give --backbone" in capsys.readouterr().err


def test_unknown_backbone_ends_with_2(capsys):
    assert run(["zoo", "show", "resnet51"]) == 2
    assert capsys.readouterr().err.startswith(
        "featx: error: unknown backbone 'resnet51'; did you mean resnet50"
    )


@pytest.mark.parametrize("arguments", [["list"], ["show", "vgg_m"], ["--help"], ["show", "--help"]])
def test_no_framework_is_imported(arguments):
    code = (
        "import sys; from featx_cli.main import run; code = run(sys.argv[1:]);"
        "print([name for name in ('keras', 'tensorflow', 'sklearn', 'matplotlib') if name in sys.modules], code)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "zoo", *arguments], capture_output=True, text=True, check=True
    )
    assert shown.stdout.splitlines()[-1] == "[] 0"
