"""Canonical splits: folds of published data sets by image id, shipped with the package.

A file is CSV with the column ``id`` and either ``holdout`` (``train`` or ``test``), or one column for each repeat, whose
value is the number of the fold that tests the image. Empty: the image is in no fold of the repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files

import pandas as pd

from featx.errors import ProtocolError, listing

__all__ = ["CANONICAL", "canonical_splits", "compact_folds", "read_canonical"]

CANONICAL = "canonical"
"""Kind of protocol: ``canonical:NAME``."""

_HOLDOUT = "holdout"
_SHIPPED = files("featx.data") / "declared" / "splits"

_Parts = tuple[tuple[str, ...], tuple[str, ...]]


def canonical_splits() -> tuple[str, ...]:
    """List the names of the shipped splits.

    Examples
    --------
    >>> "isic2017" in canonical_splits()
    True
    """
    return tuple(
        sorted(item.name.removesuffix(".csv") for item in _SHIPPED.iterdir() if item.name.endswith(".csv"))
    )


def read_canonical(name: str) -> dict[str, _Parts]:
    """Read a shipped split.

    Parameters
    ----------
    name : str
        One of `canonical_splits`.

    Returns
    -------
    dict of str to (tuple of str, tuple of str)
        Sorted image ids of training and test set by the name of the fold: ``repeat x direction`` if there are several
        repeats, 1 to K for one, ``holdout`` for a published split.

    Raises
    ------
    ProtocolError
        If there is no such split.

    Examples
    --------
    >>> {name: (len(train), len(test)) for name, (train, test) in read_canonical("isic2017").items()}
    {'holdout': (2150, 600)}
    """
    known = canonical_splits()
    if name not in known:
        raise ProtocolError(
            f"no canonical split {name!r}; give {CANONICAL}:NAME with one of {listing(known, 20)}, or a fold file"
        )
    with (_SHIPPED / f"{name}.csv").open(encoding="utf-8") as file:
        return _folds(pd.read_csv(file, dtype=str, keep_default_na=False).set_index("id"))


def _folds(table: pd.DataFrame) -> dict[str, _Parts]:
    found: dict[str, _Parts] = {}
    for column in map(str, table):
        taken = table[column][table[column] != ""]
        if column == _HOLDOUT:
            found[column] = _parts(taken, "test")
        for number, part in enumerate(sorted({*taken} - {"train", "test"}, key=int), 1):
            found[part if table.shape[1] == 1 else f"{column}x{number}"] = _parts(taken, part)
    return found


def _parts(taken: pd.Series, tested: str) -> _Parts:
    test = taken == tested
    return tuple(sorted(taken.index[~test])), tuple(sorted(taken.index[test]))


def compact_folds(folds: Mapping[str, tuple[Iterable[str], Iterable[str]]]) -> pd.DataFrame:
    """Write folds as the table of a canonical split, the reverse of `read_canonical`.

    Parameters
    ----------
    folds : mapping of str to (iterable of str, iterable of str)
        Training and test set by the name of the fold: a holdout, K folds, or repeats of K folds.

    Returns
    -------
    pandas.DataFrame
        Column ``id`` and a column for each repeat.

    Raises
    ------
    ProtocolError
        If the folds are none of these.

    Examples
    --------
    >>> compact_folds({"1": ("a", "b"), "2": ("b", "a")}).to_dict("list")
    {'id': ['a', 'b'], '1': ['2', '1']}
    """
    columns: dict[str, dict[str, str]] = {}
    for name, (train, test) in folds.items():
        repeat, _, part = name.rpartition("x")
        told = columns.setdefault(_HOLDOUT if name == _HOLDOUT else repeat or "1", {})
        if name == _HOLDOUT:
            told |= dict.fromkeys(train, "train")
        told |= dict.fromkeys(test, "test" if name == _HOLDOUT else part)
    made = pd.DataFrame(columns, dtype=str).fillna("").rename_axis("id").sort_index()
    if _folds(made) != {name: tuple(tuple(sorted(part)) for part in parts) for name, parts in folds.items()}:
        raise ProtocolError(
            f"the folds {listing(list(folds))} cannot be written with one column for each repeat; give a holdout, kfold:K or RxK"
        )
    return made.reset_index()
