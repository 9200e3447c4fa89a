"""What is fuzzed: each parser with files to start from."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import xxhash
from scipy.io import savemat

from featx.data import read_folds, read_manifest
from featx.features.blocks import read_features, read_keys, write_block
from featx.finetuning import read_recipe
from featx.study import read_study
from featx.zoo.formats.keras_files import read_weights
from featx.zoo.formats.matconvnet import guess_backbone

with suppress(ImportError):
    # Imported before the readers' processes are forked, since importing alone would exceed their memory limit.
    import ml_dtypes  # noqa: F401
    import safetensors  # noqa: F401
    import torch  # noqa: F401

SEEDS = Path(__file__).parent / "seeds"
_RECIPE = "ab" * 32
_KEYS = [f"{number:064x}" for number in range(70)]


@dataclass(frozen=True)
class Target:
    """A parser.

    Attributes
    ----------
    name : str
        For the table and the folder of its corpus.
    ending : str
        What files for it end in.
    read : callable
        Reads a file; what it returns is not looked at.
    seeds : callable
        Makes files to start from, which it reads without an error.
    put : callable
        Writes bytes into a folder as a file that the parser takes for one of its own; returns its path.
    """

    name: str
    ending: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[bytes]]
    put: Callable[[Path, str, bytes], Path]


def _put(folder: Path, ending: str, data: bytes) -> Path:
    path = folder / f"input{ending}"
    path.write_bytes(data)
    return path


def _put_block(folder: Path, ending: str, data: bytes) -> Path:
    # As a block from somebody who wishes us ill: its name says that its bytes are right.
    keys = next(folder.parent.glob("seed-block/block-*")).name.split("-")[1]
    path = folder / f"block-{keys}-{xxhash.xxh3_128_hexdigest(data)}.h5"
    for old in folder.glob("block-*"):
        old.unlink()
    path.write_bytes(data)
    return path


def _manifests(folder: Path) -> list[bytes]:
    plain = "image,id,label,group,split,age\n" + "".join(
        f"a/{n}.png,i{n},{'mn'[n % 2]},p{n // 2},{'train' if n < 4 else 'test'},{n}\n" for n in range(6)
    )
    return [
        plain.encode(),
        plain.replace(",", ";").encode(),
        "\ufeff".encode() + plain.encode(),
        b'image\n"a\nb"\n',
    ]


def _folds_json(folder: Path) -> list[bytes]:
    folds = [
        {"name": "1x1", "train": ["a", "b"], "test": ["c"]},
        {"name": "1x2", "train": ["c"], "test": ["a", "b"]},
    ]
    return [json.dumps({"protocol": "1x2", "seed": 0, "folds": folds, "notes": ["a note"]}).encode()]


def _folds_csv(folder: Path) -> list[bytes]:
    return [b"fold,id,part\n1,a,train\n1,b,val\n1,'=c,test\n2,a,test\n2,b,train\n"]


def _folds_yaml(folder: Path) -> list[bytes]:
    return [b"Fold_1: [[a.tiff, b.tiff], [c.tiff]]\nFold_2:\n- - c.tiff\n- - a.tiff\n  - b\n"]


_STUDY = {
    "name": "mine",
    "backbones": ["tiny"],
    "sources": {"retina": {"manifest": "r.csv", "task": "labels"}},
    "targets": {"lesions": {"manifest": "lesions.csv", "tasks": ["melanoma:rest"], "protocol": "5x2"}},
    "arms": {"frozen": {"weights": "random"}, "tuned": {"weights": "retina", "finetune": True}},
    "extract": {"image_size": 64},
    "svm": {"costs": [0.1, 1.0]},
}


def _studies_toml(folder: Path) -> list[bytes]:
    files = (resources.files("featx.study") / "files").iterdir()
    return [
        file.read_bytes() for file in sorted(files, key=lambda file: file.name) if file.name.endswith(".toml")
    ]


def _studies_yaml(folder: Path) -> list[bytes]:
    return [
        json.dumps(_STUDY, indent=1).encode(),
        b"name: mine\nbackbones: [tiny]\narms: &a {x: {weights: random}}\n",
    ]


def _recipes(folder: Path) -> list[bytes]:
    return [
        b'base = "modern"\nepochs = 3\nlearning-rate = 1e-4\nbatch_norm = "train"\nname = "mine"\n',
        b"epochs = 1\n",
    ]


def _blocks(folder: Path) -> list[bytes]:
    place = folder.parent / "seed-block"
    features = np.random.default_rng(0).normal(size=(len(_KEYS), 1, 3)).astype(np.float32)
    return [write_block(place, _RECIPE, _KEYS, features).read_bytes()]


def _read_block(path: Path) -> object:
    return read_keys(path, _RECIPE), read_features(path, _RECIPE)


def _matlab(folder: Path) -> list[bytes]:
    found = []
    for newer in (False, True):
        cells = []
        for number in range(8):
            kernel, bias = np.ones((1, 1, 2, 2), np.float32), np.ones((1, 2), np.float32)
            weights = np.empty((1, 2), object)
            weights[0, 0], weights[0, 1] = kernel, bias
            arrays = {"weights": weights} if newer else {"filters": kernel, "biases": bias}
            cells += [{"type": "conv", "name": f"c{number}", "stride": 1, "pad": 0, **arrays}]
            cells += [{"type": "relu", "name": "r"}, {"type": "pool", "pool": np.array([3, 3]), "stride": 2}]
        layers = np.empty((1, len(cells)), object)
        layers[0, :] = cells
        facts = {
            "normalization": {"averageImage": np.ones((1, 1, 3))},
            "classes": {"description": ["x", "y"]},
        }
        file = BytesIO()
        savemat(file, {"layers": layers, **({"meta": facts} if newer else facts)}, do_compression=newer)
        found.append(file.getvalue())
    return found


def _read_matlab(path: Path) -> object:
    return guess_backbone(path), read_weights(path, "vgg_m")


def _stored(kind: str) -> Callable[[Path], list[bytes]]:
    return lambda _: [path.read_bytes() for path in sorted(SEEDS.glob(f"*{kind}"))]


def _read_torch(path: Path) -> object:
    return read_weights(path, "resnet50_torch")


TARGETS = (
    Target("manifest", ".csv", lambda path: read_manifest(path, check_files=False), _manifests, _put),
    Target("folds-json", ".json", read_folds, _folds_json, _put),
    Target("folds-csv", ".csv", read_folds, _folds_csv, _put),
    Target("folds-yaml", ".yml", read_folds, _folds_yaml, _put),
    Target("study-toml", ".toml", read_study, _studies_toml, _put),
    Target("study-yaml", ".yaml", read_study, _studies_yaml, _put),
    Target("recipe", ".toml", read_recipe, _recipes, _put),
    Target("block", ".h5", _read_block, _blocks, _put_block),
    Target("matconvnet", ".mat", _read_matlab, _matlab, _put),
    Target("torch", ".pth", _read_torch, _stored(".pth"), _put),
    Target("safetensors", ".safetensors", _read_torch, _stored(".safetensors"), _put),
)
