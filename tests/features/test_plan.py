from __future__ import annotations

import dataclasses

import pytest

from featx.errors import ConfigError
from featx.features import extraction_plan as plan
from featx.features.extraction_plan import ExtractSettings, shard_of, targets
from featx.zoo import Weights


def names(backbones, sources, tmp_path):
    return [
        (target.backbone.name, target.weights.source)
        for target in targets(backbones, sources, ExtractSettings(), tmp_path)
    ]


def test_one_backbone_takes_several_sources(tmp_path):
    assert names(["tiny"], ["random:0", "random:1"], tmp_path) == [("tiny", "random:0"), ("tiny", "random:1")]


def test_several_backbones_share_a_source_or_have_one_each(tmp_path):
    shared = [("tiny", "random:0"), ("vgg16", "random:0")]
    assert names(["tiny", "vgg16"], ["random"], tmp_path) == shared
    paired = [("tiny", "random:1"), ("vgg16", "random:2")]
    assert names(["tiny", "vgg16"], ["random:1", "random:2"], tmp_path) == paired
    with pytest.raises(ConfigError, match="2 backbones and 3 weights sources"):
        names(["tiny", "vgg16"], ["random", "random:1", "random:2"], tmp_path)


def test_a_network_named_twice_runs_once(tmp_path):
    assert len(names(["tiny"], ["random", "random:0"], tmp_path)) == 1


def test_each_layer_has_a_recipe_and_a_folder(tmp_path):
    settings = ExtractSettings(layers=("fc1", "fc2"), image_size=96, views=2)
    (target,) = targets(["vgg16"], ["random"], settings, tmp_path)
    assert [recipe.layer for recipe in target.recipes] == ["fc1", "fc2"]
    assert len(set(target.folders)) == 2
    assert all(folder.parent == tmp_path / "features" for folder in target.folders)
    assert target.recipes[0].image_size == 96
    assert target.recipes[0].views["count"] == 2


def test_the_penultimate_layer_is_one_store_named_or_not(tmp_path):
    (default,) = targets(["vgg16"], ["random"], ExtractSettings(), tmp_path)
    (named,) = targets(["vgg16"], ["random"], ExtractSettings(layers=("fc2",)), tmp_path)
    assert default.folders == named.folders


def test_batches_workers_and_devices_do_not_change_the_recipe(tmp_path):
    plain = targets(["tiny"], ["random"], ExtractSettings(), tmp_path)[0].folders
    other = ExtractSettings(batch_size=7, workers=3, threads=1, device="cpu", engine="keras")
    assert targets(["tiny"], ["random"], other, tmp_path)[0].folders == plain


def test_reading_ahead_is_bounded_by_bytes_and_never_starves_the_threads():
    assert ExtractSettings(batch_size=32, workers=4).ahead(224) == 68
    assert ExtractSettings(batch_size=32, workers=4, views=50).ahead(224) == 5
    assert ExtractSettings(batch_size=4096, workers=4).ahead(224) == (256 << 20) // (3 * 224 * 224)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "a/b", "-1/3", "1/0"])
def test_a_bad_shard_is_refused(text):
    with pytest.raises(ConfigError, match="shard"):
        shard_of(text)


def test_the_engine_is_openvino_only_where_it_is_installed_and_on_a_cpu(monkeypatch):
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: None)
    assert ExtractSettings(device="cpu").chosen_engine() == "keras"
    with pytest.raises(ConfigError, match="not installed"):
        ExtractSettings(engine="openvino").chosen_engine()
    monkeypatch.setattr(plan.importlib.util, "find_spec", lambda name: object())
    assert ExtractSettings(device="cpu").chosen_engine() == "openvino"
    assert ExtractSettings(device="gpu").chosen_engine() == "keras"
    assert ExtractSettings(device="cpu", engine="keras").chosen_engine() == "keras"
    with pytest.raises(ConfigError, match="runs on the CPU"):
        ExtractSettings(device="gpu", engine="openvino").chosen_engine()


@pytest.fixture
def tuned(monkeypatch):
    """Weights that were fine-tuned at 128 px, on prepared images, in bfloat16."""
    facts = {"image_size": 128, "preparation": "retina", "precision": "bfloat16"}
    weights = Weights("run", "ab" * 32, ("imagenet", "run"), trained_with=facts, label="run")
    monkeypatch.setattr(plan, "resolve_weights", lambda source, backbone: (weights,))
    return weights


def test_fine_tuned_weights_see_images_as_in_training(tuned, tmp_path):
    (target,) = targets(["tiny"], ["run"], ExtractSettings(engine="keras"), tmp_path)
    assert (target.image_size, target.preparation, target.precision) == (128, "retina", "bfloat16")
    (recipe,) = target.recipes
    assert (recipe.image_size, recipe.preparation["name"], recipe.precision) == (128, "retina", "bfloat16")
    assert target.warnings == recipe.warnings == ()


def test_another_way_to_see_images_is_asked_for_and_warned_of(tuned, tmp_path):
    asked = ExtractSettings(engine="keras", image_size=224, preparation="resize", precision="float32")
    (target,) = targets(["tiny"], ["run"], asked, tmp_path)
    assert (target.image_size, target.preparation, target.precision) == (224, "resize", "float32")
    assert target.warnings == (
        "the weights were fine-tuned with image size 128, their features are extracted with 224",
        "the weights were fine-tuned with preparation retina, their features are extracted with resize",
        "the weights were fine-tuned with precision bfloat16, their features are extracted with float32",
    )
    # Told, without a say in which store it is.
    assert target.recipes[0].digest == dataclasses.replace(target.recipes[0], warnings=()).digest


def test_tf32_is_a_recipe_of_its_own_and_of_keras_alone(tmp_path):
    (plain,), (coarse,) = (
        targets(["tiny"], ["random"], ExtractSettings(precision=precision), tmp_path)
        for precision in (None, "tf32")
    )
    assert (plain.recipes[0].precision, coarse.recipes[0].precision) == ("float32", "tf32")
    assert coarse.recipes[0].engine == "keras"
    assert plain.folders != coarse.folders
    with pytest.raises(ConfigError, match="no tf32 arithmetic"):
        targets(
            ["tiny"], ["random"], ExtractSettings(precision="tf32", engine="openvino", device="cpu"), tmp_path
        )
