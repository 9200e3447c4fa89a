"""Reader of MatConvNet's published networks, ``imagenet-vgg-m.mat`` and its like.

A file holds ``layers``, a cell of structs: convolutions with filters (height, width, channels, number) and
biases, as ``filters`` and ``biases`` in older files, as a cell ``weights`` in newer ones; pooling, ReLU and
normalisation with their parameters. The mean of the training images is in ``normalization.averageImage``,
the names of the classes in ``classes.description``, in newer files both under ``meta``.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError
from featx.zoo.contents import Contents, StoredLayer
from featx.zoo.matlab_bounds import check_matlab

__all__ = ["MATCONVNET_BACKBONES", "guess_backbone", "read_matconvnet"]

_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
_LRN = (5.0, 2.0, 1e-4, 0.75)
_SIDE = 224


@dataclass(frozen=True)
class _Net:
    """A network that MatConvNet publishes: its weighted layers in order, and each map's side on the way."""

    layers: tuple[str, ...]
    sides: tuple[int, ...]


def _vgg(blocks: tuple[tuple[int, int], ...]) -> _Net:
    names, sides, side = [], [], _SIDE
    for block, (_, count) in enumerate(blocks, 1):
        names += [f"block{block}_conv{number}" for number in range(1, count + 1)]
        sides += [side] * count + [side // 2]
        side //= 2
    return _Net((*names, "fc1", "fc2", "predictions"), (*sides, 1, 1, 1))


_NETS = {
    "vgg_m": _Net(
        ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "predictions"),
        (109, 54, 26, 13, 13, 13, 13, 6, 1, 1, 1),
    ),
    "vgg16": _vgg(_VGG16),
    "vgg19": _vgg(_VGG19),
}
# Backbones whose MatConvNet files are read.
MATCONVNET_BACKBONES = tuple(_NETS)


def guess_backbone(path: Path | str) -> str | None:
    """Guess which backbone a MatConvNet file is of, from its number of weighted layers.

    Parameters
    ----------
    path : Path or str
        A ``.mat`` file.

    Returns
    -------
    str or None
        Name of a backbone, or None if no network that featx knows has so many.
    """
    count = sum(bool(_weights(layer)) for layer in _layers(_load(Path(path)), Path(path)))
    return next((name for name, net in _NETS.items() if len(net.layers) == count), None)


def read_matconvnet(path: Path, backbone: str) -> Contents:
    """Read a MatConvNet file.

    Parameters
    ----------
    path : Path
        A ``.mat`` file up to version 7.
    backbone : str
        The backbone that it shall be for: ``vgg_m``, ``vgg16`` or ``vgg19``.

    Returns
    -------
    Contents
        Its layers under the backbone's names: kernels as Keras has them, for VGG-16 and 19 with the colours
        of the first in the order of Keras (blue first). For VGG-M, ``mean_image`` too.

    Raises
    ------
    WeightsError
        If it is damaged, of another network, or of a shape, stride, padding or normalisation that the
        backbone does not have.
    """
    if backbone not in MATCONVNET_BACKBONES:
        raise WeightsError(
            f"{path}: a MatConvNet file; featx reads those of {', '.join(MATCONVNET_BACKBONES)} only"
        )
    content = _load(path)
    layers = list(_layers(content, path))
    weighted = [found for layer in layers if (found := _weights(layer))]
    net = _NETS[backbone]
    stored = [
        StoredLayer(name, _arrays(name, kernel, bias, flip=backbone != "vgg_m" and index == 0))
        for index, (name, (kernel, bias)) in enumerate(zip(net.layers, weighted, strict=False))
    ]
    if len(weighted) in (len(net.layers), len(net.layers) - 1):
        _check_geometry(path, layers, backbone)
    mean = _mean(content, path)
    if backbone == "vgg_m":
        stored.insert(0, StoredLayer("mean_image", (np.broadcast_to(mean, (_SIDE, _SIDE, 3)),)))
    elif not np.allclose(mean, _CAFFE_MEAN_RGB, atol=0.01):
        raise WeightsError(
            f"{path}: its mean image is not the colour {_CAFFE_MEAN_RGB} that {backbone} subtracts; "
            "its weights cannot be used"
        )
    return Contents(path, "named", tuple(stored), _classes(content))


def _load(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        check_matlab(path)
        return dict(loadmat(path))
    except NotImplementedError as error:
        raise WeightsError(
            f"{path}: a MATLAB file of version 7.3; save it with `save -v7` for featx"
        ) from error
    except (
        MatReadError,
        OSError,
        ValueError,
        TypeError,
        KeyError,
        EOFError,
        OverflowError,
        MemoryError,
        zlib.error,
    ) as error:
        raise WeightsError(
            f"{path}: damaged MATLAB file ({type(error).__name__}); copy or fetch it again"
        ) from error


def _layers(content: dict[str, Any], path: Path) -> Iterator[Any]:
    layers = content.get("layers")
    if layers is None or layers.dtype != object:
        raise WeightsError(f"{path}: a MATLAB file without a cell `layers`; give a network of MatConvNet")
    yield from (cell[0, 0] for cell in layers.ravel())


def _field(struct: Any, name: str) -> Any:
    """Take a field of a struct, None where it has none."""
    if struct is None or struct.dtype.names is None or name not in struct.dtype.names:
        return None
    value = struct[name]
    return value[0, 0] if value.dtype == object and value.shape == (1, 1) else value


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray] | None:
    cell = _field(layer, "weights")
    if cell is not None and cell.size == 2:
        kernel, bias = cell.ravel()
    else:
        kernel, bias = _field(layer, "filters"), _field(layer, "biases")
    return None if kernel is None or bias is None else (np.asarray(kernel), np.asarray(bias))


def _arrays(name: str, kernel: np.ndarray, bias: np.ndarray, flip: bool) -> tuple[np.ndarray, ...]:
    # MATLAB drops trailing dimensions of length one.
    kernel = kernel.reshape(kernel.shape + (1,) * (4 - kernel.ndim))
    if flip:
        kernel = kernel[:, :, ::-1]
    if name.startswith("fc"):
        kernel = kernel.reshape(-1, kernel.shape[-1])
    return kernel.astype(np.float32), bias.astype(np.float32).ravel()


def _numbers(layer: Any, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
    value = _field(layer, name)
    return default if value is None else tuple(float(item) for item in np.ravel(value))


def _check_geometry(path: Path, layers: list[Any], backbone: str) -> None:
    """Follow the side of an image through strides and paddings, and compare it with the backbone's."""
    side, sides = _SIDE, []
    for layer in layers:
        kind = str(np.ravel(_field(layer, "type"))[0])
        if kind in ("normalize", "lrn"):
            found = _numbers(layer, "param", _LRN)
            if not np.allclose(found, _LRN):
                raise WeightsError(f"{path}: normalises with {found}, {backbone} with {_LRN}")
        weights = _weights(layer)
        if kind != "pool" and weights is None:
            continue
        window = weights[0].shape[0] if weights else int(_numbers(layer, "pool", (0.0,))[0])
        stride = int(_numbers(layer, "stride", (1.0,))[0])
        pad = _numbers(layer, "pad", (0.0,))
        side = (side + int(pad[0]) + int(pad[1] if len(pad) == 4 else pad[0]) - window) // stride + 1
        sides.append(side)
    wanted = list(_NETS[backbone].sides)[: len(sides)]
    if sides != wanted:
        raise WeightsError(
            f"{path}: its maps have sides {sides}, those of {backbone} {wanted}; "
            "its strides, paddings or pooling differ"
        )


def _mean(content: dict[str, Any], path: Path) -> np.ndarray:
    for home in (content, _field_of(content, "meta")):
        image = _field(_field_of(home, "normalization"), "averageImage")
        if image is not None and image.shape in {(_SIDE, _SIDE, 3), (1, 1, 3), (3, 1), (1, 3)}:
            shaped = image if image.ndim == 3 else image.reshape(1, 1, 3)
            return np.asarray(shaped, np.float32)
    raise WeightsError(f"{path}: has no averageImage of {_SIDE}x{_SIDE}x3 or 1x1x3, so its input is unknown")


def _field_of(home: Any, name: str) -> Any:
    """Take a struct from the file's variables or from another struct, as one record."""
    value = home.get(name) if isinstance(home, dict) else _field(home, name)
    return value[0, 0] if isinstance(value, np.ndarray) and value.shape == (1, 1) else value


def _classes(content: dict[str, Any]) -> tuple[str, ...]:
    for home in (content, _field_of(content, "meta")):
        names = _field(_field_of(home, "classes"), "description")
        if names is not None:
            return tuple(str(np.ravel(name)[0]) for name in np.ravel(names))
    return ()
