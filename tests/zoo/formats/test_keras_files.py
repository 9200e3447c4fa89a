"""Readers of weights files."""

from __future__ import annotations

import fcntl
import zipfile

import h5py
import numpy as np
import pytest

from featx.errors import WeightsError
from featx.zoo.formats.keras_files import elsewhere, read_weights


@pytest.fixture
def small():
    import keras

    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])


def test_legacy_file_is_read_in_its_order(tmp_path, small, legacy):
    contents = read_weights(legacy(tmp_path / "small.h5", small))
    assert contents.layout == "legacy"
    assert [tuple(array.shape for array in layer.arrays) for layer in contents.layers] == [
        ((4, 3), (3,)),
        ((3, 2), (2,)),
    ]
    assert contents.parameters == small.count_params()
    np.testing.assert_array_equal(contents.layers[0].arrays[0], small.layers[0].get_weights()[0])


def test_a_file_that_others_have_locked_is_read(tmp_path, small, legacy):
    path = legacy(tmp_path / "small.h5", small)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert read_weights(path).parameters == small.count_params()


def test_legacy_whole_model_and_chunked_names(tmp_path):
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        group = file.create_group("model_weights")
        group.attrs["layer_names0"] = [b"a"]
        group.attrs["layer_names1"] = [b"b", b"no weights"]
        for name in ("a", "b", "no weights"):
            group.create_group(name).attrs["weight_names"] = [b"w:0"] if name != "no weights" else []
        group["a"]["w:0"] = np.zeros(2)
        group["b"]["w:0"] = np.ones(3)
    assert [layer.name for layer in read_weights(path).layers] == ["a", "b"]


@pytest.mark.parametrize("ending", ["weights.h5", "keras"])
def test_keras_3_files_are_read_by_path(tmp_path, small, ending):
    small.compile("adam", "mse")
    small.fit(np.zeros((2, 4)), np.zeros((2, 2)), verbose=0)
    path = tmp_path / f"small.{ending}"
    small.save(path) if ending == "keras" else small.save_weights(path)
    contents = read_weights(path)
    assert contents.layout == "keras"
    assert [layer.name for layer in contents.layers] == ["layers/dense", "layers/dense_1"]
    np.testing.assert_array_equal(contents.layers[1].arrays[0], small.layers[1].get_weights()[0])


def test_layout_is_told_from_the_content(tmp_path, small, legacy):
    path = legacy(tmp_path / "misnamed.keras", small)
    assert read_weights(path).layout == "legacy"


def test_bfloat16_is_widened(tmp_path):
    path = tmp_path / "half.weights.h5"
    with h5py.File(path, "w") as file:
        values = np.array([0x3F80, 0xC000], np.uint16)  # 1 and -2
        file["layers/dense/vars/0"] = values.view("V2")
        file["layers/dense/vars/0"].attrs["dtype"] = "bfloat16"
    np.testing.assert_array_equal(read_weights(path).layers[0].arrays[0], [1.0, -2.0])


def test_no_code_of_an_archive_is_read(tmp_path, small):
    """The configuration may name any class or lambda: it is not even opened."""
    source, path = tmp_path / "small.keras", tmp_path / "evil.keras"
    small.save(source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
        new.writestr("config.json", "not even JSON")
    assert len(read_weights(path).layers) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x80\x02}q\x00", "not a weights file in a known format"),
        (b"\x89HDF\r\n\x1a\n cut off", "damaged weights file"),
        (b"PK\x03\x04 cut off", "not a weights file in a known format"),
    ],
)
def test_other_files_are_told(tmp_path, content, message):
    path = tmp_path / "file.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert str(path) in str(caught.value)


def test_files_without_weights_are_told(tmp_path):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros(3)
    with pytest.raises(WeightsError, match="an HDF5 file without Keras weights"):
        read_weights(path)
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.txt", "a")
    with pytest.raises(WeightsError, match=r"a zip archive without model\.weights\.h5"):
        read_weights(archive)


def test_truncated_file_is_told(tmp_path, small, legacy):
    path = legacy(tmp_path / "small.h5", small)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(WeightsError, match="damaged weights file"):
        read_weights(path)


@pytest.mark.parametrize("archived", [False, True])
def test_a_weights_file_that_leads_to_other_files_is_refused(tmp_path, archived):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["0"] = np.zeros((2, 2))
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "0")
    if archived:
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
            archive.write(path, path.name)
        path = tmp_path / "model.keras"
    with pytest.raises(WeightsError, match=f"{path.name}: 'layers/dense/vars/0' is a link to another file"):
        read_weights(path)


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
