"""Small weights files that would unpack to gigabytes are refused by stated bounds, in little memory."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo.formats.contents import SPARE, Allowance
from featx.zoo.formats.keras_files import read_weights

GIGABYTE = 2**30


# What a reader may allocate beside the libraries that it has imported.
MEMORY = GIGABYTE // 2


def _zeros(count: int) -> bytes:
    """Pack zeros, a megabyte at a time."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(count >> 20)) + packer.flush()


def keras_bomb(path: Path) -> None:
    """Write a ``.keras`` archive of few bytes that unpacks to 256 MB."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model.weights.h5", "w", force_zip64=True) as file,
    ):
        for _ in range(256):
            file.write(bytes(2**20))


def empty_data_set(path: Path) -> None:
    """Write an HDF5 file of a few kB with a data set of 8 GB that was never filled."""
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", (2 * GIGABYTE,), np.float32, chunks=(2**16,))


def one_data_set_many_times(path: Path) -> None:
    """Write an HDF5 file in which a thousand layers are one data set."""
    with h5py.File(path, "w") as file:
        numbers = file.create_dataset("numbers", (2**20,), np.float32)
        for index in range(1000):
            file[f"layers/dense_{index}/vars/0"] = numbers


def _torch(path: Path, shape: str) -> None:
    """Write a PyTorch archive whose one tensor has a storage of one number and a shape given as pickle."""
    storage = "(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI1\ntQ"
    text = f"(dVweight\nctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n{shape}I00\nccollections\nOrderedDict\n(tRtRs."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", text)
        archive.writestr("archive/data/0", struct.pack("<f", 1.0))


def large_view(path: Path) -> None:
    """Write a ``.pth`` whose tensor of four billion numbers looks at one number."""
    _torch(path, "(I4000000000\nt(I0\nt")


def far_memory(path: Path) -> None:
    """Write a ``.pth`` whose pickle puts something at place 1,000,000,000 of its memory."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", b"\x80\x02}r" + struct.pack("<I", 10**9) + b".")


def long_string(path: Path) -> None:
    """Write a ``.pth`` whose pickle begins a string of 4 GB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data.pkl", b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b"abc")


def old_torch(path: Path) -> None:
    """Write a ``.pth`` of before PyTorch 1.6 that asks for eighty billion numbers."""
    parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    tensor = b"(dVweight\n(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI80000000000\nNtQs."
    path.write_bytes(b"".join(parts) + tensor + pickle.dumps(["0"], 2) + struct.pack("<q", 80 * 10**9))


def safetensors_depth(path: Path) -> None:
    """Write a safetensors file whose header is nested 100,000 levels deep."""
    header = b'{"a":' * 100_000
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def matlab_bomb(path: Path) -> None:
    """Write a MATLAB file of few bytes that unpacks to 256 MB."""
    packed = _zeros(2**28)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path.write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)


def matlab_depth(path: Path) -> None:
    """Write a MATLAB file of 100,000 cells in each other, on which its reader's stack overflowed."""
    count = 100_000
    inner = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
    cells = (struct.pack("<II", 14, 40 + 48 * (count - index)) + inner for index in range(count))
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM" + b"".join(cells))


def matlab_packed_depth(path: Path) -> None:
    """Write the same packed, with lengths that say nothing of what is within."""
    inner = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
    packed = zlib.compress((struct.pack("<II", 14, 40) + inner) * 100_000)
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    path.write_bytes(head + struct.pack("<II", 15, len(packed)) + packed)


BOMBS: tuple[Callable[[Path], None], ...] = (
    keras_bomb,
    empty_data_set,
    one_data_set_many_times,
    large_view,
    far_memory,
    long_string,
    old_torch,
    safetensors_depth,
    matlab_bomb,
    matlab_depth,
    matlab_packed_depth,
)


_READ = """
import resource, sys
import ml_dtypes, safetensors, torch
from featx.errors import WeightsError
from featx.zoo.formats.keras_files import read_weights
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)
for path in sys.argv[1:]:
    try:
        read_weights(path, "vgg16")
        print("read")
    except WeightsError as error:
        print(error)
"""


def test_bombs_are_refused_in_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    paths = [tmp_path / bomb.__name__ for bomb in BOMBS]
    for bomb, path in zip(BOMBS, paths, strict=True):
        bomb(path)
        assert path.stat().st_size < 2**23
    command = [sys.executable, "-c", _READ.replace("MEMORY", str(MEMORY)), *map(str, paths)]
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=alone)
    said = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(said) == len(BOMBS)
    for bomb, line in zip(BOMBS, said, strict=True):
        assert bomb.__name__ in line
        assert re.search("would unpack to more than|damaged|without a state dict", line), line
        assert "MemoryError" not in line


def test_an_allowance_is_used_up(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(bytes(100))
    allowance = Allowance(tmp_path / "w.h5")
    allowance.take(SPARE + 400)
    with pytest.raises(WeightsError, match=r"w\.h5: its 100 bytes would unpack to more than 4 times as many"):
        allowance.take(1)


def test_a_named_pipe_is_no_weights_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.h5")
    with pytest.raises(WeightsError, match="it is a named pipe; only regular files are read"):
        read_weights(tmp_path / "w.h5")


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_packed_bytes_that_are_damaged_are_one_line(tmp_path: Path, cut: int) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(range(256)) * 8)
    data = bytearray(file.getvalue())
    data[30 + cut] ^= 0xFF
    (tmp_path / "w.keras").write_bytes(data)
    with pytest.raises(WeightsError):
        read_weights(tmp_path / "w.keras")
