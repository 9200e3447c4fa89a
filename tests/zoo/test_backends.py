"""The same weights give the same features under every backend of Keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest

from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_backbone, save_backbone
from featx.zoo.weights import resolve_weights

_CODE = """
import sys
import numpy as np
import keras
from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_network
from featx.zoo.weights import resolve_weights
name, file, pixels, out, pool = sys.argv[1:]
row = find_backbone(name)
pixels = np.load(pixels)
weights = resolve_weights(file, row)[0]
network = build_network(row, weights, image_size=pixels.shape[1], pool=pool)
np.save(out, keras.ops.convert_to_numpy(network.model(pixels, training=False)))
print(keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize(("name", "side", "pool"), [("tiny", 64, "gem"), ("vgg_m", 51, "avg")])
def test_backends_agree(backend, name, side, pool, tmp_path, images):
    """Batch norm and generalised mean; response normalisation, mean image, blue-first and padded pools."""
    import keras

    if backend == keras.backend.backend() or importlib.util.find_spec(backend) is None:
        pytest.skip(f"no second backend: {backend} is not installed, or is the one at work")
    backbone = find_backbone(name)
    pixels, file = tmp_path / "pixels.npy", tmp_path / "net.weights.h5"
    np.save(pixels, images(side))
    save_backbone(build_backbone(backbone, resolve_weights("random", backbone)[0], side), file)
    results = []
    for engine in (keras.backend.backend(), backend):
        out = tmp_path / f"{engine}.npy"
        shown = subprocess.run(
            [sys.executable, "-c", _CODE, name, str(file), str(pixels), str(out), pool],
            env={**os.environ, "KERAS_BACKEND": engine},
            capture_output=True,
            text=True,
        )
        assert shown.stdout.strip() == engine, shown.stderr
        results.append(np.load(out))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-3, atol=1e-5 * np.abs(results[0]).max())
