"""Files of content keys: read back as written, used without a look at the images, and refused when they are damaged."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from featx.errors import InputError
from featx.images import content_keys, read_keys, write_keys

KEY = "0123456789abcdef" * 4


def test_odd_paths_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    undecodable = os.fsdecode(b"/data/\xff.png")
    keys = dict.fromkeys(["/a,b/=1.png", '/a/"x"\n.png', "/é/1 2.png", undecodable], KEY)
    write_keys(tmp_path / "keys.csv", keys)
    assert read_keys(tmp_path / "keys.csv") == keys


def test_relative_paths_are_those_of_the_current_folder_on_both_sides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_keys("keys.csv", {"a/1.png": KEY})
    assert read_keys("keys.csv") == {f"{tmp_path}/a/1.png": KEY}
    assert content_keys(["a/1.png"], known="keys.csv").keys == {"a/1.png": KEY}


@pytest.mark.parametrize("as_file", [True, False])
def test_listed_images_need_not_exist_and_others_are_hashed(tmp_path: Path, as_file: bool) -> None:
    known = {f"{tmp_path}/listed.png": KEY}
    write_keys(tmp_path / "keys.csv", known)
    (tmp_path / "other.png").write_bytes(b"other")
    names = [str(tmp_path / name) for name in ("other.png", "listed.png", "missing.png")]
    found = content_keys(names, known=tmp_path / "keys.csv" if as_file else known, cache=tmp_path / "cache")
    assert list(found.keys.items()) == [(names[0], hashlib.sha256(b"other").hexdigest()), (names[1], KEY)]
    assert list(found.failures) == [names[2]]


def test_trusted_keys_do_not_enter_the_table(tmp_path: Path) -> None:
    image = tmp_path / "1.png"
    image.write_bytes(b"1")
    assert content_keys([image], known={str(image): KEY}, cache=tmp_path).keys == {str(image): KEY}
    assert content_keys([image], cache=tmp_path).keys == {str(image): hashlib.sha256(b"1").hexdigest()}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "need the columns path and sha256, got an empty file"),
        ("image,sha256\n", "got image, sha256"),
        (f"path,sha256\n/a.png,{KEY}\nb.png,{KEY}\n", r"line 3 must hold an absolute path .* got 'b\.png'"),
        (f"path,sha256\n/a.png,{KEY[1:]}\n", "line 2 must hold"),
        ("path,sha256\n/a.png\n", "line 2 must hold .* got '/a.png' and ''"),
        (f"path,sha256\n/{'a' * 200_000},{KEY}\n", "cannot be read: field larger"),
    ],
)
def test_damaged_files_are_refused_with_the_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "keys.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_keys(tmp_path / "keys.csv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"keys\.csv: content keys cannot be read: No such file"):
        content_keys([tmp_path / "1.png"], known=tmp_path / "keys.csv")
