"""The verb `export`: a run as one model file for other software, compared with featx before it is kept."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from featx import __version__
from featx.deploy.exports.card_writers import card_text
from featx.deploy.exports.export_check import (
    Agreement,
    CheckImages,
    compare,
    images_of_run,
    reference_scores,
    synthetic_images,
)
from featx.deploy.exports.export_formats import FORMATS, ExportFormat, Runner, check_libraries
from featx.deploy.exports.export_graph import exported_graph
from featx.deploy.exports.export_settings import ExportSettings
from featx.deploy.exports.model_card import USE, ExportFacts, model_card
from featx.deploy.run_model import RunModel, read_models
from featx.errors import ConfigError, ExportError, FeatxError, RunError, listing
from featx.features import network_of
from featx.files import folder_aside, write_aside, write_text
from featx.options import verb
from featx.progress import Silent

if TYPE_CHECKING:
    import keras

__all__ = ["ExportedModel", "export_model"]

# A decision value that differs more from the one in the run is of another image file, or of another processor.
_AGREEMENT = 0.01


@dataclass(frozen=True)
class ExportedModel:
    """An exported model.

    Attributes
    ----------
    path : Path
        Its file or folder.
    card : Path
        Its model card.
    agreement : Agreement
        How far its outputs are from those of featx.
    warnings : tuple of str
        What its user has to know.
    """

    path: Path
    card: Path
    agreement: Agreement
    warnings: tuple[str, ...]


@verb(ExportSettings)
def export_model(run: Path | str, options: ExportSettings) -> ExportedModel:
    """Export a run as one model: network, scaling, SVMs and calibration, from prepared pixels to decision values.

    The exported model is compared with featx on images before it is kept.

    Parameters
    ----------
    run : Path or str
        Folder of a run of `train_svm` or `finalize`.
    {options}

    Returns
    -------
    ExportedModel
        What was written, and how far it is from featx.

    Raises
    ------
    RunError
        If there is no single SVM run, or its features cannot be computed by one graph: averaged over augmented views, or
        of low precision.
    WeightsError
        If the weights of the network are unknown, or are not those of the run.
    ConfigError
        If a library is missing, the output exists, or the ending is not that of the format.
    ExportError
        If the network cannot be converted, or the exported model computes other values than featx. Nothing is written.

    Examples
    --------
    ::

        done = featx.export_model("reports/runs/frozen/melanoma/final/all", output="model.onnx")
        done.agreement.scores  # largest difference from featx
    """
    name, target = options.chosen_format, Path(options.output)
    check_libraries(name)
    model = _single(run)
    if target.exists() and not options.overwrite:
        raise ConfigError(f"{target}: exists already; give --overwrite to replace it, or another --output")
    import keras

    tell = options.progress or Silent()
    tell.start("export", 3, "steps")
    calibrated = model.svm.calibration is not None and model.pooled_groups == "none"
    # Products on a GPU may be rounded to TF32.
    with keras.device("cpu"), _aside(target, FORMATS[name]) as aside:
        images, wanted, libraries = _written(model, options, aside, calibrated=calibrated)
        gc.collect()  # the network has circles of references, and the exported model takes as much memory
        tell.advance()
        agreement = compare(_loaded(name, aside), images, wanted, model.svm, calibrated=calibrated)
        tell.advance()
        warnings = _warnings(model, libraries if name == "keras" else (), agreement)
        facts = ExportFacts(name, target.name, agreement, calibrated, warnings)
        card = card_text(model_card((model,), licence=options.licence, export=facts), ".md")
    beside = target.with_name(f"{target.stem}.card.md")
    write_text(beside, card)
    tell.advance()
    tell.finish()
    return ExportedModel(target, beside, agreement, warnings)


def _single(run: Path | str) -> RunModel:
    """Read the run, and refuse what one graph cannot compute."""
    models = read_models(run)
    if len(models) > 1:
        raise RunError(
            f"{run}: {len(models)} folds of one arm ({listing([one.fold for one in models])}), and an exported model is one "
            "SVM; train one on all images with `featx finalize`, or give the folder of one fold"
        )
    recipe, path = models[0].recipe, models[0].run.path
    if recipe.get("kind"):
        what = (
            f"fuses {len(models[0].parts)} arms ({recipe['fuse']} of {listing([one.name for one in models[0].parts])})"
            if "members" in recipe
            else f"has imported features ({recipe['backbone']}), whose network featx does not have"
        )
        raise RunError(
            f"{path}: the run {what}, and an exported model is one network of featx with its SVM; export the run of an arm of "
            "one network"
        )
    if recipe["views"] is not None:
        raise RunError(
            f"{path}: its features are of augmented views, which an exported model does not draw; extract without --views "
            "and train again"
        )
    if recipe["precision"] != "float32":
        raise RunError(
            f"{path}: its features were computed in {recipe['precision']}, and exported models compute in float32; extract "
            "with --precision float32 and train again"
        )
    return models[0]


def _images(model: RunModel, options: ExportSettings) -> CheckImages:
    if options.manifest is None:
        return synthetic_images(model, options.check_images)
    return images_of_run(
        model,
        options.manifest,
        options.check_images,
        root=options.root,
        allow_outside=options.allow_outside,
    )


def _aside(target: Path, form: ExportFormat) -> AbstractContextManager[Path]:
    return write_aside(target) if form.ending else folder_aside(target)


def _written(
    model: RunModel, options: ExportSettings, aside: Path, *, calibrated: bool
) -> tuple[CheckImages, npt.NDArray[np.float64], tuple[str, ...]]:
    """Write the model; return images, their decision values by featx, and the libraries of the layers."""
    name = options.chosen_format
    network = network_of(model.recipe, model.digest, options.weights, options.cache)
    images = _images(model, options)
    wanted = reference_scores(network, model.svm, images.pixels)
    graph = exported_graph(network, model.svm, calibrated=calibrated)
    try:
        FORMATS[name].write(graph, aside, _metadata(model, options.licence))
    except FeatxError:
        raise
    except Exception as error:  # converters raise whatever they meet
        raise ExportError(
            f"the network cannot be converted to {name} ({_short(error)}); nothing was written; try another --format"
        ) from error
    return images, wanted, _libraries(graph)


def _loaded(name: str, path: Path) -> Runner:
    try:
        return FORMATS[name].load(path)
    except Exception as error:  # so do those who read it
        raise ExportError(
            f"the exported {name} model cannot be read again ({_short(error)}); nothing was written; try another --format"
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _metadata(model: RunModel, licence: str | None) -> dict[str, str]:
    """Describe the model in texts: plain ones, or JSON."""
    record, recipe = model.run.record, model.recipe
    calibration = model.svm.calibration.method if model.svm.calibration else "none"
    return {
        "featx_version": __version__,
        "use": USE,
        "task": record.task,
        "classes": json.dumps(record.classes),
        "scored": json.dumps(record.scored),
        "thresholds": json.dumps(record.search.get("thresholds", {})),
        "calibration": calibration,
        "group_scores": model.pooled_groups,
        "input": f"uint8, shape (n, {recipe['image_size']}, {recipe['image_size']}, 3), RGB",
        "preparation": json.dumps(recipe["preparation"]),
        "preparation_by": "the caller: decoding, cropping and resizing are not part of the model; see the model card",
        "backbone": recipe["backbone"],
        "weights": recipe["weights"],
        "weights_licence": licence or "not known to featx",
        "recipe_digest": model.digest,
        "run": record.id,
        "arm": record.arm,
        "protocol": record.protocol,
        "fold": record.fold,
    }


def _warnings(model: RunModel, libraries: Sequence[str], agreement: Agreement) -> tuple[str, ...]:
    found = []
    if agreement.recorded is not None and agreement.recorded > _AGREEMENT:
        found.append(
            f"decision values differ by up to {agreement.recorded:.2g} from those in the run; check that the images of the "
            "manifest are those of the run"
        )
    if model.pooled_groups != "none" and model.svm.calibration is not None:
        found.append(
            "the calibration is of scores that are pooled over groups, so the exported model gives decision values of "
            "images only, no probabilities"
        )
    if libraries:
        found.append(
            f"layers of {' and '.join(libraries)} are in the model: import it before keras.saving.load_model"
        )
    return tuple(found)


def _libraries(graph: keras.Model) -> tuple[str, ...]:
    """Find the libraries, other than Keras, whose layers a model has."""
    layers = graph._flatten_layers(include_self=False)
    return tuple(sorted({type(layer).__module__.split(".")[0] for layer in layers} & {"featx", "keras_hub"}))
