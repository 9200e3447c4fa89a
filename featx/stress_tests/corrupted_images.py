"""Test images of runs, and corrupted copies of them in a temporary folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from featx.data import read_manifest, require_images
from featx.deploy import RunModel
from featx.errors import ImageError, RunError
from featx.images import content_keys, corrupt_image, decode_image
from featx.machine import usable_cores
from featx.progress import Progress, Silent
from featx.runs import Prediction
from featx.stress_tests.robustness_settings import RobustnessSettings

__all__ = ["CLEAN", "RunImages", "find_images", "write_images"]

CLEAN = 0
"""Severity of copies without a corruption."""


@dataclass(frozen=True, eq=False)
class RunImages:
    """Test images of the folds of an arm.

    Attributes
    ----------
    paths, keys : mapping of str to str
        Image id to the path of its file and to the SHA-256 of its bytes.
    folds : mapping of str to tuple of Prediction
        Name of a fold to the predictions that its run recorded of the chosen images.
    side : int
        Input size of the network in pixels; of several networks the largest.
    """

    paths: Mapping[str, str]
    keys: Mapping[str, str]
    folds: Mapping[str, tuple[Prediction, ...]]
    side: int


def find_images(models: Sequence[RunModel], options: RobustnessSettings) -> RunImages:
    """Find the files of the test images of all folds.

    Raises
    ------
    RunError
        If a run has no test images or scores groups.
    ManifestError
        If the manifest lacks a test image.
    ImageError
        If a file cannot be read.
    """
    for model in models:
        _refuse(model)
    folds = {model.fold: _chosen(model.run.predictions, options.limit) for model in models}
    wanted = dict.fromkeys(row.id for rows in folds.values() for row in rows)
    read = read_manifest(
        options.manifest, root=options.root, check_files=False, allow_outside=options.allow_outside
    )
    files = dict(zip(read.ids, read.paths, strict=True))
    require_images(read, tuple(wanted), "test images of the runs")
    paths = {name: files[name] for name in wanted}
    known, failures = content_keys(
        list(paths.values()), cache=options.cache, workers=options.workers, progress=options.progress
    )
    if failures:
        raise ImageError(str(next(iter(failures.values()))))
    sizes = [
        int(part.recipe["image_size"]) for model in models for part in model.parts if not part.is_imported
    ]
    keys = {name: known[path] for name, path in paths.items()}
    return RunImages(paths, keys, folds, max(sizes, default=1))


def _refuse(model: RunModel) -> None:
    if not model.run.predictions:
        raise RunError(f"{model.run.path}: has no test images; give runs of a protocol with test sets")
    if model.pooled_groups != "none":
        raise RunError(
            f"{model.run.path}: the run scores groups, and `featx robustness` scores images; train without --group-scores"
        )


def _chosen(rows: Sequence[Prediction], limit: int | None) -> tuple[Prediction, ...]:
    """Choose images in the proportions of the classes, at least one of each, by the SHA-256 of their ids."""
    if limit is None or limit >= len(rows):
        return tuple(rows)
    classes: dict[str, list[Prediction]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.id.encode()).digest()):
        classes.setdefault(row.actual, []).append(row)
    kept = {
        row.id
        for several in classes.values()
        for row in several[: max(round(limit * len(several) / len(rows)), 1)]
    }
    return tuple(row for row in rows if row.id in kept)


def write_images(
    folder: Path,
    images: RunImages,
    wanted: Sequence[tuple[str, int]],
    corruption: str,
    workers: int | None = None,
    progress: Progress | None = None,
) -> dict[str, tuple[int, str]]:
    """Write corrupted copies of images as PNG files.

    An image is decoded as for its features, so that a copy without a corruption has the pixels that the network saw.

    Parameters
    ----------
    folder : Path
        Folder for the files.
    images : RunImages
        The images.
    wanted : sequence of (str, int)
        Image id and severity of each copy; `CLEAN` for a copy of the image as it is.
    corruption : str
        Name of the corruption.
    workers : int, optional
        Number of threads. Default: one for each core.
    progress : Progress, optional
        Receiver of progress.

    Returns
    -------
    dict of str to (int, str)
        Name of each file without its ending, to severity and image id.

    Raises
    ------
    ImageError
        If an image cannot be decoded.
    """
    from PIL import Image

    tell = progress or Silent()
    by_image: dict[str, list[tuple[str, int]]] = {}
    for number, (name, severity) in enumerate(wanted):
        by_image.setdefault(name, []).append((f"{number:08d}", severity))
    folder.mkdir(parents=True)

    def write(name: str) -> int:
        import numpy as np

        pixels = np.asarray(decode_image(Path(images.paths[name]), side=images.side))
        for stem, severity in by_image[name]:
            made = (
                pixels
                if severity == CLEAN
                else corrupt_image(pixels, corruption, severity, images.keys[name])
            )
            Image.fromarray(made).save(folder / f"{stem}.png", compress_level=1)
        return len(by_image[name])

    tell.start(f"corrupting: {corruption}", len(wanted), "images")
    with ThreadPoolExecutor(workers or usable_cores()) as pool:
        for count in pool.map(write, by_image):
            tell.advance(count)
    tell.finish()
    return {stem: (severity, name) for name, several in by_image.items() for stem, severity in several}
