"""Published ImageNet weights from ../shared/data, on photographs that scikit-learn ships."""

from __future__ import annotations

import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_network
from featx.zoo.weights import resolve_weights

pytestmark = pytest.mark.real

PALACE = 698


@pytest.fixture
def china() -> np.ndarray:
    """The middle of the summer palace, 224x224."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    picture = Image.fromarray(load_sample_image("china.jpg")[:, 106:533])
    return np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR))[None]


def feature(name: str, file, pixels: np.ndarray) -> np.ndarray:
    import keras

    backbone = find_backbone(name)
    network = build_network(backbone, resolve_weights(file, backbone)[0])
    return keras.ops.convert_to_numpy(network.model(pixels, training=False))


def test_features_lead_to_the_class_that_the_picture_shows(real_data, china):
    """The classifier of the file with top, applied to our feature, sees a palace."""
    import h5py

    files = real_data / "weights"
    found = feature("mobilenet_0.75", files / "mobilenet_7_5_224_tf.h5", china)
    with h5py.File(files / "mobilenet_7_5_224_tf.h5") as file:
        kernel, bias = (
            np.asarray(file["conv_preds"][name]) for name in file["conv_preds"].attrs["weight_names"]
        )
    scores = found @ kernel.reshape(found.shape[1], -1) + bias
    assert scores.argmax() == PALACE
    plain = feature("mobilenet_0.75", files / "mobilenet_7_5_224_tf_no_top.h5", china)
    np.testing.assert_array_equal(plain, found)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mobilenet_0.25", "mobilenet_2_5_224_tf_no_top.h5"),
        ("mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"),
        ("mobilenet_v2_0.35", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
    ],
)
def test_published_files_fit_and_are_found_by_name(real_data, china, monkeypatch, name, file):
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(real_data / "weights"))
    backbone = find_backbone(name)
    (weights,) = resolve_weights("imagenet", backbone)
    assert weights.path.name == file
    found = feature(name, weights.path, china)
    assert found.shape == (1, backbone.width)
    assert 0.05 < (found > 0).mean() < 1


def test_the_wrong_file_says_which_one_it_is(real_data):
    with pytest.raises(
        WeightsError, match=r"as many as mobilenet_v2_0\.35\), which are not the weights of mobilenet_v2:"
    ):
        feature(
            "mobilenet_v2",
            real_data / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5",
            np.zeros((1, 224, 224, 3)),
        )
