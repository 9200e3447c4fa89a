from __future__ import annotations

import json
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from featx.data import draw_dermoscopy, read_manifest
from featx_cli.main import run


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return draw_dermoscopy(tmp_path / "derm", images=30, size=32)


class Page(HTMLParser):
    """Headings and pictures of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.pictures: list[str] = []
        self.sources: list[str] = []
        self._tag = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        if tag == "img":
            values = dict(attrs)
            self.pictures.append(values["alt"] or "")
            self.sources.append(values["src"] or "")

    def handle_data(self, data: str) -> None:
        if self._tag in {"h1", "h2"} and data.strip():
            self.headings.append(data)


def class_folders(folder: Path) -> Path:
    for name in ("nevus/a.png", "melanoma/b.png"):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def test_import_writes_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = class_folders(tmp_path / "data"), tmp_path / "m.csv"
    assert run(["data", "import", "class-folders", str(source), "--output", str(output)]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(output)
    assert err.strip() == "2 images: melanoma 1, nevus 1"
    assert read_manifest(output).ids == ["melanoma/b", "nevus/a"]
    assert run(["data", "import", "class-folders", str(source), "--output", str(output)]) == 0
    assert "the file was there already, with the same content" in capsys.readouterr().err
    output.write_text("image,label\n")
    assert run(["data", "import", "class-folders", str(source), "--output", str(output)]) == 2
    assert "give --overwrite" in capsys.readouterr().err
    assert output.read_text() == "image,label\n"
    assert run(["data", "import", "class-folders", str(source), "--output", str(output), "--overwrite"]) == 0


def test_import_lists_formats_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "import", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["format", "data", "set", "source"]
    assert any(line.startswith("derm7pt ") for line in lines)
    assert run(["data", "import", "isic2017"]) == 2
    assert "give FORMAT, SOURCE and --output" in capsys.readouterr().err
    assert run(["data", "import", "isic", "x", "-o", "y"]) == 2
    assert "no format 'isic'" in capsys.readouterr().err


def test_check_of_a_clean_data_set(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "check.html"
    given = ["data", "check", str(manifest), "--cache", str(tmp_path / "cache")]
    assert run([*given, "--html", str(html), "--samples", "2"]) == 0
    out = capsys.readouterr().out
    assert "30 images, 30 readable, 24 groups" in out
    assert "no errors, no warnings" in out
    page = Page(html)
    labels = sorted(set(read_manifest(manifest).table["label"]))
    assert page.headings == ["Check of derm", *labels]
    assert len(page.pictures) == 2 * len(labels)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)


def test_check_has_exit_code_1_on_errors_and_shows_pairs(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = manifest.parent / "images"
    (images / "derm00003.jpg").write_bytes(b"broken")
    with Image.open(images / "derm00001.jpg") as image:
        image.resize((40, 40)).save(images / "near.png")
    with manifest.open("a") as file:
        file.write("images/near.png,near,<nevus>,lesionX,low\n")
    html = tmp_path / "check.html"
    given = ["data", "check", str(manifest), "--cache", str(tmp_path / "cache")]
    assert run([*given, "--html", str(html)]) == 1
    out = capsys.readouterr().out
    assert "error: unreadable: 1 images cannot be read" in out
    assert "warning: near-duplicates: 1 pairs of near duplicates: derm00001 = near" in out
    page = Page(html)
    assert page.headings[-1] == "Near duplicates"
    assert page.pictures[-1] == "near: <nevus>"
    assert run([*given, "--json", "--no-near"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in value["findings"]] == [
        "unreadable",
        "one-group",
        "labels-alike",
        "rare-labels",
    ]


def test_preview_shows_before_and_after(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "preview.html"
    given = ["data", "preview", str(manifest), "-o", str(output)]
    assert run([*given, "--preparation", "atlas", "--preparation", "retina", "--images", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(output)
    page = Page(output)
    assert len(page.pictures) == 3 * 5
    assert page.pictures[:3] == ["before, 32x32", "atlas: kept", "atlas: after"]
    assert run([*given, "--id", "derm00004"]) == 0
    assert "derm00004" in output.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--id", "gone"), "no image gone"), (("--preparation", "crop"), "The preparation must be one of")],
)
def test_preview_of_the_unknown(
    manifest: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str],
    message: str,
) -> None:
    assert run(["data", "preview", str(manifest), "-o", str(tmp_path / "p.html"), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_fetch_shows_the_licence_and_waits_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.data.fetch_archive", lambda *args, **kwargs: ())
    given = ["data", "fetch", "isic2018", "--output", str(tmp_path)]
    assert run(given) == 2
    err = capsys.readouterr().err
    assert "licence: CC BY-NC 4.0" in err
    assert "give --accept-licence" in err
    assert run([*given, "--accept-licence"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path)
    assert f"featx data import isic2018 {tmp_path}" in err


def test_fetch_lists_and_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "fetch", "--list"]) == 0
    assert "isic2016" in capsys.readouterr().out
    assert run(["data", "fetch", "isic2016"]) == 2
    assert run(["data", "fetch", "imagenet", "-o", "x"]) == 2
    assert "no open data set 'imagenet'" in capsys.readouterr().err


def test_check_of_what_is_no_file_does_not_wait(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = class_folders(tmp_path / "images")
    os.mkfifo(next(folder.iterdir()) / "pipe.jpg")
    (next(folder.iterdir()) / "zeros.jpg").symlink_to("/dev/zero")
    assert run(["data", "check", str(folder), "--cache", str(tmp_path / "cache"), "--no-near"]) == 1
    said = capsys.readouterr().out
    assert "2 images cannot be read" in said
    assert "it is a named pipe; only regular files are read" in said


def test_check_of_paths_outside_needs_to_be_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = class_folders(tmp_path / "images")
    (tmp_path / "lists").mkdir()
    image = next(folder.rglob("*.png")).relative_to(tmp_path)
    (tmp_path / "lists/m.csv").write_text(f"image,label\n../{image},a\n")
    line = ["data", "check", str(tmp_path / "lists/m.csv"), "--cache", str(tmp_path / "cache")]
    assert run(line) == 2
    assert "1 of 1 image paths lead out of" in capsys.readouterr().err
    assert run([*line, "--allow-outside"]) == 0
    assert run([*line, "--root", str(tmp_path)]) == 2
