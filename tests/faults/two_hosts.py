"""Two hosts on one machine: network namespaces with a link between them that can be cut, and a host name for each."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from .cluster_bench import Bench, Cluster, Driver
from .counts import Counts

__all__ = ["HOST_FAULTS", "may_have_hosts"]

_HERE, _THERE = f"featx-{os.getpid()}-a", f"featx-{os.getpid()}-b"
_ADDRESSES = {_HERE: "10.77.31.1", _THERE: "10.77.31.2"}
_LINKS = {name: f"fx{os.getpid()}{name[-1]}" for name in _ADDRESSES}
_PLAIN = (
    "import socket, sys\n"
    "with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10) as plain:\n"
    "    plain.settimeout(10)\n"
    "    plain.sendall(b'\\0' * 64)\n"
    "    sys.stdout.buffer.write(plain.recv(64))\n"
)


def _ip(*words: str, check: bool = True) -> bool:
    return subprocess.run(["ip", *words], check=check, capture_output=True).returncode == 0


@cache
def may_have_hosts() -> bool:
    """Tell whether network namespaces and links between them can be made here."""
    if not all(map(shutil.which, ("ip", "unshare", "hostname"))):
        return False
    with suppress(OSError, subprocess.CalledProcessError), _linked():
        return True
    return False


@contextmanager
def _linked() -> Iterator[None]:
    """Make two namespaces and the link."""
    try:
        for name in _ADDRESSES:
            _ip("netns", "add", name)
        _ip(
            "link",
            "add",
            _LINKS[_HERE],
            "netns",
            _HERE,
            "type",
            "veth",
            "peer",
            "name",
            _LINKS[_THERE],
            "netns",
            _THERE,
        )
        for name, address in _ADDRESSES.items():
            _ip("-n", name, "address", "add", f"{address}/24", "dev", _LINKS[name])
            _ip("-n", name, "link", "set", _LINKS[name], "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield
    finally:
        for name in _ADDRESSES:
            _ip("netns", "delete", name, check=False)


def _cut(state: str) -> None:
    _ip("-n", _HERE, "link", "set", _LINKS[_HERE], state)


def _on(name: str) -> tuple[str, ...]:
    """Return what stands before a command that runs on a host."""
    set_name = f'hostname {name}; exec "$@"'
    return ("ip", "netns", "exec", name, "unshare", "--uts", "sh", "-c", set_name, "sh")


def _make_certificate(folder: Path) -> tuple[str, ...]:
    """Write a self-signed certificate and its key where featx looks for them; return Dask's options."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "featx faults")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "tls-cert.pem", folder / "tls-key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.touch(0o600)
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    files = ("--tls-ca-file", str(certificate), "--tls-cert", str(certificate), "--tls-key", str(secret))
    return ("--protocol", "tls", *files)


@contextmanager
def _two_hosts(bench: Bench, name: str) -> Iterator[Cluster]:
    """Start a scheduler on one host and two workers on the other, with TLS between them."""
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    cluster = Cluster(bench, name, _make_certificate(folder), (_on(_HERE), _on(_THERE)), _ADDRESSES[_HERE])
    with _linked():
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.end()
            bench.left()


def _cut_study(bench: Bench, hosts: Cluster, rng: random.Random) -> Driver:
    """Begin a study on two hosts, and cut the link at some moment while jobs run."""
    bench.begin("study", "finetune")
    driver = bench.drive("study", hosts.place, prefix=_on(_HERE))
    _wait_for_children(bench)
    driver.wait(rng.uniform(0, 10))
    _cut("down")
    return driver


def link_cut_for_seconds(
    bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random
) -> None:
    """Cut the link for some seconds while jobs run."""
    with _two_hosts(bench, "hosts-a") as hosts:
        for _ in range(most):
            driver = _cut_study(bench, hosts, rng)
            driver.wait(rng.uniform(5, 12))
            _cut("up")
            bench.judge(counts, "link cut for seconds", driver, code=0)


def link_cut_for_good(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Cut the link for good while jobs run; a worker on the scheduler's own host does the rest."""
    for _ in range(most):
        with _two_hosts(bench, "hosts-b") as hosts:
            driver = _cut_study(bench, hosts, rng)
            hosts.add_worker(_on(_HERE))
            bench.judge(counts, "link cut for good", driver, code=0)


def host_lost(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Cut the link and kill everything behind it at once, as a power failure does; the leases have to run out."""
    for _ in range(most):
        with _two_hosts(bench, "hosts-c") as hosts:
            driver = _cut_study(bench, hosts, rng)
            for number in [*(nanny.pid for nanny in hosts.nannies), *hosts.workers(), *bench.children()]:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            hosts.add_worker(_on(_HERE))
            bench.judge(counts, "host lost", driver, code=0)


def plain_refused(bench: Bench, cluster: Cluster, counts: Counts, most: int, rng: random.Random) -> None:
    """Talk to the scheduler without TLS, as a stranger's program and as a study without the certificate do."""
    with _two_hosts(bench, "hosts-d") as hosts:
        bench.begin("study", "report")
        text = hosts.file.read_text()
        address = text.split("tls://")[1].split('"')[0]
        host, _, port = address.rpartition(":")
        command = [*_on(_THERE), sys.executable, "-c", _PLAIN, host, port]
        answer = subprocess.run(command, capture_output=True, check=False).stdout
        bare = bench.folder / "bare"
        bare.mkdir(exist_ok=True)
        (bare / "scheduler.json").write_text(text)
        driver = bench.drive("study", f"dask:{bare / 'scheduler.json'}", prefix=_on(_THERE))
        code = driver.wait(120)
        if b"distributed" in answer or b"compression" in answer:
            counts.wrong.append(f"the scheduler has answered without TLS: {answer!r}")
        elif not code or "Traceback" in driver.said or "tls-cert.pem" not in driver.said:
            counts.wrong.append(f"without a certificate: exit code {code}: {driver.said[-300:]}")
        else:
            counts.survived += 1


def _wait_for_children(bench: Bench) -> None:
    limit = time.monotonic() + 120
    while not bench.children() and time.monotonic() < limit:
        time.sleep(0.2)


HOST_FAULTS = (
    ("two hosts with TLS, link cut for seconds", link_cut_for_seconds),
    ("two hosts with TLS, link cut for good", link_cut_for_good),
    ("two hosts with TLS, one lost", host_lost),
    ("two hosts, plain TCP refused", plain_refused),
)
