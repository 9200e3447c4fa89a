"""Backbones of users: the example of the documentation, and errors that name the function."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

import featx
from featx.errors import BackboneError, WeightsError
from featx.images import load_image
from featx.zoo import CustomBackbone, features_of, find_backbone, load_own, resolve_weights
from featx.zoo.own_backbone import own_facts, own_width

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-backbone.md"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module into the current folder, and forget it afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def clear():
        for name in ("nets_of_test", "nets"):
            sys.modules.pop(name, None)
        for cached in (load_own, own_width, own_facts):
            cached.cache_clear()

    def write(text, name="nets_of_test"):
        clear()
        (tmp_path / f"{name}.py").write_text(text)
        return name

    yield write
    clear()


HEAD = "import featx, numpy as np\ndef f():\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return 3", "must return a featx.CustomBackbone. Got a int"),
        ("    raise KeyError('weights')", r"the function failed \(KeyError: 'weights'\)"),
        (
            "    return featx.CustomBackbone(model=3, version='1')",
            "'model' parameter of CustomBackbone must be",
        ),
        ("    return featx.CustomBackbone(model=len, version='')", "'version' parameter"),
        ("    return featx.CustomBackbone(model=len, version='1', image_size=0)", "'image_size' parameter"),
        (
            "    return featx.CustomBackbone(model=len, version='1', image_size=8)",
            r"must return numbers of shape \(1, width\)",
        ),
        (
            "    return featx.CustomBackbone(model=lambda x: x.nothing, version='1')",
            r"failed on a batch of shape \(1, 224, 224, 3\) \(AttributeError",
        ),
        (
            "    return featx.CustomBackbone(model=lambda x: x.mean((1, 2))[:0], version='1')",
            r"Got float32 of shape \(0, 3\)",
        ),
    ],
)
def test_errors_name_the_function(module, body, message):
    name = f"{module(HEAD + body)}:f"
    with pytest.raises(BackboneError, match=message) as caught:
        find_backbone(name)
    assert "\n" not in str(caught.value)
    if "CustomBackbone must" not in str(caught.value):
        assert name in str(caught.value)


KERAS = """
import featx, keras
from keras import layers, ops

x = keras.Input((8, 8, 3))
maps = layers.Conv2D(4, 3)(x)


class Called(keras.Model):
    def call(self, batch):
        return ops.mean(batch, axis=(1, 2))


called = Called()
called(ops.zeros((1, 8, 8, 3)))


def f():
    return featx.CustomBackbone(model={model}, version="1", image_size=8, preprocess={preprocess})
"""


@pytest.mark.parametrize(
    ("model", "preprocess", "message"),
    [
        ("keras.Sequential([layers.Conv2D(4, 3)])", "None", "is not built.* begin it with keras.Input"),
        ("Called()", "None", r"is not built.* a batch of shape \(1, 8, 8, 3\)"),
        ("keras.Model(x, [maps, maps])", "None", "must return one tensor. Got 2 in a list"),
        ("keras.Model(x, {'a': maps})", "None", "must return one tensor. Got 1 in a dict"),
        ("keras.Model([x, keras.Input((3,))], maps)", "None", "the model must have this one input"),
        ("keras.Model(keras.Input((9, 9, 3)), maps)", "None", "the function failed"),
        ("keras.Model(x, ops.mean(x, axis=(1, 2, 3)))", "None", r"it returns the shape \(2,\)"),
        ("keras.Model(x, ops.reshape(x, (-1, 3)))", "None", r"For n = 2 it returns the shape \(128, 3\)"),
        ("keras.Model(x, ops.expand_dims(maps, 1))", "None", r"the shape \(2, 1, 6, 6, 4\)"),
        ("keras.Model(x, maps)", "lambda batch: batch[:, :4]", r"do not fit pixels of shape \(n, 8, 8, 3\)"),
        ("keras.Model(x, maps)", "lambda batch: float(batch)", "preprocess must work on tensors"),
    ],
)
def test_keras_models_without_a_feature_of_each_image_are_refused(module, model, preprocess, message):
    name = f"{module(KERAS.format(model=model, preprocess=preprocess))}:f"
    with pytest.raises(BackboneError, match=message) as caught:
        find_backbone(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "width"),
    [("called", 3), ("keras.Model(x, maps)", 4), ("keras.Sequential([x, layers.Flatten()])", 192)],
)
def test_keras_models_of_every_kind_have_a_width(module, model, width):
    row = find_backbone(f"{module(KERAS.format(model=model, preprocess=None))}:f")
    assert (row.width, row.is_function) == (width, False)


@pytest.mark.parametrize("name", ["nowhere_at_all:f", "nets_of_test:g", "a b:f", "nets_of_test:", ":f"])
def test_names_that_stand_for_no_function(module, name):
    module(HEAD + "    pass")
    with pytest.raises(BackboneError, match=f"backbone '{name}'"):
        find_backbone(name)


def test_version_and_width_decide_the_digest_of_a_function(module):
    text = HEAD + "    return featx.CustomBackbone(model=lambda x: x.mean((1, 2)), version='1', image_size=8)"
    digests = []
    for changed in (
        text,
        text.replace("'1'", "'2'"),
        text.replace("x.mean((1, 2))", "x.mean((1, 2))[:, :2]"),
        text,
    ):
        row = find_backbone(f"{module(changed)}:f")
        (weights,) = resolve_weights("imagenet", row)
        digests.append(weights.digest)
    assert digests[0] == digests[3]
    assert len(set(digests)) == 3
    assert (row.width, row.image_size, row.is_own, row.is_function) == (3, 8, True, True)
    with pytest.raises(WeightsError, match="leave out --weights"):
        resolve_weights("random", row)


def test_tensors_of_torch_become_float32(module):
    pytest.importorskip("torch")
    body = (
        "    import torch\n    g = lambda x: torch.from_numpy(x).mean((1, 2)).bfloat16().requires_grad_()\n"
    )
    name = (
        f"{module(HEAD + body + '    return featx.CustomBackbone(model=g, version=chr(49), image_size=8)')}:f"
    )
    found = features_of(name, np.full((2, 8, 8, 3), 2, np.uint8))
    assert found.dtype == np.float32
    assert found.tolist() == [[2.0] * 3] * 2


@pytest.fixture
def example(module):
    """The module of the documentation."""
    return module(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0], "nets")


def test_the_example_of_the_documentation(example, tmp_path, data):
    (done,) = featx.extract(data, backbone="nets:colours", cache=tmp_path / "cache", batch_size=4)
    store = featx.FeatureStore(done.store)
    assert store.path.name.startswith("nets-colours-version1-")
    manifest = featx.read_manifest(data)
    rows = store.to_numpy(manifest)
    for path, row in list(zip(manifest.paths, rows, strict=True))[:5]:
        pixels = load_image(path, "resize", 32).astype(np.float32)
        np.testing.assert_allclose(row, [*pixels.mean((0, 1)), *pixels.std((0, 1))], rtol=1e-4)
    assert store.cost["parameters"] is None
    assert store.recipe["lineage"] == ["nets:colours, version 1"]
    assert featx.extract(data, backbone="nets:colours", cache=tmp_path / "cache")[0].reused == 24
    runs = featx.train_svm(
        data,
        features=[done.store],
        task="melanoma:rest",
        protocol="kfold:2",
        costs=[1.0],
        cache=tmp_path / "cache",
        output=tmp_path / "runs",
    )
    assert runs[0].record.features["recipe"]["backbone"] == "nets:colours"


def test_a_keras_model_of_the_documentation(example, tmp_path, data):
    import keras

    (done,) = featx.extract(data, backbone="nets:small", cache=tmp_path / "cache", batch_size=4)
    store = featx.FeatureStore(done.store)
    manifest = featx.read_manifest(data)
    rows = store.to_numpy(manifest)
    own = load_own("nets:small")
    pixels = np.stack([load_image(path, "resize", 64) for path in manifest.paths[:3]]).astype(np.float32)
    maps = keras.ops.convert_to_numpy(own.model(own.preprocess(pixels)))
    np.testing.assert_allclose(rows[:3], maps.mean(axis=(1, 2)), rtol=1e-3, atol=1e-5)
    assert store.cost["parameters"] == 8 * 28
    before = own_facts("nets:small")
    own.model.set_weights([weight * 2 for weight in own.model.get_weights()])
    own_facts.cache_clear()
    assert own_facts("nets:small")["values"] != before["values"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"layers": ["conv"]}, "leave out --layer"),
        ({"image_size": 96}, "takes 32 px"),
        ({"precision": "bfloat16"}, "leave out --precision"),
        ({"engine": "openvino"}, "cannot be exported"),
        ({"weights": "random"}, "leave out --weights"),
    ],
)
def test_what_does_not_apply_is_refused(example, tmp_path, data, more, message):
    with pytest.raises((BackboneError, WeightsError), match=message):
        featx.extract(data, backbone="nets:colours", cache=tmp_path / "cache", **more)
    assert not (tmp_path / "cache" / "features").exists()


def test_fine_tuning_is_refused(example, tmp_path, data):
    with pytest.raises(BackboneError, match="only networks of `featx zoo list` are fine-tuned"):
        featx.finetune(
            data,
            backbone="nets:colours",
            task="melanoma:rest",
            protocol="kfold:2",
            cache=tmp_path / "cache",
            output=tmp_path / "tuned",
        )


def test_a_custom_backbone_states_its_defaults():
    own = CustomBackbone(model=len, version="1")
    assert (own.image_size, own.preprocess, own.parameters, own.is_keras) == (224, None, None, False)


def test_it_has_a_reference_as_published_networks_have(module):
    name = module(
        "from featx import CustomBackbone\n"
        "def net():\n    return CustomBackbone(model=lambda x: x.mean((1, 2)), version='1', image_size=8)\n"
    )
    assert find_backbone(f"{name}:net").reference == "the user's own function"
