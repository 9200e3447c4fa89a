"""Canonical splits: folds of published data sets by image id, shipped with the package.

A file is CSV with the column ``id`` and either ``holdout`` (``train`` or ``test``), or one column for each repeat, whose
value is the number of the fold that tests the image. Empty: the image is in no fold of the repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import pandas as pd

from featx.data.folds import Fold, Folds
from featx.errors import ProtocolError, listing

__all__ = ["CANONICAL", "canonical_splits", "compact_folds", "read_canonical"]

CANONICAL = "canonical"
"""Kind of protocol: ``canonical:NAME``."""

_HOLDOUT = "holdout"
_SHIPPED = files("featx.data") / "declared" / "splits"


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


def read_canonical(name: str) -> Folds:
    """Read a shipped split.

    Parameters
    ----------
    name : str
        One of `canonical_splits`.

    Returns
    -------
    Folds
        Named ``repeat x direction`` if there are several repeats, 1 to K for one, ``holdout`` for a published split.

    Raises
    ------
    ProtocolError
        If there is no such split.

    Examples
    --------
    >>> folds = read_canonical("isic2017")
    >>> folds.names, len(folds.folds[0].train), len(folds.folds[0].test)
    (('holdout',), 2150, 600)
    """
    known = canonical_splits()
    if name not in known:
        raise ProtocolError(
            f"no canonical split {name!r}; give {CANONICAL}:NAME with one of {listing(known, 20)}, or a fold file"
        )
    with (_SHIPPED / f"{name}.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("id")
    folds = [fold for column in table for fold in _of_repeat(str(column), table[column], table.shape[1])]
    return Folds(f"{CANONICAL}:{name}", 0, tuple(folds))


def _of_repeat(column: str, parts: pd.Series, repeats: int) -> list[Fold]:
    taken = parts[parts != ""]
    if column == _HOLDOUT:
        return [_fold(_HOLDOUT, taken, "test")]
    numbers = sorted(set(taken), key=int)
    return [
        _fold(part if repeats == 1 else f"{column}x{number}", taken, part)
        for number, part in enumerate(numbers, 1)
    ]


def _fold(name: str, parts: pd.Series, tested: str) -> Fold:
    test = parts == tested
    return Fold(name, tuple(sorted(parts.index[~test])), tuple(sorted(parts.index[test])))


def compact_folds(folds: Folds) -> pd.DataFrame:
    """Write folds as the table of a canonical split, the reverse of `read_canonical`.

    Parameters
    ----------
    folds : Folds
        Of a holdout, of K folds, or of repeats of K folds; each image is tested once in each repeat.

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
    >>> halves = (Fold("1x1", ("a",), ("b",)), Fold("1x2", ("b",), ("a",)))
    >>> compact_folds(Folds("1x2", 0, halves)).to_csv(index=False).split()
    ['id,1', 'a,2', 'b,1']
    """
    columns: dict[str, dict[str, str]] = {}
    for fold in folds.folds:
        repeat, _, part = fold.name.rpartition("x")
        column = _HOLDOUT if fold.name == _HOLDOUT else repeat or "1"
        told = columns.setdefault(column, {})
        if column == _HOLDOUT:
            told |= dict.fromkeys(fold.train, "train")
        told |= dict.fromkeys(fold.test, "test" if column == _HOLDOUT else part)
    made = pd.DataFrame(columns, dtype=str).fillna("").rename_axis("id").sort_index()
    _check(made, folds)
    return made.reset_index()


def _check(table: pd.DataFrame, folds: Folds) -> None:
    found: Sequence[Fold] = [
        fold for column in table for fold in _of_repeat(str(column), table[column], table.shape[1])
    ]
    given = [Fold(fold.name, tuple(sorted(fold.train)), tuple(sorted(fold.test))) for fold in folds.folds]
    if sorted(found, key=str) != sorted(given, key=str):
        raise ProtocolError(
            f"the folds of {folds.protocol} cannot be written with one column for each repeat; give a holdout, kfold:K or RxK"
        )
