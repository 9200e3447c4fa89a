"""Diagnoses and their spellings, so that differently spelled labels map alike.

A task names a diagnosis with a leading ``@``: ``@nevus`` matches every label that the thesaurus places at the
diagnosis nevus or under it, such as ``Clark nevus``, ``dysplastic naevus`` and ``NV``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

__all__ = ["Diagnosis", "find_diagnosis", "is_under", "plain_label", "spellings", "thesaurus"]


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis.

    Attributes
    ----------
    name : str
        Its name.
    under : str or None
        The next wider one.
    spelled : tuple of str
        Further spellings, patterns allowed.
    """

    name: str
    under: str | None
    spelled: tuple[str, ...]


@cache
def thesaurus() -> Mapping[str, Diagnosis]:
    """Read the shipped thesaurus.

    Returns
    -------
    mapping of str to Diagnosis
        By name.

    Examples
    --------
    >>> thesaurus()["melanoma in situ"].under
    'melanoma'
    """
    text = (resources.files("featx.data") / "declared" / "thesaurus.toml").read_text(encoding="utf-8")
    rows = tomllib.loads(text)
    return {
        name: Diagnosis(name, row.get("under"), tuple(row.get("spelled", ()))) for name, row in rows.items()
    }


def find_diagnosis(label: str) -> str | None:
    """Look a label up.

    Parameters
    ----------
    label : str
        As a data set spells it.

    Returns
    -------
    str or None
        Name of the diagnosis, or None for a label that the thesaurus does not know.

    Examples
    --------
    >>> find_diagnosis("Seborrhoeic_Keratosis"), find_diagnosis("Melanoma (0.76 to 1.5 mm)"), find_diagnosis("7")
    ('seborrheic keratosis', 'melanoma', None)
    """
    exact, patterns = _spellings()
    plain = plain_label(label)
    if plain in exact:
        return exact[plain]
    return next((name for pattern, name in patterns if fnmatchcase(plain, pattern)), None)


def is_under(name: str, wider: str) -> bool:
    """Tell whether a diagnosis is another, or under it.

    Parameters
    ----------
    name, wider : str
        Names of diagnoses.

    Returns
    -------
    bool
        True if `wider` is met on the way up from `name`.

    Examples
    --------
    >>> is_under("melanoma in situ", "malignant"), is_under("nevus", "malignant")
    (True, False)
    """
    step: str | None = name
    while step is not None and step != wider:
        step = thesaurus()[step].under
    return step is not None


def spellings(name: str) -> tuple[str, ...]:
    """List the ways to spell a diagnosis and those under it.

    Parameters
    ----------
    name : str
        Name of a diagnosis.

    Returns
    -------
    tuple of str
        Names and further spellings, without patterns.

    Examples
    --------
    >>> "mel" in spellings("melanoma"), "nevus" in spellings("melanoma")
    (True, False)
    """
    rows = [row for row in thesaurus().values() if is_under(row.name, name)]
    return tuple(
        text for row in rows for text in (row.name, *row.spelled) if "*" not in text and "?" not in text
    )


@cache
def _spellings() -> tuple[dict[str, str], tuple[tuple[str, str], ...]]:
    """Split the spellings into plain ones and patterns, each with its diagnosis."""
    every = [
        (plain_label(text), row.name) for row in thesaurus().values() for text in (row.name, *row.spelled)
    ]
    exact = {text: name for text, name in every if "*" not in text and "?" not in text}
    return exact, tuple((text, name) for text, name in every if text not in exact)


def plain_label(label: str) -> str:
    """Reduce a label to what counts for looking it up.

    Parameters
    ----------
    label : str
        As a data set spells it.

    Returns
    -------
    str
        In lower case, without hyphens and underscores, with ae and oe as e.

    Examples
    --------
    >>> plain_label("Dysplastic_Naevus")
    'dysplastic nevus'
    """
    text = label.casefold().replace("-", " ").replace("_", " ")
    return " ".join(text.split()).replace("ae", "e").replace("oe", "e")
