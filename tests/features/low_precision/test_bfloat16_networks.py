from __future__ import annotations

import pytest

from featx.errors import ConfigError
from featx.features import network_pass
from featx.features.extract_settings import ExtractSettings, FeatureOptions
from featx.features.low_precision.bfloat16_networks import (
    ROWS,
    Bfloat16Network,
    kept_layers,
    refuse_bfloat16,
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


def test_a_network_that_suffers_is_refused():
    with pytest.raises(
        ConfigError, match=r"changes an AUC by up to \+0\.0028, at 1\.75 times.*--force-precision"
    ):
        refuse_bfloat16("mobilenet_v2")
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


@pytest.mark.parametrize(
    ("engine", "precision", "force", "refused"),
    [
        ("openvino", "bfloat16", False, True),
        ("openvino", "bfloat16", True, False),
        ("openvino", "float32", False, False),
        ("keras", "bfloat16", False, False),
    ],
)
def test_only_forcing_computes_what_suffers(tmp_path, engine, precision, force, refused):
    given = {"engine": engine, "precision": precision, "device": "cpu"}
    settings = ExtractSettings(backbone="mobilenet_v2", weights="random", force_precision=force, **given)
    pending = [network_pass.PendingTarget(target(tmp_path, "mobilenet_v2", **given), (frozenset("a"),))]
    if refused:
        with pytest.raises(ConfigError, match="mobilenet_v2 in bfloat16"):
            network_pass._engine(settings, pending)
    else:
        assert network_pass._engine(settings, pending) == engine
