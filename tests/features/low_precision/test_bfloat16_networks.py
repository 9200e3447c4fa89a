from __future__ import annotations

from types import SimpleNamespace

import pytest

from featx.errors import ConfigError
from featx.features import network_pass
from featx.features.extract_settings import ExtractSettings, FeatureOptions
from featx.features.low_precision.bfloat16_networks import (
    ROWS,
    Bfloat16Network,
    kept_layers,
    refuse_bfloat16,
    refused_networks,
)
from featx.features.planning import targets
from featx.zoo import find_backbone


def test_rows_name_networks_once():
    names = [row.backbone for row in ROWS]
    assert len(set(names)) == len(names)
    assert [find_backbone(name).name for name in names] == names


@pytest.mark.parametrize(
    ("auc", "speed", "good"),
    [
        (0.002, 1.5, True),
        (-0.0021, 1.9, False),
        (0.001, 1.4, False),
    ],
)
def test_a_network_is_good_within_both_limits(auc, speed, good):
    assert Bfloat16Network("mobilenet_v2", 1, auc, speed).good == good


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mobilenet_v2", "changes an AUC by up to +0.0028, more than 0.002"),
        ("mobilenet_0.75", "has 1.48 times the speed of float32, less than 1.5"),
    ],
)
def test_a_network_that_suffers_is_refused_for_what_it_fails(name, why):
    with pytest.raises(ConfigError) as raised:
        refuse_bfloat16(name)
    assert str(raised.value) == (
        f"{name} in bfloat16 {why}; use --precision float32, or give --force-precision as well"
    )
    assert f"{name} {why}" in refused_networks()


def test_a_network_may_fail_both_limits():
    row = Bfloat16Network("mobilenet_v2", 1, -0.0031, 1.2)
    assert row.finding == (
        "changes an AUC by up to -0.0031, more than 0.002, and has 1.20 times the speed of float32, less than 1.5"
    )


def test_good_networks_are_not_refused():
    for name in ("densenet121", "efficientnet_lite0"):
        refuse_bfloat16(name)


def target(tmp_path, name, **given):
    (found,) = targets([name], ["random"], FeatureOptions(**{"device": "cpu", **given}), tmp_path)
    return found


def test_what_stays_in_float32_is_part_of_the_recipe(tmp_path):
    kept = {
        (name, engine, precision): target(tmp_path, name, engine=engine, precision=precision)
        .recipes[0]
        .float32_layers
        for name in ("mobilenet_v2", "densenet121")
        for engine in ("openvino", "keras")
        for precision in ("bfloat16", "float32")
    }
    assert {key: value for key, value in kept.items() if value} == {
        ("mobilenet_v2", "openvino", "bfloat16"): kept_layers("mobilenet_v2")
    }


def asked(tmp_path, **given):
    settings = ExtractSettings(backbone="mobilenet_v2", weights="random", device="cpu", **given)
    return settings, [
        network_pass.PendingTarget(target(tmp_path, "mobilenet_v2", **given), (frozenset("a"),))
    ]


@pytest.mark.parametrize(
    ("engine", "precision", "force", "refused"),
    [
        ("openvino", "bfloat16", False, True),
        ("openvino", "bfloat16", True, False),
        ("openvino", "float32", False, False),
        ("keras", "bfloat16", False, False),
    ],
)
def test_only_forcing_computes_what_suffers(tmp_path, monkeypatch, engine, precision, force, refused):
    monkeypatch.setattr(network_pass, "check_arithmetic", lambda precision: None)
    settings, pending = asked(tmp_path, engine=engine, precision=precision, force_precision=force)
    if refused:
        with pytest.raises(ConfigError, match="mobilenet_v2 in bfloat16"):
            network_pass._engine(settings, pending)
    else:
        assert network_pass._engine(settings, pending) == engine


@pytest.mark.parametrize("engine", ["auto", "openvino"])
@pytest.mark.parametrize("force", [False, True])
def test_a_processor_without_bfloat16_is_named_first(tmp_path, monkeypatch, engine, force):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    core = SimpleNamespace(get_property=lambda *names: ["FP32"])
    monkeypatch.setattr(openvino, "Core", lambda: core)
    settings, pending = asked(tmp_path, engine=engine, precision="bfloat16", force_precision=force)
    with pytest.raises(
        ConfigError, match=r"^This processor has no bfloat16 arithmetic; use --precision float32, or"
    ):
        network_pass._engine(settings, pending)
