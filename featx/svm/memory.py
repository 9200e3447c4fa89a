"""Work that could need more memory than there is, refused before it begins; and freed memory given back."""

from __future__ import annotations

import ctypes
from functools import cache

from featx.errors import ConfigError
from featx.limits import available_memory

__all__ = ["give_back_freed", "require_memory"]

_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_LARGE = 4 << 20


@cache
def give_back_freed() -> bool:
    """Have large arrays go back to the system as soon as they are freed, in this process from now on.

    By itself glibc raises the size from which it does so to that of what has been freed, up to 32 MiB, and keeps
    what is smaller: a search then holds the squares of steps long past.

    Returns
    -------
    bool
        Whether there is such a setting here: not with another C library.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE))
    except (AttributeError, OSError):
        return False


def require_memory(needed: int, what: str, advice: str) -> None:
    """Refuse work that does not fit into memory, before it is begun.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        What needs them.
    advice : str
        What to do if there is less.

    Raises
    ------
    ConfigError
        If there is less; the message holds both figures.
    """
    there = available_memory()
    if needed > there:
        raise ConfigError(
            f"{what} need {needed / 1e9:.1f} GB of memory, {there / 1e9:.1f} GB are available; {advice}"
        )
