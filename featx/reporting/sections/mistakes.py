"""The most confident mistakes: test images with the largest margin on the wrong side, averaged over folds."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from featx.data import Manifest, read_manifest
from featx.errors import ImageError
from featx.images import load_image
from featx.reporting.series import Series
from featx.reporting.summary import Summary
from featx.reporting.tables import Column, Filled
from featx.runs import Prediction

from .columns import PLACE

__all__ = ["SHOWN", "Mistake", "find_mistakes", "mistakes", "thumbnails"]

# Mistakes of an arm in the table.
SHOWN = 8
# Width and height of a thumbnail, in pixels.
_SIDE = 176


@dataclass(frozen=True)
class Mistake:
    """An image that an arm assigns to the wrong class.

    Attributes
    ----------
    id : str
        Image id.
    actual, taken : str
        Its class, and the predicted one.
    margin : float
        Decision value of the predicted class minus that of its class, averaged over the folds that test it.
    sd : float
        Standard deviation of the margin over these folds; NaN for one.
    folds : int
        Number of these folds.
    """

    id: str
    actual: str
    taken: str
    margin: float
    sd: float
    folds: int


def find_mistakes(series: Series, most: int = SHOWN) -> tuple[Mistake, ...]:
    """Find an arm's most confident mistakes.

    Parameters
    ----------
    series : Series
        An arm on a task.
    most : int
        Largest number of mistakes.

    Returns
    -------
    tuple of Mistake
        The largest mean margin first. Images that are right on average are left out.
    """
    rows: dict[str, list[Prediction]] = {}
    for run in series.runs:
        for row in run.predictions:
            rows.setdefault(row.id, []).append(row)
    found = [_mistake(image, tests, series) for image, tests in rows.items()]
    wrong = sorted((item for item in found if item.margin > 0), key=lambda item: (-item.margin, item.id))
    return tuple(wrong[:most])


def _mistake(image: str, tests: Sequence[Prediction], series: Series) -> Mistake:
    actual = tests[0].actual
    others = [name for name in series.classes if name != actual]
    gaps = np.array(
        [[_score(row, name, series) - _score(row, actual, series) for name in others] for row in tests]
    )
    margins = gaps.max(axis=1)
    sd = float(margins.std(ddof=1)) if len(margins) > 1 else float("nan")
    return Mistake(
        image, actual, others[int(gaps.mean(axis=0).argmax())], float(margins.mean()), sd, len(tests)
    )


def _score(row: Prediction, name: str, series: Series) -> float:
    """Score of a class; in a two-class task half the decision value for either side."""
    if len(series.scored) > 1:
        return row.scores[name]
    value = row.scores[series.scored[0]] / 2
    return value if name == series.scored[0] else -value


def mistakes(summary: Summary) -> Filled:
    """Fill the table of the most confident mistakes of every arm."""
    rows = [
        (
            *(one.task, one.protocol, one.arm),
            *(item.id, item.actual, item.taken, item.margin, item.sd),
            "test set" if len(one.runs) == 1 else item.folds,
        )
        for one in summary.series
        for item in find_mistakes(one)
    ]
    columns = (
        *PLACE,
        Column("image", "Image", text=True),
        *(Column("class", "True class", text=True), Column("taken", "Predicted class", text=True)),
        *(Column("margin", "Margin"), Column("sd", "SD"), Column("folds", "Folds")),
    )
    return Filled(columns, rows)


def thumbnails(
    images: Sequence[str], manifest: Path | str | Manifest, root: Path | str | None = None, side: int = _SIDE
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Make thumbnails for the page.

    Returns
    -------
    dict of str to str
        Image id to a ``data:`` address of a JPEG, the central square.
    tuple of str
        Warnings about images without a thumbnail.
    """
    from PIL import Image

    read = read_manifest(manifest, root=root, check_files=False)
    paths = dict(zip(read.ids, read.paths, strict=True))
    made, missing = {}, []
    for name in dict.fromkeys(images):
        if name not in paths:
            missing.append(f"No thumbnail of {name}: the manifest {read.name} does not contain it.")
            continue
        try:
            pixels = load_image(Path(paths[name]), "center-square", side)
        except ImageError as error:
            missing.append(f"No thumbnail of {name}: {error}.")
            continue
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=85)
        made[name] = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
    return made, tuple(missing)
