"""Gaps between subgroups: the columns that are named, the rows that count, and the correction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import RunError
from featx.reporting.report_settings import ReportSettings
from featx.reporting.sections.performance import fixed_cuts
from featx.reporting.summary import Summary, summarise
from featx.reporting.tables import records
from featx.runs import Prediction, Run
from featx.stats import delong_interval, holm, proportion

from .conftest import score_outside, single

Write = Callable[..., Run]


def rows(seed: int, count: int = 240, fold: str = "1") -> list[Prediction]:
    """Two images of each patient with age, sex and a site that no gap belongs to; images of men are harder."""
    rng = np.random.default_rng(seed)
    made = []
    for patient in range(count // 2):
        sick, sex = patient % 2 == 0, "fm"[patient % 3 == 0]
        age = str(30 + patient % 33) if patient % 10 else ""
        for view in range(2):
            score = float(rng.normal() + sick * (0.3 if sex == "m" else 2.5))
            site = ("head", "trunk")[view]
            made.append(
                Prediction(
                    f"{seed}-{patient}-{view}",
                    fold,
                    f"{seed}-{patient}",
                    "malignant" if sick else "benign",
                    {"malignant": round(score, 6)},
                    strata={"sex": sex, "age": age, "site": site},
                )
            )
    return made


@pytest.fixture
def summary(write: Write, tmp_path: Path) -> Callable[..., Summary]:
    """Summarise one holdout run, with the columns whose subgroups are compared."""

    def made(columns: Sequence[str] | None = None, inner: bool = True) -> Summary:
        scored = [dataclasses.replace(row, strata={}) for row in rows(1)] if inner else ()
        write("A", "1", rows(0), protocol="holdout", inner=scored, format=2)
        return summarise([tmp_path / "runs"], subgroups=columns)

    return made


def filled(name: str, summary: Summary) -> list[dict[str, Any]]:
    return records(single(name, summary))


def test_by_default_the_columns_are_those_of_the_breakdown(summary: Callable[..., Summary]) -> None:
    found = filled("subgroups", summary())
    assert [(row["stratum"], row["level"]) for row in found] == [
        *(("age", f"{ten} to {ten + 9}") for ten in (30, 40, 50, 60)),
        *(("sex", sex) for sex in "fm"),
        *(("site", site) for site in ("head", "trunk")),
    ]


def test_named_columns_are_compared_in_their_order(summary: Callable[..., Summary], tmp_path: Path) -> None:
    found = summary(["site", "sex"])
    assert [one.name for one in found.columns] == ["age", "sex", "site"]
    assert list(dict.fromkeys(row["stratum"] for row in filled("subgroups", found))) == ["site", "sex"]
    with pytest.raises(RunError, match="No run has the column 'skin'"):
        summarise([tmp_path / "runs"], subgroups=["skin"])


def test_auc_and_counts_are_those_of_the_level(summary: Callable[..., Summary]) -> None:
    found = filled("subgroups", summary(["sex"]))
    strata = {row["level"]: row for row in filled("strata", summary(["sex"])) if row["stratum"] == "sex"}
    for row in found:
        kept = [one for one in rows(0) if one.strata["sex"] == row["level"]]
        actual = [one.actual == "malignant" for one in kept]
        groups = [one.group for one in kept]
        wanted = delong_interval(
            actual, [one.scores["malignant"] for one in kept], groups=groups, scale="logit"
        )
        assert (row["auc"], row["auc low"], row["auc high"]) == pytest.approx(
            (wanted.estimate, wanted.low, wanted.high)
        )
        assert row["auc"] == pytest.approx(strata[row["level"]]["mean"])
        assert (row["images"], row["positives"], row["groups"], row["positive groups"]) == (
            len(kept),
            sum(actual),
            len(kept) // 2,
            sum(actual) // 2,
        )
    women, men = found
    assert women["warnings"] == "reference"
    assert men["difference"] == pytest.approx(men["auc"] - women["auc"])
    assert men["difference high"] < 0
    assert men["p"] < 0.01


def test_p_is_corrected_over_all_columns_and_levels(summary: Callable[..., Summary]) -> None:
    found = [row for row in filled("subgroups", summary()) if row["p"] is not None]
    assert [row["stratum"] for row in found] == ["age", "age", "sex", "site"]
    assert [row["adjusted p"] for row in found] == pytest.approx(holm([row["p"] for row in found]).tolist())
    rates = [row for row in filled("subgroup-rates", summary()) if row["p"] is not None]
    youden = [row for row in rates if row["threshold"] == "Youden"]
    assert {row["rate"] for row in youden} == {"sensitivity", "specificity"}
    assert [row["adjusted p"] for row in youden] == pytest.approx(holm([row["p"] for row in youden]).tolist())


def test_rates_are_at_thresholds_of_the_training_set(summary: Callable[..., Summary]) -> None:
    found = filled("subgroup-rates", summary(["sex"]))
    assert len(found) == 3 * 2 * 2
    cut = fixed_cuts(rows(1), "malignant")["0.90 sensitivity"]
    for row in found[:4]:
        sick = row["rate"] == "sensitivity"
        kept = [
            one
            for one in rows(0)
            if one.strata["sex"] == row["level"] and (one.actual == "malignant") == sick
        ]
        hits = [(one.scores["malignant"] >= cut) == sick for one in kept]
        wanted = proportion(hits, groups=[one.group for one in kept])
        assert (row["value"], row["value low"], row["value high"]) == pytest.approx(tuple(wanted))


def test_without_inner_scores_there_are_no_rates_but_aucs(summary: Callable[..., Summary]) -> None:
    found = summary(["sex"], inner=False)
    assert len(filled("subgroups", found)) == 2
    assert single("subgroup-rates", found) is None


def test_images_without_a_value_are_counted_and_small_levels_shown(summary: Callable[..., Summary]) -> None:
    found = summary(["age"])
    table = single("subgroups", found)
    assert table is not None
    assert "Left out, without a value of age: 24 images of the internal test set." in table.note
    assert sum(row["images"] for row in records(table)) == 240 - 24
    small = [row for row in records(table) if "too small for a test" in (row["warnings"] or "")]
    assert [row["level"] for row in small] == ["60 to 69"]
    assert all(row["auc"] is not None and row["p"] is None for row in small)


def test_external_sets_have_rows_and_levels_of_their_own(write: Write, tmp_path: Path) -> None:
    write("A", "1", rows(0), protocol="holdout", folds_digest="f0" * 32)
    found = summarise([score_outside(tmp_path / "runs", rows=120)], subgroups=["sex"])
    made = filled("subgroups", found)
    assert [(row["tested"], row["level"]) for row in made] == [
        (tested, level) for tested in ("internal", "clinic") for level in "fm"
    ]
    assert sum(row["images"] for row in made[2:]) == 120


def test_repeats_of_an_image_count_once(write: Write, tmp_path: Path) -> None:
    for fold in ("1x1", "2x1"):
        write("A", fold, rows(0, fold=fold))
    found = filled("subgroups", summarise([tmp_path / "runs"], subgroups=["sex"]))
    write("B", "1x1", rows(0, fold="1x1"), folder="once", protocol="holdout")
    once = filled("subgroups", summarise([tmp_path / "once"], subgroups=["sex"]))
    for name in ("auc", "auc low", "difference", "p", "images", "positives", "groups"):
        assert [row[name] for row in found] == pytest.approx([row[name] for row in once], nan_ok=True)


def test_a_study_takes_the_columns_of_the_command() -> None:
    assert ReportSettings(subgroups=("sex",)).given()["subgroups"] == ("sex",)
