from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

from featx.digest import digest_bytes
from featx.errors import DamagedBlockError, StoreError
from featx.features.blocks import (
    check_block,
    is_current,
    read_features,
    read_keys,
    write_block,
)
from featx.features.key_index import hex_keys

RECIPE = "12" * 32
FORMER = Path(__file__).parent / "data" / "format-1"
FORMER_RECIPE = "8296c109af7c2080a152c5a919a738df6949a300fef8b1abd9f7dd70add9040b"


def read_index(path, recipe):
    packed, shape = read_keys(path, recipe)
    return hex_keys(packed), shape


def damage(path, dataset, bytes_in=3):
    """Flip a bit near the beginning of a dataset."""
    with h5py.File(path) as file:
        place = file[dataset].id.get_offset() + bytes_in
    flip(path, 8 * place)


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def named(folder, file, keys="0" * 16):
    """Give an HDF5 file the name of a sound block."""
    target = folder / f"block-{keys}-{xxhash.xxh3_128_hexdigest(file.read_bytes())}.h5"
    return file.rename(target)


@pytest.fixture
def former(tmp_path):
    """A block of format 1, as it was once written."""
    source = FORMER / "block-34e9f168323062c3.h5"
    return Path(shutil.copy(source, tmp_path / source.name))


def test_a_block_gives_back_what_was_written(tmp_path, rows):
    keys, features = rows(0, 100, views=2)
    path = write_block(tmp_path, RECIPE, keys, features)
    assert read_index(path, RECIPE) == (keys, (2, 8))
    assert np.array_equal(read_features(path, RECIPE), features)
    assert check_block(path, RECIPE) is None


def test_the_layout_is_the_stated_one(tmp_path, rows):
    keys, features = rows(0, 100)
    path = write_block(tmp_path, RECIPE, keys, features)
    with h5py.File(path) as file:
        assert dict(file.attrs) == {"format": 2, "recipe": RECIPE.encode()}
        assert (file["features"].chunks, file["features"].dtype) == (None, np.float32)
        assert file["features"].id.get_offset() % 64 == 0
    packed = bytes.fromhex("".join(keys))
    assert path.name == f"block-{digest_bytes(packed)[:16]}-{xxhash.xxh3_128_hexdigest(path.read_bytes())}.h5"
    assert is_current(path)


def test_equal_rows_give_equal_bytes(tmp_path, rows):
    first = write_block(tmp_path / "a", RECIPE, *rows(0, 70))
    second = write_block(tmp_path / "b", RECIPE, *rows(0, 70))
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    headers = first.read_bytes().split(b"OHDR\2")[1:]
    assert [header[0] & 0x20 for header in headers] == [0, 0, 0]  # none holds times


def test_a_block_has_the_bytes_that_0_1_0_wrote(tmp_path):
    sample = Path(__file__).parents[1] / "samples" / "featx-0.1.0.zip"
    with zipfile.ZipFile(sample) as archive:
        folder = "0.1.0/cache/features/tiny-random1-7f51d71e/"
        (name,) = (one for one in archive.namelist() if one.startswith(folder) and one.endswith(".h5"))
        old = Path(archive.extract(name, tmp_path))
    recipe = h5py.File(old).attrs["recipe"].decode()
    keys, _ = read_index(old, recipe)
    new = write_block(tmp_path / "new", recipe, keys, read_features(old, recipe))
    assert new.name == old.name
    assert new.read_bytes() == old.read_bytes()


@pytest.mark.parametrize("dataset", ["keys", "features"])
def test_one_flipped_bit_is_found_and_named(tmp_path, rows, dataset):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    damage(path, dataset)
    with pytest.raises(StoreError, match=f"{path.name}: damaged block"):
        read_index(path, RECIPE) if dataset == "keys" else read_features(path, RECIPE)
    problem = check_block(path, RECIPE)
    assert problem.damaged
    assert path.name in problem.text


def test_a_truncated_block_is_found_and_named(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=f"{path.name}: damaged block"):
        read_index(path, RECIPE)


def test_a_block_of_another_recipe_is_refused(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 10))
    for read in (read_index, read_features):
        with pytest.raises(StoreError, match="another recipe"):
            read(path, "34" * 32)
    assert not check_block(path, "34" * 32).damaged


def test_bad_rows_are_refused_and_leave_nothing(tmp_path, rows):
    keys, features = rows(0, 4)
    broken = features.copy()
    broken[2, 0, 1] = np.nan
    for wrong_keys, wrong in (
        (keys, broken),
        (keys[:3], features),
        ([keys[0]] * 4, features),
        (keys, features[:, 0]),
        (keys, features.astype(np.float64)),
        ([], features[:0]),
    ):
        with pytest.raises(StoreError):
            write_block(tmp_path, RECIPE, wrong_keys, wrong)
    assert list(tmp_path.iterdir()) == []


def test_every_bit_counts(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 3, width=2))
    sound = path.read_bytes()
    for bit in range(0, 8 * len(sound), 7):
        flip(path, bit)
        with pytest.raises(DamagedBlockError, match=path.name):
            read_features(path, RECIPE)
        path.write_bytes(sound)


def answer(path, recipe, layouts=None):
    """Return the keys of a block and the shape of its rows, or why it is refused."""
    try:
        packed, shape = read_keys(path, recipe, layouts)
    except StoreError as error:
        return str(error)
    return hex_keys(packed), shape


def test_blocks_of_one_layout_need_hdf5_once(tmp_path, rows, monkeypatch):
    first, second = (write_block(tmp_path, RECIPE, *rows(start, start + 7)) for start in (0, 7))
    layouts = {}
    assert answer(first, RECIPE, layouts) == (rows(0, 7)[0], (1, 8))
    monkeypatch.setattr(h5py, "File", lambda *_, **__: pytest.fail("HDF5 was asked again"))
    assert answer(second, RECIPE, layouts) == (rows(7, 14)[0], (1, 8))
    assert list(layouts) == [first.stat().st_size]


def test_files_of_one_size_and_different_layouts_are_told_apart(tmp_path, rows):
    paths = [
        write_block(tmp_path, RECIPE, *rows(0, 5, width=8, views=1)),
        write_block(tmp_path, RECIPE, *rows(5, 10, width=4, views=2)),
        write_block(tmp_path, RECIPE, *rows(10, 12, width=36)),
    ]
    assert len({path.stat().st_size for path in paths}) == 1
    layouts = {}
    assert [answer(path, RECIPE, layouts)[1] for path in paths] == [(1, 8), (2, 4), (1, 36)]


def test_known_layouts_change_no_answer_about_a_damaged_block(tmp_path, rows):
    sound, block = (write_block(tmp_path, RECIPE, *rows(start, start + 3)) for start in (0, 3))
    data, layouts = block.read_bytes(), {}
    answer(sound, RECIPE, layouts)
    for bit in range(0, 8 * 1100, 41):
        flip(block, bit)
        assert answer(block, RECIPE, dict(layouts)) == answer(block, RECIPE)
        block.write_bytes(data)
    block.write_bytes(data[:-1])
    assert "damaged block" in answer(block, RECIPE, layouts)
    assert "another recipe" in answer(write_block(tmp_path, "34" * 32, *rows(6, 9)), RECIPE, layouts)
    renamed = block.rename(tmp_path / f"block-{'0' * 16}-{'0' * 32}.h5")
    renamed.write_bytes(data)
    assert "its keys do not match" in answer(renamed, RECIPE, layouts)
    with pytest.raises(FileNotFoundError):
        read_keys(block, RECIPE, layouts)


def test_blocks_of_format_1_have_no_known_layout(former):
    layouts = {}
    assert answer(former, FORMER_RECIPE, layouts) == answer(former, FORMER_RECIPE)
    assert layouts == {}


def test_a_renamed_block_is_none(tmp_path, rows):
    path = write_block(tmp_path, RECIPE, *rows(0, 3))
    other = write_block(tmp_path, RECIPE, *rows(3, 6))
    shutil.copy(path, other)
    assert check_block(other, RECIPE).damaged
    stray = path.rename(tmp_path / "block-copy.h5")
    problem = check_block(stray, RECIPE)
    assert not problem.damaged
    assert "not the name of a block" in problem.text


def test_a_block_of_a_newer_format_is_named_and_not_damaged(tmp_path):
    for name in ("block-0123456789abcdef.h5", "new.h5"):
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs["format"] = 3
    old, new = tmp_path / "block-0123456789abcdef.h5", named(tmp_path, tmp_path / "new.h5")
    for path in (old, new):
        problem = check_block(path, RECIPE)
        assert not problem.damaged
        assert f"{path}: block format 3" in problem.text


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_a_block_that_leads_to_other_files_is_refused(tmp_path, rows, kind):
    other = write_block(tmp_path / "other", RECIPE, *rows(0, 3))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["format"] = np.int64(2)
        file.attrs["recipe"] = np.bytes_(RECIPE)
        file["keys"] = np.zeros((3, 32), np.uint8)
        if kind == "link":
            file["features"] = h5py.ExternalLink(str(other), "features")
        elif kind == "storage":
            file.create_dataset("features", (3, 1, 8), "f4", external=[(str(other), 0, 96)])
        else:
            layout = h5py.VirtualLayout((3, 1, 8), "f4")
            layout[:] = h5py.VirtualSource(str(other), "features", (3, 1, 8))
            file.create_virtual_dataset("features", layout)
    path = named(tmp_path, tmp_path / "x.h5")
    for read in (read_index, read_features):
        with pytest.raises(StoreError, match=r"'features' .*other file|'features' .*another file"):
            read(path, RECIPE)


def test_a_text_of_variable_length_is_refused_before_it_is_read(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["format"] = np.int64(2)
        file.attrs["recipe"] = RECIPE
    with pytest.raises(DamagedBlockError, match="fixed length"):
        read_index(named(tmp_path, tmp_path / "x.h5"), RECIPE)


def test_more_rows_than_the_file_has_room_for_are_refused(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs["format"] = np.int64(2)
        file.attrs["recipe"] = np.bytes_(RECIPE)
        file.create_dataset("keys", (1 << 40, 32), "u1")
        file.create_dataset("features", (1 << 40, 1, 8), "f4")
    path = named(tmp_path, tmp_path / "x.h5")
    for read in (read_index, read_features):
        with pytest.raises(DamagedBlockError, match="room"):
            read(path, RECIPE)


def test_a_block_of_format_1_is_read_as_ever(former, rows):
    keys = [digest_bytes(str(number).encode()) for number in range(70, 75)]
    draws = [np.random.default_rng(number).normal(size=(1, 4)) for number in range(70, 75)]
    assert read_index(former, FORMER_RECIPE) == (keys, (1, 4))
    assert np.array_equal(read_features(former, FORMER_RECIPE), np.array(draws, np.float32))
    assert check_block(former, FORMER_RECIPE) is None
    assert not is_current(former)
    assert "another recipe" in check_block(former, RECIPE).text


def test_a_damaged_text_in_a_block_of_format_1_keeps_nobody_waiting(former):
    """HDF5 would look for ever for the recipe's text, of variable length, behind one flipped bit of its size."""
    flip(former, 8 * (former.read_bytes().index(b"GCOL") + 24))
    assert read_index(former, FORMER_RECIPE)[1] == (1, 4)


@pytest.mark.parametrize("what", ["keys", "table", "type", "lookup"])
def test_what_decides_rows_in_format_1_is_checked(former, what):
    """The metadata of format 1 have no checksums."""
    data = former.read_bytes()
    if what == "keys":
        former = former.rename(former.parent / "block-0123456789abcdef.h5")
    elif what == "table":  # the place of the features' only chunk: that of the keys, or elsewhere
        with h5py.File(former) as file:
            place = file["features"].id.get_chunk_info(0).byte_offset
        former.write_bytes(data.replace(place.to_bytes(8, "little"), (place + 1).to_bytes(8, "little")))
    elif what == "lookup":
        # The last number of the first entry of the features' table, which HDF5 does not list.
        flip(former, 8 * (data.rindex(b"TREE") + 56) + 2)
    else:  # the exponent's bias of float32, 127
        bias = bytes([0, 23, 8, 0, 23, 127, 0, 0, 0])
        assert bias in data
        former.write_bytes(data.replace(bias, bytes([0, 23, 8, 0, 23, 126, 0, 0, 0])))
    assert check_block(former, FORMER_RECIPE).damaged


def test_a_block_that_another_machine_removes_while_hdf5_reads_it_is_gone_not_damaged(
    tmp_path, rows, monkeypatch
):
    block = write_block(tmp_path, RECIPE, *rows(0, 3))

    def removed(*_, **__):
        block.unlink()
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(h5py, "File", removed)
    with pytest.raises(FileNotFoundError):
        read_index(block, RECIPE)


@pytest.mark.parametrize("times", [1, 3, 100])
def test_a_block_whose_handle_is_stale_is_opened_again_some_times(tmp_path, rows, monkeypatch, times):
    keys, features = rows(0, 3)
    block = write_block(tmp_path, RECIPE, keys, features)
    stale, opened = iter(range(times)), Path.open

    def open_again(path, *args):
        if next(stale, None) is not None:
            raise OSError(errno.ESTALE, "Stale file handle")
        return opened(path, *args)

    monkeypatch.setattr(Path, "open", open_again)
    if times == 100:
        with pytest.raises(StoreError, match=r"cannot be read \(Stale file handle\)"):
            read_index(block, RECIPE)
    else:
        assert read_index(block, RECIPE) == (keys, features.shape[1:])


_LOCKER = (
    "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize("locking", ["TRUE", "FALSE", "BEST_EFFORT", None])
def test_a_block_that_another_process_has_locked_is_read_whatever_the_environment(
    tmp_path, rows, monkeypatch, locking
):
    keys, features = rows(0, 3)
    block = write_block(tmp_path, RECIPE, keys, features)
    if locking is not None:
        monkeypatch.setenv("HDF5_USE_FILE_LOCKING", locking)
    program = (
        "import sys; from pathlib import Path; from featx.features.blocks import read_features, read_keys\n"
        "print(len(read_keys(Path(sys.argv[1]), sys.argv[2])[0]), len(read_features(Path(sys.argv[1]), sys.argv[2])))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _LOCKER, block], **pipes) as locker:
        locker.stdout.readline()
        # HDF5 looks at the variable when it is loaded, hence a process of its own.
        read = subprocess.run([sys.executable, "-c", program, block, RECIPE], capture_output=True, text=True)
        locker.communicate()
    assert (read.stdout, read.returncode) == ("3 3\n", 0), read.stderr


def test_a_block_that_does_not_exist_any_more_is_no_problem(tmp_path):
    assert check_block(tmp_path / f"block-{'0' * 16}-{'0' * 32}.h5", RECIPE) is None


def test_a_disk_that_cannot_be_read_is_not_damage(tmp_path, rows, monkeypatch):
    path = write_block(tmp_path, RECIPE, *rows(0, 3))

    def broken(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", broken)
    with pytest.raises(StoreError, match=r"cannot be read \(Input/output error\); check the disk") as caught:
        read_features(path, RECIPE)
    assert not isinstance(caught.value, DamagedBlockError)


def crafted(folder, form=2, **datasets):
    """Write an HDF5 file with the name and the attributes of a block of 3 rows, and any datasets."""
    given = {
        "keys": {"data": np.arange(96, dtype=np.uint8).reshape(3, 32)},
        "features": {"data": np.ones((3, 1, 8), np.float32)},
        **datasets,
    }
    with h5py.File(folder / "x.h5", "w") as file:
        file.attrs["format"] = np.int64(form)
        file.attrs["recipe"] = np.bytes_(RECIPE)
        for name, options in given.items():
            if options is None:
                file.create_group(name)
            else:
                file.create_dataset(name, **options)
    keys = digest_bytes(np.arange(96, dtype=np.uint8).tobytes())[:16]
    if form == 2:
        return named(folder, folder / "x.h5", keys)
    return (folder / "x.h5").rename(folder / f"block-{keys}.h5")


ROWS = np.ones((3, 1, 8), np.float32)


@pytest.mark.parametrize(
    ("form", "datasets", "told"),
    [
        (2, {"features": None}, "not a dataset"),
        (2, {"features": {"data": ROWS[0]}}, r"features of shape \(1, 8\)"),
        (2, {"features": {"data": ROWS[:2]}}, r"shape \(2, 1, 8\) and type float32; expected shape \(3, 1, 8\)"),
        (2, {"features": {"data": ROWS.astype(np.float64)}}, "type float64"),
        (2, {"features": {"data": ROWS.astype(">f4")}}, "type >f4"),
        (2, {"keys": {"data": np.zeros((3, 31), np.uint8)}}, r"expected shape \(3, 32\)"),
        (2, {"features": {"data": ROWS, "fletcher32": True}}, "shape"),
        (2, {"features": {"data": ROWS, "chunks": (3, 1, 8)}}, "not contiguous"),
        (2, {"features": {"data": ROWS * np.nan}}, "NaN or infinity"),
        (1, {"keys": {"data": np.zeros((3, 32), np.uint8), "fletcher32": True, "chunks": (2, 32)}}, "chunks of"),
        (1, {"keys": {"shape": (3, 32), "dtype": "u1", "fletcher32": True, "chunks": (3, 32)}}, "table of the chunks"),
        (1, {"keys": {"data": np.zeros((3, 32), np.uint8)}}, "shape"),
    ],
)  # fmt: skip
def test_another_layout_than_the_written_one_is_damage(tmp_path, form, datasets, told):
    path = crafted(tmp_path, form, **datasets)
    problem = check_block(path, RECIPE)
    assert problem.damaged
    assert re.search(told, problem.text), problem.text


def test_a_block_without_its_attributes_is_damaged(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["keys"] = np.zeros((3, 32), np.uint8)
    with pytest.raises(DamagedBlockError, match="it has no 'format'"):
        read_index(named(tmp_path, tmp_path / "x.h5"), RECIPE)


def test_unused_space_of_a_block_of_format_1_is_not_read_as_zeros(former):
    """The checksum of zeros is zero, so that HDF5 takes a chunk in unused space for a sound one."""
    data = former.read_bytes()
    with h5py.File(former) as file:
        chunk = file["features"].id.get_chunk_info(0)
    unused = data.index(bytes(chunk.size + 64)) + 32
    place, other = (address.to_bytes(8, "little") for address in (chunk.byte_offset, unused))
    former.write_bytes(data.replace(place, other))
    with h5py.File(former) as file:
        assert not file["features"][...].any()
    with pytest.raises(DamagedBlockError, match="unused space of the file"):
        read_features(former, FORMER_RECIPE)


@pytest.fixture
def large(tmp_path):
    """A block of format 1 with 70 rows, in two chunks."""
    source = FORMER / "block-5685c3bd343bfd69.h5"
    return Path(shutil.copy(source, tmp_path / source.name))


def chunk_places(path, dataset="features"):
    with h5py.File(path) as file:
        return [
            file[dataset].id.get_chunk_info(place).byte_offset
            for place in range(file[dataset].id.get_num_chunks())
        ]


def test_two_chunks_in_one_place_are_damage(large):
    first, second = (place.to_bytes(8, "little") for place in chunk_places(large))
    large.write_bytes(large.read_bytes().replace(second, first))
    problem = check_block(large, FORMER_RECIPE)
    assert problem.damaged
    assert "table of the chunks" in problem.text


def test_rows_that_are_zero_are_read_from_format_1(large):
    """Such a chunk adjoins another one, as unused space does not."""
    *_, place = chunk_places(large)
    data = bytearray(large.read_bytes())
    data[place : place + 1028] = bytes(1028)  # 64 rows of 4 numbers, and their checksum
    for end in (b"", b"what another version of HDF5 may write at the end"):
        large.write_bytes(bytes(data) + end)
        assert not read_features(large, FORMER_RECIPE)[64:].any()
        assert check_block(large, FORMER_RECIPE) is None


def test_a_chunk_that_hdf5_does_not_find_is_not_read_as_zeros(large):
    # The row of the second entry of the features' table, behind which HDF5 looks for row 64 and lists another.
    flip(large, 8 * (large.read_bytes().rindex(b"TREE") + 104) + 2)
    with pytest.raises(DamagedBlockError, match="the chunk at row 64 of /features is not found"):
        read_features(large, FORMER_RECIPE)
