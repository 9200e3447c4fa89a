"""Published weights files: found, checked, fetched, or missed with a clear line."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
import requests

from featx.digest import digest_file
from featx.errors import WeightsError
from featx.zoo import downloads as module
from featx.zoo.backbones import Published, find_backbone
from featx.zoo.downloads import fetch_weights, find_published, weights_folder
from featx.zoo.weights import resolve_weights

MOBILENET = find_backbone("mobilenet_0.25")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def served(monkeypatch, tmp_path):
    """A published file on a server of the test's own, which counts its visitors."""
    import http.server
    import threading

    content, visits = b"published weights", []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            visits.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row = Published(f"http://127.0.0.1:{server.server_port}/a.h5", "a.h5", hashlib.md5(content).hexdigest())
    monkeypatch.setattr(module, "_published", lambda backbone: row)
    monkeypatch.setenv("no_proxy", "*")
    yield row, visits
    server.shutdown()
    server.server_close()


def test_folder_is_keras_own_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("FEATX_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "models"
    monkeypatch.setenv("FEATX_WEIGHTS_DIR", str(tmp_path / "w"))
    assert weights_folder() == tmp_path / "w"


def test_a_file_that_is_there_is_used_and_known_by_its_bytes(folder):
    path = folder / "mobilenet_2_5_224_tf_no_top.h5"
    path.write_bytes(b"weights")
    (weights,) = resolve_weights("imagenet", MOBILENET)
    assert weights.path == path
    assert weights.digest == digest_file(path)
    assert (weights.label, weights.lineage) == ("imagenet", ("imagenet",))


def test_a_named_folder_is_never_left_for_the_network(folder, monkeypatch):
    monkeypatch.setattr(requests.Session, "request", lambda *args, **kwargs: pytest.fail("went online"))
    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagenet", MOBILENET)
    text = str(caught.value)
    assert str(folder / "mobilenet_2_5_224_tf_no_top.h5") in text
    assert "`featx zoo fetch mobilenet_0.25` on a machine with internet access" in text


def test_offline_fails_at_once_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.delenv("FEATX_WEIGHTS_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    row = dataclasses.replace(MOBILENET.published, url="http://127.0.0.1:9/nothing.h5")
    monkeypatch.setattr(module, "_published", lambda backbone: row)
    with pytest.raises(WeightsError) as caught:
        resolve_weights("imagenet", MOBILENET)
    text = str(caught.value)
    assert "cannot be downloaded" in text
    assert f"copy mobilenet_2_5_224_tf_no_top.h5 into {tmp_path / 'models'}" in text
    assert "\n" not in text


def test_fetch_downloads_once_and_checks(folder, served):
    _, visits = served
    path = fetch_weights(MOBILENET)
    assert path.read_bytes() == b"published weights"
    assert fetch_weights(MOBILENET) == path == find_published(MOBILENET)
    assert len(visits) == 1


def test_fetch_tells_how_far_it_is(folder, served):
    told = []

    class Told:
        def start(self, task, total, unit="images"):
            told.append((task, total, unit))

        def advance(self, count=1):
            told.append(count)

        def say(self, message):
            told.append(message)

        def finish(self):
            told.append("end")

    fetch_weights(MOBILENET, Told())
    assert told == [("a.h5", 17, "bytes"), 17, 0, "end"]


def test_a_download_with_another_checksum_is_not_kept(folder, served, monkeypatch):
    row, _ = served
    monkeypatch.setattr(module, "_published", lambda backbone: dataclasses.replace(row, checksum="0" * 32))
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        fetch_weights(MOBILENET)
    assert list(folder.iterdir()) == []


def test_a_damaged_file_is_told(folder, served):
    (folder / "a.h5").write_bytes(b"half")
    with pytest.raises(WeightsError, match=r"a\.h5: damaged or of another version \(md5 "):
        find_published(MOBILENET)


def test_networks_without_published_weights_say_so(folder):
    with pytest.raises(WeightsError, match="no ImageNet weights are published for tiny; give random"):
        resolve_weights("imagenet", find_backbone("tiny"))
