"""Networks of KerasHub: small ones of each architecture, against KerasHub itself, and presets that it wrote."""

from __future__ import annotations

import builtins
import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import BackboneError, WeightsError
from featx.zoo.backbones import Backbone, find_backbone, list_backbones
from featx.zoo.downloads import check_preset, fetch_weights, find_preset
from featx.zoo.network import build_backbone, build_network, save_backbone
from featx.zoo.weights import resolve_weights

# Row, and what makes it small.
SMALL: dict[str, dict[str, Any]] = {
    "dinov2_reg_small": {"num_layers": 2, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32},
    "vit_b16_hub": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "mlp_dim": 32},
    "siglip_base": {"num_layers": 1, "hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32},
    "mit_b0": {
        "num_layers": 1,
        "layerwise_depths": (1,),
        "hidden_dims": (16,),
        "layerwise_num_heads": (2,),
        "layerwise_sr_ratios": (2,),
        "layerwise_patch_sizes": (7,),
        "layerwise_strides": (4,),
    },
}
SIDE = {"dinov2": 28, "vit_hub": 32, "siglip": 32, "mit": 32}


def small(name: str) -> Backbone:
    row = find_backbone(name)
    return dataclasses.replace(
        row, arguments={**row.arguments, **SMALL[name]}, image_size=SIDE[row.family], width=16
    )


@pytest.fixture(scope="module")
def hub() -> Any:
    return pytest.importorskip("keras_hub", reason="KerasHub is not installed (extra 'hub')")


@pytest.fixture(scope="module")
def presets(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset of each small architecture, as KerasHub writes them, and what KerasHub makes of two images."""
    import keras

    folder = tmp_path_factory.mktemp("presets")
    for name in SMALL:
        row = small(name)
        given = {**row.arguments, "image_shape": (row.image_size, row.image_size, 3)}
        model: Any
        if row.family == "dinov2":
            model = hub.models.DINOV2Backbone(**given, position_embedding_shape=(56, 56))
        elif row.family == "vit_hub":
            model = hub.models.ViTBackbone(**given)
        elif row.family == "mit":
            model = hub.models.MiTBackbone(**given)
        else:
            text = hub.models.SigLIPTextEncoder(
                vocabulary_size=20,
                embedding_dim=16,
                hidden_dim=16,
                num_layers=1,
                num_heads=2,
                intermediate_dim=32,
                max_sequence_length=8,
            )
            model = hub.models.SigLIPBackbone(hub.models.SigLIPVisionEncoder(**given), text)
        rng = np.random.default_rng(1)
        for variable in model.trainable_variables:
            # Resized places are not those of the preset's table.
            if len(variable.shape) and "interpolated" not in variable.path:
                variable.assign(np.asarray(variable) + rng.normal(0, 0.1, variable.shape))
        model.save_to_preset(str(folder / name))
        np.save(folder / f"{name}.npy", expected(keras, row, model))
    keras.backend.clear_session()
    return folder


def expected(keras: Any, row: Backbone, model: Any) -> np.ndarray:
    """What the literature makes of the pixels and then takes as the feature."""
    pixels = pixels_of(row) / np.float32(255)
    if row.preprocessing == "torch":
        prepared = (pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    else:
        prepared = (pixels - 0.5) / 0.5
    given = prepared.astype(np.float32)
    if row.family == "siglip":
        return keras.ops.convert_to_numpy(model.vision_encoder({"images": given}, training=False))
    found = model({"images": given} if row.family == "dinov2" else given, training=False)
    found = keras.ops.convert_to_numpy(found)
    return found.mean((1, 2)) if row.family == "mit" else found[:, 0]


def pixels_of(row: Backbone, side: int | None = None) -> np.ndarray:
    side = side or row.image_size
    return np.random.default_rng(7).integers(0, 256, (2, side, side, 3), dtype=np.uint8)


def feature(row: Backbone, source: Any, side: int | None = None) -> np.ndarray:
    import keras

    (weights,) = resolve_weights(source, row)
    network = build_network(row, weights, image_size=side)
    found = network.model(pixels_of(row, side), training=False)
    return keras.ops.convert_to_numpy(found)


@pytest.mark.parametrize("name", SMALL)
def test_a_preset_gives_the_features_of_kerashub(presets: Path, name: str) -> None:
    wanted = np.load(presets / f"{name}.npy")
    found = feature(small(name), presets / name)
    assert found.shape == (2, 16)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_random_weights_depend_on_the_seed_alone(hub: Any, name: str) -> None:
    row, drawn = small(name), []
    for state in (1, 2):
        random.seed(state)
        drawn.append(build_backbone(row, resolve_weights("random:3", row)[0]).get_weights())
    for first, second in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", SMALL)
def test_a_trained_network_is_what_was_saved(presets: Path, tmp_path: Path, name: str) -> None:
    """Also the learned places of patches, which KerasHub would resize into another table and back."""
    import keras

    row = small(name)
    model = build_backbone(row, resolve_weights(presets / name, row)[0])
    assert all(layer.trainable for layer in model.layers)
    for variable in model.trainable_variables:
        variable.assign_add(np.full(variable.shape, 0.01, np.float32))
    save_backbone(model, tmp_path / "own.weights.h5")
    wanted = keras.ops.convert_to_numpy(model(pixels_of(row), training=False))
    np.testing.assert_allclose(feature(row, tmp_path / "own.weights.h5"), wanted, rtol=1e-5, atol=1e-6)


def test_places_are_resized_as_kerashub_does(hub: Any, presets: Path) -> None:
    import keras

    row = small("dinov2_reg_small")
    model = hub.models.DINOV2Backbone.from_preset(str(presets / "dinov2_reg_small"), image_shape=(42, 42, 3))
    wanted = expected(keras, dataclasses.replace(row, image_size=42), model)
    np.testing.assert_allclose(feature(row, presets / "dinov2_reg_small", 42), wanted, rtol=1e-4, atol=1e-5)
    with pytest.raises(BackboneError, match=r"image size 40 is not a multiple of 14 px, as .* give 28"):
        feature(row, presets / "dinov2_reg_small", 40)


def test_another_size_of_fixed_places_is_refused(presets: Path) -> None:
    with pytest.raises(WeightsError, match="at 48 px its shapes differ from those at its default of 32 px"):
        feature(small("vit_b16_hub"), presets / "vit_b16_hub", 48)


def test_a_preset_of_another_architecture_is_refused(presets: Path) -> None:
    with pytest.raises(WeightsError, match="num_layers is 1, expected 12; give another --backbone"):
        check_preset(presets / "vit_b16_hub", find_backbone("vit_b16_hub"))
    with pytest.raises(
        WeightsError, match="a preset of ViTBackbone, but mit_b0 needs a preset of MiTBackbone"
    ):
        check_preset(presets / "vit_b16_hub", small("mit_b0"))
    with pytest.raises(
        WeightsError, match="a preset of KerasHub, but tiny is not an architecture of KerasHub"
    ):
        resolve_weights(presets / "mit_b0", find_backbone("tiny"))


def test_a_preset_is_found_by_its_name_and_checked(
    presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    row = small("mit_b0")
    with pytest.raises(WeightsError, match="mit_b0_ade20k_512 is missing; run `featx zoo fetch mit_b0`"):
        resolve_weights("preset", row)
    (presets / "mit_b0").rename(tmp_path / "mit_b0_ade20k_512")
    try:
        folder = find_preset(row)
        (weights,) = resolve_weights("preset", row)
        assert (weights.label, weights.lineage) == ("mit_b0_ade20k_512", ("mit_b0_ade20k_512",))
        assert weights.digest == resolve_weights(folder, row)[0].digest
        assert fetch_weights(row) == folder
        (folder / "SHA256SUMS").write_text(f"{'0' * 64}  model.weights.h5\n")
        with pytest.raises(WeightsError, match=r"model\.weights\.h5 is damaged or of another version"):
            resolve_weights("preset", row)
        (folder / "SHA256SUMS").unlink()
    finally:
        (tmp_path / "mit_b0_ade20k_512").rename(presets / "mit_b0")
    with pytest.raises(WeightsError, match="tiny is not an architecture of KerasHub and has no preset"):
        resolve_weights("preset", find_backbone("tiny"))
    with pytest.raises(WeightsError, match="no ImageNet weights are published for mit_b0; give preset"):
        resolve_weights("imagenet", row)


def test_fetching_keeps_whole_presets_with_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kagglehub = pytest.importorskip("kagglehub", reason="KerasHub is not installed (extra 'hub')")
    row, asked = find_backbone("mit_b0"), []

    def download(handle: str, name: str, *, output_dir: str) -> str:
        asked.append((handle, name))
        if len(asked) == 2:
            raise OSError("the line broke")
        path = Path(output_dir) / name
        path.write_text(name)
        return str(path)

    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setattr(kagglehub, "model_download", download)
    with pytest.raises(WeightsError, match=r"cannot be downloaded from Kaggle \(OSError\)"):
        fetch_weights(row)
    assert not list(tmp_path.iterdir())
    folder = fetch_weights(row)
    assert asked[-1] == ("keras/mit/keras/mit_b0_ade20k_512/4", "model.weights.h5")
    assert sorted(path.name for path in folder.iterdir()) == ["SHA256SUMS", "config.json", "model.weights.h5"]
    (folder / "model.weights.h5").write_text("cut")
    with pytest.raises(WeightsError, match="damaged or of another version"):
        fetch_weights(row)


def test_a_missing_extra_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name in {"keras_hub", "kagglehub"}:
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    row = find_backbone("mit_b0")
    with pytest.raises(BackboneError, match=r"pip install 'featx\[hub\]'$"):
        build_network(row, resolve_weights("random", row)[0])
    with pytest.raises(WeightsError, match=r"pip install 'featx\[hub\]'$"):
        fetch_weights(row)


def test_rows_are_those_of_the_installed_library(hub: Any) -> None:
    """Handles, and numbers of weights, which differ from the published ones by what is known."""
    known: dict[str, Any] = {}
    for kind in ("DINOV2Backbone", "MiTBackbone", "SigLIPBackbone", "ViTBackbone"):
        known |= getattr(hub.models, kind).presets
    for row in list_backbones():
        if row.preset is None:
            continue
        theirs = known[row.preset.name]
        assert theirs["kaggle_handle"] == f"kaggle://{row.preset.handle}"
        count = theirs["metadata"]["params"]
        if row.family == "dinov2":  # two tables of places, theirs for 37 x 37 patches, ours for 16 x 16
            assert row.parameters == count - 2 * (37**2 - 16**2) * row.width
        elif row.family == "mit":  # counted there with a head of ten classes
            assert row.parameters == count - 10 * (row.width + 1)
        elif row.family == "vit_hub":
            assert row.parameters == count
        else:  # counted there with the part that reads
            assert 0 < row.parameters < count


def test_a_damaged_configuration_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"class_name": "MiTBackbone"}))
    (tmp_path / "model.weights.h5").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"config\.json is damaged; download the preset again"):
        resolve_weights(tmp_path, find_backbone("mit_b0"))
