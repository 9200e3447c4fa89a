"""The contents of a model card: what is recorded is stated, and what is not is said to be missing."""

from __future__ import annotations

import dataclasses

import pytest

from featx.deploy.exports.card_facts import external_table
from featx.deploy.exports.model_card import model_card
from featx.deploy.run_model import read_models
from featx.errors import RunError
from featx.external import ExternalRecord, write_external
from featx.reporting import markdown, report_tables
from featx.runs import Prediction

HEADINGS = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
]


def section(card, title):
    return next(one for one in card.sections if one.title == title)


def table(card, name):
    return next(one for part in card.sections for one in part.tables if one.name == name)


def texts(card):
    return " ".join(text for part in card.sections for text in (*part.paragraphs, *part.items))


@pytest.fixture(scope="module")
def folds(place):
    return read_models(place.runs)


def test_the_headings_are_those_of_mitchell(folds):
    card = model_card(folds)
    assert [one.title for one in card.sections] == HEADINGS
    assert card.title == "Model card: tiny, red:grey"
    assert section(card, "Intended use").paragraphs[0].startswith("Research use only.")


def test_the_facts_are_those_of_the_records(folds, place):
    card = model_card(folds, licence="CC BY 4.0")
    facts = dict(table(card, "model").rows)
    assert facts["C"] == "fold 1: 1; fold 2: 1"
    assert facts["Calibration"] == "sigmoid"
    assert facts["Licence of the weights"] == "CC BY 4.0"
    assert facts["Lineage of the weights"] == "random:2"
    assert facts["Digest of the recipe"] == place.folds[0].record.features["digest"]
    assert facts["Runs"] == ", ".join(run.record.id for run in place.folds)
    counted = table(card, "test").rows
    assert [row[0] for row in counted] == ["1", "2"]
    assert sum(row[3] for row in counted) == 24
    stated = {(row[0], row[2]): row[3] for row in table(card, "fixed-thresholds").rows}
    for run in place.folds:
        for rule, value in run.record.search["thresholds"]["red"].items():
            assert stated[run.record.fold, rule] == value


def test_the_auc_is_that_of_the_report_with_its_interval(folds, place):
    names = [one.name for one in section(model_card(folds), "Quantitative analyses").tables]
    assert names[:2] == ["auc", "metrics"]
    assert "calibration" in names
    reported = next(one for one in report_tables(place.runs) if one.name == "auc")
    assert markdown(table(model_card(folds), "auc")) == markdown(reported)


def test_what_is_not_there_is_said_to_be_not_evaluated(folds):
    card = model_card(folds)
    assert dict(table(card, "model").rows)["Licence of the weights"].startswith(
        "not known to featx: state it here"
    )
    assert "External test set: not evaluated." in section(card, "Quantitative analyses").paragraphs
    assert "Subgroups: not evaluated." in section(card, "Quantitative analyses").paragraphs
    assert "recorded no further column" in section(card, "Factors").paragraphs[0]


def test_a_final_model_has_the_expected_auc_and_no_test_set(place):
    card = model_card(read_models(place.final.path))
    expected = place.final.record.search["expected"]
    (row,) = table(card, "expected").rows
    assert row == ("kfold:2", 2, expected["auc"], expected["sd"])
    assert "trained on all images of the task" in section(card, "Evaluation data").paragraphs[0]
    assert [one.name for one in section(card, "Quantitative analyses").tables] == ["expected"]
    (models,) = read_models(place.final.path)
    search = {name: value for name, value in models.run.record.search.items() if name != "expected"}
    record = dataclasses.replace(models.run.record, search=search)
    bare = dataclasses.replace(models, run=dataclasses.replace(models.run, record=record))
    assert (
        "Internal test set: not evaluated." in section(model_card([bare]), "Quantitative analyses").paragraphs
    )


def test_warnings_images_left_out_and_subgroups_are_stated(folds):
    def changed(model, number):
        rows = tuple(
            dataclasses.replace(row, strata={"sex": "fm"[place % 4 // 2]})
            for place, row in enumerate(model.run.predictions)
        )
        counts = {**model.run.record.counts, "left_out": 3, "excluded": 5}
        record = dataclasses.replace(model.run.record, counts=counts, warnings=("few\nimages",))
        return dataclasses.replace(model, run=dataclasses.replace(model.run, record=record, predictions=rows))

    card = model_card([changed(model, 1) for model in folds])
    assert section(card, "Caveats and recommendations").items == ("few images",)
    assert "which were left out: 3. Images whose label is of no class of the task: 5." in texts(card)
    assert "recorded for each test image: sex." in texts(card)


def test_external_test_sets_have_an_auc_with_an_interval(folds, tmp_path):
    run = dataclasses.replace(folds[0].run, path=tmp_path)
    overlap, counts = {"left_out": {"x": ["bytes"]}}, {"left_out": 2, "classes": {"red": 20, "grey": 20}}
    record = ExternalRecord("UDA-1", run.record.id, "", {}, "", "", overlap, counts)
    scored = [
        Prediction(f"i{n}", "1", f"g{n}", "red" if n % 2 else "grey", {"red": (n % 2) * 1.5 + n % 7 / 4})
        for n in range(40)
    ]
    write_external(run, record, scored)
    write_external(run, dataclasses.replace(record, name="grey alone"), scored[::2])
    one, other = external_table([dataclasses.replace(folds[0], run=run)]).rows
    assert one[:6] == ("UDA-1", "1", "red", 40, 20, 3)
    auc, low, high = one[6:]
    assert 0.5 < low < auc < high < 1
    assert other[3:] == (20, 0, 3, None, None, None)
    (tmp_path / "external" / "UDA-1" / "external.json").write_text("{}")
    with pytest.raises(RunError, match="external scores cannot be read"):
        external_table([dataclasses.replace(folds[0], run=run)])
