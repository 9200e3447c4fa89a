"""Synthetic images of skin lesions and retinas, with a manifest, for demonstrations and tests.

An image depends on the seed and on its own number alone, so that a larger data set begins with the smaller one.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from featx.cells import csv_text
from featx.data.synthetic_images import (
    DIFFICULTIES,
    GRADES,
    Pixels,
    draw_photograph,
    draw_retina_photograph,
    invent_lesion,
)
from featx.errors import ConfigError
from featx.files import write_text
from featx.progress import Progress, Silent

__all__ = ["draw_dermoscopy", "draw_retina"]

_Row = dict[str, str]
_JPEG_QUALITY = 92
# First numbers of the random seeds, so that the two data sets have nothing in common.
_DERMOSCOPY, _RETINA = 101, 102
# Of five photographs in a row the last two show the same lesion.
_PHOTOGRAPHS, _LESIONS = 5, 4
# Diagnoses of twenty lesions in a row, in shuffled order.
_DIAGNOSES = (
    ("nevus",) * 9 + ("melanoma",) * 5 + ("seborrheic keratosis",) * 3 + ("basal cell carcinoma",) * 3
)


def draw_dermoscopy(
    folder: Path | str, *, images: int = 400, size: int = 128, seed: int = 0, progress: Progress | None = None
) -> Path:
    """Make synthetic dermoscopic images of four diagnoses, in three difficulties.

    Parameters
    ----------
    folder : Path or str
        Where to write ``images/`` and ``manifest.csv`` (``image``, ``id``, ``label``, ``group``: the lesion,
        ``difficulty``). Files of the same names are replaced.
    images : int
        Number of images. Of five in a row, two show the same lesion.
    size : int
        Width and height of each image in pixels, at least 16.
    seed : int
        Random seed.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from featx import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_dermoscopy(folder, images=5, size=16))
    >>> manifest.table[["id", "group"]].tail(2).to_numpy().tolist()
    [['derm00003', 'lesion00003'], ['derm00004', 'lesion00003']]
    """
    return _draw(Path(folder), _dermoscopic, images, size, seed, "draw dermoscopy", progress)


def draw_retina(
    folder: Path | str, *, images: int = 600, size: int = 128, seed: int = 0, progress: Progress | None = None
) -> Path:
    """Make synthetic photographs of the retina in five grades, as a source task.

    Parameters
    ----------
    folder : Path or str
        Where to write ``images/`` and ``manifest.csv`` (``image``, ``id``, ``label``: grade0 to grade4,
        ``group``: the patient, whose two eyes follow each other).
    images, size, seed, progress
        As in `draw_dermoscopy`.

    Returns
    -------
    Path
        The manifest.

    Raises
    ------
    ConfigError
        If a number is out of range.

    Examples
    --------
    >>> import tempfile
    >>> from featx import read_manifest
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = read_manifest(draw_retina(folder, images=2, size=16))
    >>> manifest.ids
    ['eye00000_left', 'eye00000_right']
    """
    return _draw(Path(folder), _retinal, images, size, seed, "draw retinas", progress)


def _draw(
    folder: Path,
    make: Callable[[int, int, int], tuple[_Row, Pixels]],
    images: int,
    size: int,
    seed: int,
    task: str,
    progress: Progress | None,
) -> Path:
    if images < 1 or size < 16 or seed < 0:
        raise ConfigError(
            f"synthetic images need images >= 1, size >= 16 and seed >= 0, got {images}, {size} and {seed}"
        )
    receiver = progress or Silent()
    receiver.start(task, images)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(images):
        row, pixels = make(number, size, seed)
        row["image"] = f"images/{row['id']}.jpg"
        (folder / row["image"]).write_bytes(_jpeg(pixels))
        rows.append(row)
        receiver.advance()
    receiver.finish()
    # The manifest is written last: where it exists, every image does.
    columns = ["image", *(name for name in rows[0] if name != "image")]
    manifest = folder / "manifest.csv"
    write_text(manifest, csv_text([columns, *([row[name] for name in columns] for row in rows)]))
    return manifest


def _jpeg(pixels: Pixels) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _dermoscopic(number: int, size: int, seed: int) -> tuple[_Row, Pixels]:
    place = number % _PHOTOGRAPHS
    case = number // _PHOTOGRAPHS * _LESIONS + min(place, _LESIONS - 1)
    block, turn = divmod(case, len(_DIAGNOSES))
    order = np.random.default_rng((_DERMOSCOPY, seed, 0, block)).permutation(len(_DIAGNOSES))
    rng = np.random.default_rng((_DERMOSCOPY, seed, 1, case))
    difficulty = list(DIFFICULTIES)[int(rng.integers(len(DIFFICULTIES)))]
    lesion = invent_lesion(_DIAGNOSES[order[turn]], difficulty, (_DERMOSCOPY, seed, 2, case))
    row = {
        "id": f"derm{number:05d}",
        "label": lesion.diagnosis,
        "group": f"lesion{case:05d}",
        "difficulty": difficulty,
    }
    return row, draw_photograph(lesion, (_DERMOSCOPY, seed, 3, number), size)


def _retinal(number: int, size: int, seed: int) -> tuple[_Row, Pixels]:
    patient, right = divmod(number, 2)
    block, turn = divmod(patient, len(GRADES))
    order = np.random.default_rng((_RETINA, seed, 0, block)).permutation(len(GRADES))
    rng = np.random.default_rng((_RETINA, seed, 1, number))
    # Mostly both eyes are of one grade; some are a grade apart.
    grade = int(np.clip(order[turn] + rng.choice((0, 0, 0, -1, 1)), 0, len(GRADES) - 1))
    row = {
        "id": f"eye{patient:05d}_{'right' if right else 'left'}",
        "label": GRADES[grade],
        "group": f"patient{patient:05d}",
    }
    return row, draw_retina_photograph(GRADES[grade], bool(right), (_RETINA, seed, 2, number), size)
