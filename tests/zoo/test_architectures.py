"""PyTorch state dicts: readers on files of torch itself, features against timm and torchvision."""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile

import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo.backbones import find_backbone
from featx.zoo.formats.keras_files import read_weights
from featx.zoo.formats.torch_files import from_state_dict
from featx.zoo.network import build_backbone, build_network
from featx.zoo.weights import resolve_weights


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed: its files cannot be written here")


@pytest.fixture(scope="module")
def timm(torch):
    """The library, also where its torchvision was built for another torch, which it uses no operator of."""
    real = torch.library.register_fake
    torch.library.register_fake = lambda *args, **kwargs: lambda function: function
    try:
        pytest.importorskip("torchvision", reason="torchvision is not installed")
    finally:
        torch.library.register_fake = real
    return pytest.importorskip("timm", reason="timm is not installed: nothing to compare with")


def scramble(torch, model) -> None:
    """Random weights and statistics that keep activations alive."""
    generator = torch.Generator().manual_seed(5)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
            tensor.copy_(torch.empty_like(tensor).uniform_(0.8, 1.2, generator=generator))
        elif tensor.is_floating_point() and (tensor.ndim == 1 or tensor.ndim == 3):
            tensor.copy_(torch.empty_like(tensor).normal_(0, 0.1, generator=generator))
        elif tensor.is_floating_point():
            deviation = (2 / tensor[0].numel()) ** 0.5
            tensor.copy_(torch.empty_like(tensor).normal_(0, deviation, generator=generator))


def prepared(torch, pixels, mean, deviation):
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (batch - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(deviation).view(3, 1, 1)


def feature(name: str, file, pixels: np.ndarray) -> np.ndarray:
    import keras

    backbone = find_backbone(name)
    (weights,) = resolve_weights(file, backbone)
    network = build_network(backbone, weights, image_size=pixels.shape[1])
    return keras.ops.convert_to_numpy(network.model(pixels, training=False))


# Where the architecture takes any size, small images cost less.
@pytest.mark.parametrize(
    ("name", "theirs", "side"),
    [
        ("resnet50_torch", "resnet50", 96),
        ("mobilenet_v2_torch", "mobilenetv2_100", 96),
        pytest.param("efficientnet_b0_torch", "efficientnet_b0", 96, marks=pytest.mark.slow),
        # 75 px: an odd size pads otherwise than an even one.
        ("efficientnet_lite0", "tf_efficientnet_lite0", 75),
        pytest.param("efficientnet_lite3", "tf_efficientnet_lite3", 96, marks=pytest.mark.slow),
        pytest.param("efficientnet_lite4", "tf_efficientnet_lite4", 96, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "convnext_tiny", 96, marks=pytest.mark.slow),
        ("vit_ti16", "vit_tiny_patch16_224", 32),
        pytest.param("vit_b16", "vit_base_patch16_224", 32, marks=pytest.mark.slow),
        pytest.param("vgg16_torch", "vgg16", 224, marks=pytest.mark.slow),
    ],
)
def test_features_agree_with_timm(torch, timm, name, theirs, side, tmp_path, images):
    sized = {"img_size": side} if theirs.startswith("vit") else {}
    model = timm.create_model(theirs, pretrained=False, **sized).eval()
    scramble(torch, model)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    pixels = images(side)
    mean, deviation = model.default_cfg["mean"], model.default_cfg["std"]
    if "lite" in name:  # as TensorFlow's code prepares them, where timm's configuration has 127.5
        mean, deviation = [127 / 255] * 3, [128 / 255] * 3
    batch = prepared(torch, pixels, mean, deviation)
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(batch), pre_logits=True).numpy()
    wanted = wanted.reshape(2, -1)
    found = feature(name, tmp_path / "model.pth", pixels)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3 * np.abs(wanted).max()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("name", "theirs", "cut"),
    [
        ("resnet50_torch", "resnet50", "fc"),
        ("mobilenet_v2_torch", "mobilenet_v2", "classifier"),
        pytest.param("efficientnet_b0_torch", "efficientnet_b0", "classifier", marks=pytest.mark.slow),
        pytest.param("convnext_tiny", "convnext_tiny", "classifier.2", marks=pytest.mark.slow),
    ],
)
def test_features_agree_with_torchvision(torch, timm, name, theirs, cut, tmp_path, images):
    import torchvision

    model = getattr(torchvision.models, theirs)(weights=None).eval()
    scramble(torch, model)
    torch.save(model.state_dict(), tmp_path / "model.pth")
    model.set_submodule(cut, torch.nn.Identity())
    pixels = images(96)
    batch = prepared(torch, pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with torch.no_grad():
        wanted = model(batch).numpy()
    found = feature(name, tmp_path / "model.pth", pixels)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("older", [False, True])
def test_a_vision_transformer_of_torchvision(torch, timm, older, tmp_path, images):
    """A small one of the same make; also under the names from before torchvision 0.12."""
    import torchvision

    model = torchvision.models.VisionTransformer(
        image_size=64, patch_size=32, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=64
    ).eval()
    scramble(torch, model)
    names = {"mlp.0.": "mlp.linear_1.", "mlp.3.": "mlp.linear_2."} if older else {}
    state = {}
    for name, tensor in model.state_dict().items():
        for new, old in names.items():
            name = name.replace(new, old)
        state[name] = tensor
    torch.save(state, tmp_path / "model.pth")
    model.heads = torch.nn.Identity()
    row = find_backbone("vit_b32_torchvision")
    row = dataclasses.replace(
        row, arguments={"width": 16, "blocks": 2, "heads": 2, "patch": 32}, width=16, image_size=64
    )
    pixels = images(64)
    with torch.no_grad():
        wanted = model(prepared(torch, pixels, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))).numpy()
    network = build_network(row, resolve_weights(tmp_path / "model.pth", row)[0])
    np.testing.assert_allclose(
        np.asarray(network.model(pixels, training=False)), wanted, rtol=1e-4, atol=1e-4
    )


def test_names_of_torchvision_vgg16_are_known(tmp_path):
    tensors = {
        "classifier.0.weight": np.arange(2 * 25088.0).reshape(2, 25088),
        "classifier.0.bias": np.ones(2),
    }
    (layer,) = from_state_dict(tmp_path, tensors, "vgg16_torch").layers
    assert layer.name == "fc1"
    # Channel 3, row 1, column 2 of the last map is number 3 * 49 + 1 * 7 + 2 there.
    assert layer.arrays[0][(1 * 7 + 2) * 512 + 3, 0] == 3 * 49 + 1 * 7 + 2


def write_safetensors(path, tensors: dict[str, np.ndarray]):
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        kind = {"float32": "F32", "uint16": "BF16"}[array.dtype.name]
        offsets = [len(body), len(body) + array.nbytes]
        header[name] = {"dtype": kind, "shape": array.shape, "data_offsets": offsets}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_safetensors_hold_the_same_as_an_archive(torch, tmp_path):
    """In all, a transposed and a shared tensor, parallel training's prefix; in the newer half a float."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(6, 4)).astype("float32")
    halves = np.array([1.0, -2.5, 0.0], "float32")
    state = {
        "module.fc.weight": torch.from_numpy(weight.T.copy()).t(),
        "module.fc.bias": torch.arange(12.0)[3:9],
        "module.half.weight": torch.from_numpy(halves).bfloat16(),
    }
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pth")
    path = write_safetensors(
        tmp_path / "a.safetensors",
        {
            "fc.weight": weight,
            "fc.bias": np.arange(3, 9, dtype="float32"),
            "half.weight": (halves.view(np.uint32) >> 16).astype(np.uint16),
        },
    )
    state.pop("module.half.weight")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    first, second, old = (
        read_weights(file, "resnet50_torch") for file in (tmp_path / "a.pth", path, tmp_path / "old.pth")
    )
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers] == ["fc", "half"]
    for one, two in zip((*first.layers, *old.layers), (*second.layers, second.layers[0]), strict=True):
        for ours, theirs in zip(one.arrays, two.arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(first.layers[0].arrays[0], weight.T)
    np.testing.assert_array_equal(first.layers[1].arrays[0], halves)


def test_safetensors_of_the_library_are_read(torch, tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    library.save_file({"fc.weight": torch.ones(2, 3), "fc.bias": torch.zeros(2)}, tmp_path / "a.safetensors")
    (layer,) = read_weights(tmp_path / "a.safetensors", "resnet50_torch").layers
    assert [array.shape for array in layer.arrays] == [(3, 2), (2,)]


class Evil:
    """Pickled, it would make a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.folder),)


def test_an_archive_never_runs_code(torch, tmp_path):
    path, mark = tmp_path / "evil.pth", tmp_path / "mark"
    torch.save({"weight": Evil(mark)}, path)
    with pytest.raises(WeightsError, match=r"contains posix\.mkdir, which could run code on loading"):
        read_weights(path, "resnet50_torch")
    assert not mark.exists()


def test_a_tensor_cannot_reach_beyond_its_storage(torch, tmp_path):
    source, path = tmp_path / "a.pth", tmp_path / "short.pth"
    torch.save({"fc.weight": torch.ones(8, 8)}, source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"K\x08K\x08", b"K\x08K\x7f") if name.endswith(".pkl") else data)
    with pytest.raises(WeightsError, match="damaged weights file"):
        read_weights(path, "resnet50_torch")


def test_files_that_cannot_serve_are_told(torch, tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"could run code on loading; save `model\.state_dict\(\)` alone"):
        read_weights(tmp_path / "whole.pth", "resnet50_torch")
    torch.save({"epoch": 1}, tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="without a state dict"):
        read_weights(tmp_path / "none.pth", "resnet50_torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="could run code on loading"):
        read_weights(tmp_path / "old.pth", "resnet50_torch")
    torch.save({"a": torch.ones(100)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "old.pth").write_bytes((tmp_path / "old.pth").read_bytes()[:-8])
    with pytest.raises(WeightsError, match="damaged weights file"):
        read_weights(tmp_path / "old.pth", "resnet50_torch")
    torch.save({"conv1.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"can be read for the backbones convnext_tiny, .*got 'resnet50'"):
        read_weights(tmp_path / "other.pth", "resnet50")
    with pytest.raises(
        WeightsError, match=r"first layer that differs is 'conv1': found 'conv1' 3x3x3x8, expected"
    ):
        feature("resnet50_torch", tmp_path / "other.pth", np.zeros((1, 32, 32, 3)))
    with pytest.raises(
        WeightsError, match=r"it has no layer 'conv_stem' 3x3x3x32; its first layer is 'conv1' 3x3x3x8"
    ):
        feature("mobilenet_v2_torch", tmp_path / "other.pth", np.zeros((1, 32, 32, 3)))
    cut = (tmp_path / "other.pth").read_bytes()[:-80]
    (tmp_path / "cut.pth").write_bytes(cut)
    with pytest.raises(WeightsError, match="not a weights file in a known format"):
        read_weights(tmp_path / "cut.pth", "resnet50_torch")


@pytest.mark.parametrize(
    "header", [{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, {"a": {"dtype": "C64"}}]
)
def test_damaged_safetensors_are_told(tmp_path, header):
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0\0\0\0")
    with pytest.raises(WeightsError, match="damaged weights file"):
        read_weights(path, "resnet50_torch")


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("a.pth", "torch", "torch"), ("a.safetensors", "safetensors", "safetensors")],
)
def test_a_missing_library_is_named(torch, tmp_path, monkeypatch, name, module, extra):
    torch.save({"conv1.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "a.pth")
    write_safetensors(tmp_path / "a.safetensors", {"fc.bias": np.ones(3, "float32")})
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(WeightsError, match=rf"{name}: .*pip install 'featx\[{extra}\]'"):
        read_weights(tmp_path / name, "resnet50_torch")


@pytest.mark.parametrize("version", ["2.5.1", "2.9.1"])
def test_an_unsafe_version_of_torch_is_refused(torch, tmp_path, monkeypatch, version):
    torch.save({"conv1.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    with pytest.raises(WeightsError, match=rf"PyTorch {version} does not load untrusted files safely"):
        read_weights(tmp_path / "a.pth", "resnet50_torch")


@pytest.fixture(scope="module")
def model():
    """The network of the paper, without the seconds that drawing its weights would take."""
    import keras

    backbone = find_backbone("vgg_m")
    with keras.StatelessScope(initialize_variables=False):
        return build_backbone(backbone, resolve_weights("random:0", backbone)[0])


def test_shapes_are_those_of_the_paper(model):
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in model.layers}
    assert shapes["conv1"] == (109, 109, 96)
    assert shapes["pool1"] == (54, 54, 96)
    assert shapes["conv2"] == (26, 26, 256)
    assert shapes["pool2"] == (13, 13, 256)
    assert shapes["conv5"] == (13, 13, 512)
    assert shapes["pool5"] == (6, 6, 512)
    assert shapes["fc2"] == (4096,)
    assert model.get_layer("fc1").kernel.shape == (6 * 6 * 512, 4096)


def test_response_normalisation_is_not_divided_by_its_size():
    from featx.zoo.architectures import LocalResponseNormalization

    x = np.random.default_rng(0).normal(0, 100, (2, 3, 3, 7)).astype("float32")
    layer = LocalResponseNormalization()
    wanted = np.empty_like(x)
    for channel in range(7):
        near = x[..., max(0, channel - 2) : channel + 3]
        wanted[..., channel] = x[..., channel] / (2 + 1e-4 * (near**2).sum(-1)) ** 0.75
    np.testing.assert_allclose(np.asarray(layer(x)), wanted, rtol=1e-5)
    again = LocalResponseNormalization.from_config(layer.get_config())
    assert (again.size, again.k, again.alpha, again.beta) == (5, 2.0, 1e-4, 0.75)


def test_mean_image_begins_as_the_mean_colour_and_is_not_trained(model):
    layer = model.get_layer("mean_image")
    assert not layer.trainable_weights
    assert layer.mean.shape == (224, 224, 3)
