"""The verb `saliency`: saliency maps of the most confident mistakes of runs, or of chosen images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from featx.data import Manifest, read_manifest
from featx.errors import ConfigError, ImageError, RunError, listing
from featx.features import network_of, recipe_of
from featx.files import write_bytes
from featx.images import load_image
from featx.progress import Progress, Silent
from featx.reporting import SaliencyMap, Series, collect, find_mistakes, write_index
from featx.runs import Prediction, Run
from featx.saliency_maps.gradcam import Halves, grad_cam, halve
from featx.svm import Scaler, SvmModel, load_model, prepare_rows

__all__ = ["Saliency", "decision_gradient", "overlay", "saliency"]


Floats = npt.NDArray[np.float64]


def decision_gradient(
    model: SvmModel, feature: npt.NDArray[np.floating[Any]], towards: str
) -> tuple[float, Floats]:
    """Compute the decision value for a class, and its gradient with respect to the feature.

    Parameters
    ----------
    feature : ndarray of float, shape (d,)
        An image's feature, unscaled.

    Returns
    -------
    value : float
        Decision value; higher values mean the class.
    gradient : ndarray of float64, shape (d,)
        Its derivative, through the scaling.
    """
    if towards not in model.classes:
        raise ConfigError(f"no class {towards!r} in this run; its classes: {', '.join(model.classes)}")
    sign = 1.0 if towards in model.scored else -1.0
    one = model.decisions[model.scored.index(towards) if towards in model.scored else 0]
    value = float(one.scaler.scores(feature[None], one.weights[:, None])[0, 0]) + one.intercept
    return sign * value, sign * _through_scaling(one.scaler, one.weights, feature.astype(np.float64))


def _through_scaling(scaler: Scaler, weights: Floats, feature: Floats) -> Floats:
    if scaler.name in ("l2", "root"):
        (prepared,), (length,) = prepare_rows(scaler.name, feature[None])
        # Of w . x / |x|: a longer feature changes nothing, so that the part of w along x is taken out.
        unit = prepared / length
        gradient = np.asarray((weights - (weights @ unit) * unit) / length)
        return gradient if scaler.name == "l2" else gradient * _root_slopes(prepared)
    gradient = scaler.components @ weights if scaler.components.size else weights
    return np.asarray(gradient * scaler.factor if scaler.factor.size else gradient)


def _root_slopes(roots: Floats) -> Floats:
    """Differentiate the signed root, from its values; 0 at 0, where a channel of a feature map is 0 everywhere."""
    return np.divide(0.5, np.abs(roots), out=np.zeros(len(roots)), where=roots != 0)


# Viridis (Smith & van der Walt 2015) at five places: even steps of lightness, readable without colour vision.
_COLOURS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)


_STRONGEST = 0.75


def overlay(pixels: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating[Any]]) -> bytes:
    """Lay a saliency map over its image.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The image.
    heat : ndarray of float, shape (rows, columns)
        From 0 to 1; resized to the image by bilinear interpolation.

    Returns
    -------
    bytes
        A PNG of the size of the image. Where the map is 0 it shows the image only.

    Examples
    --------
    >>> overlay(np.zeros((8, 8, 3), np.uint8), np.eye(2))[1:4]
    b'PNG'
    """
    from PIL import Image

    height, width, _ = pixels.shape
    small = Image.fromarray(heat.astype(np.float32))
    wide = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR), np.float64)
    share = _STRONGEST * wide[..., None]
    steps = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(wide, steps, channel) for channel in _COLOURS.T], axis=-1)
    mixed = (1 - share) * pixels + share * colours
    buffer = BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


_SIDE = 352


# Largest relative difference of a decision value from the recorded one that engines of single precision reach.
_AGREEMENT = 0.01


@dataclass(frozen=True)
class Saliency:
    """Saliency maps that were written.

    Attributes
    ----------
    output : Path
        Their folder.
    maps : tuple of SaliencyMap
        One for each image file.
    warnings : tuple of str
        Images without a map, and maps to be read with care.
    """

    output: Path
    maps: tuple[SaliencyMap, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Wanted:
    """One map to make."""

    series: Series
    run: Run
    row: Prediction
    towards: str


@dataclass(frozen=True)
class _Tools:
    """Recipe and network of the maps of the same features."""

    recipe: dict[str, Any]
    halves: Halves


def saliency(
    paths: Sequence[Path | str] | Path | str,
    *,
    manifest: Path | str | Manifest,
    root: Path | str | None = None,
    allow_outside: bool = False,
    images: Sequence[str] = (),
    output: Path | str = "reports/saliency",
    layer: str | None = None,
    weights: str | Path | None = None,
    cache: Path | str = "cache",
    progress: Progress | None = None,
) -> Saliency:
    """Map which parts of an image raise the decision value of the class that an SVM predicts, by Grad-CAM.

    The gradient of the decision value passes through the scaling of the features into the network. A map is of the
    image itself, even if its features were averaged over augmented views.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders of `featx train-svm`, or folders that hold some.
    manifest : Path, str or Manifest
        Manifest with the image files.
    root : Path or str, optional
        Folder that the manifest's paths are relative to.
    allow_outside : bool
        Follow image paths that lead out of it.
    images : sequence of str
        Image ids to map. Default: the most confident mistakes of each arm. If several folds test an image, the one
        with the highest decision value is taken.
    output : Path or str
        Folder for the PNG files and their index; files of the same names are replaced.
    layer : str, optional
        Layer of the network to map. Default: the last feature map before the pooling.
    weights : str or Path, optional
        Weights source of the network. Default: the one recorded by the feature store in the cache.
    cache : Path or str
        Folder of caches.
    progress : Progress, optional
        Receiver of progress and messages.

    Returns
    -------
    Saliency
        The maps that were written.

    Raises
    ------
    RunError
        If there is no SVM run, or no run tests a chosen image.
    WeightsError
        If the weights of the network are unknown, or the features are from other weights.
    BackboneError
        If the network has no such layer, or no layer with spatial positions.

    Examples
    --------
    ::

        maps = featx.saliency("reports/runs", manifest="lesions.csv", output="reports/saliency")
        featx.report("reports/runs", saliency=maps.output)
    """
    tell = progress or Silent()
    wanted = _wanted([paths] if isinstance(paths, str | Path) else list(paths), images)
    read = read_manifest(manifest, root=root, check_files=False, allow_outside=allow_outside)
    files = dict(zip(read.ids, read.paths, strict=True))
    target, warnings, maps = Path(output), list[str](), list[SaliencyMap]()
    tell.start("saliency", len(wanted), "maps")
    models = {item.run.path: load_model(item.run.path) for item in wanted}
    # One network at a time, because several may not fit into memory.
    for digest in dict.fromkeys(model.recipe_digest for model in models.values()):
        here = [item for item in wanted if models[item.run.path].recipe_digest == digest]
        recipe = recipe_of(here[0].run, digest)
        tools = _Tools(dict(recipe), halve(network_of(recipe, digest, weights, cache), layer))
        for item in here:
            made = _map(item, models[item.run.path], tools, files, target, warnings)
            maps += [made] if made else []
            tell.advance()
    tell.finish()
    order = {(item.series.setting, item.series.arm, item.row.id): place for place, item in enumerate(wanted)}
    maps.sort(key=lambda item: order[(item.task, item.protocol), item.arm, item.image])
    write_index(target, maps)
    return Saliency(target, tuple(maps), tuple(warnings))


def _wanted(paths: Sequence[Path | str], images: Sequence[str]) -> list[_Wanted]:
    series = [item for item in collect(paths)[0] if item.runs[0].record.kind == "svm"]
    if not series:
        raise RunError(
            f"{listing([str(path) for path in paths])}: no SVM run; give run folders of `featx train-svm`"
        )
    found: list[_Wanted] = []
    for item in series:
        if images:
            found += [made for name in dict.fromkeys(images) if (made := _most_confident(item, name))]
        else:
            found += [
                made for one in find_mistakes(item) if (made := _most_confident(item, one.id, one.taken))
            ]
    unknown = [name for name in images if all(name != item.row.id for item in found)]
    if unknown:
        raise RunError(
            f"no run tests the image {listing(unknown)}; give ids from predictions.csv of the runs"
        )
    return found


def _most_confident(series: Series, image: str, towards: str | None = None) -> _Wanted | None:
    """Return the fold with the highest decision value for a class, by default for the class it predicts."""
    tests = [(run, row) for run in series.runs for row in run.predictions if row.id == image]
    names = [towards] if towards else list(series.classes)
    found = [
        (_value(row, name, series), _Wanted(series, run, row, name)) for run, row in tests for name in names
    ]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _value(row: Prediction, name: str, series: Series) -> float:
    return row.scores[name] if name in row.scores else -row.scores[series.scored[0]]


def _map(
    item: _Wanted,
    model: SvmModel,
    tools: _Tools,
    files: dict[str, str],
    target: Path,
    warnings: list[str],
) -> SaliencyMap | None:
    name, series = item.row.id, item.series
    what = f"{series.arm}, {series.task}, fold {item.run.record.fold}: image {name}"
    if name not in files:
        warnings.append(f"{what}: not in the manifest, so it has no map")
        return None
    preparation = tools.recipe["preparation"]["name"]
    try:
        pixels = load_image(Path(files[name]), preparation, tools.halves.front.inputs[0].shape[1])
        shown = load_image(Path(files[name]), preparation, _SIDE)
    except ImageError as error:
        warnings.append(f"{what}: {error}, so it has no map")
        return None
    value, heat = grad_cam(
        tools.halves,
        pixels,
        lambda feature: decision_gradient(model, feature, item.run.own_name(item.towards)),
    )
    warnings += _doubts(what, value, _value(item.row, item.towards, series), heat, tools.recipe)
    file = _file_name(series, name)
    write_bytes(target / file, overlay(shown, heat))
    return SaliencyMap(
        task=series.task,
        protocol=series.protocol,
        arm=series.arm,
        fold=item.run.record.fold,
        image=name,
        towards=item.towards,
        value=value,
        layer=tools.halves.layer,
        file=file,
    )


def _doubts(
    what: str, value: float, recorded: float, heat: np.ndarray[Any, Any], recipe: dict[str, Any]
) -> list[str]:
    """Warn of an empty map, and of a decision value that differs from that of the run."""
    found = (
        []
        if heat.any()
        else [f"{what}: no position of the layer raises the decision value, so the map is empty"]
    )
    exact = recipe["views"] is None and recipe["precision"] == "float32"
    if exact and abs(value - recorded) > _AGREEMENT * max(1.0, abs(recorded)):
        found.append(
            f"{what}: decision value {value:.3f}, but {recorded:.3f} in the run; check that the image file has not changed"
        )
    return found


def _file_name(series: Series, image: str) -> str:
    parts = "-".join((series.task, series.protocol, series.arm, image))
    plain = "".join(char if char.isalnum() or char in "._+-" else "-" for char in parts)
    return f"{plain.lstrip('.')}.png"
