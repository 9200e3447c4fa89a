"""What in a manifest may be a mistake that no rule forbids: groups that nothing names, labels that are slips.

Nothing here decides anything: remarks are told to the user and stand in the records of runs.
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

    Examples
    --------
    >>> plain_label("Dysplastic_Naevus")
    'dysplastic nevus'
    """
    text = label.casefold().replace("-", " ").replace("_", " ")
    return " ".join(text.split()).replace("ae", "e").replace("oe", "e")


# A label of so few images, where another has so many times as many.
_RARE = 2


_TIMES_RARER = 10


_LIKENESS = 0.8


_SHORTEST_WORD = 4


_NEGATIONS = {"no", "non", "not", "other", "without"}


_GROUP_NAME = re.compile(
    r"(patient|subject|participant|person|individual|donor|animal|lesion|case|eye|exam|examination|visit|specimen"
    r"|slide|mrn|pid)s?(identifier|number|index|name|code|key|uid|num|nr|no|ids?)?"
)


# What a column needs, beside values that repeat, to look like names of groups without such a name.
_FEWEST_VALUES = 10


_MOST_IMAGES_EACH = 20


_NUMBERED = re.compile(r".*(id|ids|no|nr|num|number|code|key|index)", re.IGNORECASE)


_OF_FILES = re.compile(r"sha|md5|hash|file|path|url|date|time", re.IGNORECASE)


def group_columns(manifest: Manifest) -> dict[str, int]:
    """Find the columns that look like names of groups.

    Returns
    -------
    dict of str to int
        Column to number of its values, most values first. A column's name counts (patient, lesion id, case); where
        none has such a name, values that look like identifiers, many of them, and some shared by several images.
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
    """Tell whether values look like identifiers: letters and digits, or whole numbers in a column named after them."""
    values = counts.index.to_series()
    many = len(counts) >= max(_FEWEST_VALUES, int(counts.sum()) / _MOST_IMAGES_EACH)
    numbers = values.str.fullmatch(r"\d+").all() and _NUMBERED.fullmatch(column)
    mixed = values.str.contains(r"\d").all() and values.str.contains(r"[^\W\d]").all()
    return many and bool(numbers or mixed) and not _OF_FILES.search(column)


def group_remarks(manifest: Manifest) -> tuple[str, ...]:
    """Say that a manifest names no groups, and which of its columns may."""
    if manifest.has_groups:
        return ()
    columns = [f"{name!r} ({count} values)" for name, count in group_columns(manifest).items()]
    if columns:
        mend = f"these columns look like groups: {listing(columns)}; rename the one that is meant to 'group'"
    else:
        mend = (
            "add a column 'group' (patient, case or lesion), equal to the id where all images are independent"
        )
    return (
        "the manifest has no column 'group', so the split is by image, and images of one patient or lesion may be in "
        f"both training and test set: {mend}",
    )


def label_remarks(
    absorbed: Mapping[str, int], named: Iterable[str], fate: str, rare: Collection[str] = ()
) -> tuple[str, ...]:
    """Name the labels that a task treats as others although they may be meant for one of its classes.

    Returns
    -------
    tuple of str
        A sentence for labels near to a class, and one for labels of one or two images; none where there are none.
    """
    patterns = tuple(named)
    near = {label: name for label in sorted(absorbed) if (name := meant_for(label, patterns))}
    few = [label for label in sorted(absorbed) if label in rare and label not in near]
    found = []
    if near:
        shown = [f"{label!r} ({_images(absorbed[label])}, near {name!r})" for label, name in near.items()]
        found.append(f"labels near to a named class {fate}: {listing(shown, 12)}; {_MEND}")
    if few:
        shown = [f"{label!r} ({_images(absorbed[label])})" for label in few]
        found.append(f"labels of one or two images {fate}: {listing(shown, 12)}; {_MEND}")
    return tuple(found)


_MEND = "correct the labels, or list them under a class or under exclude in a task file if this is meant"


def rare_labels(counts: Mapping[str, int]) -> tuple[str, ...]:
    """List the labels of one or two images.

    Returns
    -------
    tuple of str
        Sorted; those of labels that are rare beside the most frequent one, and so may be slips.

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
    """Find the name that a label may be a slip, or a kind, of.

    Returns
    -------
    str or None
        The name: spelled alike, or within the label as a word, or its diagnosis is that of the label or a wider
        one; None where the label is another diagnosis, or like none of them.

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
    """Find the name that is spelled most like a label.

    Returns
    -------
    str or None
        None where none is alike; names with other numbers and other known diagnoses are not.

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
    """Give the names that a pattern stands for; none for one that is all wildcards."""
    if pattern.startswith("@"):
        return spellings(pattern[1:])
    plain = re.sub(r"\[.*?\]|[*?]", "", pattern).strip()
    return (plain,) if re.search(r"[^\W\d]", plain) and "[" not in pattern else ()
