from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from featx.data import manifest as rooms
from featx.data.manifest import leaves, origin_file, read_manifest
from featx.errors import ManifestError
from featx.files import write_json


def write(path: Path, text: str, images: tuple[str, ...] = ("a.png", "b.png")) -> Path:
    path.write_text(text, encoding="utf-8")
    for image in images:
        (path.parent / image).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / image).write_bytes(b"")
    return path


def test_columns_of_a_plain_csv(tmp_path: Path) -> None:
    text = "image,label,group,split,difficulty,age\na.png,nevus,p1,train,low,40\nb.png,melanoma,p2,test,,\n"
    manifest = read_manifest(write(tmp_path / "derm.csv", text))
    assert list(manifest.table.columns) == ["id", "path", "label", "group", "split", "difficulty", "age"]
    assert manifest.strata == ("difficulty", "age")
    assert manifest.has_groups
    assert manifest.ids == ["a", "b"]
    assert manifest.paths == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert manifest.table["age"].tolist() == ["40", ""]
    assert manifest.name == "derm"
    assert len(manifest) == 2


def test_only_the_image_column_is_needed(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.csv", "image\na.png\nb.png\n"))
    assert not manifest.has_groups
    assert manifest.table["group"].tolist() == ["a", "b"]
    assert manifest.table["label"].tolist() == ["", ""]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "image,label,site\na.png,NA,x\nb.png,007,y\n"),
        ("m.csv", "\ufeffimage;label;site\na.png;NA;x\nb.png;007;y\n"),
        ("m.tsv", "image\tlabel\tsite\na.png\tNA\tx\nb.png\t007\ty\n"),
        ("m.csv", 'image,label,site\r\n"a.png", NA ,x\r\n\r\nb.png,007,y\r\n'),
    ],
)
def test_dialects_read_alike_and_values_stay_text(tmp_path: Path, name: str, text: str) -> None:
    manifest = read_manifest(write(tmp_path / name, text))
    assert manifest.table["label"].tolist() == ["NA", "007"]
    assert manifest.table["site"].tolist() == ["x", "y"]


def test_parquet_reads_like_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame(
        {"image": ["a.png", "b.png"], "label": [0, 1], "age": [40.0, None], "sex": ["f", None]}
    )
    frame.to_parquet(tmp_path / "m.parquet")
    write(tmp_path / "m.csv", "image,label,age,sex\na.png,0,40.0,f\nb.png,1,,\n")
    assert read_manifest(tmp_path / "m.parquet").digest == read_manifest(tmp_path / "m.csv").digest


def test_class_folders(tmp_path: Path) -> None:
    for name in (
        "nevus/1.png",
        "melanoma/1.png",
        "melanoma/deep/2.JPG",
        "melanoma/notes.txt",
        ".hidden/3.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    manifest = read_manifest(tmp_path)
    assert manifest.ids == ["melanoma/1", "melanoma/deep/2", "nevus/1"]
    assert manifest.table["label"].tolist() == ["melanoma", "melanoma", "nevus"]
    assert manifest.name == tmp_path.name


def test_names_without_an_ending_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("ISIC_1.jpg", "v1.2.png", "plain"):
        (folder / name).write_bytes(b"")
    source = write(tmp_path / "m.csv", "image\nISIC_1\nv1.2\nplain\n", ())
    manifest = read_manifest(source, root=folder)
    assert [Path(path).name for path in manifest.paths] == ["ISIC_1.jpg", "v1.2.png", "plain"]
    assert manifest.ids == ["ISIC_1", "v1.2", "plain"]


def test_a_name_without_an_ending_that_fits_two_files_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "m.csv", "image\na\n", ("a.png", "a.jpg"))
    with pytest.raises(ManifestError, match=r"row 2: a matches a.jpg, a.png; give the ending"):
        read_manifest(source)


def test_all_findings_stand_in_one_message(tmp_path: Path) -> None:
    text = "image,id,label,group,split\na.png,x,nevus,p1,train\nb.png,x,,p1,test\ngone.png,y,nevus,p2,test\n"
    with pytest.raises(ManifestError) as caught:
        read_manifest(write(tmp_path / "m.csv", text))
    message = str(caught.value)
    assert "duplicate ids: id 'x' in rows 2, 3" in message
    assert "empty label in row 3" in message
    assert "group 'p1' is in train and test (rows 2, 3)" in message
    assert f"1 of 3 image files are missing: row 4 ({tmp_path / 'gone.png'})" in message
    assert "--root; in a study file, the key root of the data set" in message


def test_missing_files_can_be_let_pass(tmp_path: Path) -> None:
    source = write(tmp_path / "m.csv", "image,label\nx/gone.png,1\n", ())
    assert read_manifest(source, check_files=False).ids == ["gone"]


def test_duplicate_stems_ask_for_an_id_column(tmp_path: Path) -> None:
    source = write(tmp_path / "m.csv", "image\nx/a.png\ny/a.png\n", ("x/a.png", "y/a.png"))
    with pytest.raises(ManifestError, match="add a column 'id'"):
        read_manifest(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.png,1\n", "no column 'image', got file, label"),
        ("image,label,label\na.png,1,2\n", "column 'label' is repeated"),
        ("image,path\na.png,x\n", "'path' is reserved"),
        ("image,,label\na.png,x,1\n", "column 2 has no name"),
        ("image,label\n", "no rows below the header"),
        ("image,label\na.png,1,2,3\n", "cannot be read as a table"),
        ("", "cannot be read as a table"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        read_manifest(write(tmp_path / "m.csv", text))


def test_bad_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_bytes("image,label\na.png,n\xe6vus\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"cannot be read as a table.*utf-8"):
        read_manifest(tmp_path / "m.csv")


def test_no_such_manifest(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder; give a manifest"):
        read_manifest(tmp_path / "gone.csv")
    with pytest.raises(ManifestError, match="no images in class folders"):
        read_manifest(tmp_path)


def test_digest_is_of_content(tmp_path: Path) -> None:
    first = read_manifest(write(tmp_path / "m.csv", "image,label,age\na.png,1,40\nb.png,0,50\n"))
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    same = read_manifest(write(moved / "n.csv", "age,image,label\n50,b.png,0\n40,a.png,1\n"))
    other = read_manifest(write(tmp_path / "o.csv", "image,label,age\na.png,1,40\nb.png,1,50\n"))
    assert first.digest == same.digest
    assert first.digest != other.digest


def test_a_manifest_passes_through(tmp_path: Path) -> None:
    manifest = read_manifest(write(tmp_path / "m.csv", "image\na.png\n"))
    assert read_manifest(manifest) is manifest


def test_a_folder_with_a_manifest_is_that_manifest(tmp_path: Path) -> None:
    write(tmp_path / "manifest.csv", "image,label\nimages/a.png,1\n", ("images/a.png",))
    manifest = read_manifest(tmp_path)
    assert manifest.ids == ["a"]
    assert manifest.source == tmp_path / "manifest.csv"


def test_a_root_moves_a_tables_images_but_not_class_folders(tmp_path: Path) -> None:
    source = write(tmp_path / "m.csv", "image\na.png\n", ("elsewhere/a.png", "classes/x/b.png"))
    assert read_manifest(source, root=tmp_path / "elsewhere").paths == [str(tmp_path / "elsewhere/a.png")]
    classes = read_manifest(tmp_path / "classes", root=tmp_path / "elsewhere")
    assert classes.paths == [str(tmp_path / "classes/x/b.png")]


def test_a_file_just_called_manifest_has_its_folders_name(tmp_path):
    folder = tmp_path / "atlas"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    (folder / "manifest.csv").write_text("image\na.png\n")
    assert read_manifest(folder / "manifest.csv").name == "atlas"


@pytest.mark.parametrize(
    "image", ["../out.png", "sub/../../out.png", "..\\out.png", "{folder}/../out.png", "/etc/x.png"]
)
def test_paths_that_lead_out_of_the_root_are_refused(tmp_path: Path, image: str) -> None:
    (tmp_path / "out.png").write_bytes(b"")
    inside = tmp_path / "inside"
    inside.mkdir()
    source = write(inside / "m.csv", f"image\na.png\n{image.format(folder=inside)}\n", ("a.png",))
    with pytest.raises(
        ManifestError,
        match=r"m\.csv: 1 of 2 image paths lead out of .*inside: row 3 \(.*--root; in a study file, .*--allow-outside",
    ):
        read_manifest(source)
    assert len(read_manifest(source, allow_outside=True, check_files=False)) == 2


def test_paths_below_the_root_are_read_as_they_are_written(tmp_path: Path) -> None:
    elsewhere, inside = tmp_path / "elsewhere", tmp_path / "inside"
    elsewhere.mkdir()
    (elsewhere / "c.png").write_bytes(b"")
    text = f"image,id\n{inside}/a.png,1\nx/../b.png,2\nlink/c.png,3\n..b.png,4\n"
    inside.mkdir()
    (inside / "link").symlink_to(elsewhere)
    (inside / "x").mkdir()
    assert len(read_manifest(write(inside / "m.csv", text, ("a.png", "b.png", "..b.png")))) == 4
    with pytest.raises(ManifestError, match="lead out of"):
        read_manifest(write(tmp_path / "elsewhere/n.csv", f"image\n{inside}/a.png\n", ()))
    assert len(read_manifest(tmp_path / "elsewhere/n.csv", root=tmp_path)) == 1


def test_a_note_of_the_import_counts_at_its_place_only(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "lists").mkdir()
    source = write(tmp_path / "lists/m.csv", "image\n../images/a.png\n", ("../images/a.png",))
    write_json(origin_file(source), {"manifest": str(source), "images": str(tmp_path / "images")})
    assert len(read_manifest(source)) == 1
    write_json(origin_file(source), {"manifest": str(source), "images": str(tmp_path / "others")})
    with pytest.raises(ManifestError, match="lead out of"):
        read_manifest(source)
    write_json(origin_file(source), {"manifest": "/another/m.csv", "images": str(tmp_path / "images")})
    with pytest.raises(ManifestError, match="lead out of"):
        read_manifest(source)


def test_the_root_of_all_holds_everything() -> None:
    assert not leaves("/etc/x.png", "/")
    assert leaves("/etcetera/x.png", "/etc")


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (
            lambda path: path.with_name("a\udcff.png").write_bytes(b""),
            r"the name 'one/a\\udcff\.png' is not valid UTF-8",
        ),
        (
            lambda path: path.with_name("a\nb.png").write_bytes(b""),
            r"the name 'one/a\\nb\.png' is not valid UTF-8, or has control characters",
        ),
        (
            lambda path: path.with_suffix(".jpg").write_bytes(b""),
            r"id 'one/x' of one/x\.jpg, one/x\.png \(rename all but one, or give",
        ),
    ],
)
def test_odd_names_in_class_folders_are_one_line(
    tmp_path: Path, put: Callable[[Path], object], message: str
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one/x.png").write_bytes(b"")
    put(tmp_path / "one/x.png")
    with pytest.raises(ManifestError, match=message) as caught:
        read_manifest(tmp_path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    "row",
    ["a.png,\x07,n", 'a.png,"i\nd",n', f"{'a' * 5000}.png,1,n", "a.png,1,n\x1b[2J", f"a.png,{'i' * 5000},n"],
)
def test_odd_names_in_a_file_are_one_short_line(tmp_path: Path, row: str) -> None:
    with pytest.raises(
        ManifestError, match=r"row 2 has a line break, a control character or more than 4096"
    ) as caught:
        read_manifest(write(tmp_path / "m.csv", f"image,id,label\n{row}\nb.png,2,n\n"))
    assert len(str(caught.value)) < 600
    assert str(caught.value).isprintable()


def test_a_long_name_that_no_file_can_have_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"1 of 2 image files are missing: row 2 \(.*characters\)\)"):
        read_manifest(write(tmp_path / "m.csv", f"image\n{'a' * 300}.png\nb.png\n"))
    with pytest.raises(ManifestError, match="no such file or folder; give a manifest"):
        read_manifest("m" * 5000)


def test_a_folder_whose_name_is_not_utf8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "\udcff").mkdir()
    with pytest.raises(ManifestError, match=r"\\udcff': the name is not valid UTF-8"):
        read_manifest(tmp_path / "\udcff")


def test_a_named_pipe_is_no_manifest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(ManifestError, match="it is a named pipe; only regular files are read"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("text", ["image" + "," * 1000 + "\n", "image\n" + "\n" * 40])
def test_more_cells_than_are_read(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "CELLS_LIMIT", 30)
    with pytest.raises(
        ManifestError, match=r"cannot be read as a table: .*; at most 1,000 columns and 30 cells are read"
    ):
        read_manifest(write(tmp_path / "m.csv", text))


def test_a_parquet_file_that_unpacks_to_more_than_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    pd.DataFrame({"image": ["a.png"] * 1000}).to_parquet(tmp_path / "m.parquet")
    monkeypatch.setattr(rooms, "CELLS_LIMIT", 500)
    with pytest.raises(ManifestError, match="it has 1,000 rows and 1 columns; at most"):
        read_manifest(tmp_path / "m.parquet")
