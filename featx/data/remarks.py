"""What in a manifest may be a mistake that no rule forbids: groups that nothing names, labels that are slips.

Nothing here decides anything: remarks are told to the user and stand in the records of runs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches

import pandas as pd

from featx.data.manifest import Manifest
from featx.data.thesaurus import find_diagnosis, is_under, plain_label, spellings
from featx.errors import listing

__all__ = ["group_columns", "group_remarks", "label_remarks", "meant_for", "rare_labels", "spelled_like"]

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

    Parameters
    ----------
    manifest : Manifest
        What to look at.

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
    """Say that a manifest names no groups, and which of its columns may.

    Parameters
    ----------
    manifest : Manifest
        What is to be split.

    Returns
    -------
    tuple of str
        One sentence, or none where there is a column ``group``.
    """
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

    Parameters
    ----------
    absorbed : mapping of str to int
        Labels that no pattern names, and their images.
    named : iterable of str
        The task's patterns that name labels.
    fate : str
        What becomes of them, such as ``"count as 'rest'"``.
    rare : collection of str
        Labels to name too, since they are rare (`rare_labels`).

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

    Parameters
    ----------
    counts : mapping of str to int
        Labels and their images.

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

    Parameters
    ----------
    label : str
        A label that matches none of the patterns.
    patterns : iterable of str
        Labels, or ``@`` and the name of a diagnosis for all its spellings.

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

    Parameters
    ----------
    label : str
        A label.
    names : iterable of str
        Other labels.

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
