"""The SVM stage against scikit-learn's pipelines: seconds, agreement, memory, growth.

One command::

    python benchmarks/svm.py --output reports/benchmarks/svm

For each size it draws features like a network's (rectified, of low rank, with noise), or takes those of a store
(`--store MANIFEST STORE TASK`), makes the folds of 5x2, and in each fold runs, one after the other so that the load
of the machine falls on all alike:

``recipe``    ``GridSearchCV(SVC(kernel="linear", probability=True))``, the paper's decision layer
``paper``     our preset `paper`, the same objective
``linearsvc`` ``GridSearchCV(LinearSVC(dual="auto"))``
``default``   our squared hinge, the same objective

All search the same 8 values of C over the same 10 inner splits and refit. Ratios are medians over folds.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from featx.data.splitting import deal, inner_splits
from featx.stats.auc import roc_auc
from featx.svm.search import search_cost
from featx.svm.settings import resolve_settings
from featx.svm.solve import make_solver
from featx.svm.solvers import Job
from featx.svm.threads import one_blas_thread

SIZES = ((976, 4096), (1279, 4096), (10015, 2048))
GROWTH = (1000, 2000, 5000, 10_000, 20_000, 35_000)
GRID = [10.0**power for power in range(-3, 5)]


def draw(count: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw features as a network's last layer gives them, and labels with an AUC of about .8."""
    rng = np.random.default_rng(seed)
    rank = 240
    latent = rng.normal(size=(count, rank)) * (1 + np.arange(rank)) ** -0.75
    load = rng.normal(size=(rank, width))
    features = np.empty((count, width), np.float32)
    for start in range(0, count, 1000):
        part = slice(start, start + 1000)
        noise = 0.25 * rng.normal(size=(len(latent[part]), width))
        features[part] = np.maximum(latent[part] @ load + noise - 0.5, 0.0)
    score = latent @ rng.normal(size=rank)
    score = score / score.std() + rng.normal(size=count)
    return features, score > np.quantile(score, 0.7)


def read_store(manifest: str, store: str, task: str) -> tuple[np.ndarray, np.ndarray]:
    from featx.data.manifest import read_manifest
    from featx.data.tasks import apply_task
    from featx.features.store import FeatureStore

    labelled = apply_task(read_manifest(manifest), task)
    features = FeatureStore(store).read_images(manifest, labelled.ids).mean(axis=1)
    return features, labelled.targets == len(labelled.task.classes) - 1


def folds(positive: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    made = []
    for repeat in range(1, 6):
        parts = deal(positive, np.arange(len(positive)), (0.5, 0.5), np.random.default_rng((0, repeat)))
        halves = [np.flatnonzero(parts == half) for half in (0, 1)]
        made += [(halves[0], halves[1]), (halves[1], halves[0])]
    return made


def ours(preset: str, features: np.ndarray, positive: np.ndarray, fold: tuple, solvers: dict) -> dict:
    train, test = fold
    settings = resolve_settings(preset, widen=False, refine=0, rule="best", scaling="l2")
    begun = time.perf_counter()
    with one_blas_thread():
        if preset not in solvers:
            solvers[preset] = make_solver(features, "l2", settings, 2, len(train))
        splits = inner_splits(positive[train], splits=10)
        search = search_cost(solvers[preset], positive[:, None], train, splits, settings)
        final = solvers[preset].fit(train, np.where(positive[train], 1.0, -1.0), search.costs[0])
        scores = final.scaler.scores(features[test], final.weights[:, None])[:, 0] + final.intercept
    seconds = time.perf_counter() - begun
    unconverged = int((search.curves[0].residuals > solvers[preset].tolerance).sum())
    auc = roc_auc(positive[test], scores)
    return {
        "seconds": seconds,
        "C": search.costs[0],
        "auc": auc,
        "inner": search.curves[0].mean(),
        "unconverged": unconverged,
    }


def theirs(name: str, features: np.ndarray, positive: np.ndarray, fold: tuple) -> dict:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer
    from sklearn.svm import SVC, LinearSVC

    train, test = fold
    machine = (
        SVC(kernel="linear", probability=True, class_weight="balanced", random_state=0)
        if name == "recipe"
        else LinearSVC(dual="auto", class_weight="balanced", random_state=0)
    )
    step = type(machine).__name__.lower()
    grid = GridSearchCV(
        make_pipeline(Normalizer(), machine),
        {f"{step}__C": GRID},
        scoring="roc_auc",
        cv=inner_splits(positive[train], splits=10),
        n_jobs=2,
    )
    begun = time.perf_counter()
    grid.fit(features[train], positive[train])
    scores = grid.decision_function(features[test])
    seconds = time.perf_counter() - begun
    inner = np.array(grid.cv_results_["mean_test_score"])
    return {
        "seconds": seconds,
        "C": grid.best_params_[f"{step}__C"],
        "auc": roc_auc(positive[test], scores),
        "inner": inner,
    }


def compare(label: str, features: np.ndarray, positive: np.ndarray, count: int, recipe: bool, writer) -> None:
    solvers: dict = {}
    found: dict[str, list[dict]] = {}
    for number, fold in enumerate(folds(positive)[:count]):
        for name in ("paper", "recipe", "default", "linearsvc"):
            if name == "recipe" and not recipe:
                continue
            if name in ("paper", "default"):
                one = ours(name, features, positive, fold, solvers)
            else:
                one = theirs(name, features, positive, fold)
            found.setdefault(name, []).append(one)
            inner = " ".join(f"{value:.5f}" for value in one["inner"])
            writer.writerow(
                [label, number, name, one["seconds"], one["C"], one["auc"], one.get("unconverged", ""), inner]
            )
            print(
                f"{label} fold {number} {name}: {one['seconds']:.2f} s, C {one['C']:g}, AUC {one['auc']:.4f}",
                flush=True,
            )
    for mine, other in (("paper", "recipe"), ("default", "linearsvc")):
        if other in found:
            ratio = statistics.median(
                b["seconds"] / a["seconds"] for a, b in zip(found[mine], found[other], strict=True)
            )
            same = sum(a["C"] == b["C"] for a, b in zip(found[mine], found[other], strict=True))
            apart = max(abs(a["auc"] - b["auc"]) for a, b in zip(found[mine], found[other], strict=True))
            print(
                f"{label}: {mine} is {ratio:.1f} times faster than {other}; same C in {same}/{count}, AUC apart {apart:.1e}"
            )


def agreement(label: str, features: np.ndarray, positive: np.ndarray) -> None:
    """Compare decision values of held-out rows with liblinear at a tolerance of 1e-8, for every C."""
    from sklearn.svm import LinearSVC

    train, test = folds(positive)[0]
    labels = np.where(positive[train], 1.0, -1.0)
    settings = resolve_settings("default")
    with one_blas_thread():
        solver = make_solver(features, "l2", settings, 2, len(train))
        (curve,) = solver.curves([Job(train, test, labels)], GRID)
    rows = features / np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    tall = len(train) > features.shape[1]
    for column, cost in enumerate(GRID):
        reference = LinearSVC(
            C=cost, tol=1e-8, dual=not tall, max_iter=1_000_000, class_weight="balanced", random_state=0
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wanted = reference.fit(rows[train], labels).decision_function(rows[test])
        apart = np.abs(curve.scores[:, column] - wanted).max() / np.abs(wanted).max()
        note = ", reference not converged" if caught else ""
        print(
            f"{label} C {cost:g}: decisions apart {apart:.1e}, our gap {curve.residuals[column]:.1e}{note}",
            flush=True,
        )


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def memory(count: int, width: int, preset: str) -> None:
    """Print the peak of one fold over that of the process with the features alone, in feature matrices."""
    small = draw(200, 100)
    ours(preset, *small, folds(small[1])[0], {})  # imports are no data
    features, positive = draw(count, width)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    ours(preset, features, positive, folds(positive)[0], {})
    peak = _status("VmHWM")
    size = features.nbytes / 1024
    print(
        f"({count}, {width}) {preset}: features {size / 1024:.0f} MB, more at the peak {(peak - before) / 1024:.0f} MB: "
        f"{1 + (peak - before) / size:.1f} feature matrices",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("reports/benchmarks/svm"))
    parser.add_argument("--folds", type=int, default=10, help="folds of each size, 10 for the full 5x2")
    parser.add_argument("--sizes", default=",".join(f"{n}x{d}" for n, d in SIZES))
    parser.add_argument(
        "--recipe-rows", type=int, default=2000, help="run the recipe up to this many rows: it takes hours"
    )
    parser.add_argument(
        "--store",
        nargs=3,
        metavar=("MANIFEST", "STORE", "TASK"),
        help="stored features in place of drawn ones",
    )
    parser.add_argument("--only", choices=["compare", "agreement", "memory", "growth", "one-memory"])
    parser.add_argument("--preset", default="default", help="for --only one-memory and growth")
    parser.add_argument("--growth", default=",".join(map(str, GROWTH)))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    if options.only == "one-memory":
        return memory(*sizes[0], options.preset)
    warnings.filterwarnings("ignore", category=FutureWarning)
    with (options.output / "folds.csv").open("a", newline="", buffering=1) as file:
        writer = csv.writer(file)
        data = [(f"{n}x{d}", lambda n=n, d=d: draw(n, d)) for n, d in sizes]
        if options.store:
            data = [("store", lambda: read_store(*options.store))]
        for label, get in data:
            features, positive = get()
            if options.only in (None, "compare"):
                compare(
                    label, features, positive, options.folds, len(features) <= options.recipe_rows, writer
                )
            if options.only in (None, "agreement"):
                agreement(label, features, positive)
    if options.only in (None, "memory"):
        for n, d in sizes:
            for preset in ("paper", "default"):
                subprocess.run(
                    [
                        sys.executable,
                        __file__,
                        "--only",
                        "one-memory",
                        "--sizes",
                        f"{n}x{d}",
                        "--preset",
                        preset,
                    ],
                    check=True,
                )
    if options.only in (None, "growth"):
        growth(options)
    return None


def growth(options: argparse.Namespace) -> None:
    """Time one fold of our squared hinge for growing numbers of rows; write and plot the table."""
    rows = []
    for count in map(int, options.growth.split(",")):
        features, positive = draw(count, 2048)
        one = ours(options.preset, features, positive, folds(positive)[0], {})
        rows.append((count, one["seconds"], one["unconverged"]))
        print(
            f"growth {options.preset} n {count}: {one['seconds']:.2f} s, {one['unconverged']} not converged",
            flush=True,
        )
        with (options.output / f"growth-{options.preset}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("n", "seconds", "not_converged"), *rows])
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    axes.loglog([row[0] for row in rows], [row[1] for row in rows], "o-")
    axes.set(
        xlabel="images (half of them train)",
        ylabel="seconds a fold, search included",
        title=f"{options.preset}, 2,048 columns",
    )
    figure.savefig(options.output / f"growth-{options.preset}.png", dpi=150)


if __name__ == "__main__":
    main()
