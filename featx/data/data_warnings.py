"""Warnings about a manifest: no groups, and labels that may be misspelled or meant for another class.

The warnings are shown to the user and recorded in runs; they do not change results. A thesaurus of diagnoses and their
spellings decides which labels mean the same.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources

import pandas as pd

from featx.data.manifest import Manifest
from featx.errors import listing

__all__ = [
    "Diagnosis",
    "find_diagnosis",
    "group_columns",
    "group_remarks",
    "is_under",
    "label_remarks",
    "meant_for",
    "plain_label",
    "rare_labels",
    "spelled_like",
    "spellings",
    "thesaurus",
]


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis.

    Attributes
    ----------
    name : str
        Name in the thesaurus.
    under : str or None
        Name of the next broader diagnosis.
    spelled : tuple of str
        Further spellings; may be patterns.
    """

    name: str
    under: str | None
    spelled: tuple[str, ...]


@cache
def thesaurus() -> Mapping[str, Diagnosis]:
    """Read the thesaurus that featx includes.

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
    """Find the name of a label's diagnosis; None if the thesaurus does not have the label.

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
    """Tell whether a diagnosis equals another, or is a kind of it.

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
    """List the spellings of a diagnosis and of its kinds.

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
    """Map plain spellings to their diagnosis, and list patterns with theirs."""
    every = [
        (plain_label(text), row.name) for row in thesaurus().values() for text in (row.name, *row.spelled)
    ]
    exact = {text: name for text, name in every if "*" not in text and "?" not in text}
    return exact, tuple((text, name) for text, name in every if text not in exact)


def plain_label(label: str) -> str:
    """Normalise a label for comparison: lower case, spaces, American spelling.

    Examples
    --------
    >>> plain_label("Dysplastic_Naevus")
    'dysplastic nevus'
    """
    text = label.casefold().replace("-", " ").replace("_", " ")
    return " ".join(text.split()).replace("ae", "e").replace("oe", "e")


# A label is rare if it has at most so many images, and another label at least so many times as many.
_RARE = 2


_TIMES_RARER = 10


_LIKENESS = 0.8


_SHORTEST_WORD = 4


_NEGATIONS = {"no", "non", "not", "other", "without"}


_GROUP_NAME = re.compile(
    r"(patient|subject|participant|person|individual|donor|animal|lesion|case|eye|exam|examination|visit|specimen"
    r"|slide|mrn|pid)s?(identifier|number|index|name|code|key|uid|num|nr|no|ids?)?"
)


# A column without such a name looks like groups if it has at least so many values, and so many images each on average.
_FEWEST_VALUES = 10


_MOST_IMAGES_EACH = 20


_NUMBERED = re.compile(r".*(id|ids|no|nr|num|number|code|key|index)", re.IGNORECASE)


_OF_FILES = re.compile(r"sha|md5|hash|file|path|url|date|time", re.IGNORECASE)


def group_columns(manifest: Manifest) -> dict[str, int]:
    """Find the columns that look like groups: number of values of each, most values first.

    A column's name counts (patient, lesion id, case). If no column has such a name, those count whose values look like
    identifiers that several images share.
    """
    found = {name: _values(manifest.table[name]) for name in manifest.strata}
    shared = {name: counts for name, counts in found.items() if 2 < len(counts) < counts.sum()}
    likely = {name: len(counts) for name, counts in shared.items() if _named(name)} or {
        name: len(counts) for name, counts in shared.items() if _identifiers(name, counts)
    }
    return dict(sorted(likely.items(), key=lambda item: -item[1]))


def _values(column: pd.Series[str]) -> pd.Series[int]:
    return column[column != ""].value_counts()


def _named(column: str) -> bool:
    return _GROUP_NAME.fullmatch(re.sub(r"[^a-z]", "", column.casefold())) is not None


def _identifiers(column: str, counts: pd.Series[int]) -> bool:
    """Tell whether values look like identifiers: letters and digits, or whole numbers in a column called so."""
    values = counts.index.to_series()
    many = len(counts) >= max(_FEWEST_VALUES, int(counts.sum()) / _MOST_IMAGES_EACH)
    numbers = values.str.fullmatch(r"\d+").all() and _NUMBERED.fullmatch(column)
    mixed = values.str.contains(r"\d").all() and values.str.contains(r"[^\W\d]").all()
    return many and bool(numbers or mixed) and not _OF_FILES.search(column)


def group_remarks(manifest: Manifest) -> tuple[str, ...]:
    """Warn that a manifest has no groups, and name the columns that look like groups."""
    if manifest.has_groups:
        return ()
    columns = [f"{name!r} ({count} values)" for name, count in group_columns(manifest).items()]
    if columns:
        advice = f"these columns look like groups: {listing(columns)}; rename the right one to 'group'"
    else:
        advice = (
            "add a column 'group' (patient, case or lesion); if all images are independent, equal to the id"
        )
    return (
        "the manifest has no column 'group', so the split is by image, and images of one patient or lesion may be in "
        f"both training and test set: {advice}",
    )


def label_remarks(
    absorbed: Mapping[str, int], named: Iterable[str], fate: str, rare: Collection[str] = ()
) -> tuple[str, ...]:
    """Describe labels that count as others although they may be meant for a named class.

    Gives a sentence on labels similar to a class, and one on labels of one or two images, if there are any. `fate` says
    what happens to them.
    """
    patterns = tuple(named)
    near = {label: name for label in sorted(absorbed) if (name := meant_for(label, patterns))}
    few = [label for label in sorted(absorbed) if label in rare and label not in near]
    found = []
    if near:
        shown = [
            f"{label!r} ({_images(absorbed[label])}, similar to {name!r})" for label, name in near.items()
        ]
        found.append(f"labels similar to a named class {fate}: {listing(shown, 12)}; {_ADVICE}")
    if few:
        shown = [f"{label!r} ({_images(absorbed[label])})" for label in few]
        found.append(f"labels of one or two images {fate}: {listing(shown, 12)}; {_ADVICE}")
    return tuple(found)


_ADVICE = (
    "correct the labels, or, if this is intended, list them under a class or under exclude in a task file"
)


def rare_labels(counts: Mapping[str, int]) -> tuple[str, ...]:
    """List the labels of one or two images that are rare beside the most frequent one, sorted.

    Examples
    --------
    >>> rare_labels({"nevus": 30, "melanom": 1, "": 1})
    ('melanom',)
    """
    largest = max(counts.values(), default=0)
    few = min(_RARE, largest / _TIMES_RARER)
    return tuple(sorted(label for label, count in counts.items() if label and count <= few))


def _images(count: int) -> str:
    return f"{count} image{'s' if count != 1 else ''}"


def meant_for(label: str, patterns: Iterable[str]) -> str | None:
    """Find the name that a label may be a misspelling or a kind of.

    The name is spelled similarly, or is a word of the label, or names the label's diagnosis or a broader one. None if the
    label is another diagnosis, or similar to no name.

    Examples
    --------
    >>> meant_for("melanom", ["melanoma"]), meant_for("Melanoma in situ", ["melanoma"]), meant_for("MEL", ["melanoma"])
    ('melanoma', 'melanoma', 'melanoma')
    >>> meant_for("nevus", ["melanoma"]), meant_for("non-melanoma", ["melanoma"]), meant_for("grade2", ["grade1"])
    (None, None, None)
    """
    names = {plain_label(name): name for pattern in patterns for name in _names(pattern)}
    plain, diagnosis = plain_label(label), find_diagnosis(label)
    words = f" {plain} "
    if _NEGATIONS & set(plain.split()):
        return None
    for text, name in names.items():
        wider = find_diagnosis(name)
        kind = diagnosis is not None and wider is not None and is_under(diagnosis, wider)
        if kind or (len(text) >= _SHORTEST_WORD and f" {text} " in words):
            return name
    return spelled_like(label, names.values())


def spelled_like(label: str, names: Iterable[str]) -> str | None:
    """Find the name with the most similar spelling; None if there is none.

    Names with other numbers, and names of other known diagnoses, do not count as similar.

    Examples
    --------
    >>> spelled_like("Naevus", ["nevus", "melanoma"]), spelled_like("grade1", ["grade2"])
    ('nevus', None)
    """
    plain, diagnosis = plain_label(label), find_diagnosis(label)
    candidates = {
        plain_label(name): name
        for name in names
        if re.findall(r"\d+", name) == re.findall(r"\d+", label)
        and (diagnosis is None or find_diagnosis(name) in (None, diagnosis))
    }
    close = get_close_matches(plain, candidates, n=1, cutoff=_LIKENESS)
    return candidates[close[0]] if close else None


def _names(pattern: str) -> tuple[str, ...]:
    """List the names that a pattern matches; none for a pattern of wildcards only."""
    if pattern.startswith("@"):
        return spellings(pattern[1:])
    plain = re.sub(r"\[.*?\]|[*?]", "", pattern).strip()
    return (plain,) if re.search(r"[^\W\d]", plain) and "[" not in pattern else ()
