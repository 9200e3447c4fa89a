"""What the choice of C costs on real features, by rule, and what the preparation of features before the SVM gives.

One command; each `--set` names a data set, its manifest and root, a task, a protocol, the folds to run (`-` for all), and
the arms of `featx extract --arm` with its features::

    python benchmarks/svm_choice.py --cache cache --output reports/benchmarks/choice
        --set isic2017 isic2017.csv . melanoma:rest holdout - mobilenet_v2 xception
        --set derm7pt derm7pt.csv . melanoma-vs-benign 5x2 1x1,1x2 derm-mobilenet_v2

In each fold all rules see the same SVMs: those of three kinds of inner splits of the training set (10 x 10 % held out as
`train-svm` does, 2 x 5-fold, and 10 draws of groups with replacement, each drawn group taken once and the others held
out), and those of the whole training set, one for each C. Groups and byte-identical images stay together in all of them. The test set only says
what each rule's choice is worth. Every fold is a line of ``folds.jsonl`` in the output folder and is not computed again.

Prints the test AUC of the default and its regret against the best C in hindsight for each pair of data set and network, and
the difference of each rule and preparation from the default over all pairs: with a t interval of the means of the data
sets, and with the interval of a bootstrap that draws data sets and then their pairs. Data sets decide, as the pairs of one
share their images. The preparations are the scalings of `train-svm`, fitted on the training rows of each split.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from featx.data import apply_task, deal, inner_splits, merged_groups, read_manifest, split_folds
from featx.features import FeatureStore, arm_file, read_arm
from featx.progress import Silent
from featx.svm.inputs import find_images, read_rows
from featx.svm.problems import Curve, FitProblem
from featx.svm.scaling import ROWWISE
from featx.svm.search import Curves, choose, roc_auc_columns
from featx.svm.settings import SvmSettings
from featx.svm.solvers.linalg import one_blas_thread
from featx.svm.solvers.solving import make_solver

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Masks = NDArray[np.bool_]
Split = tuple[Ints, Ints]

GRID = tuple(10.0**power for power in range(-3, 5))
# Rows that are not of unit length have squared lengths of hundreds, so that the same SVMs need a smaller C.
LONG_GRID = tuple(10.0**power for power in range(-6, 2))
SEED, PARTS, NUMBER, RESAMPLES = 0, 10, 5, 10000
LARGEST = 10.0  # of those that are shown as a fixed choice
PREPARATIONS = ("l2", "root", "none", "zscore", "pca", "whiten")


@dataclasses.dataclass(frozen=True)
class Problem:
    """One fold: features of all images, labels, groups, and the numbers of training and test rows."""

    features: NDArray[np.float32]
    positive: Masks
    groups: NDArray[np.str_]
    train: Ints
    test: Ints


def held_out(problem: Problem) -> list[Split]:
    """Split as `train-svm` does by default."""
    names = problem.groups[problem.train]
    grouped = names if len(np.unique(names)) < len(names) else None
    return inner_splits(problem.positive[problem.train], grouped, splits=PARTS, held_out=0.1, seed=SEED)


def k_fold(problem: Problem) -> list[Split]:
    """Split twice into five stratified parts, each held out once: as many fits as the default."""
    splits = []
    for repeat in range(PARTS // NUMBER):
        parts = deal(
            problem.positive[problem.train],
            problem.groups[problem.train],
            (1.0 / NUMBER,) * NUMBER,
            np.random.default_rng((SEED, NUMBER, repeat)),
        )
        splits += [(np.flatnonzero(parts != part), np.flatnonzero(parts == part)) for part in range(NUMBER)]
    return splits


def out_of_bag(problem: Problem) -> list[Split]:
    """Draw groups of each class with replacement, and train on each drawn group once; the others are held out."""
    rng = np.random.default_rng((SEED, 1))
    names, group = np.unique(problem.groups[problem.train], return_inverse=True)
    kind = np.zeros(len(names), dtype=bool)
    np.logical_or.at(kind, group, problem.positive[problem.train])
    splits = []
    for _ in range(PARTS):
        drawn = np.zeros(len(names), dtype=bool)
        for members in (np.flatnonzero(kind), np.flatnonzero(~kind)):
            drawn[rng.choice(members, len(members))] = True
        splits.append((np.flatnonzero(drawn[group]), np.flatnonzero(~drawn[group])))
    return splits


SCHEMES: dict[str, Callable[[Problem], list[Split]]] = {
    "held out": held_out,
    "2 x 5-fold": k_fold,
    "out of bag": out_of_bag,
}


def measure(
    problem: Problem, preparation: str, schemes: Iterable[str], workers: int, decades: int
) -> dict[str, Any]:
    """Fit all SVMs of a fold; return test AUCs and inner AUCs along the grid."""
    rowwise = preparation in ROWWISE
    grid = (GRID if preparation in ("l2", "root") else LONG_GRID)[:decades]
    settings = SvmSettings.make({"scaling": (preparation,)})
    splits = {name: SCHEMES[name](problem) for name in schemes}
    jobs = [_job(problem, fit, rest) for parts in splits.values() for fit, rest in parts]
    whole = FitProblem(problem.train, problem.test, _signs(problem.positive[problem.train]))
    begun = time.process_time()
    with one_blas_thread():
        solver = make_solver(problem.features, preparation, settings, workers, len(problem.train))
        # Without a fitted scaling all problems share one Gram matrix, or the products with all rows.
        curves = iter(solver.curves([*jobs, whole], grid))
        inner = {
            name: _inner(problem, parts, [next(curves) for _ in parts]) for name, parts in splits.items()
        }
        final = next(curves)
    found = {
        "costs": list(grid),
        "test": roc_auc_columns(problem.positive[problem.test], final.scores).tolist(),
        "inner": {name: one.record for name, one in inner.items()},
        "seconds": time.process_time() - begun,
    }
    first = inner.get("held out")
    if first is not None and rowwise:
        # The spread of decision values that were not fitted puts those of several C on one scale.
        standard = final.scores / first.spread
        best = choose(first.curves(grid))
        near = standard[:, max(best - 1, 0) : best + 2].mean(axis=1, keepdims=True)
        good = standard[:, _within_error(first.curves(grid), best)].mean(axis=1, keepdims=True)
        areas = roc_auc_columns(problem.positive[problem.test], np.hstack([near, good]))
        found["averaged"] = {"neighbours": float(areas[0]), "within one error": float(areas[1])}
    return found


@dataclasses.dataclass(frozen=True)
class Inner:
    """AUCs of inner splits, shape (splits, C), AUC of their pooled decision values, and their spread, shape (C,)."""

    aucs: Floats
    pooled: Floats
    spread: Floats

    @property
    def record(self) -> dict[str, Any]:
        """The AUCs in JSON types."""
        return {"auc": self.aucs.tolist(), "pooled": self.pooled.tolist()}

    def curves(self, grid: Sequence[float]) -> Curves:
        """Return the AUCs as the search for C takes them."""
        return as_curves(grid, self.aucs)


def as_curves(grid: Sequence[float], aucs: Floats) -> Curves:
    shape = np.shape(aucs)
    return Curves(np.array(grid), np.asarray(aucs), np.zeros(shape), np.zeros(shape, dtype=np.int64))


def _within_error(curves: Curves, best: int) -> Masks:
    mean, error = curves.mean(), curves.deviation()[best] / np.sqrt(curves.used)
    return np.asarray(mean >= mean[best] - error)


def _signs(positive: Masks) -> Floats:
    return np.where(positive, 1.0, -1.0)


def _job(problem: Problem, fit: Ints, rest: Ints) -> FitProblem:
    rows = problem.train[fit]
    return FitProblem(rows, problem.train[rest], _signs(problem.positive[rows]))


def _inner(problem: Problem, parts: Sequence[Split], curves: Sequence[Curve]) -> Inner:
    actual = problem.positive[problem.train]
    aucs = np.array(
        [roc_auc_columns(actual[rest], one.scores) for (_, rest), one in zip(parts, curves, strict=True)]
    )
    rows, scores = np.concatenate([rest for _, rest in parts]), np.concatenate([one.scores for one in curves])
    # A row that is held out several times has the mean of its decision values.
    numbers, place = np.unique(rows, return_inverse=True)
    mean = np.zeros((len(numbers), scores.shape[1]))
    np.add.at(mean, place, scores)
    mean /= np.bincount(place)[:, None]
    return Inner(aucs, roc_auc_columns(actual[numbers], mean), mean.std(axis=0))


def problems(data: Sequence[str], cache: Path, arm: str) -> Iterable[tuple[str, Problem]]:
    """Read one arm of a data set; yield its folds."""
    _, manifest, root, task, protocol, chosen, *_ = data
    labelled = apply_task(read_manifest(manifest, root=root), task)
    store = FeatureStore(arm if Path(arm).is_dir() else next(iter(read_arm(arm_file(cache, arm)))))
    images = find_images(labelled, [store], cache=cache, workers=2, missing="leave-out", progress=Silent())
    known = [row for row, name in enumerate(labelled.ids) if name not in set(images.left_out)]
    place = {labelled.ids[row]: number for number, row in enumerate(known)}
    features = read_rows(store, images, np.array(known))[:, 0]
    positive = labelled.targets[known] == labelled.task.classes.index(labelled.task.scored[0])
    groups = merged_groups(labelled.groups[known], [images.keys[row] for row in known])
    for fold in split_folds(labelled, protocol, SEED, images.keys).folds:
        if chosen in ("-", fold.name) or fold.name in chosen.split(","):
            rows = [
                np.array(sorted(place[name] for name in part if name in place))
                for part in (fold.train, fold.test)
            ]
            yield fold.name, Problem(features, positive, groups, *rows)


def run(options: argparse.Namespace) -> None:
    """Measure what is not in ``folds.jsonl`` yet."""
    path = options.output / "folds.jsonl"
    done = {key(line) for line in read(path)}
    for data in options.set:
        for arm in data[6:]:
            wanted = {"set": data[0], "task": data[3], "arm": arm}
            for name, problem in problems(data, options.cache, arm):
                for preparation in options.preparations:
                    line = {**wanted, "fold": name, "preparation": preparation}
                    if key(line) in done:
                        continue
                    schemes = SCHEMES if preparation == "l2" else ["held out"]
                    line |= measure(problem, preparation, schemes, options.workers, options.decades)
                    with path.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    print(*key(line), f"{line['seconds']:.1f} s of the processor", flush=True)


def key(line: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line[name] for name in ("set", "task", "arm", "fold", "preparation"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rules(line: dict[str, Any]) -> dict[str, float]:
    """Return the test AUC of each rule in one fold."""
    grid, test = line["costs"], line["test"]
    found = {"best in hindsight": max(test)}
    for name, inner in line["inner"].items():
        curves = as_curves(grid, np.array(inner["auc"]))
        smooth = np.array([curves.mean()[max(c - 1, 0) : c + 2].mean() for c in range(len(grid))])
        found[f"{name}, mean"] = test[choose(curves)]
        found[f"{name}, one standard error"] = test[choose(curves, "one-se")]
        found[f"{name}, pooled"] = test[choose(as_curves(grid, np.array([inner["pooled"]])))]
        found[f"{name}, mean over three C"] = test[choose(as_curves(grid, smooth[None]))]
    found |= {f"decision values averaged: {name}": area for name, area in line["averaged"].items()}
    return found | {f"C = {cost:g}": area for cost, area in zip(grid, test, strict=True) if cost <= LARGEST}


DEFAULT = "held out, mean"
SHOWN = ("held out, one standard error", "out of bag, mean")
Pair = tuple[str, str, str]
Folds = dict[str, dict[str, float]]  # by fold, then by rule


def by_pair(lines: Sequence[dict[str, Any]], preparation: str) -> dict[Pair, Folds]:
    """Return the test AUCs of the rules by pair and fold."""
    pairs: dict[Pair, Folds] = {}
    for line in lines:
        if line["preparation"] == preparation:
            pair = line["set"], line["task"], line["arm"]
            values = rules(line) if preparation == "l2" else {DEFAULT: prepared(line)}
            pairs.setdefault(pair, {})[line["fold"]] = values
    return pairs


def prepared(line: dict[str, Any]) -> float:
    return float(line["test"][choose(as_curves(line["costs"], np.array(line["inner"]["held out"]["auc"])))])


@dataclasses.dataclass(frozen=True)
class Effect:
    """Mean over data sets of the mean over their pairs, with two intervals: t over data sets, and bootstrap."""

    mean: float
    by_t: tuple[float, float]
    drawn: tuple[float, float]
    pairs: int
    better: int

    def __str__(self) -> str:
        spans = " | ".join(f"{low:+.4f} to {high:+.4f}" for low, high in (self.by_t, self.drawn))
        return f"{self.mean:+.4f} | {spans} | {self.better} of {self.pairs}"


def effect(differences: dict[Pair, float]) -> Effect:
    """Summarise one difference for each pair; pairs of a data set depend on each other."""
    names = [pair[0] for pair in differences]
    values = np.array(list(differences.values()))
    clusters = [values[[name == one for name in names]] for one in dict.fromkeys(names)]
    means = np.array([one.mean() for one in clusters])
    reach = float("nan")
    if len(means) > 1:
        reach = float(stats.t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
    rng = np.random.default_rng(SEED)
    shape = (RESAMPLES, len(clusters))
    within = np.stack([rng.choice(one, (*shape, len(one))).mean(axis=2) for one in clusters], axis=2)
    taken = rng.integers(len(clusters), size=shape)
    drawn = np.take_along_axis(within, taken[:, :, None], axis=2).mean(axis=(1, 2))
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = float(means.mean())
    better = int((values > 0).sum())
    return Effect(mean, (mean - reach, mean + reach), (float(low), float(high)), len(values), better)


def differences(found: dict[Pair, Folds], other: dict[Pair, Folds], rule: str) -> dict[Pair, float]:
    """Subtract the default from a rule in the folds that both have; the mean over folds, for each pair."""
    return {
        pair: float(np.mean([folds[fold][rule] - other[pair][fold][DEFAULT] for fold in folds]))
        for pair, folds in found.items()
        if pair in other and set(folds) <= set(other[pair])
    }


def summarise(lines: Sequence[dict[str, Any]]) -> None:
    """Print the tables in Markdown."""
    base = by_pair(lines, "l2")
    if not base:
        return
    print_pairs(base)
    head = "difference of AUC | 95 % interval over data sets (t) | bootstrap | better in |\n|---|---|---|---|---|"
    print(f"\n| choice instead of `{DEFAULT}` | {head}")
    for rule in next(iter(next(iter(base.values())).values())):
        if rule != DEFAULT:
            print(f"| {rule} | {effect(differences(base, base, rule))} |")
    print(f"\n| preparation instead of l2 | {head}")
    for preparation in PREPARATIONS[1:]:
        found = differences(by_pair(lines, preparation), base, DEFAULT)
        if found:
            print(f"| {preparation} | {effect(found)} |")


def print_pairs(base: dict[Pair, Folds]) -> None:
    """Print what the default costs against the best C in hindsight, by pair."""
    print(
        "| data | task | network | folds | AUC | regret: best C of each fold | best C of all folds | one standard error | "
        "out of bag | C = 1 |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for (name, task, arm), folds in sorted(base.items()):
        mean = {rule: np.mean([one[rule] for one in folds.values()]) for rule in next(iter(folds.values()))}
        every = [mean[rule] for rule in mean if rule.startswith("C = ")]
        shown = [mean["best in hindsight"], max(every), mean[SHOWN[0]], mean[SHOWN[1]], mean["C = 1"]]
        cells = " | ".join(f"{value - mean[DEFAULT]:+.4f}" for value in shown)
        print(f"| {name} | {task} | {arm} | {len(folds)} | {mean[DEFAULT]:.4f} | {cells} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="append",
        default=[],
        metavar="NAME MANIFEST ROOT TASK PROTOCOL FOLDS ARM ...",
    )
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--output", type=Path, default=Path("reports/benchmarks/choice"))
    parser.add_argument("--preparations", nargs="+", choices=PREPARATIONS, default=["l2"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--decades",
        type=int,
        default=len(GRID),
        help="values of C, from the smallest: the largest take the most time",
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    run(options)
    summarise(read(options.output / "folds.jsonl"))


if __name__ == "__main__":
    main()
