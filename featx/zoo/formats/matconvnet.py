"""Reader of the networks that MatConvNet publishes, such as ``imagenet-vgg-m.mat``.

SciPy's reader of MATLAB files is not used, since some damaged files make it end the whole process.

A file contains ``layers``, a cell of structs: convolutions with filters (height, width, channels, number) and
biases, as ``filters`` and ``biases`` in older files, as a cell ``weights`` in newer ones; pooling, ReLU and
normalisation with their parameters. The mean of the training images is in ``normalization.averageImage``,
the names of the classes in ``classes.description``, in newer files both under ``meta``.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.errors import WeightsError
from featx.zoo.formats.contents import Contents, StoredLayer

__all__ = ["MATCONVNET_BACKBONES", "guess_backbone", "read_mat", "read_matconvnet"]


_HEADER = 128


_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}


_TEXTS = {1: "latin-1", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}


_MATRIX, _COMPRESSED = 14, 15


_CELL, _STRUCT, _CHAR, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 4, 6, 15


_COMPLEX = 0x0800


_TAG = 8


_DEEPEST = 32


# Compressed variables may unpack to this many bytes, or to this multiple of the file: weights hardly compress.
_LEAST, _RATIO = 64 << 20, 4


def read_mat(path: Path) -> dict[str, Any]:
    """Read the variables of a file.

    Returns
    -------
    dict of str to ndarray
        Variables by name, as `scipy.io.loadmat` gives them: numbers as they are stored, texts as arrays of str, cells as
        arrays of objects, structs as structured arrays of objects.
    """
    data = memoryview(path.read_bytes())
    version, order = bytes(data[124:126]), bytes(data[126:128])
    if order not in (b"IM", b"MI"):
        raise ValueError("its header does not state the byte order")
    endian = "<" if order == b"IM" else ">"
    if 2 in version:
        raise NotImplementedError
    budget = max(_LEAST, _RATIO * len(data))
    found: dict[str, Any] = {}
    rest = _Bytes(data[_HEADER:], endian)
    while rest.left:
        kind, body = rest.element()
        if kind == _COMPRESSED:
            unpacked = _unpacked(body, budget)
            budget -= len(unpacked)
            kind, body = _Bytes(unpacked, endian).element()
        if kind != _MATRIX:
            raise ValueError(f"expected a variable, got an element of type {kind}")
        name, value = _matrix(_Bytes(body, endian), 0)
        found[name] = value
    return found


def _unpacked(body: memoryview, most: int) -> memoryview:
    stream = zlib.decompressobj()
    data = stream.decompress(body, most + 1)
    if len(data) > most:
        raise ValueError(f"it unpacks to more than {most / 1e6:,.0f} MB")
    if not stream.eof:
        raise ValueError("a compressed variable is truncated")
    return memoryview(data)


class _Bytes:
    """Sequential reader of the elements in a part of a file."""

    def __init__(self, data: memoryview, endian: str) -> None:
        self.data, self.endian = data, endian

    @property
    def left(self) -> int:
        return len(self.data)

    def element(self) -> tuple[int, memoryview]:
        """Read the type and the bytes of the next element."""
        if self.left < _TAG:
            raise ValueError("the file ends within an element")
        kind, size = (int(word) for word in np.frombuffer(self.data, f"{self.endian}u4", 2))
        start, padded = _TAG, size if kind == _COMPRESSED else -(-size // 8) * 8
        if kind >> 16:  # a small element: type, size and bytes in one tag
            kind, size, start, padded = kind & 0xFFFF, kind >> 16, 4, 4
        if size > min(padded, self.left - start):
            raise ValueError("an element is longer than its container")
        body = self.data[start : start + size]
        self.data = self.data[start + padded :]
        return kind, body

    def numbers(self) -> np.ndarray:
        """Read the next element as numbers."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise ValueError(f"expected numbers, got an element of type {kind}")
        stored = np.dtype(f"{self.endian}{_NUMBERS[kind]}")
        return np.frombuffer(body, stored).astype(stored.newbyteorder("="), copy=False)

    def number(self) -> int:
        """Read the first number of the next element."""
        numbers = self.numbers()
        if not numbers.size:
            raise ValueError("an element is empty, expected a number")
        return int(numbers[0])

    def text(self) -> str:
        """Read the next element as text."""
        kind, body = self.element()
        if kind not in _TEXTS:
            raise ValueError(f"expected text, got an element of type {kind}")
        order = {"<": "-le", ">": "-be"}[self.endian] if kind in (4, 17, 18) else ""
        return bytes(body).decode(_TEXTS[kind] + order, errors="replace")


def _matrix(part: _Bytes, depth: int) -> tuple[str, Any]:
    """Read a variable, or a member of a cell or struct."""
    if depth > _DEEPEST:
        raise ValueError(f"cells and structs nested deeper than {_DEEPEST}")
    if not part.left:
        return "", np.empty((0, 0))
    flags, shape = part.number(), tuple(int(length) for length in part.numbers())
    name, kind = part.text(), flags & 0xFF
    if min(shape, default=-1) < 0 or len(shape) > _DEEPEST:
        raise ValueError(f"an array of shape {shape}")
    if kind == _CELL:
        return name, _filled(part, shape, object, 1, depth)
    if kind == _STRUCT:
        return name, _struct(part, shape, depth)
    if kind == _CHAR:
        return name, _chars(part.text(), shape)
    if not _FIRST_NUMBER <= kind <= _LAST_NUMBER or flags & _COMPLEX:
        raise ValueError(f"an array of class {kind}, which networks do not have")
    return name, part.numbers().reshape(shape, order="F")


def _struct(part: _Bytes, shape: tuple[int, ...], depth: int) -> np.ndarray:
    length, names = part.number(), part.element()[1]
    if length < 1 or len(names) % length:
        raise ValueError(f"field names of {length} bytes in {len(names)} bytes")
    fields = [
        bytes(names[start : start + length]).split(b"\0")[0].decode("latin-1")
        for start in range(0, len(names), length)
    ]
    if not fields or not all(fields) or len(set(fields)) < len(fields):
        raise ValueError("a struct without fields or with duplicate field names")
    return _filled(part, shape, [(name, object) for name in fields], len(fields), depth)


def _filled(part: _Bytes, shape: tuple[int, ...], kind: Any, members: int, depth: int) -> np.ndarray:
    """Read the members of a cell or struct in column-major order."""
    count = math.prod(shape)
    if count * members > part.left // _TAG:
        raise ValueError(f"{count * members} members in {part.left} bytes")
    flat = np.empty(count, kind)
    for place in range(count):
        values = tuple(_member(part, depth) for _ in range(members))
        flat[place] = values[0] if kind is object else values
    return flat.reshape(shape, order="F")


def _member(part: _Bytes, depth: int) -> Any:
    kind, body = part.element()
    if kind != _MATRIX:
        raise ValueError(f"expected an array, got an element of type {kind}")
    return _matrix(_Bytes(body, part.endian), depth + 1)[1]


def _chars(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return each row of a character array as a str."""
    if len(shape) != 2 or math.prod(shape) != len(text):
        raise ValueError(f"a text of {len(text)} characters in an array of shape {shape}")
    rows = ["".join(text[start :: shape[0]]).rstrip() for start in range(shape[0])]
    return np.array(rows if shape[1] else [], str)


_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


_VGG19 = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)


_LRN = (5.0, 2.0, 1e-4, 0.75)


_SIDE = 224


@dataclass(frozen=True)
class _Net:
    """A network that MatConvNet publishes: its layers with weights in order, and the size of each feature map."""

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


# Backbones for which MatConvNet files can be read.
MATCONVNET_BACKBONES = tuple(_NETS)


def guess_backbone(path: Path | str) -> str | None:
    """Find the backbone of a MatConvNet file from its number of layers with weights.

    Returns
    -------
    str or None
        Name of the backbone, or None if no supported network has this number.
    """
    count = sum(bool(_weights(layer)) for layer in _layers(_load(Path(path)), Path(path)))
    return next((name for name, net in _NETS.items() if len(net.layers) == count), None)


def read_matconvnet(path: Path, backbone: str) -> Contents:
    """Read a MatConvNet file.

    Returns
    -------
    Contents
        Its layers with the names of the backbone and kernels in the order of Keras. For VGG-16 and VGG-19 the colour
        channels of the first kernel are reversed (blue first), as in Keras. VGG-M has ``mean_image`` too.
    """
    if backbone not in MATCONVNET_BACKBONES:
        raise WeightsError(
            f"{path}: a MatConvNet file, which can be read for the backbones {', '.join(MATCONVNET_BACKBONES)}; "
            f"give one of these as --backbone, got {backbone!r}"
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
            f"{path}: its mean image is not the mean colour {_CAFFE_MEAN_RGB} that {backbone} subtracts; "
            "the weights cannot be used"
        )
    return Contents(path, "named", tuple(stored), _classes(content))


def _load(path: Path) -> dict[str, Any]:
    try:
        return read_mat(path)
    except NotImplementedError as error:
        raise WeightsError(f"{path}: a MATLAB file of version 7.3; save it again with `save -v7`") from error
    except (OSError, ValueError, OverflowError, zlib.error) as error:
        raise WeightsError(f"{path}: damaged MATLAB file ({error}); copy or download it again") from error


def _layers(content: dict[str, Any], path: Path) -> Iterator[Any]:
    layers = content.get("layers")
    if layers is None or layers.dtype != object:
        raise WeightsError(
            f"{path}: a MATLAB file without a cell array `layers`; give a network of MatConvNet"
        )
    for cell in layers.ravel():
        if cell.shape != (1, 1):
            raise WeightsError(
                f"{path}: a layer of shape {cell.shape} in `layers`; give a network of MatConvNet"
            )
        yield cell[0, 0]


def _field(struct: Any, name: str) -> Any:
    """Return a field of a struct, None if it does not exist."""
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
    """Compute the size of each feature map from strides and padding, and compare it with the backbone's."""
    side, sides = _SIDE, []
    for layer in layers:
        kind = str(np.ravel(_field(layer, "type"))[0])
        if kind in ("normalize", "lrn"):
            found = _numbers(layer, "param", _LRN)
            if not np.allclose(found, _LRN):
                raise WeightsError(
                    f"{path}: its local response normalisation has the parameters {found}, expected {_LRN}; the weights cannot be used"
                )
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
            f"{path}: its feature maps have sizes {sides}, those of {backbone} {wanted}; its strides, padding or "
            "pooling differ, so the weights cannot be used"
        )


def _mean(content: dict[str, Any], path: Path) -> np.ndarray:
    for home in (content, _field_of(content, "meta")):
        image = _field(_field_of(home, "normalization"), "averageImage")
        if image is not None and image.shape in {(_SIDE, _SIDE, 3), (1, 1, 3), (3, 1), (1, 3)}:
            shaped = image if image.ndim == 3 else image.reshape(1, 1, 3)
            return np.asarray(shaped, np.float32)
    raise WeightsError(
        f"{path}: has no averageImage of {_SIDE}x{_SIDE}x3 or 1x1x3, which the preprocessing needs; give a network of MatConvNet"
    )


def _field_of(home: Any, name: str) -> Any:
    """Return a struct from the variables of a file or from another struct, as one record."""
    value = home.get(name) if isinstance(home, dict) else _field(home, name)
    return value[0, 0] if isinstance(value, np.ndarray) and value.shape == (1, 1) else value


def _classes(content: dict[str, Any]) -> tuple[str, ...]:
    for home in (content, _field_of(content, "meta")):
        names = _field(_field_of(home, "classes"), "description")
        if names is not None:
            return tuple(str(np.ravel(name)[0]) for name in np.ravel(names))
    return ()
