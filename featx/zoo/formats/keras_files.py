"""Reader of weights files: the layers and arrays of a file, without building a network.

The format is detected from the content, not from the name, and no code of a file is run: of a ``.keras`` archive only
the arrays are read, not the configuration.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from featx.errors import WeightsError
from featx.files import open_regular
from featx.zoo.formats.contents import Allowance, Contents, StoredLayer
from featx.zoo.formats.matconvnet import MATCONVNET_BACKBONES, read_matconvnet
from featx.zoo.formats.torch_files import (
    OLD_TORCH,
    TORCH_BACKBONES,
    from_state_dict,
    is_safetensors,
    is_torch_archive,
    read_safetensors,
    read_torch,
)

__all__ = ["elsewhere", "read_weights", "weights_formats"]


def elsewhere(file: Any) -> str | None:
    """Find data of an HDF5 file that are stored in other files, without opening those.

    With an external link, a virtual dataset or a dataset with external storage, HDF5 opens any path that the file
    names, so that an untrusted file could decide which files of this machine are read. User-defined links are
    reported too, since their target is unknown.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        The file or group to search. Only hard links are followed.

    Returns
    -------
    str or None
        A description of the first such object; None if the file contains all its data.

    Examples
    --------
    >>> import io
    >>> with h5py.File(io.BytesIO(), "w") as file:
    ...     file["there"] = h5py.ExternalLink("/etc/passwd", "/")
    ...     elsewhere(file)
    "'there' is a link to another file"
    """
    links: list[tuple[bytes, int]] = []
    # An error inside this call would crash h5py, so the links are collected first and inspected later.
    file.id.links.visit(lambda name, link: links.append((name, link.type)), info=True)
    return next((reason for name, kind in links if (reason := _elsewhere(file.id, name, kind))), None)


def _elsewhere(group: Any, name: bytes, kind: int) -> str | None:
    called = name.decode(errors="replace")
    if kind == h5py.h5l.TYPE_SOFT:
        return None
    if kind != h5py.h5l.TYPE_HARD:
        return f"{called!r} is a link to another file"
    if h5py.h5o.get_info(group, name).type != h5py.h5o.TYPE_DATASET:
        return None
    layout = h5py.h5d.open(group, name).get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        return f"{called!r} is a virtual dataset, whose data are in other files"
    if layout.get_layout() == h5py.h5d.CONTIGUOUS and layout.get_external_count():
        return f"the data of {called!r} are in another file"
    return None


_HDF5 = b"\x89HDF\r\n\x1a\n"


_ZIP = b"PK\x03\x04"


_MATLAB = b"MATLAB 5.0 MAT-file"


_DAMAGE = (
    OSError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    RuntimeError,
    EOFError,
    AttributeError,
    MemoryError,
    OverflowError,
    zlib.error,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


_ARCHIVED = "model.weights.h5"


def read_weights(path: Path | str, backbone: str = "") -> Contents:
    """Read a weights file."""
    file = Path(path)
    try:
        head = _head(file)
        if head.startswith(_HDF5):
            # Opened by Python: HDF5 locks what it opens itself, which fails on some shared disks.
            with open_regular(file) as opened, h5py.File(opened, "r") as group:
                return _read_group(file, group)
        if head.startswith(_ZIP) and zipfile.is_zipfile(file):
            return _read_archive(file, backbone)
        if is_safetensors(head, file.stat().st_size):
            return from_state_dict(file, read_safetensors(file), backbone)
        if head.startswith(OLD_TORCH):
            return from_state_dict(file, read_torch(file), backbone)
        if head.startswith(_MATLAB):
            return read_matconvnet(file, backbone)
    except _DAMAGE as error:
        raise WeightsError(
            f"{file}: damaged weights file ({_line(error) or type(error).__name__}); copy or download it again"
        ) from error
    raise WeightsError(
        f"{file}: {_kind(head)}; give a .h5, .weights.h5 or .keras file of Keras, a .mat file of MatConvNet, or a "
        ".safetensors or .pth file of PyTorch"
    )


def weights_formats(backbone: str) -> tuple[str, ...]:
    """List the formats, beside those of Keras, in which weights of a backbone can be read.

    Parameters
    ----------
    backbone : str
        Its name.

    Returns
    -------
    tuple of str
        Names of the frameworks.

    Examples
    --------
    >>> weights_formats("vgg16"), weights_formats("vit_b16")
    (('MatConvNet',), ('PyTorch',))
    """
    known = {"MatConvNet": MATCONVNET_BACKBONES, "PyTorch": TORCH_BACKBONES}
    return tuple(name for name, rows in known.items() if backbone in rows)


def _head(file: Path) -> bytes:
    with open_regular(file) as opened:
        return opened.read(64)


def _kind(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "a web page, not a weights file; the download has failed"
    return f"not a weights file in a known format (its first bytes are {head[:8]!r})"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def _read_archive(file: Path, backbone: str) -> Contents:
    with zipfile.ZipFile(file) as archive:
        # Python allocates as many bytes as a member declares.
        if sum(member.compress_size for member in archive.infolist()) > file.stat().st_size:
            raise ValueError("its members are larger than the file")
        Allowance(file).take_archive(archive)
        if is_torch_archive(archive):
            return from_state_dict(file, read_torch(file), backbone)
        if _ARCHIVED not in archive.namelist():
            raise WeightsError(f"{file}: a zip archive without {_ARCHIVED}; give a .keras file of Keras 3")
        with h5py.File(io.BytesIO(archive.read(_ARCHIVED)), "r") as group:
            return _read_group(file, group)


def _read_group(file: Path, group: Any) -> Contents:
    if reason := elsewhere(group):
        raise WeightsError(f"{file}: {reason}; give a weights file that contains all its arrays")
    if "layer_names" not in group.attrs and "model_weights" in group:
        group = group["model_weights"]
    if _attribute(group, "layer_names") is not None:
        return Contents(file, "legacy", tuple(_legacy_layers(group, Allowance(file))))
    layers = tuple(_keras_layers(group, Allowance(file)))
    if not layers:
        raise WeightsError(f"{file}: an HDF5 file without Keras weights; give one that Keras saved")
    return Contents(file, "keras", layers)


def _attribute(group: Any, name: str) -> list[str] | None:
    """Read a list of names, which Keras splits into numbered chunks if it is long."""
    chunks = [group.attrs[name]] if name in group.attrs else []
    while not (chunks and name in group.attrs) and f"{name}{len(chunks)}" in group.attrs:
        chunks.append(group.attrs[f"{name}{len(chunks)}"])
    if not chunks:
        return None
    names = [item for chunk in chunks for item in chunk]
    return [item.decode() if isinstance(item, bytes) else str(item) for item in names]


def _legacy_layers(group: Any, allowance: Allowance) -> Iterator[StoredLayer]:
    for name in _attribute(group, "layer_names") or ():
        weights = _attribute(group[name], "weight_names")
        if weights:
            arrays = (np.asarray(allowance.take_dataset(group[name][weight])) for weight in weights)
            yield StoredLayer(name, tuple(arrays))


def _keras_layers(group: Any, allowance: Allowance) -> list[StoredLayer]:
    found: list[StoredLayer] = []

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and path.rsplit("/", 1)[-1] == "vars" and len(item):
            arrays = tuple(_array(allowance.take_dataset(item[key])) for key in sorted(item, key=int))
            found.append(StoredLayer(path.removesuffix("vars").rstrip("/"), arrays))

    group.visititems(visit)
    return [layer for layer in found if layer.name.split("/")[0] != "optimizer"]


def _array(dataset: Any) -> np.ndarray:
    if dataset.attrs.get("dtype") == "bfloat16":
        # bfloat16 is the upper half of a float32; HDF5 has no such type and stores the two bytes.
        halves = np.asarray(dataset).view(np.uint16).astype(np.uint32)
        return (halves << 16).view(np.float32)
    return np.asarray(dataset)
