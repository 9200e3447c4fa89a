"""The comparison of an exported model with featx, on images of the run or on synthetic ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from featx.data import Manifest, draw_dermoscopy, read_manifest
from featx.deploy.exports.export_graph import PROBABILITY, SCORE
from featx.deploy.run_model import RunModel
from featx.errors import ExportError, RunError
from featx.images import load_image

if TYPE_CHECKING:
    from featx.svm import SvmModel
    from featx.zoo import Network

__all__ = [
    "LIMIT",
    "Agreement",
    "CheckImages",
    "compare",
    "images_of_run",
    "reference_scores",
    "synthetic_images",
]

LIMIT = 1e-4
"""Largest difference of a decision value from that of featx, relative to it. Values below 1 count as 1, but where all are
below 0.1, as those of an SVM with a small C, as ten times the largest."""

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_BATCH = 4


@dataclass(frozen=True, eq=False)
class CheckImages:
    """Prepared images to compare on.

    Attributes
    ----------
    source : str
        Where they come from, for messages.
    ids : tuple of str
        Their ids.
    pixels : ndarray of uint8, shape (n, image_size, image_size, 3)
        As the network takes them.
    recorded : mapping of str to mapping
        Decision values by id and class, where the run has recorded them.
    """

    source: str
    ids: tuple[str, ...]
    pixels: Pixels
    recorded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """How far an exported model is from featx.

    Attributes
    ----------
    images : int
        Number of images compared.
    source : str
        Where they come from.
    scores : float
        Largest difference of a decision value, relative as that of `LIMIT`.
    probabilities : float or None
        Largest difference of a predicted probability from the calibration of the same decision value; None without.
    recorded : float or None
        Largest difference of a decision value from the one in the run's record, likewise; None if no image has one.
    """

    images: int
    source: str
    scores: float
    probabilities: float | None
    recorded: float | None


def images_of_run(
    model: RunModel,
    manifest: Manifest | Path | str,
    count: int,
    *,
    root: Path | str | None,
    allow_outside: bool,
) -> CheckImages:
    """Load images of a run's test set, or of its training set if it has no test set.

    Raises
    ------
    RunError
        If the manifest has none of them.
    ImageError
        If one cannot be read.
    """
    read = read_manifest(manifest, root=root, check_files=False, allow_outside=allow_outside)
    files = dict(zip(read.ids, read.paths, strict=True))
    tested = {row.id: row.scores for row in model.run.predictions if row.id in files}
    known = list(tested) or [one.id for one in model.training if one.id in files]
    if not known:
        raise RunError(
            f"{read.source}: has no image of the test set or training set of {model.run.path}; give the manifest of the "
            "run, or leave --manifest out to compare on synthetic images"
        )
    chosen = [known[place] for place in np.unique(np.linspace(0, len(known) - 1, count).astype(int))]
    pixels = _prepared(model, [Path(files[name]) for name in chosen])
    recorded = tested if model.pooled_groups == "none" else {}
    return CheckImages(f"images of {read.name}", tuple(chosen), pixels, recorded)


def synthetic_images(model: RunModel, count: int) -> CheckImages:
    """Draw synthetic dermoscopic images and prepare them as the run does."""
    with tempfile.TemporaryDirectory() as folder:
        size = max(int(model.recipe["image_size"]), 64)
        read = read_manifest(draw_dermoscopy(folder, images=count, size=size))
        return CheckImages("synthetic images", tuple(read.ids), _prepared(model, list(map(Path, read.paths))))


def _prepared(model: RunModel, paths: list[Path]) -> Pixels:
    name, side = model.recipe["preparation"]["name"], int(model.recipe["image_size"])
    return np.stack([load_image(path, name, side) for path in paths])


def _batches(pixels: Pixels) -> Iterator[Pixels]:
    """Part images into batches, of which the first has one image: a batch may have any size."""
    yield pixels[:1]
    for start in range(1, len(pixels), _BATCH):
        yield pixels[start : start + _BATCH]


def reference_scores(network: Network, svm: SvmModel, pixels: Pixels) -> Floats:
    """Compute decision values as featx does, in float32 by Keras and in float64 by the SVM.

    Returns
    -------
    ndarray of float64, shape (n, scored classes)
        Decision values.
    """
    import keras

    def features(batch: Pixels) -> Any:
        return keras.ops.convert_to_numpy(network.model(batch.astype(np.float32), training=False))

    found = np.concatenate([features(batch).reshape(len(batch), -1) for batch in _batches(pixels)])
    return svm.scores(found, svm.recipe_digest)


def compare(
    run: Callable[[Pixels], Mapping[str, npt.NDArray[Any]]],
    images: CheckImages,
    wanted: Floats,
    svm: SvmModel,
    *,
    calibrated: bool,
) -> Agreement:
    """Compare an exported model with featx.

    Parameters
    ----------
    run : callable
        The exported model: a function from prepared pixels to its outputs by name.
    images : CheckImages
        Images.
    wanted : ndarray of float64, shape (n, scored classes)
        Decision values of featx, from `reference_scores`.
    svm : SvmModel
        The SVMs, for the calibration.
    calibrated : bool
        Whether the exported model has predicted probabilities.

    Raises
    ------
    ExportError
        If a difference is larger than `LIMIT`.
    """
    outputs = [run(batch) for batch in _batches(images.pixels)]
    scores = np.concatenate([one[SCORE] for one in outputs]).astype(np.float64)
    far = _differences(scores, wanted)
    _refuse(far, images, "decision values")
    chance = None
    if calibrated:
        found = np.concatenate([one[PROBABILITY] for one in outputs]).astype(np.float64)
        # Of the exported decision values: a steep curve would enlarge their own small differences.
        off = _differences(found, svm.probabilities(scores))
        _refuse(off, images, "predicted probabilities")
        chance = float(off.max())
    return Agreement(len(images.ids), images.source, float(far.max()), chance, _recorded(scores, images, svm))


def _differences(found: Floats, wanted: Floats) -> Floats:
    if found.shape != wanted.shape:
        return np.full(len(wanted), np.inf)
    size = np.abs(wanted)
    least = np.clip(10 * size.max(axis=0), 1e-9, 1)
    return np.asarray((np.abs(found - wanted) / np.maximum(least, size)).max(axis=1))


def _refuse(differences: Floats, images: CheckImages, what: str) -> None:
    if bool((differences <= LIMIT).all()):
        return
    worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    raise ExportError(
        f"the exported model computes other {what} than featx: difference {differences[worst]:.2g} for image "
        f"{images.ids[worst]} ({images.source}), allowed {LIMIT:g}; nothing was written; try another --format"
    )


def _recorded(scores: Floats, images: CheckImages, svm: SvmModel) -> float | None:
    pairs = [
        (scores[place], [images.recorded[name][one] for one in svm.scored])
        for place, name in enumerate(images.ids)
        if name in images.recorded
    ]
    if not pairs:
        return None
    found, stated = (np.array(side) for side in zip(*pairs, strict=True))
    return float(_differences(found, stated).max())
