"""The certificate and key of a Dask cluster, by which scheduler, workers and client know each other."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from featx.errors import ConfigError, InputError
from featx.files import aside_folder, sync_folder
from featx.jobs import TLS_CERTIFICATE, TLS_KEY
from featx.options import verb

from .cluster_settings import TlsSettings

__all__ = ["make_certificate"]
# Clocks of machines differ: one that is behind must not find a certificate that is not valid yet.
_CLOCKS_DIFFER = timedelta(days=1)


@verb(TlsSettings)
def make_certificate(folder: Path | str, options: TlsSettings) -> Path:
    """Write a self-signed certificate and its private key, ``tls-cert.pem`` and ``tls-key.pem``.

    Whoever can read the key can run code on the workers. The files have mode 0600, in a folder of mode 0700.

    Parameters
    ----------
    folder : Path or str
        Folder that all machines of the cluster share; made if it does not exist.
    {options}

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        If the package cryptography is not installed.
    InputError
        If one of the files exists, or others may open the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = make_certificate(Path(tempfile.mkdtemp()) / "cluster", days=30)
    >>> sorted(path.name for path in folder.iterdir())
    ['tls-cert.pem', 'tls-key.pem']
    """
    folder = Path(folder)
    _private_folder(folder)
    for name in (TLS_KEY, TLS_CERTIFICATE):
        if (folder / name).exists():
            raise InputError(f"{folder / name}: the file exists; use it, remove it, or give another folder")
    pair = _pair(options.days)
    with aside_folder(folder / TLS_KEY) as aside:
        for name, data in pair.items():
            with os.fdopen(os.open(aside / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for name in pair:
            _put_once(aside / name, folder / name)
    sync_folder(folder)
    return folder


def _private_folder(folder: Path) -> None:
    """Make a folder that only its owner may open; refuse one that others may."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise InputError(f"{folder}: not a folder; give another") from None
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        raise InputError(
            f"{folder}: other users may open this folder (mode {mode:04o}), which will hold a private key; "
            "run `chmod 700` on it, or give a new folder"
        )


def _put_once(aside: Path, target: Path) -> None:
    """Give a file its name, which no other file must have: unlike a rename, a link replaces nothing."""
    try:
        os.link(aside, target)
    except FileExistsError:
        raise InputError(
            f"{target}: another process has just written this file; use it, or give another folder"
        ) from None


def _pair(days: int) -> dict[str, bytes]:
    """Make a key and its certificate, as PEM, by the names of their files."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID
    except ImportError as error:
        raise ConfigError(
            "Certificates are made by the package cryptography, which is not installed; run `pip install 'featx[dask]'`"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "featx cluster")])
    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + timedelta(days=days))
        # It signs itself: every member of the cluster trusts this certificate and shows it.
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {TLS_KEY: secret, TLS_CERTIFICATE: certificate.public_bytes(serialization.Encoding.PEM)}
