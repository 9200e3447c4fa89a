"""Guards that every verb which trains on folds keeps: no test image that a network knows, no other folds beside runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from featx.data.folds import Fold, Folds, read_folds
from featx.data.tasks import Labelled
from featx.errors import ProtocolError

__all__ = ["known_test_images", "refuse_other_folds"]


def known_test_images(
    fold: Fold, labelled: Labelled, keys: Sequence[str], trained: Collection[str] | None
) -> tuple[str, ...]:
    """Find the test images that a network was trained on, or on another image of their group.

    Parameters
    ----------
    fold : Fold
        The fold.
    labelled : Labelled
        The data set under its task.
    keys : sequence of str
        SHA-256 of each image's bytes, in the order of ``labelled.ids``.
    trained : collection of str, optional
        SHA-256 of each image that the network was trained on; None or none where it was trained on nothing known.

    Returns
    -------
    tuple of str
        Ids, in the fold's order.
    """
    if not trained:
        return ()
    groups = [str(group) for group in labelled.groups]
    seen = {group for group, key in zip(groups, keys, strict=True) if key in trained}
    rows = dict(zip(labelled.ids, zip(groups, keys, strict=True), strict=True))
    return tuple(name for name in fold.test if rows[name][0] in seen or rows[name][1] in trained)


def refuse_other_folds(path: Path, folds: Folds) -> None:
    """Refuse to add runs to a folder whose runs have other folds.

    Parameters
    ----------
    path : Path
        The fold file beside the runs; it need not exist.
    folds : Folds
        The folds to run.

    Raises
    ------
    ProtocolError
        If other folds stand there, or the file cannot be read.
    """
    if not path.exists():
        return
    standing = read_folds(path)
    if standing.digest != folds.digest:
        raise ProtocolError(
            f"{path}: runs with other folds stand here (seed {standing.seed}, {len(standing.folds)} folds), from "
            "another manifest or seed; give another --output or --arm, or --overwrite to replace them"
        )
