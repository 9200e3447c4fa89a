"""The SVM stage against scikit-learn's pipelines: seconds, agreement, memory, growth.

One command::

    python benchmarks/svm.py --output reports/benchmarks/svm

For each size it draws features like a network's (rectified, of low rank, with noise), or takes those of a store
(`--store MANIFEST TASK STORE ...`, side by side), makes the folds of 5x2, and in each fold runs, one after the other so that the load
of the machine falls on all alike:

``recipe``    ``GridSearchCV(SVC(kernel="linear", probability=True))``, the paper's decision layer
``paper``     our preset `paper`, the same objective
``linearsvc`` ``GridSearchCV(LinearSVC(dual="auto"))``
``default``   our squared hinge, the same objective

All search the same 8 values of C over the same 10 inner splits and refit. Every fold's figures are added to
``folds.csv``, so that a long comparison can be run in pieces (``--sizes 976x4096 --folds 1 3 --only compare``);
``--only summary`` prints ratios and agreement of what is there. ``--only factors`` compares the Cholesky factorisation
of the solvers with those of numpy and scipy. ``--only workers`` trains folds with one thread and with two, in turns, and
says what more cores would give.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from featx.data import deal, inner_splits
from featx.stats import roc_auc
from featx.svm.problems import FitProblem
from featx.svm.search import search_cost
from featx.svm.settings import SvmSettings
from featx.svm.solvers import rows
from featx.svm.solvers.linalg import cholesky, cholesky_solve, in_threads, one_blas_thread
from featx.svm.solvers.solving import folds_at_once, make_solver

SIZES = ((976, 4096), (1279, 4096), (10015, 2048))
GROWTH = (1000, 2000, 5000, 10_000, 20_000, 35_000, 100_000)
PIPELINES = ("paper", "recipe", "default", "linearsvc")
FACTOR_SIZES = (200, 700, 1800, 3000)
Solve = Callable[[np.ndarray, np.ndarray], np.ndarray]
PARTS = ("compare", "agreement", "memory", "growth", "permutations", "summary")
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


def read_stores(manifest: str, task: str, *stores: str) -> tuple[np.ndarray, np.ndarray]:
    from featx.data import apply_task, read_manifest
    from featx.features import FeatureStore

    labelled = apply_task(read_manifest(manifest), task)
    parts = [FeatureStore(store).read_images(manifest, labelled.ids).mean(axis=1) for store in stores]
    return np.hstack(parts), labelled.targets == len(labelled.task.classes) - 1


def folds(positive: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    made = []
    for repeat in range(1, 6):
        parts = deal(positive, np.arange(len(positive)), (0.5, 0.5), np.random.default_rng((0, repeat)))
        halves = [np.flatnonzero(parts == half) for half in (0, 1)]
        made += [(halves[0], halves[1]), (halves[1], halves[0])]
    return made


def ours(preset: str, features: np.ndarray, positive: np.ndarray, fold: tuple, solvers: dict) -> dict:
    train, test = fold
    settings = SvmSettings.make(
        {"preset": preset, "widen": False, "refine": 0, "rule": "best", "scaling": "l2"}
    )
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


def compare(label: str, features: np.ndarray, positive: np.ndarray, options: argparse.Namespace) -> None:
    """Run the pipelines in some folds, one after the other, and add a line for each to ``folds.csv``."""
    solvers: dict = {}
    recipe = len(features) <= options.recipe_rows
    first, last = options.folds
    for number in range(first - 1, last):
        fold = folds(positive)[number]
        for name in ("paper", "recipe", "default", "linearsvc"):
            if name not in options.pipelines or (name == "recipe" and not recipe):
                continue
            mine = name in ("paper", "default")
            one = (
                ours(name, features, positive, fold, solvers)
                if mine
                else theirs(name, features, positive, fold)
            )
            line = {
                "data": label,
                "fold": number + 1,
                "pipeline": name,
                "seconds": round(one["seconds"], 4),
                "C": one["C"],
                "auc": one["auc"],
                "unconverged": one.get("unconverged", ""),
                "load": round(os.getloadavg()[0], 2),
                "inner": " ".join(f"{value:.6f}" for value in one["inner"]),
            }
            append(options.output / "folds.csv", line)
            print(
                f"{label} fold {number + 1} {name}: {line['seconds']:.2f} s, C {one['C']:g}, AUC {one['auc']:.4f}"
            )
            sys.stdout.flush()


def append(path: Path, line: dict) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(line))
        if new:
            writer.writeheader()
        writer.writerow(line)


def summarise(path: Path) -> None:
    """Print ratios and agreement of each of our pipelines and its counterpart, over the folds that both ran."""
    found: dict[tuple[str, str], dict[str, dict]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault((row["data"], row["pipeline"]), {})[row["fold"]] = row
    for data in dict.fromkeys(key[0] for key in found):
        for mine, other in (("paper", "recipe"), ("default", "linearsvc")):
            ours_, theirs_ = found.get((data, mine), {}), found.get((data, other), {})
            pairs = [(ours_[fold], theirs_[fold]) for fold in ours_ if fold in theirs_]
            if not pairs:
                continue
            ratios = [float(b["seconds"]) / float(a["seconds"]) for a, b in pairs]
            total = sum(float(b["seconds"]) for _, b in pairs) / sum(float(a["seconds"]) for a, _ in pairs)
            same = sum(a["C"] == b["C"] for a, b in pairs)
            apart = max(abs(float(a["auc"]) - float(b["auc"])) for a, b in pairs)
            inner = max(_inner_apart(a, b) for a, b in pairs)
            median = [statistics.median(float(pair[k]["seconds"]) for pair in pairs) for k in (0, 1)]
            print(
                f"{data}: {other} {median[1]:.2f} s, {mine} {median[0]:.2f} s a fold (medians of {len(pairs)} folds), "
                f"median ratio {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}), "
                f"of the sums {total:.1f}; same C in {same}/{len(pairs)}, inner AUC at our C apart {inner:.1e}, "
                f"test AUC apart {apart:.1e}"
            )


def _inner_apart(mine: dict, other: dict) -> float:
    """Compare the mean inner AUCs at the C that we chose."""
    place = GRID.index(float(mine["C"]))
    return abs(float(mine["inner"].split()[place]) - float(other["inner"].split()[place]))


def permutations(output: Path, repetitions: int = 50) -> None:
    """Train every preset on permuted labels, and on groups that carry the label: the mean AUC has to be chance."""
    rng = np.random.default_rng(1)
    print("| preset | labels | mean AUC | standard error |\n|---|---|---|---|")
    features, positive = draw(120, 80)
    groups = np.repeat(np.arange(40), 3)
    for preset in SvmSettings.presets:
        settings = SvmSettings.make({"preset": preset})
        for kind in ("permuted", "of groups"):
            means = []
            for seed in range(repetitions):
                if kind == "permuted":
                    means.append(nested(features, rng.permutation(positive), np.arange(120), settings, seed))
                else:
                    near = rng.normal(size=(40, 80))[groups] + 0.1 * rng.normal(size=(120, 80))
                    labels = rng.permutation(np.arange(40) % 2 == 0)[groups]
                    means.append(nested(near.astype(np.float32), labels, groups, settings, seed))
            error = np.std(means, ddof=1) / np.sqrt(repetitions)
            line = {"preset": preset, "labels": kind, "auc": np.mean(means), "error": error, "n": repetitions}
            append(output / "permutations.csv", line)
            print(f"| `{preset}` | {kind} | {np.mean(means):.4f} | {error:.4f} |", flush=True)


def nested(
    features: np.ndarray, positive: np.ndarray, groups: np.ndarray, settings: SvmSettings, seed: int
) -> float:
    """Average the AUC of two folds with the whole search inside each."""
    parts = deal(positive, groups, (0.5, 0.5), np.random.default_rng(seed))
    found = []
    for half in (0, 1):
        train, test = np.flatnonzero(parts == half), np.flatnonzero(parts != half)
        inner = groups[train] if settings.inner == "grouped" else None
        splits = inner_splits(positive[train], inner, splits=settings.inner_splits, seed=seed)
        with one_blas_thread():
            solver = make_solver(features, "l2", settings, 1, len(train))
            search = search_cost(solver, positive[:, None], train, splits, settings)
            final = solver.fit(train, np.where(positive[train], 1.0, -1.0), search.costs[0])
        scores = final.scaler.scores(features[test], final.weights[:, None])[:, 0] + final.intercept
        found.append(roc_auc(positive[test], scores))
    return float(np.mean(found))


def agreement(label: str, features: np.ndarray, positive: np.ndarray) -> None:
    """Compare decision values of held-out rows with liblinear at a tolerance of 1e-8, for every C."""
    from sklearn.svm import LinearSVC

    train, test = folds(positive)[0]
    labels = np.where(positive[train], 1.0, -1.0)
    settings = SvmSettings.make({"preset": "default"})
    with one_blas_thread():
        solver = make_solver(features, "l2", settings, 2, len(train))
        (curve,) = solver.curves([FitProblem(train, test, labels)], GRID)
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


def factors(count: int) -> None:
    """Compare ways to factorise a system and solve it: CPU time, two threads, pauses of other threads, memory."""
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpotrf

    def with_numpy(system: np.ndarray, right: np.ndarray) -> np.ndarray:
        return cho_solve((np.linalg.cholesky(system), True), right, check_finite=False)

    def with_scipy(system: np.ndarray, right: np.ndarray) -> np.ndarray:
        factor, _ = dpotrf(system.T, lower=0, clean=0, overwrite_a=1)
        return cho_solve((factor, False), right, check_finite=False)

    def with_featx(system: np.ndarray, right: np.ndarray) -> np.ndarray:
        return cholesky_solve(cholesky(system), right)

    features, positive = draw(count, 512)
    rows = features.astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    whole = rows @ rows.T + 0.005 * np.eye(count)
    right = np.stack([np.where(positive, 1.0, -1.0), np.ones(count)], axis=1)
    with one_blas_thread():
        wanted = with_featx(whole.copy(), right)
        for name, solve in (("featx", with_featx), ("numpy", with_numpy), ("scipy", with_scipy)):
            seconds = min(_cpu_seconds(solve, whole, right) for _ in range(9))
            pairs = min(_thread_seconds(solve, whole, right) for _ in range(5))
            pause = min(_longest_pause(solve, whole, right) for _ in range(5))
            extra = _extra_memory(solve, whole, right) / whole.nbytes
            same = np.array_equal(solve(whole.copy(), right), wanted)
            print(
                f"{count} rows, {name}: CPU {1e3 * seconds:.2f} ms, two at once in two threads {1e3 * pairs:.2f} ms, "
                f"longest pause of another thread {1e3 * pause:.2f} ms, further memory {extra:.2f} matrices, "
                f"{'same bytes as' if same else 'other bytes than'} featx",
                flush=True,
            )


def workers(features: np.ndarray, positive: np.ndarray, chosen: list[tuple], turns: int) -> None:
    """Train folds side by side with one thread and with two, in turns; split the work of a fold for Amdahl's law.

    On busy cores seconds say little, so the processor time of the busiest thread is compared too: that is how long the
    work takes at least on free cores.
    """
    settings = SvmSettings.make({"preset": "default"})
    largest = max(len(train) for train, _ in chosen)

    def train(count: int, todo: list[tuple]) -> bytes:
        solver = make_solver(features, "l2", settings, count, largest)

        def one(fold: tuple) -> bytes:
            images = fold[0]
            splits = inner_splits(positive[images], splits=10)
            (cost,) = search_cost(solver, positive[:, None], images, splits, settings).costs
            return solver.fit(images, np.where(positive[images], 1.0, -1.0), cost).weights.tobytes()

        return b"".join(in_threads(one, todo, count, folds_at_once([solver], largest, count)))

    with one_blas_thread():
        taken: dict[int, list[tuple[float, ...]]] = {1: [], 2: []}
        results = set()
        for count in (1, 2) * turns:
            begun, before = (time.perf_counter(), time.process_time()), thread_times()
            results.add(train(count, chosen))
            busiest = max(now - before.get(name, 0.0) for name, now in thread_times().items())
            taken[count].append((time.perf_counter() - begun[0], time.process_time() - begun[1], busiest))
        share = parallel_share(lambda: train(1, chosen[:1]))
    for count, turn in taken.items():
        wall, cpu, busiest = (statistics.median(one[part] for one in turn) for part in range(3))
        print(f"{count} threads: {wall:.1f} s, processor time {cpu:.1f} s, busiest thread {busiest:.1f} s")
    faster = [
        statistics.median(one[part] / two[part] for one, two in zip(taken[1], taken[2], strict=True))
        for part in (0, 2)
    ]
    print(
        f"{len(chosen)} folds of {largest} x {features.shape[1]}: two threads are {faster[0]:.2f} times as fast, "
        f"{faster[1]:.2f} times by the busiest thread, {'the same' if len(results) == 1 else 'OTHER'} bytes"
    )
    for cores in (2, 16, 64):
        within = max(cores // 10, 1)
        one, ten = (1 / (1 - share + share / use) for use in (cores, within))
        print(
            f"{share:.0%} of a fold is in threads; Amdahl, {cores} cores: {one:.1f} times for one fold, "
            f"{min(cores, 10) * ten:.1f} for ten side by side"
        )


def thread_times() -> dict[int, float]:
    """Return the processor time of each thread, in seconds."""
    idents = [one.ident for one in threading.enumerate() if one.ident]
    return {ident: time.clock_gettime(time.pthread_getcpuclockid(ident)) for ident in idents}


def parallel_share(work: Callable[[], object]) -> float:
    """Measure which fraction of the processor time of some work is in tasks that threads share."""
    inside, real = 0.0, rows.in_threads

    def counted(task: Callable, items: object, count: int) -> list:
        nonlocal inside
        begun = time.thread_time()
        try:
            return real(task, items, count)
        finally:
            inside += time.thread_time() - begun

    rows.in_threads = counted
    try:
        begun = time.thread_time()
        work()
        return inside / (time.thread_time() - begun)
    finally:
        rows.in_threads = real


def _cpu_seconds(solve: Solve, whole: np.ndarray, right: np.ndarray) -> float:
    system, begun = whole.copy(), time.thread_time()
    solve(system, right)
    return time.thread_time() - begun


def _thread_seconds(solve: Solve, whole: np.ndarray, right: np.ndarray) -> float:
    threads = [threading.Thread(target=solve, args=(whole.copy(), right)) for _ in range(2)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - begun


def _longest_pause(solve: Solve, whole: np.ndarray, right: np.ndarray) -> float:
    system, done, pauses = whole.copy(), threading.Event(), [0.0]

    def watch() -> None:
        last = time.perf_counter()
        while not done.is_set():
            time.sleep(0.0005)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now

    thread = threading.Thread(target=watch)
    thread.start()
    time.sleep(0.02)
    pauses.clear()
    solve(system, right)
    done.set()
    thread.join()
    return max(pauses, default=0.0)


def _extra_memory(solve: Solve, whole: np.ndarray, right: np.ndarray) -> int:
    system = whole.copy()
    tracemalloc.start()
    solve(system, right)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("reports/benchmarks/svm"))
    parser.add_argument(
        "--folds", type=int, nargs=2, default=(1, 10), metavar=("FIRST", "LAST"), help="of the ten of 5x2"
    )
    parser.add_argument("--sizes", default=",".join(f"{n}x{d}" for n, d in SIZES))
    parser.add_argument("--pipelines", nargs="+", choices=PIPELINES, default=PIPELINES)
    parser.add_argument(
        "--recipe-rows", type=int, default=2000, help="run the recipe up to this many rows: it takes hours"
    )
    parser.add_argument(
        "--store",
        nargs="+",
        metavar=("MANIFEST", "TASK STORE ..."),
        help="stored features in place of drawn ones; those of several stores side by side",
    )
    parser.add_argument(
        "--only", nargs="+", choices=(*PARTS, "factors", "one-memory", "workers"), default=PARTS
    )
    parser.add_argument("--turns", type=int, default=3, help="for --only workers")
    parser.add_argument("--preset", default="default", help="for --only one-memory and growth")
    parser.add_argument("--growth", default=",".join(map(str, GROWTH)))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    if "one-memory" in options.only:
        memory(*sizes[0], options.preset)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if {"compare", "agreement"} & set(options.only):
        for n, d in [(0, 0)] if options.store else sizes:
            features, positive = read_stores(*options.store) if options.store else draw(n, d)
            label = "store" if options.store else f"{n}x{d}"
            if "compare" in options.only:
                compare(label, features, positive, options)
            if "agreement" in options.only:
                agreement(label, features, positive)
    if "workers" in options.only:
        first, last = options.folds
        for n, d in sizes if not options.store else [(0, 0)]:
            features, positive = read_stores(*options.store) if options.store else draw(n, d)
            workers(features, positive, folds(positive)[first - 1 : last], options.turns)
    if "factors" in options.only:
        for count in FACTOR_SIZES:
            factors(count)
    if "memory" in options.only:
        for size, preset in itertools.product(options.sizes.split(","), ("paper", "default")):
            arguments = ["--only", "one-memory", "--sizes", size, "--preset", preset]
            subprocess.run([sys.executable, __file__, *arguments], check=True)
    if "growth" in options.only:
        growth(options)
    if "permutations" in options.only:
        permutations(options.output)
    if "summary" in options.only and (options.output / "folds.csv").exists():
        summarise(options.output / "folds.csv")


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
    plot_growth(rows, options.preset, options.output / f"growth-{options.preset}.png")


def plot_growth(rows: list[tuple[int, float, int]], preset: str, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.6), layout="constrained")
    axes.loglog([row[0] for row in rows], [row[1] for row in rows], "o-", label="measured")
    last, seconds, _ = rows[-1]
    axes.loglog(
        [row[0] for row in rows],
        [seconds * row[0] / last for row in rows],
        ":",
        color="0.4",
        label="in proportion to the images",
    )
    axes.set(
        xlabel="images (half of them train)",
        ylabel="seconds a fold, search included",
        title=f"{preset}, 2,048 columns, {len(os.sched_getaffinity(0))} cores",
    )
    axes.legend()
    figure.savefig(target, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
