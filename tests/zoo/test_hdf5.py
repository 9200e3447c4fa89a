"""HDF5 files that take data from other files."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from featx.zoo.hdf5 import elsewhere


def link(file, other):
    file["group/there"] = h5py.ExternalLink(str(other), "x")


def storage(file, other):
    file.create_dataset("group/there", (3,), "f4", external=[(str(other), 0, 12)])


def virtual(file, other):
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(str(other), "x", (3,))
    file.create_virtual_dataset("group/there", layout)


@pytest.mark.parametrize("make", [link, storage, virtual])
def test_what_stands_elsewhere_is_named(tmp_path, make):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["sound"] = np.zeros(3)
        make(file, tmp_path / "other.h5")
        reason = elsewhere(file)
    assert "'group/there'" in reason
    assert reason.endswith(("other file", "other files", "another file"))


def test_a_file_that_holds_all_is_let_pass(tmp_path):
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["a/b"] = np.zeros(3)
        file["a/circle"] = file["/"]
        file["a/twice"] = file["a/b"]
        file["soft"] = h5py.SoftLink("/nowhere")
        file.create_dataset("chunked", (4,), "f4", chunks=(2,), compression="gzip")
        file.create_dataset("compact", data=np.float32(1))
        assert elsewhere(file) is None


def test_damage_is_an_error_and_no_crash(tmp_path):
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        place = h5py.h5o.get_info(file.create_dataset("a", data=np.zeros(3)).id).addr
    data = bytearray(path.read_bytes())
    data[place + 8] ^= 1
    path.write_bytes(data)
    with h5py.File(path) as file, pytest.raises(RuntimeError, match="checksum"):
        elsewhere(file)
