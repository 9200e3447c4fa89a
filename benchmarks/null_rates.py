"""False-positive rate of every test of featx.stats on simulated data without a difference, and misses of intervals.

    python benchmarks/null_rates.py [--sets 1000] [--studies 400] [--seed 0] [--only TEXT]

Prints one line a test: how often it finds a difference at the 5 % level where there is none. Tests that claim
the level must lie between 3 % and 7 %, tests that claim only to keep below it must not exceed 7 %; else the
exit code is 1. Practices that featx does not offer, or warns about, are printed for comparison and claim
nothing. Of an interval the rate at which it misses the truth is printed (1 - coverage), which claims the level
too. The settings named "whole studies" store features, train with `featx.train_svm` and read the p value of the
pair from `featx.report`. The others take some minutes on one core, these about a quarter of an hour each.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, ttest_1samp

import featx
from featx.features.feature_recipe import Recipe
from featx.images import content_keys
from featx.stats import (
    Calibration,
    Estimate,
    FoldScores,
    Sigmoid,
    Subgroup,
    bootstrap_test,
    calibrate,
    combined_f,
    compare_many,
    corrected_t,
    decision_curve,
    delong_test,
    dietterich_t,
    factorial_anova,
    fit_calibration,
    fold_scores,
    friedman,
    holm,
    mcnemar_test,
    nemenyi,
    permutation_test,
    subgroup_aucs,
    subgroup_rates,
)

LEVEL = 0.05
EXACT, BOUND, NOTHING = "5 %", "at most 5 %", "nothing"
RANGES = {EXACT: (0.03, 0.07), BOUND: (0.0, 0.07), NOTHING: (0.0, 1.0)}
RESAMPLES = 499


Draws = Callable[[np.random.Generator, int], Iterator[dict[str, float]]]


@dataclass(frozen=True)
class Setting:
    """Data sets of one kind, and what the tests on them claim."""

    title: str
    draw: Draws
    claims: dict[str, str]
    whole: bool = False


def one_test_set(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """200 images, 60 positive; two arms that share half of their noise and have an area of .78."""
    actual = np.repeat([1, 0], [60, 140])
    for _ in range(sets):
        shared = rng.normal(size=200)
        a, b = (shared + rng.normal(size=200) + 1.1 * actual for _ in range(2))
        yield {
            "DeLong": delong_test(actual, a, b).p,
            "image bootstrap": bootstrap_test(
                actual, a, b, resamples=RESAMPLES, seed=int(rng.integers(1 << 31))
            ).p,
            "permutation": permutation_test(
                actual, a, b, resamples=RESAMPLES, seed=int(rng.integers(1 << 31))
            ).p,
            "McNemar, exact": mcnemar_test(actual, a > 0.55, b > 0.55).p,
        }


def grouped_test_set(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """70 lesions of 1 to 5 images; what an arm gets wrong it gets wrong on the whole lesion."""
    for _ in range(sets):
        groups = np.repeat(np.arange(70), rng.integers(1, 6, 70))
        actual = (np.arange(70) % 3 == 0).astype(int)[groups]
        a, b = (rng.normal(size=70)[groups] + 0.5 * rng.normal(size=len(groups)) + actual for _ in range(2))
        seeds = rng.integers(1 << 31, size=2).tolist()
        yield {
            "DeLong by groups": delong_test(actual, a, b, groups=groups).p,
            "group bootstrap": bootstrap_test(
                actual, a, b, groups=groups, resamples=RESAMPLES, seed=seeds[0]
            ).p,
            "permutation by groups": permutation_test(
                actual, a, b, groups=groups, resamples=RESAMPLES, seed=seeds[1]
            ).p,
            "DeLong as if images were independent": delong_test(actual, a, b).p,
        }


def trained_arms(
    rng: np.random.Generator, parts: np.ndarray, features: int, ridge: float = 10.0, arms: int = 2
) -> np.ndarray:
    """Areas of arms that are trained and tested on overlapping folds of one data set of 200 images.

    Each arm has features of its own, equally informative together, and a ridge classifier. `parts` holds the
    test images of each fold. Returns areas of shape (folds, arms). With 2 features nearly all the noise is that
    of the test part; with 10, what was learnt matters as much; with 100 and a strong ridge it is nearly all.
    """
    actual = np.repeat([1.0, 0.0], [70, 130])
    images = rng.normal(size=(arms, 200, features)) + (1.1 / np.sqrt(features)) * actual[None, :, None]
    areas = np.empty((len(parts), arms))
    for fold, test in enumerate(parts):
        x, y = images[:, ~test], actual[~test] - actual[~test].mean()
        x = x - x.mean(axis=1, keepdims=True)
        gram = x.transpose(0, 2, 1) @ x + ridge * np.eye(features)
        weights = np.linalg.solve(gram, (x.transpose(0, 2, 1) @ y)[..., None])
        scores = (images[:, test] @ weights)[..., 0]
        positive = actual[test] == 1
        ranks = rankdata(scores, axis=1)[:, positive].sum(axis=1)
        areas[fold] = (ranks / positive.sum() - (positive.sum() + 1) / 2) / (~positive).sum()
    return areas


def split(
    rng: np.random.Generator, parts: int, repeats: int, sizes: tuple[int, int] = (70, 130)
) -> np.ndarray:
    """Test images of repeated, stratified k-fold splits of 200 images, shape (repeats * parts, 200)."""
    masks = []
    for _ in range(repeats):
        place = np.concatenate([rng.permutation(np.arange(size) % parts) for size in sizes])
        masks += [place == part for part in range(parts)]
    return np.array(masks)


def halves(features: int, ridge: float = 10.0) -> Draws:
    """5x2 folds of one data set."""

    def draw(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
        for _ in range(sets):
            areas = trained_arms(rng, split(rng, 2, 5), features, ridge)
            differences = areas[:, 0] - areas[:, 1]
            yield {
                "corrected resampled t": corrected_t(differences, 1.0).p,
                "combined 5x2cv F": combined_f(differences.reshape(5, 2)).p,
                "5x2cv paired t": dietterich_t(differences.reshape(5, 2)).p,
                "plain t over the ten folds": float(ttest_1samp(differences, 0).pvalue),
            }

    return draw


def k_folds(parts: int, repeats: int, features: int, ridge: float = 10.0) -> Draws:
    """Repeated k-fold splits of one data set."""

    def draw(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
        for _ in range(sets):
            areas = trained_arms(rng, split(rng, parts, repeats), features, ridge)
            differences = areas[:, 0] - areas[:, 1]
            yield {
                "corrected resampled t": corrected_t(differences, 1 / (parts - 1)).p,
                "plain t over the folds": float(ttest_1samp(differences, 0).pvalue),
            }

    return draw


def several_arms(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """Four arms on twelve independent data sets."""
    for _ in range(sets):
        table = rng.normal(size=(12, 1)) + rng.normal(size=(12, 4))
        yield {"Friedman": friedman(table).p, "Nemenyi, any pair": float(nemenyi(table).min())}


def several_arms_on_folds(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """Four arms on 5x2 folds of one data set."""
    for _ in range(sets):
        areas = trained_arms(rng, split(rng, 2, 5), 10, arms=4)
        pairs = [(row, column) for row in range(4) for column in range(row)]
        smallest = min(corrected_t(areas[:, row] - areas[:, column], 1.0).p for row, column in pairs)
        yield {
            "corrected t of all pairs, Holm": min(1.0, smallest * len(pairs)),
            "corrected t of all pairs, the smallest p": smallest,
            "Friedman over folds (featx gives no p)": friedman(areas).p,
        }


def several_arms_on_one_set(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """Four arms on one test set, through the front function."""
    actual = np.repeat([1, 0], [60, 140])
    ids = [f"{row:03}" for row in range(200)]
    for _ in range(sets):
        shared = rng.normal(size=200)
        arms: dict[str, list[FoldScores]] = {
            name: [fold_scores("holdout", ids, actual, shared + rng.normal(size=200) + actual)]
            for name in "abcd"
        }
        pairs = compare_many(arms).pairs
        yield {
            "DeLong of all pairs, Holm": min(pair.adjusted_p for pair in pairs),
            "DeLong of all pairs, the smallest p": min(pair.finding.p for pair in pairs),
        }


def factors(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """A 3 x 2 design, five independent blocks, no factor matters."""
    cells = [(net, start, block) for net in range(3) for start in range(2) for block in range(5)]
    for _ in range(sets):
        shift = rng.normal(size=5)
        rows = [
            {"net": net, "start": start, "block": block, "auc": shift[block] + rng.normal()}
            for net, start, block in cells
        ]
        effects = {
            one.name: one.p
            for one in factorial_anova(
                rows, "auc", ["net", "start"], block="block", overlapping=False
            ).effects
        }
        yield {f"analysis of variance, {name}": effects[name] for name in ("net", "start", "net × start")}


THRESHOLDS, PREVALENCE = (0.1, 0.2, 0.35, 0.5), 0.35


def lesions(rng: np.random.Generator, count: int, prevalence: float) -> tuple[np.ndarray, ...]:
    """Draw lesions of 1 to 5 images: group, class and decision value of each image; the AUC is 0.81."""
    groups = np.repeat(np.arange(count), rng.integers(1, 6, count))
    actual = (np.arange(count) < prevalence * count)[groups]
    scores = rng.normal(size=count)[groups] + 0.5 * rng.normal(size=len(groups)) + 1.4 * actual
    return groups, actual, scores


def subgroups(mixed: bool) -> Draws:
    """Draw levels of a column at random, by lesion, or `mixed`: by image; no level differs from another."""

    def draw(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
        for _ in range(sets):
            groups, actual, scores = lesions(rng, 160, 0.4)
            level = rng.choice(list("aabbc"), len(groups) if mixed else 160)
            levels = level if mixed else level[groups]
            known = {"groups": groups, "order": "abc"}
            found = subgroup_aucs(levels, actual, scores, **known)
            hits = (scores >= 0.7) == actual
            rates = [subgroup_rates(levels, actual, hits, positive=kind, **known) for kind in (True, False)]
            alone = subgroup_aucs(levels, actual, scores, order="abc")
            yield {
                "AUC of a subgroup": _tested(found)[0],
                "AUC of any subgroup, Holm": float(holm(_tested(found)).min()),
                "sensitivity of a subgroup": _tested(rates[0])[0],
                "specificity of a subgroup": _tested(rates[1])[0],
                "AUC, as if images were independent": _tested(alone)[0],
            }

    return draw


@dataclass(frozen=True, eq=False)
class Fold:
    """Test images of a fold, with scores and probabilities by a model that was trained on the others.

    `truth` has the true net benefit of the model at `THRESHOLDS`.
    """

    images: np.ndarray
    scores: np.ndarray
    probabilities: np.ndarray
    truth: np.ndarray


def trained_folds(rng: np.random.Generator, actual: np.ndarray, step: float = 1.4) -> Iterator[Fold]:
    """Train a ridge classifier on 10 features in each of the 5x2 folds, with a sigmoid for probabilities."""
    positives, move = int(actual.sum()), step / np.sqrt(10)
    images = rng.normal(size=(len(actual), 10)) + move * actual[:, None]
    for test in split(rng, 2, 5, (positives, len(actual) - positives)):
        x, y = images[~test] - images[~test].mean(axis=0), actual[~test] - actual[~test].mean()
        weights = np.linalg.solve(x.T @ x + 10.0 * np.eye(10), x.T @ y)
        fitted = fit_calibration(actual[~test].astype(int), images[~test] @ weights)
        cuts, spread = _scores_at(fitted), float(np.sqrt(weights @ weights))
        truth = true_benefit(
            PREVALENCE, norm.sf((cuts - move * weights.sum()) / spread), norm.sf(cuts / spread)
        )
        scores = images[test] @ weights
        yield Fold(np.flatnonzero(test), scores, calibrate(fitted, scores), truth)


def _scores_at(fitted: Calibration) -> np.ndarray:
    """Find the decision values whose probabilities are `THRESHOLDS`."""
    (curve,) = fitted.curves
    assert isinstance(curve, Sigmoid)
    return (logit(THRESHOLDS) - curve.intercept) / curve.slope


def subgroups_of_folds(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """Two levels, drawn at random, of 200 images in 5x2 folds."""
    actual = np.repeat([True, False], [70, 130])
    for _ in range(sets):
        folds = list(trained_folds(rng, actual))
        images, scores, parts = _together(folds)
        levels = rng.choice(list("aab"), 200)[images]
        known = {"images": images, "order": "ab"}
        aucs = subgroup_aucs(levels, actual[images], scores, folds=parts, **known)
        rates = subgroup_rates(levels, actual[images], scores >= 0.1, **known)
        yield {"AUC of a subgroup": _tested(aucs)[0], "sensitivity of a subgroup": _tested(rates)[0]}


def _together(folds: list[Fold]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, scores = (
        np.concatenate([getattr(fold, name) for fold in folds]) for name in ("images", "scores")
    )
    return images, scores, np.repeat(np.arange(len(folds)), [len(fold.images) for fold in folds])


def _tested(found: tuple[Subgroup, ...]) -> list[float]:
    """List the p values of subgroups; a subgroup that is too small for a test has no finding."""
    return [1.0 if np.isnan(one.p) else one.p for one in found if not one.reference]


def missed(intervals: tuple[Estimate, ...], truth: np.ndarray, name: str) -> dict[str, float]:
    """Give 0, which counts as found, for each interval without the truth, else 1, also where there is no interval."""
    return {
        f"{name} at {cut:g}": float(not (true < one.low or one.high < true))
        for cut, one, true in zip(THRESHOLDS, intervals, truth, strict=True)
    }


def true_benefit(prevalence: float, found: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Net benefit at `THRESHOLDS` from the true rates of true and false positives."""
    cuts = np.array(THRESHOLDS)
    return prevalence * found - (1 - prevalence) * wrong * cuts / (1 - cuts)


def benefit_of_lesions(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """One test set of 160 lesions, of which each is positive with a chance of 0.35, and a fixed model."""
    variance, odds = 1.25, np.log(PREVALENCE / (1 - PREVALENCE))
    cuts = 0.7 + (logit(THRESHOLDS) - odds) * variance / 1.4
    rates = norm.sf((cuts - 1.4) / variance**0.5), norm.sf(cuts / variance**0.5)
    truth = true_benefit(PREVALENCE, *rates)
    treated = true_benefit(PREVALENCE, np.ones(4), np.ones(4))
    for _ in range(sets):
        groups, actual, scores = lesions(rng, 160, rng.binomial(160, PREVALENCE) / 160)
        chances = expit(odds + (scores - 0.7) * 1.4 / variance)
        curve = decision_curve(actual, chances, THRESHOLDS, groups=groups)
        alone = decision_curve(actual, chances, THRESHOLDS)
        yield {
            **missed(curve.model, truth, "net benefit"),
            **missed(curve.standardised, truth / PREVALENCE, "standardised net benefit"),
            **missed(curve.gain, truth - treated, "gain over treating all"),
            **missed(alone.model, truth, "as if images were independent"),
        }


def benefit_of_folds(rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
    """200 images in 5x2 folds, each positive with a chance of 0.35; the truth is that of the ten models."""
    for _ in range(sets):
        actual = np.arange(200) < rng.binomial(200, PREVALENCE)
        folds = list(trained_folds(rng, actual))
        images, *_ = _together(folds)
        chances = np.concatenate([fold.probabilities for fold in folds])
        truth = np.mean([fold.truth for fold in folds], axis=0)
        curve = decision_curve(actual[images], chances, THRESHOLDS, groups=images)
        alone = decision_curve(actual[images], chances, THRESHOLDS)
        yield {
            **missed(curve.model, truth, "net benefit"),
            **missed(alone.model, truth, "as if tests were independent"),
        }


@dataclass(frozen=True)
class Study:
    """Two arms that are trained, tested and reported by featx, and are equally good.

    Attributes
    ----------
    protocol : str
        As `featx.train_svm` takes it.
    groups, positive : int
        Patients, and how many of them are positive.
    images : int
        Images of each patient; with more than one, patients are scored.
    features : int
        Width of each arm's features.
    fixed : bool
        Both arms train on the same features, so that the two trained models are equally good; else each arm draws
        its own, so that the two ways of training are.
    """

    protocol: str
    groups: int = 200
    positive: int = 70
    images: int = 1
    features: int = 40
    fixed: bool = False

    def draw(self, rng: np.random.Generator, sets: int) -> Iterator[dict[str, float]]:
        """Run studies, each in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            manifest, keys = self._manifest(Path(folder))
            for number in range(sets):
                yield {PAIR: self._reported(Path(folder) / str(number), manifest, keys, rng)}

    def _manifest(self, folder: Path) -> tuple[Path, list[str]]:
        """Write files that stand for images; every second patient tests in a holdout."""
        rows = []
        for group in range(self.groups):
            for image in range(self.images):
                path = folder / f"{group:04}-{image}.png"
                path.write_bytes(path.name.encode())
                label = "malignant" if group < self.positive else "benign"
                split = ("train", "test")[group % 2]
                rows.append({"image": path.name, "label": label, "group": f"patient {group}", "split": split})
        manifest = folder / "manifest.csv"
        with manifest.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        paths = [str(folder / row["image"]) for row in rows]
        keys = content_keys(paths).keys
        return manifest, [keys[path] for path in paths]

    def _reported(self, folder: Path, manifest: Path, keys: list[str], rng: np.random.Generator) -> float:
        """Train two arms, report them, and read the p value of their difference."""
        first = self._features(rng)
        second = self._features(rng)
        if self.fixed:
            trained = np.repeat(np.arange(self.groups) % 2 == 0, self.images)
            second[trained] = first[trained]
        for arm, rows in (("A", first), ("B", second)):
            store = featx.FeatureStore.create(folder / arm, _recipe(arm))
            store.write_block(keys, rows[:, None])
            featx.train_svm(
                manifest,
                features=[store.path],
                task="malignant:benign",
                protocol=self.protocol,
                arm=arm,
                output=folder / "runs",
                cache=folder,
                workers=1,
                inner_splits=3,
                costs=(0.01, 1.0, 100.0),
                group_scores="mean" if self.images > 1 else "none",
            )
        (report,) = featx.report(folder / "runs", output=folder / "report", figures=False)
        found = report.as_json()["tables"]
        ((pair,),) = [rows for name, rows in found.items() if name.startswith("pairs-")]
        return float(pair["p"])

    def _features(self, rng: np.random.Generator) -> np.ndarray:
        """Draw features, float32 of shape (images, features): what all images of a patient share, and noise."""
        actual = np.arange(self.groups) < self.positive
        patients = rng.normal(size=(self.groups, self.features))
        patients += 1.1 / np.sqrt(self.features) * actual[:, None]
        rows = np.repeat(patients, self.images, axis=0)
        if self.images > 1:
            rows += 0.7 * rng.normal(size=rows.shape)
        return rows.astype(np.float32)


PAIR = "p of the pair in the report"


def _recipe(name: str) -> Recipe:
    """State a recipe of features that no network made."""
    return Recipe(
        backbone="tiny",
        weights=name,
        layer="global pool",
        pool="avg",
        image_size=64,
        preparation={"name": "resize", "version": 1},
        decode=1,
        weights_label=name,
        lineage=("simulated",),
    )


SETTINGS = [
    Setting(
        "one test set of 200 images",
        one_test_set,
        {"DeLong": EXACT, "image bootstrap": EXACT, "permutation": EXACT, "McNemar, exact": BOUND},
    ),
    Setting(
        "one test set of 70 lesions with 1 to 5 images",
        grouped_test_set,
        {"DeLong by groups": EXACT, "group bootstrap": EXACT, "permutation by groups": EXACT},
    ),
    Setting(
        "5x2 folds of 200 images, 2 features",
        halves(2),
        {"corrected resampled t": EXACT, "combined 5x2cv F": EXACT, "5x2cv paired t": EXACT},
    ),
    Setting("5x2 folds of 200 images, 10 features", halves(10), {"corrected resampled t": EXACT}),
    Setting("5 folds of 200 images, 10 features", k_folds(5, 1, 10), {"corrected resampled t": BOUND}),
    Setting("10 folds of 200 images, 10 features", k_folds(10, 1, 10), {"corrected resampled t": BOUND}),
    Setting("3 x 10 folds of 200 images, 10 features", k_folds(10, 3, 10), {"corrected resampled t": EXACT}),
    Setting(
        "4 arms, 12 independent data sets", several_arms, {"Friedman": EXACT, "Nemenyi, any pair": BOUND}
    ),
    Setting("4 arms, one test set", several_arms_on_one_set, {"DeLong of all pairs, Holm": BOUND}),
    Setting(
        "4 arms, 5x2 folds, 10 features", several_arms_on_folds, {"corrected t of all pairs, Holm": BOUND}
    ),
    Setting(
        "3 x 2 factors, 5 independent blocks",
        factors,
        {f"analysis of variance, {name}": EXACT for name in ("net", "start", "net × start")},
    ),
    Setting("5x2 folds of 200 images, 100 features, strong ridge", halves(100, 1000.0), {}),
    Setting(
        "10 folds of 200 images, 100 features, strong ridge",
        k_folds(10, 1, 100, 1000.0),
        {"corrected resampled t": BOUND},
    ),
    Setting("whole studies, 5x2, 200 images", Study("5x2").draw, {PAIR: EXACT}, whole=True),
    Setting("whole studies, 5 folds, 200 images", Study("kfold:5").draw, {PAIR: EXACT}, whole=True),
    Setting(
        "whole studies, 5x2, 100 patients of five images, scored by patient",
        Study("5x2", groups=100, positive=35, images=5).draw,
        {PAIR: EXACT},
        whole=True,
    ),
    Setting(
        "whole studies, 5 folds, 100 patients of five images, scored by patient",
        Study("kfold:5", groups=100, positive=35, images=5).draw,
        {PAIR: EXACT},
        whole=True,
    ),
    Setting(
        "whole studies, holdout, two equally good models, 200 test images",
        Study("holdout", groups=400, positive=140, fixed=True).draw,
        {PAIR: EXACT},
        whole=True,
    ),
    Setting(
        "whole studies, holdout, two equally good ways of training",
        Study("holdout", groups=400, positive=140).draw,
        {},
        whole=True,
    ),
    Setting(
        "subgroups of 160 lesions with 1 to 5 images",
        subgroups(mixed=False),
        {
            "AUC of a subgroup": EXACT,
            "AUC of any subgroup, Holm": BOUND,
            "sensitivity of a subgroup": EXACT,
            "specificity of a subgroup": EXACT,
        },
    ),
    Setting(
        "subgroups of images of 160 lesions",
        subgroups(mixed=True),
        {
            "AUC of a subgroup": EXACT,
            "AUC of any subgroup, Holm": BOUND,
            "sensitivity of a subgroup": BOUND,
            "specificity of a subgroup": BOUND,
        },
    ),
    Setting(
        "subgroups of 200 images in 5x2 folds",
        subgroups_of_folds,
        {"AUC of a subgroup": EXACT, "sensitivity of a subgroup": BOUND},
    ),
    Setting(
        "net benefit, 160 lesions with 1 to 5 images",
        benefit_of_lesions,
        {
            f"{name} at {cut:g}": BOUND if (name, cut) == ("gain over treating all", 0.1) else EXACT
            for name in ("net benefit", "standardised net benefit", "gain over treating all")
            for cut in THRESHOLDS
        },
    ),
    Setting(
        "net benefit, 200 images in 5x2 folds",
        benefit_of_folds,
        {f"net benefit at {cut:g}": EXACT for cut in THRESHOLDS[:3]},
    ),
]


def main() -> int:
    """Run every setting and print the rates."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=1000, help="simulated data sets of each kind")
    parser.add_argument("--studies", type=int, default=400, help="whole studies of each kind")
    parser.add_argument("--only", default="", help="only settings whose title holds this text")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, failed = time.perf_counter(), 0
    print(f"{'test':<42}{'data sets':>10}{'found':>8}  claims")
    for number, setting in enumerate(SETTINGS):
        if options.only not in setting.title:
            continue
        rng = np.random.default_rng([options.seed, number])
        found = list(setting.draw(rng, options.studies if setting.whole else options.sets))
        print(f"\n{setting.title}")
        for name in found[0]:
            p = np.array([one[name] for one in found])
            claim = setting.claims.get(name, NOTHING)
            low, high = RANGES[claim]
            rate = float((p < LEVEL).mean())
            kept = low <= rate <= high and not np.isnan(p).any()
            failed += not kept
            print(f"  {name:<40}{len(p):>10}{rate:>8.1%}  {claim}{'' if kept else '  NOT KEPT'}", flush=True)
    print(f"\n{failed} claims not kept; {time.perf_counter() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
