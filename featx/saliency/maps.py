"""The verb: saliency maps of the most confident mistakes of runs, or of chosen images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.data import Manifest, read_manifest
from featx.errors import ImageError, RunError, listing
from featx.files import write_bytes
from featx.images import load_image
from featx.progress import Progress, Silent
from featx.reporting import SaliencyMap, Series, collect, find_mistakes, write_index
from featx.runs import Prediction, Run
from featx.svm import SvmModel, load_model

from .decision import decision_gradient
from .gradcam import Halves, grad_cam, halve
from .networks import network_of, recipe_of
from .picture import overlay

__all__ = ["Saliency", "saliency_maps"]

_SIDE = 352
# Difference of a decision value from the recorded one, as a share of it, that engines of single precision stay below.
_AGREEMENT = 0.01


@dataclass(frozen=True)
class Saliency:
    """Saliency maps as written.

    Attributes
    ----------
    output : Path
        Their folder.
    maps : tuple of SaliencyMap
        What each shows.
    warnings : tuple of str
        What could not be mapped, and what a reader has to know.
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
    """What the maps of the same features share."""

    recipe: dict[str, Any]
    halves: Halves


def saliency_maps(
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
    """Map what in an image speaks for the class that an SVM takes it for: Grad-CAM towards its decision value.

    The gradient runs from the decision value through the scaling of the features into the network. A map is of the
    image itself, also where the features were averaged over views of it.

    Parameters
    ----------
    paths : path or sequence of paths
        Run folders of `featx train-svm`, or folders that hold some.
    manifest : Path, str or Manifest
        Where image files stand.
    root : Path or str, optional
        Folder that the manifest's paths are relative to.
    allow_outside : bool
        Whether image paths may lead out of it.
    images : sequence of str
        Image ids to map; the most confident mistakes of each arm if there are none. Of several folds that test an
        image, the one that is surest of the class is taken.
    output : Path or str
        Folder for the pictures and their index; files of the same names are replaced.
    layer : str, optional
        Layer of the network to map. Default: its last map before the pooling.
    weights : str or Path, optional
        Weights source of the network. Default: as the feature store in the cache tells.
    cache : Path or str
        Folder of caches.
    progress : Progress, optional
        Told how far it is.

    Returns
    -------
    Saliency
        What was written.

    Raises
    ------
    RunError
        If there is no run of an SVM, or none tests a chosen image.
    WeightsError
        If the network's weights are unknown, or others than those behind the features.
    BackboneError
        If the network has no such layer, or none with places.
    """
    tell = progress or Silent()
    wanted = _wanted([paths] if isinstance(paths, str | Path) else list(paths), images)
    read = read_manifest(manifest, root=root, check_files=False, allow_outside=allow_outside)
    files = dict(zip(read.ids, read.paths, strict=True))
    target, warnings, maps = Path(output), list[str](), list[SaliencyMap]()
    tell.start("saliency", len(wanted), "maps")
    models = {item.run.path: load_model(item.run.path) for item in wanted}
    # Networks take turns, since several need not fit into memory side by side.
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
        raise RunError(f"{listing([str(path) for path in paths])}: no run of an SVM; give runs of train-svm")
    found: list[_Wanted] = []
    for item in series:
        if images:
            found += [made for name in dict.fromkeys(images) if (made := _surest(item, name))]
        else:
            found += [made for one in find_mistakes(item) if (made := _surest(item, one.id, one.taken))]
    unknown = [name for name in images if all(name != item.row.id for item in found)]
    if unknown:
        raise RunError(f"no run tests {listing(unknown)}; give ids as in the runs' predictions.csv")
    return found


def _surest(series: Series, image: str, towards: str | None = None) -> _Wanted | None:
    """Take the fold with the highest decision value for a class, by default for the one that it favours."""
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
        warnings.append(f"{what}: not in the manifest, no map")
        return None
    preparation = tools.recipe["preparation"]["name"]
    try:
        pixels = load_image(Path(files[name]), preparation, tools.halves.front.inputs[0].shape[1])
        shown = load_image(Path(files[name]), preparation, _SIDE)
    except ImageError as error:
        warnings.append(f"{what}: {error}, no map")
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
    """Say where a map is empty, or of another decision value than the run's."""
    found = (
        [] if heat.any() else [f"{what}: no place of the layer raises the decision value, the map is empty"]
    )
    exact = recipe["views"] is None and recipe["precision"] == "float32"
    if exact and abs(value - recorded) > _AGREEMENT * max(1.0, abs(recorded)):
        found.append(
            f"{what}: decision value {value:.3f}, while the run has {recorded:.3f}; is the file another image?"
        )
    return found


def _file_name(series: Series, image: str) -> str:
    parts = "-".join((series.task, series.protocol, series.arm, image))
    plain = "".join(char if char.isalnum() or char in "._+-" else "-" for char in parts)
    return f"{plain.lstrip('.')}.png"
