"""The same weights give the same features under every backend of Keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_backbone, build_network, save_backbone
from featx.zoo.weights import resolve_weights

# Batch norm and generalised mean; response normalisation, mean image, blue-first and padded pools.
NETWORKS = (("tiny", 64, "gem", {}), ("vgg_m", 51, "avg", {"filters": (8, 12, 16, 16, 16), "units": 32}))
# What JAX compiles is run once here: optimising it takes four times as long as running it.
QUICK_XLA = "--xla_backend_optimization_level=0"
CODE = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
import keras
from featx.zoo.backbones import find_backbone
from featx.zoo.network import build_backbone, build_network
from featx.zoo.weights import resolve_weights
folder = Path(sys.argv[1])
for name, side, pool, narrow in eval(sys.argv[2]):
    row = replace(find_backbone(name), arguments=narrow)
    weights = resolve_weights(folder / f"{name}.weights.h5", row)[0]
    network = build_network(row, weights, image_size=side, pool=pool)
    found = network.model(np.load(folder / f"{name}.npy"), training=False)
    np.save(folder / f"{name}-{keras.backend.backend()}.npy", keras.ops.convert_to_numpy(found))
row = find_backbone("tiny")
drawn = build_backbone(row, resolve_weights("random:3", row)[0], 16).get_weights()
np.savez(folder / f"drawn-{keras.backend.backend()}.npz", *drawn)
print(keras.backend.backend())
"""


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Weights, images and the features of this process's backend."""
    import keras

    folder = tmp_path_factory.mktemp("nets")
    for name, side, pool, narrow in NETWORKS:
        backbone = replace(find_backbone(name), arguments=narrow)
        pixels = np.random.default_rng(7).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        np.save(folder / f"{name}.npy", pixels)
        file = folder / f"{name}.weights.h5"
        save_backbone(build_backbone(backbone, resolve_weights("random", backbone)[0], side), file)
        network = build_network(backbone, resolve_weights(file, backbone)[0], image_size=side, pool=pool)
        np.save(
            folder / f"{name}-here.npy", keras.ops.convert_to_numpy(network.model(pixels, training=False))
        )
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_backends_agree(backend, computed):
    import keras

    if backend == keras.backend.backend() or importlib.util.find_spec(backend) is None:
        pytest.skip(f"no second backend: {backend} is not installed, or is the one at work")
    shown = subprocess.run(
        [sys.executable, "-c", CODE, str(computed), repr(NETWORKS)],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": QUICK_XLA},
        capture_output=True,
        text=True,
    )
    assert shown.stdout.strip() == backend, shown.stderr
    for name, *_ in NETWORKS:
        found, wanted = (np.load(computed / f"{name}-{which}.npy") for which in (backend, "here"))
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max(), err_msg=name)
    row = find_backbone("tiny")
    drawn = np.load(computed / f"drawn-{backend}.npz").values()
    for found, wanted in zip(
        drawn, build_backbone(row, resolve_weights("random:3", row)[0], 16).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
