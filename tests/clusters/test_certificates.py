"""Certificates: mutual TLS works with them, nothing is replaced, nobody else may read the key."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from featx.clusters import make_certificate
from featx.errors import ConfigError, InputError

x509 = pytest.importorskip("cryptography.x509")
FILES = ("tls-cert.pem", "tls-key.pem")


def context(purpose: ssl.Purpose, folder: Path) -> ssl.SSLContext:
    """Make the context that Dask makes: the certificate is the authority too, and the other side must show it."""
    made = ssl.create_default_context(purpose, cafile=str(folder / FILES[0]))
    made.verify_mode, made.check_hostname = ssl.CERT_REQUIRED, False
    # Python 3.13 asks for this by default.
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_cert_chain(folder / FILES[0], folder / FILES[1])
    return made


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes:
    """Send a word from a client to a server over TLS, and return the answer."""
    one, two = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(one, server_side=True) as stream:
                stream.sendall(stream.recv(4).upper())
        except OSError:
            one.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(two) as stream:
            stream.sendall(b"word")
            return stream.recv(4)
    finally:
        two.close()
        thread.join()


def refused(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    """Tell whether a client gets no answer. In TLS 1.3 it may only notice that when it reads."""
    try:
        return handshake(server, client) == b""
    except OSError:
        return True


def test_both_sides_accept_the_certificate_and_refuse_another(tmp_path: Path) -> None:
    ours, others = make_certificate(tmp_path / "a"), make_certificate(tmp_path / "b")
    server = context(ssl.Purpose.CLIENT_AUTH, ours)
    assert handshake(server, context(ssl.Purpose.SERVER_AUTH, ours)) == b"WORD"
    stranger = context(ssl.Purpose.SERVER_AUTH, others)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        handshake(server, stranger)
    # A client that accepts any server is refused by the server, and so is one without a certificate.
    stranger.verify_mode = ssl.CERT_NONE
    assert refused(server, stranger)
    anonymous = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ours / FILES[0]))
    anonymous.check_hostname = False
    assert refused(server, anonymous)


def test_modes_and_days(tmp_path: Path) -> None:
    folder = make_certificate(tmp_path / "new" / "tls", days=30)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {0o600}
    certificate = x509.load_pem_x509_certificate((folder / FILES[0]).read_bytes())
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(hours=12)


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_replaced(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / name).write_text("mine")
    with pytest.raises(
        InputError, match=f"{name}: the file exists; use it, remove it, or give another folder"
    ):
        make_certificate(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_others_may_open_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o750)
    with pytest.raises(InputError, match=r"mode 0750.*chmod 700"):
        make_certificate(folder)
    assert list(folder.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="not a folder"):
        make_certificate(tmp_path / "file")


@pytest.mark.parametrize("days", [0, 3651, 1.5])
def test_days_are_checked(tmp_path: Path, days: float) -> None:
    with pytest.raises(ConfigError, match="days"):
        make_certificate(tmp_path / "tls", days=days)
    assert not (tmp_path / "tls").exists()
