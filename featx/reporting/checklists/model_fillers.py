"""What runs say of features, model, training and software: one function for each answer of a checklist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featx.errors import listing
from featx.natural_order import natural
from featx.reporting.arm_facts import lineage_of, network_of, origin, searches_of, trainings

from .checklist_facts import Answer, Facts, Filler, NotApplicable, counted

__all__ = ["MODEL_FILLERS"]

_PROVENANCE = "provenance"


def preparation(facts: Facts) -> Answer | None:
    """State how images are prepared."""
    names = facts.recipe(lambda recipe: (recipe.get("preparation") or {}).get("name"))
    sizes = facts.recipe(lambda recipe: recipe.get("image_size"))
    if not (names or sizes):
        return None
    text = f"Images are decoded by fixed rules, prepared by {listing(names) or 'the network'}"
    text += f", at {listing(sizes)} px. " if sizes else ". "
    return Answer(text + "The same for every image, whatever its part or group.", (_PROVENANCE,))


def predictors(facts: Facts) -> Answer | None:
    """Name the networks and layers that give the features."""
    names = facts.recipe(_network)
    if not names:
        return None
    text = f"Features that pre-trained networks compute from the pixels: {listing(names, 12)}. None is selected by hand."
    return Answer(text, ("backbones", _PROVENANCE))


def _network(recipe: Mapping[str, Any]) -> str:
    more = [
        f"{name} {recipe[key]}" for key, name in (("layer", "layer"), ("pool", "pooling")) if recipe.get(key)
    ]
    return ", ".join([str(recipe["backbone"]), *more]) if recipe.get("backbone") else ""


def scaling(facts: Facts) -> Answer | None:
    """State the scaling of the features."""
    names = facts.setting("scaling")
    text = f"Features enter linearly, scaled by {names}; scaling is fitted on the training set of each fold."
    return Answer(text, (_PROVENANCE,)) if names else None


def model(facts: Facts) -> Answer | None:
    """State the kind of model and how it is built."""
    kinds = {record.kind for record in facts.records}
    lines = []
    if "svm" in kinds:
        loss, weight = facts.setting("loss"), facts.setting("class_weight")
        told = listing(
            [f"{name} {value}" for name, value in (("loss", loss), ("class weight", weight)) if value]
        )
        lines.append(f"Linear SVM on features of a pre-trained network{f' ({told})' if told else ''}")
        inner = facts.setting("inner_splits")
        lines.append(
            f"C chosen by {f'{inner} inner splits' if inner else 'inner cross-validation'} of each training set"
        )
    if "softmax" in kinds:
        lines.append("networks fine-tuned end to end, with their own softmax head")
    lines.append(f"{counted(len(facts.summary.arms), 'arm')}: {listing(list(facts.summary.arms), 15)}")
    return Answer(f"{'; '.join(lines)}.", ("backbones", "search", _PROVENANCE))


def predictions(facts: Facts) -> Answer:
    """State how predictions were computed."""
    text = (
        "The model of each fold scores the test set of that fold once: decision value of the SVM (sum of the weighted, scaled "
        "features). Each run folder keeps its model and its predictions.csv; featx predict gives the same for new images."
    )
    return Answer(text, (_PROVENANCE,))


def imbalance(facts: Facts) -> Answer | NotApplicable | None:
    """State class weights and the recalibration after them."""
    weights = facts.setting("class_weight")
    if not weights:
        return None
    if weights == "none":
        return NotApplicable("no class weights and no resampling were used.")
    method = facts.setting("calibrate")
    calibrated = (
        f"probabilities are calibrated ({method}) inside the training set"
        if method not in ("", "none")
        else "probabilities are not stated"
    )
    return Answer(f"Class weights of the SVM: {weights}; {calibrated}.", ("calibration", "calibration-*"))


def output(facts: Facts) -> Answer:
    """State what the model gives, and its thresholds."""
    method = facts.setting("calibrate")
    text = (
        "A decision value for each image"
        if method in ("", "none")
        else f"A decision value and a probability (calibration: {method})"
    )
    groups = facts.setting("group_scores")
    text += f", pooled to one for each group ({groups})" if groups not in ("", "none") else ""
    return Answer(f"{text}; predicted class by a threshold. {_rules(facts)}", ("thresholds", "scores-*"))


def cutoffs(facts: Facts) -> Answer | None:
    """State how thresholds were fixed."""
    return Answer(_rules(facts), ("thresholds",)) if facts.shown("thresholds") else None


def _rules(facts: Facts) -> str:
    rules = list(
        dict.fromkeys(
            name
            for row in facts.rows("thresholds")
            if not (name := str(row["threshold"])).startswith("default")
        )
    )
    if not rules:
        return "No threshold was fixed on the training set."
    return f"Thresholds, fixed on the training set, which the test set does not change: {'; '.join(rules)}."


def lineage(facts: Facts) -> Answer | None:
    """State where the weights come from."""
    found = facts.values(origin)
    return Answer(f"Weights, oldest source first: {listing(found, 8)}.", (_PROVENANCE,)) if found else None


def training(facts: Facts) -> Answer:
    """State fine-tuning, augmentation and convergence."""
    tuned = [name for name, _ in trainings(facts.summary.training)]
    told = [record.convergence for record in facts.records if "fits" in record.convergence]
    arms = facts.values(lambda record: record.arm if lineage_of(record).tuned else None)
    named = tuned or [f"{arm} (its fine-tuning runs are not in this report)" for arm in arms]
    text = (
        f"Fine-tuned networks: {listing(named)}." if named else "The networks are not trained; the SVMs are."
    )
    views = facts.recipe(lambda recipe: "augmented views at extraction" if recipe.get("views") else None)
    text += f" {views[0].capitalize()}." if views else ""
    if told:
        failed, fits = sum(one["not_converged"] for one in told), sum(one["fits"] for one in told)
        text += f" {fits - failed:,} of {fits:,} fits of SVMs converged."
    return Answer(text, ("search", "learning", _PROVENANCE))


def selection(facts: Facts) -> Answer | None:
    """State how C was chosen, and how often at the boundary of the grid."""
    found = [one for record in facts.records for one in searches_of(record)]
    if not found:
        return None
    edges = sum(bool(one.edge) for one in found)
    rule = facts.setting("rule")
    text = f"C by the inner AUC of the training set{f' (rule: {rule})' if rule else ''}: {len(found)} choices, {edges} at the boundary of the grid. "
    return Answer(f"{text}The test set takes no part in a choice.", ("search", "search-*"))


def ensemble(facts: Facts) -> Answer | NotApplicable | None:
    """State fusion of networks and augmented views."""
    fused = facts.recipe(lambda recipe: recipe.get("fuse"))
    views = facts.recipe(lambda recipe: (recipe.get("views") or {}).get("count"))
    if not (fused or views):
        return (
            NotApplicable("each prediction is of one network and one SVM.")
            if facts.recipe(lambda recipe: recipe.get("backbone"))
            else None
        )
    lines = [f"features or scores of several networks are combined: {listing(fused)}"] if fused else []
    lines += (
        [f"{listing(views)} augmented views of an image, pooled by {facts.setting('pool') or 'their mean'}"]
        if views
        else []
    )
    text = "; ".join(lines)
    return Answer(f"{text[:1].upper()}{text[1:]}.", (_PROVENANCE,))


def specification(facts: Facts) -> Answer:
    """State where the models are."""
    ids = sorted({record.id[:12] for record in facts.records})
    text = f"{len(ids)} runs, each a folder with the whole model, its recipe and settings; ids {listing(ids, 6)}."
    return Answer(text, (_PROVENANCE,))


def software(facts: Facts) -> Answer | None:
    """State versions of the libraries."""
    found = {name: set[str]() for record in facts.records for name in record.versions}
    for record in facts.records:
        for name, version in record.versions.items():
            found[name].add(str(version))
    lines = [f"{name} {', '.join(sorted(versions, key=natural))}" for name, versions in sorted(found.items())]
    return Answer(f"{'; '.join(lines)}.", (_PROVENANCE,)) if lines else None


def explanations(facts: Facts) -> Answer | NotApplicable:
    """State whether saliency maps are shown."""
    if not facts.maps:
        return NotApplicable("this report shows no saliency maps (featx saliency).")
    return Answer("Grad-CAM maps of the decision value for the most confident mistakes.", ("mistakes",))


def blinding(facts: Facts) -> Answer:
    """State what the model knows of the test set."""
    networks = len({network_of(one) for one in facts.summary.series})
    text = f"The test is computed from the pixels alone ({networks} {'network' if networks == 1 else 'networks'}); labels of the test set enter only the scoring."
    return Answer(text, (_PROVENANCE,))


def indeterminate(facts: Facts) -> Answer:
    """State that every scored image has a result."""
    rows = sum(len(run.predictions) for run in facts.summary.runs)
    return Answer(
        f"Each of the {rows:,} scored cases has a decision value: no result of the test is indeterminate.",
        ("flow-*",),
    )


def outputs_kept(facts: Facts) -> Answer:
    """State that outputs are kept."""
    text = (
        f"Every decision value is kept: predictions.csv in each of the {len(facts.records)} run folders, with the SHA-256 of each "
        "file, which featx verifies whenever it reads a run."
    )
    return Answer(text, (_PROVENANCE,))


def protocol_details(facts: Facts) -> Answer:
    """Point to the technical details."""
    return Answer("Recipes, settings, seeds, folds and versions of every run.", (_PROVENANCE,))


MODEL_FILLERS: dict[str, Filler] = {
    function.__name__: function
    for function in (
        *(
            preparation,
            predictors,
            scaling,
            model,
            predictions,
            imbalance,
            output,
            cutoffs,
            lineage,
            training,
        ),
        *(selection, ensemble, specification, software, explanations, blinding, indeterminate, outputs_kept),
        protocol_details,
    )
}
