"""Downloads against a server of the test's own, which drops connections."""

from __future__ import annotations

import http.server
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from featx.data import fetch as module
from featx.data.fetch import Archive, RemoteFile, archives, fetch_archive, find_archive
from featx.data.importers.registry import find_importer
from featx.digest import digest_bytes, digest_file
from featx.errors import ConfigError, FeatxError


@dataclass
class Server:
    """Files, what was asked for, and how the server misbehaves."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    drop_after: int | None = None
    drops: int = 0
    tag: str = '"v1"'
    ranges: bool = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
            state.asked.append((name, wanted))
            if name not in state.files:
                self.send_error(404)
                return
            data, start = state.files[name], 0
            if wanted and state.ranges and self.headers.get("If-Range") == state.tag:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))  # type: ignore[union-attr]
            if start >= len(data):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("ETag", state.tag)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            rest = data[start:]
            if state.drops and state.drop_after is not None:
                state.drops -= 1
                self.wfile.write(rest[: state.drop_after])
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True
            else:
                self.wfile.write(rest)

        def log_message(self, *args: object) -> None:
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    state.url = f"http://127.0.0.1:{running.server_port}"
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "_REST", 0.0)
    monkeypatch.setattr(module, "_BLOCK", 1000)
    yield state
    running.shutdown()
    running.server_close()


def archive(server: Server, *names: str, sha256: str = "") -> Archive:
    files = tuple(RemoteFile(f"{server.url}/{name}", sha256) for name in names)
    return Archive("mine", "Mine", "isic2016", "CC0", "me", files)


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in members.items():
            file.writestr(f"images/{name}.jpg", data)
        file.writestr("__MACOSX/junk", b"")
    return buffer.getvalue()


CONTENT = bytes(range(256)) * 100


def test_a_download_whose_connection_drops_goes_on(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    server.drop_after, server.drops = 7000, 3
    (path,) = fetch_archive(archive(server, "a.csv"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == ["", "bytes=7000-", "bytes=14000-", "bytes=21000-"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["SHA256SUMS", "a.csv"]
    assert (tmp_path / "SHA256SUMS").read_text() == f"{digest_bytes(CONTENT)}  a.csv\n"


def test_a_killed_download_goes_on_in_the_next_run(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    (tmp_path / "a.csv.part").write_bytes(CONTENT[:9000])
    (tmp_path / "a.csv.tag").write_text(server.tag)
    (path,) = fetch_archive(archive(server, "a.csv"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.asked == [("a.csv", "bytes=9000-")]


@pytest.mark.parametrize("why", ["changed on the server", "no tag", "no ranges", "too long"])
def test_a_part_that_cannot_be_trusted_is_begun_anew(server: Server, tmp_path: Path, why: str) -> None:
    server.files["a.csv"] = CONTENT
    server.ranges = why != "no ranges"
    (tmp_path / "a.csv.part").write_bytes(b"x" * (99000 if why == "too long" else 9000))
    if why != "no tag":
        (tmp_path / "a.csv.tag").write_text('"v0"' if why == "changed on the server" else server.tag)
    (path,) = fetch_archive(archive(server, "a.csv"), tmp_path)
    assert path.read_bytes() == CONTENT


def test_what_is_there_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    fetch_archive(archive(server, "a.csv"), tmp_path)
    fetch_archive(archive(server, "a.csv"), tmp_path)
    assert len(server.asked) == 1


def test_a_damaged_file_is_downloaded_again(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    fetch_archive(archive(server, "a.csv"), tmp_path)
    (tmp_path / "a.csv").write_bytes(CONTENT[:-1])
    (path,) = fetch_archive(archive(server, "a.csv"), tmp_path)
    assert digest_file(path) == digest_bytes(CONTENT)


def test_another_content_than_known_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    with pytest.raises(FeatxError, match="is not the known 0000"):
        fetch_archive(archive(server, "a.csv", sha256="0" * 64), tmp_path)
    assert not (tmp_path / "a.csv").exists()


def test_archives_are_unpacked_once_and_checked(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = zipped(one=b"1", two=b"22")
    fetch_archive(archive(server, "a.zip"), tmp_path)
    assert (tmp_path / "images/two.jpg").read_bytes() == b"22"
    assert not (tmp_path / "__MACOSX").exists()
    (tmp_path / "images/one.jpg").unlink()
    before = (tmp_path / "images/two.jpg").stat().st_mtime_ns
    fetch_archive(archive(server, "a.zip"), tmp_path)
    assert (tmp_path / "images/one.jpg").read_bytes() == b"1"
    assert (tmp_path / "images/two.jpg").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["member", "whole"])
def test_a_damaged_archive_is_not_kept(server: Server, tmp_path: Path, damage: str) -> None:
    data = zipped(one=b"1111111111", two=b"22")
    server.files["a.zip"] = data.replace(b"1111111111", b"1111111112") if damage == "member" else data[:50]
    with pytest.raises(FeatxError, match=r"is damaged .* and was removed"):
        fetch_archive(archive(server, "a.zip"), tmp_path)
    assert not (tmp_path / "a.zip").exists()
    assert not (tmp_path / "SHA256SUMS").exists()


def test_a_server_that_never_delivers_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files["a.csv"] = CONTENT
    server.drop_after, server.drops = 0, 99
    with pytest.raises(FeatxError, match=r"the download failed .*run the same command again"):
        fetch_archive(archive(server, "a.csv"), tmp_path)
    assert len(server.asked) == 5
    with pytest.raises(FeatxError, match="404"):
        fetch_archive(archive(server, "gone.csv"), tmp_path)


def test_the_shipped_list_names_importers_and_licences() -> None:
    for row in archives().values():
        assert find_importer(row.format).name == row.format
        assert row.licence.startswith("CC")
        assert all(file.url.startswith("https://") for file in row.files)
        assert len({file.name for file in row.files}) == len(row.files)
    with pytest.raises(ConfigError, match="no open data set 'imagenet'; give one of isic2016"):
        find_archive("imagenet")
