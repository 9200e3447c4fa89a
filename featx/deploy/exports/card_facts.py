"""Tables of a model card, filled from the records of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from featx.deploy.run_model import FeaturePart, RunModel
from featx.errors import RunError
from featx.external import ExternalScores, external_scores
from featx.reporting import Cell, Column, Table
from featx.runs import run_environment
from featx.stats import delong_interval
from featx.svm import Decision, FusedModel, SvmModel
from featx.zoo import find_backbone

__all__ = [
    "counts_table",
    "expected_table",
    "external_table",
    "facts_table",
    "model_facts",
    "thresholds_table",
]

UNKNOWN = "not recorded"

_FOLD = Column("fold", "Fold", text=True)


def facts_table(title: str, facts: Sequence[tuple[str, str]]) -> Table:
    """Make a table of names and values."""
    columns = (Column("property", "Property", text=True), Column("value", "Value", text=True))
    return Table(title.lower(), title, "", columns, tuple(facts))


def model_facts(models: Sequence[RunModel], licence: str | None) -> list[tuple[str, str]]:
    """State what the model is made of, each fact with its name."""
    record, settings = models[0].run.record, models[0].run.record.settings
    costs = "; ".join(
        f"fold {one.fold}: " * (len(models) > 1)
        + ", ".join(f"{decision.cost:g}" for decision in _decisions(one.svm))
        for one in models
    )
    scalings = dict.fromkeys(decision.scaler.name for one in models for decision in _decisions(one.svm))
    method = models[0].svm.calibration
    weights = dict.fromkeys(str(part.recipe["weights"]) for one in models for part in one.parts)
    return [
        ("Arm", record.arm),
        ("Task", record.task),
        ("Classes", ", ".join(record.classes)),
        ("Classes with a decision value", ", ".join(record.scored)),
        ("Folds", ", ".join(one.fold for one in models)),
        *([("Fusion of the members", str(models[0].recipe["fuse"]))] if models[0].recipe.get("fuse") else []),
        *(fact for part in models[0].parts for fact in _feature_facts(part)),
        ("Lineage of the weights", " → ".join(record.lineage) or UNKNOWN),
        ("SHA-256 of the weights", ", ".join(weights)),
        ("Licence of the weights", licence or "not known to featx: state it here (--licence)"),
        (
            "SVM",
            f"linear, loss {settings.get('loss', UNKNOWN)}, class weight {settings.get('class_weight', UNKNOWN)}",
        ),
        ("Scaling of the features", ", ".join(scalings)),
        ("C", costs),
        ("Calibration", method.method if method else "none"),
        ("Scores of groups", models[0].pooled_groups),
        ("Digest of the recipe", ", ".join(dict.fromkeys(one.digest for one in models))),
        ("Runs", ", ".join(one.run.record.id for one in models)),
        ("Finished", ", ".join(dict.fromkeys(_finished(one) for one in models))),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(record.versions.items()))),
    ]


def _decisions(svm: SvmModel) -> tuple[Decision, ...]:
    """Return the SVMs of a model, member by member if it fuses several."""
    if not isinstance(svm, FusedModel):
        return svm.decisions
    return tuple(decision for member in svm.members for decision in member.decisions)


def _feature_facts(part: FeaturePart) -> list[tuple[str, str]]:
    """State how the features of a network, or of a member, are computed."""
    recipe, of = part.recipe, f" of {part.name}" * bool(part.name)
    if part.is_imported:
        return [(f"Features{of}", f"imported ({recipe['backbone']}, {recipe['width']} numbers)")]
    backbone, preparation, views = find_backbone(recipe["backbone"]), recipe["preparation"], recipe["views"]
    return [
        (f"Network{of}", f"{backbone.name} ({backbone.reference})"),
        (f"Feature{of}", f"layer {recipe['layer']}, pooling {recipe['pool']}"),
        (f"Input{of}", f"{recipe['image_size']} x {recipe['image_size']} px, RGB"),
        (
            f"Preparation of images{of}",
            f"{preparation['name']} (version {preparation['version']}), resized with the filter {preparation['filter']}; "
            f"version of decoding {recipe['decode']}",
        ),
        (f"Precision{of}", str(recipe["precision"])),
        (f"Augmented views{of}", "none" if views is None else json.dumps(views, sort_keys=True)),
    ]


def _finished(model: RunModel) -> str:
    try:
        return str(run_environment(model.run)["finished"])[:10]
    except (RunError, KeyError):
        return UNKNOWN


def counts_table(title: str, models: Sequence[RunModel], part: str) -> Table | None:
    """Count the images of each class and the groups of a part, ``"train"`` or ``"test"``; None if it is empty."""
    classes = models[0].run.record.classes
    rows = []
    for one in models:
        counts = one.run.record.counts.get(part) or {}
        groups = (one.run.record.counts.get("groups") or {}).get(part)
        if counts:
            rows.append((one.fold, *(counts.get(name, 0) for name in classes), sum(counts.values()), groups))
    columns = (_FOLD, *(Column(f"class {name}", name) for name in classes), Column("images", "Images"))
    note = "Groups: patients, cases or lesions; each image is a group if the manifest has none."
    return Table(part, title, note, (*columns, Column("groups", "Groups")), tuple(rows)) if rows else None


def thresholds_table(models: Sequence[RunModel]) -> Table | None:
    """List the thresholds of each class by rule; None if no run has any."""
    rows = [
        (one.fold, name, rule, value)
        for one in models
        for name, rules in one.thresholds.items()
        for rule, value in rules.items()
    ]
    columns = (
        *(_FOLD, Column("class", "Class", text=True), Column("rule", "Rule", text=True)),
        Column("threshold", "Decision value", digits=4),
    )
    note = "A dash: the rule calls no image positive."
    return Table("fixed-thresholds", "Thresholds", note, columns, tuple(rows)) if rows else None


def expected_table(models: Sequence[RunModel]) -> Table | None:
    """Show the AUC that cross-validation lets one expect of a final model; None if it was not recorded."""
    expected = models[0].expected
    if not expected:
        return None
    columns = (
        Column("protocol", "Protocol", text=True),
        *(Column("folds", "Folds"), Column("auc", "AUC"), Column("sd", "SD")),
    )
    row: tuple[Cell, ...] = tuple(expected.get(column.name) for column in columns)
    note = "Of other models of the same arm, each trained on a part of the images: the final model itself was not tested."
    return Table("expected", "Expected AUC", note, columns, (row,))


def external_table(models: Sequence[RunModel]) -> Table | None:
    """Compute the AUC of every model on every external test set; None if no run was scored on one."""
    rows = [
        (scored.record.name, one.fold, name, *_external_auc(scored, name))
        for one in models
        for scored in external_scores(one.run)
        for name in one.svm.scored
    ]
    columns = (
        *(Column("set", "Test set", text=True), _FOLD, Column("class", "Positive class", text=True)),
        *(Column("images", "Images"), Column("positives", "Positives"), Column("left out", "Left out")),
        *(Column("auc", "AUC"), Column("low", "95 % CI low"), Column("high", "95 % CI high")),
    )
    note = "Intervals: DeLong's, clustered by group. Left out: images that overlap with the training data, or without features."
    return Table("external", "External test sets", note, columns, tuple(rows)) if rows else None


def _external_auc(scored: ExternalScores, name: str) -> tuple[Cell, ...]:
    rows, record = scored.predictions, scored.record
    actual = np.array([row.actual == name for row in rows])
    positives = int(actual.sum())
    counted = (len(rows), positives, len(record.overlap["left_out"]) + int(record.counts["left_out"]))
    if positives in (0, len(rows)):
        return *counted, None, None, None
    scores = np.array([row.scores[name] for row in rows])
    found = delong_interval(actual, scores, groups=[row.group for row in rows], scale="logit")
    return *counted, found.estimate, found.low, found.high
