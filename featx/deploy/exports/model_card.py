"""The model card of a run: what it is, what it is for, what it was trained and tested on, and how well it does.

The headings are those of Mitchell et al. 2019, Model cards for model reporting, arXiv 1810.03993.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featx import __version__
from featx.deploy.exports.call_examples import call_example
from featx.deploy.exports.card_facts import (
    counts_table,
    expected_table,
    external_table,
    facts_table,
    model_facts,
    thresholds_table,
)
from featx.deploy.exports.export_check import LIMIT, Agreement
from featx.deploy.exports.export_formats import OPSET
from featx.deploy.run_model import RunModel
from featx.errors import listing
from featx.reporting import Table, report_tables

__all__ = ["USE", "CardSection", "ExportFacts", "ModelCard", "model_card"]

USE = "Research use only. Not a medical device; not for diagnosis or treatment of patients."
"""Intended use, in exported models and cards."""

# Tables of a report that a card shows, in order.
_RESULTS = ("auc", "classes", "metrics", "thresholds", "calibration", "groups")

_OPSET = {"onnx": f" ONNX operators of version {OPSET}."}


@dataclass(frozen=True)
class ExportFacts:
    """What a card says of an exported model.

    Attributes
    ----------
    format : str
        Its format.
    file : str
        Name of its file or folder.
    agreement : Agreement
        Its comparison with featx.
    calibrated : bool
        Whether it gives predicted probabilities.
    warnings : tuple of str
        What its user has to know.
    """

    format: str
    file: str
    agreement: Agreement
    calibrated: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class CardSection:
    """A section: heading, paragraphs, list, tables, and a program to copy."""

    title: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""


@dataclass(frozen=True)
class ModelCard:
    """A model card as data."""

    title: str
    sections: tuple[CardSection, ...]


def model_card(
    models: Sequence[RunModel], *, licence: str | None = None, export: ExportFacts | None = None
) -> ModelCard:
    """Gather the contents of a card from the records of runs.

    Parameters
    ----------
    models : sequence of RunModel
        The folds of one arm, or a final model.
    licence : str, optional
        Licence of the weights of the network.
    export : ExportFacts, optional
        Of the exported model that the card is for.

    Returns
    -------
    ModelCard
        What was not recorded or not evaluated is said to be so.
    """
    record = models[0].run.record
    results, external = _results(models), external_table(models)
    sections = (
        CardSection("Model details", tables=(facts_table("Model", model_facts(models, licence)),)),
        _use(record.task),
        _factors(models, results),
        _metrics(models),
        _evaluation(models, external),
        _training(models),
        _analyses(models, results, external),
        _ethics(),
        _caveats(models, export),
        *([_call(models[0], export)] if export else []),
    )
    return ModelCard(f"Model card: {record.arm}, {record.task}", sections)


def _results(models: Sequence[RunModel]) -> dict[str, Table]:
    """Fill the tables of a report of these runs; a final model has no test set, and so no results of its own."""
    if not any(model.run.predictions for model in models):
        return {}
    return {table.name: table for table in report_tables([model.run.path for model in models])}


def _use(task: str) -> CardSection:
    return CardSection(
        "Intended use",
        (
            USE,
            f"The model scores images for the task {task}, of the kind that it was trained on. Its users are researchers who "
            "study image classification. It was not evaluated on images of other devices, sites or patient groups than those "
            "listed below, and it has no class for images that belong to none of its classes.",
        ),
    )


def _factors(models: Sequence[RunModel], results: dict[str, Table]) -> CardSection:
    names = sorted({name for model in models for row in model.run.predictions for name in row.strata})
    recorded = (
        f"Columns of the manifest that were recorded for each test image: {listing(names, 20)}."
        if names
        else "The runs recorded no further column of the manifest, such as sex, age or site."
    )
    shown = (
        "The AUC at their values is in the table of subgroups."
        if "strata" in results
        else "Performance in subgroups: not evaluated."
    )
    return CardSection("Factors", (recorded, shown))


def _metrics(models: Sequence[RunModel]) -> CardSection:
    thresholds = thresholds_table(models)
    texts = [
        "The area under the ROC curve (AUC) of the decision values, with 95 % confidence intervals, and sensitivity and "
        "specificity at thresholds.",
        "Thresholds were determined on the training set, on decision values of inner cross-validation. An image is of the "
        "class if its decision value is at least the threshold."
        if thresholds
        else "Thresholds: not recorded; the SVM's default is 0.",
    ]
    method = models[0].svm.calibration
    texts.append(
        f"Predicted probabilities come from a {method.method} calibration that was fitted on {method.n} images of the "
        "training set."
        if method
        else "Predicted probabilities: none, since the model has no calibration."
    )
    if models[0].pooled_groups != "none":
        texts.append(
            f"Thresholds and calibration are of decision values pooled over the images of a group: {models[0].pooled_groups}."
        )
    return CardSection("Metrics", tuple(texts), tables=(thresholds,) if thresholds else ())


def _evaluation(models: Sequence[RunModel], external: Table | None) -> CardSection:
    record = models[0].run.record
    counted = counts_table("Test set", models, "test")
    texts = [
        f"Protocol {record.protocol}, random seed {record.seed}; SHA-256 of the folds: {record.folds_digest or 'none'}."
        if counted
        else "The model was trained on all images of the task, so that there is no test set of its own."
    ]
    if external is None:
        texts.append("External test sets: not evaluated.")
    return CardSection("Evaluation data", tuple(texts), tables=tuple(one for one in (counted,) if one))


def _training(models: Sequence[RunModel]) -> CardSection:
    record = models[0].run.record
    counted = counts_table("Training set", models, "train")
    manifest = record.manifest
    texts = [
        f"Manifest {manifest.get('name', 'not recorded')}; SHA-256 of its ids, labels, groups and splits: "
        f"{manifest.get('digest', 'not recorded')}.",
        f"Images without features, such as files that could not be decoded, which were left out: "
        f"{record.counts.get('left_out', 'not recorded')}. Images whose label is of no class of the task: "
        f"{record.counts.get('excluded', 'not recorded')}.",
        f"Lineage of the weights of the network, oldest first: {' → '.join(record.lineage) or 'not recorded'}.",
    ]
    return CardSection("Training data", tuple(texts), tables=tuple(one for one in (counted,) if one))


def _analyses(models: Sequence[RunModel], results: dict[str, Table], external: Table | None) -> CardSection:
    found = [results[name] for name in (*_RESULTS, "strata") if name in results]
    expected = expected_table(models)
    texts = []
    if not results:
        texts.append(
            "Internal test set: none. The table shows what cross-validation of the same arm lets one expect."
            if expected
            else "Internal test set: not evaluated."
        )
    if external is None:
        texts.append("External test set: not evaluated.")
    if models[0].svm.calibration is None:
        texts.append("Calibration: not evaluated, since the model gives no probabilities.")
    if "strata" not in results:
        texts.append("Subgroups: not evaluated.")
    tables = (*(one for one in (expected,) if one), *found, *(one for one in (external,) if one))
    return CardSection("Quantitative analyses", tuple(texts), tables=tables)


def _ethics() -> CardSection:
    return CardSection(
        "Ethical considerations",
        (
            "The model contains weights that were computed from images of patients, but no images, ids or labels. Whether "
            "it may be passed on depends on the consent and the licence of the data, which featx does not know.",
            "Errors may be more frequent in groups of patients that are rare in the training set. A decision about a patient "
            "must not rest on this model.",
        ),
    )


def _caveats(models: Sequence[RunModel], export: ExportFacts | None) -> CardSection:
    warned = dict.fromkeys(text for model in models for text in model.run.record.warnings)
    items = [*(" ".join(text.split()) for text in warned), *(export.warnings if export else ())]
    text = "Evaluate the model on images of your own device, site and patients before you use its values in a study."
    more = "Warnings of the training:" if items else "The training gave no warnings."
    return CardSection("Caveats and recommendations", (text, more), tuple(items))


def _call(model: RunModel, export: ExportFacts) -> CardSection:
    side, agreement = model.recipe["image_size"], export.agreement
    outputs = "score (decision values)" + ", probability" * export.calibrated
    chance = (
        "" if agreement.probabilities is None else f", of the probabilities {agreement.probabilities:.1g}"
    )
    recorded = "" if agreement.recorded is None else f"; from the values in the run {agreement.recorded:.1g}"
    texts = (
        f"Input: pixels, uint8, shape (n, {side}, {side}, 3), RGB. Outputs: {outputs}, float32, shape (n, "
        f"{len(model.svm.scored)}), in the order {listing(list(model.svm.scored), 1000)}. The scaling of pixels is part of the "
        f"model; decoding, cropping and resizing are not. The program shows how.{_OPSET.get(export.format, '')}",
        f"Compared with featx {__version__} on {agreement.images} {agreement.source}: largest difference of the decision "
        f"values {agreement.scores:.1g}{chance}{recorded}. Up to {LIMIT:g} is accepted, relative to the value (to 1 for smaller ones, or to ten times the largest if all are below 0.1).",
    )
    code = call_example(export.format, export.file, model.recipe["preparation"]["name"], side)
    return CardSection("How to call the model", texts, code=code)
