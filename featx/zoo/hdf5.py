"""HDF5 files from elsewhere: what must be known of one before anything in it is read."""

from __future__ import annotations

from typing import Any

import h5py

__all__ = ["elsewhere"]


def elsewhere(file: Any) -> str | None:
    """Say what an HDF5 file takes from other files, without opening any of them.

    An external link, a virtual dataset or a dataset with external storage makes HDF5 open whatever path the file
    names, so that a file from elsewhere decides what is read on this machine. Links of users' own kinds are named
    too, since what they lead to is not known.

    Parameters
    ----------
    file : h5py.File or h5py.Group
        What to look through. Only hard links are followed.

    Returns
    -------
    str or None
        The first such thing, in words; None for a file that holds all its data.

    Examples
    --------
    >>> import io
    >>> with h5py.File(io.BytesIO(), "w") as file:
    ...     file["there"] = h5py.ExternalLink("/etc/passwd", "/")
    ...     elsewhere(file)
    "'there' is a link to another file"
    """
    links: list[tuple[bytes, int]] = []
    # h5py cannot bear an error within this call, so that the links are gathered first and looked at later.
    file.id.links.visit(lambda name, link: links.append((name, link.type)), info=True)
    return next((reason for name, kind in links if (reason := _elsewhere(file.id, name, kind))), None)


def _elsewhere(group: Any, name: bytes, kind: int) -> str | None:
    called = name.decode(errors="replace")
    if kind == h5py.h5l.TYPE_SOFT:
        return None
    if kind != h5py.h5l.TYPE_HARD:
        return f"{called!r} is a link to another file"
    if h5py.h5o.get_info(group, name).type != h5py.h5o.TYPE_DATASET:
        return None
    layout = h5py.h5d.open(group, name).get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        return f"{called!r} is a virtual dataset, whose data stand in other files"
    if layout.get_layout() == h5py.h5d.CONTIGUOUS and layout.get_external_count():
        return f"the data of {called!r} stand in another file"
    return None
