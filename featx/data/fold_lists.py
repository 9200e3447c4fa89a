"""Folds as Menegola et al. 2017 publish them: YAML, ``Fold_1: [[file, ...], [file, ...]]`` and so on.

Their script looks each entry up among the files of a folder by its exact name, so that an entry whose ending
was forgotten drops out without a word. Here entries are images with or without the ending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from featx.data.manifest import image_name
from featx.documents import parse_yaml, read_text
from featx.errors import listing

__all__ = ["FOLDS_LIMIT", "ListPair", "ending_notes", "read_fold_lists", "without_ending"]

FOLDS_LIMIT = 2**26
"""Bytes of a fold file: ten folds of a hundred thousand images have 20 MB."""


@dataclass(frozen=True)
class ListPair:
    """Two lists of one entry of the file.

    Attributes
    ----------
    name : str
        Such as ``"Fold_1"``.
    first, second : tuple of str
        Entries as they stand there.
    """

    name: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @staticmethod
    def ids(entries: Sequence[str]) -> tuple[str, ...]:
        """Make entries image ids, sorted.

        Parameters
        ----------
        entries : sequence of str
            File names, with or without ending.

        Returns
        -------
        tuple of str
            The names without ending; a name that stands there twice still does.
        """
        return tuple(sorted(image_name(entry) for entry in entries))


def read_fold_lists(path: Path) -> tuple[ListPair, ...]:
    """Read the lists as they are.

    Parameters
    ----------
    path : Path
        A YAML file.

    Returns
    -------
    tuple of ListPair
        In the file's order.

    Raises
    ------
    OSError
        If the file cannot be read, is no regular file, or has more bytes than `FOLDS_LIMIT`.
    ValueError
        If it is not YAML of this form.
    """
    # Every entry is text: a file may be called 1e5 or no.
    value = parse_yaml(read_text(path, FOLDS_LIMIT), plain=True)
    if not isinstance(value, dict) or not value:
        raise ValueError("the top must be Fold_1, Fold_2, … with two lists of images each")
    return tuple(_pair(str(name), lists) for name, lists in value.items())


def _pair(name: str, lists: object) -> ListPair:
    if not isinstance(lists, list) or len(lists) != 2 or not all(isinstance(part, list) for part in lists):
        raise ValueError(f"{name} must be two lists of images")
    first, second = (tuple(str(entry).strip() for entry in part) for part in lists)
    return ListPair(name, first, second)


def without_ending(pairs: Sequence[ListPair]) -> dict[str, list[str]]:
    """Find entries that lack the ending which most entries have.

    Parameters
    ----------
    pairs : sequence of ListPair
        The lists.

    Returns
    -------
    dict of str to list of str
        ``"Fold_1, first list"`` and so on to its entries without ending; empty where no entry has one.

    Examples
    --------
    >>> without_ending([ListPair("Fold_1", ("a.tiff", "b"), ("c.tiff",))])
    {'Fold_1, first list': ['b']}
    """
    places = {
        f"{pair.name}, {which} list": entries
        for pair in pairs
        for which, entries in (("first", pair.first), ("second", pair.second))
    }
    bare = {
        place: [text for text in entries if image_name(text) == text] for place, entries in places.items()
    }
    if all(len(bare[place]) == len(entries) for place, entries in places.items()):
        return {}
    return {place: entries for place, entries in bare.items() if entries}


def ending_notes(pairs: Sequence[ListPair]) -> tuple[str, ...]:
    """Say which entries lacked the ending and are read as images all the same.

    Parameters
    ----------
    pairs : sequence of ListPair
        The lists.

    Returns
    -------
    tuple of str
        One sentence, or none.

    Examples
    --------
    >>> ending_notes([ListPair("Fold_1", ("a.tiff", "b"), ("c.tiff",))])
    ('1 list entries lack the file ending (b); they are read as images',)
    """
    bare = [entry for entries in without_ending(pairs).values() for entry in entries]
    if not bare:
        return ()
    return (
        f"{len(bare)} list entries lack the file ending ({listing(sorted(set(bare)))}); they are read as images",
    )
