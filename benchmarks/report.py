"""How long a report takes, by its parts, and how it grows with the number of runs.

    python benchmarks/report.py [--runs 150 100 300 1000] [--turns 3] [--beside TREE] [--folder DIR]
    python benchmarks/report.py --runs 150 --profile
    python benchmarks/report.py --runs 150 --option figure_formats=svg,pdf,png

Writes runs of synthetic scores with featx's own writer: 1,011 images of 606 patients in 5x2, with inner scores, training
lists, a search for C and five columns for subgroups. 150 runs are 5 arms on 3 tasks, one of them with three classes; of
other numbers, a twentieth are arms on 2 tasks. Each report is made in a fresh process, imports included. Seconds are
of the clock and of the processor, child processes included; parts are seconds of the processor. With ``--beside`` the code of
another checkout reports the same runs in turn, and ratios are printed.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from featx.runs import RunRecord

HERE = Path(__file__).resolve().parents[1]
IMAGES, PATIENTS, FOLDS = 1011, 606, 10
TASKS = (
    ("melanoma-vs-benign", ("benign", "melanoma")),
    ("malignant-vs-benign", ("benign", "malignant")),
    ("three-class", ("basal cell carcinoma", "melanoma", "benign")),
)
COLUMNS = {
    "difficulty": ("low", "medium", "high"),
    "elevation": ("flat", "nodular", "palpable"),
    "management": ("clinical follow up", "excision", "no further examination"),
    "sex": ("female", "male"),
    "site": ("abdomen", "acral", "back", "buttocks", "chest", "head neck", "lower limbs", "upper limbs"),
}
GRID = [10.0**power for power in range(-3, 5)]
# Part of the report to the functions that do it, in any version.
PARTS = {
    "read, AUC and comparisons": ("featx.reporting.make_report", "summarise"),
    "method checks": ("featx.reporting.make_report", "check_summary"),
    "fill tables": ("featx.reporting.make_report", "tables"),
    "make figures": ("featx.reporting.make_report", "drawings"),
    "write tables": ("featx.reporting.make_report", "write_tables"),
    "page": ("featx.reporting.make_report", "render_page"),
}


def shape(runs: int) -> tuple[int, int]:
    """Return the number of arms and of tasks for a number of runs."""
    return (runs // 30, 3) if runs == 150 else (runs // 20, 2)


@dataclass(frozen=True)
class Synthetic:
    """Images that do not exist: the patient, the columns and the halves of each; halves are those of the five repeats."""

    patients: Any
    strata: list[dict[str, str]]
    halves: list[Any]


def synthetic(random: np.random.Generator) -> Synthetic:
    """Draw images."""
    patients = random.integers(0, PATIENTS, IMAGES)
    strata = [
        {name: values[int(random.integers(len(values)))] for name, values in COLUMNS.items()}
        for _ in range(IMAGES)
    ]
    halves = [np.isin(patients, random.permutation(PATIENTS)[: PATIENTS // 2]) for _ in range(FOLDS // 2)]
    return Synthetic(patients, strata, halves)


def write_runs(folder: Path, runs: int) -> None:
    """Write runs of synthetic scores."""
    arms, tasks = shape(runs)
    random = np.random.default_rng(0)
    images = synthetic(random)
    for task, classes in TASKS[:tasks]:
        rates = [0.1, 0.25, 0.65] if len(classes) > 2 else [0.75, 0.25]
        actual = np.array(classes)[random.choice(len(classes), IMAGES, p=rates)]
        for arm in range(arms):
            for fold in range(FOLDS):
                write_one(
                    folder, images, (task, classes), actual, (arm, 0.8 + 0.6 * arm / arms), fold, random
                )


def write_one(
    folder: Path,
    images: Synthetic,
    task: tuple[str, tuple[str, ...]],
    actual: Any,
    arm: tuple[int, float],
    fold: int,
    random: np.random.Generator,
) -> None:
    """Write a run whose positives score higher by a number of standard deviations."""
    from featx.data.training_list import TRAINING_SET, TrainingImage, training_set_bytes
    from featx.runs import Prediction, run_folder, write_run

    half = images.halves[fold // 2] ^ bool(fold % 2)
    test, train = np.flatnonzero(half).tolist(), np.flatnonzero(~half).tolist()
    scored = task[1] if len(task[1]) > 2 else task[1][1:]
    hits = actual[:, None] == np.array(scored)
    values = (random.normal(size=hits.shape) + hits * arm[1] - 0.6).tolist()
    made = record(images, task, actual, arm[0], fold, (test, train), random)

    def row(place: int, name: str, known: bool) -> Prediction:
        patient, scores = f"patient{images.patients[place]:03}", dict(zip(scored, values[place], strict=True))
        strata = images.strata[place] if known else {}
        return Prediction(f"image{place:04}", name, patient, str(actual[place]), scores, strata=strata)

    listed = [
        TrainingImage(one.id, one.actual, one.group, f"{place:064x}", strata=one.strata)
        for place, one in ((place, row(place, "", True)) for place in train)
    ]
    write_run(
        run_folder(folder, made.arm, made.task, made.protocol, made.fold),
        made,
        [row(place, made.fold, True) for place in test],
        {"host": "somewhere"},
        {TRAINING_SET: training_set_bytes(listed)},
        [row(place, str(number % 5), False) for number, place in enumerate(train)],
    )


def record(
    images: Synthetic,
    task: tuple[str, tuple[str, ...]],
    actual: Any,
    arm: int,
    fold: int,
    parts: tuple[list[int], list[int]],
    random: np.random.Generator,
) -> RunRecord:
    """Make the record of a run, with a search for C."""
    from featx.runs import RunRecord

    def count(places: list[int]) -> dict[str, int]:
        return {name: int(np.sum(actual[places] == name)) for name in task[1]}

    curve = np.round(0.8 + random.normal(scale=0.02, size=len(GRID)), 6).tolist()
    chosen = GRID[int(np.argmax(curve))]
    edge = {GRID[0]: "lower", GRID[-1]: "upper"}.get(chosen, "")
    scored = task[1] if len(task[1]) > 2 else task[1][1:]
    found = {"C": chosen, "edge": edge, "curve": {"C": GRID, "mean": curve}}
    test, train = (len(set(images.patients[places].tolist())) for places in parts)
    return RunRecord(
        kind="svm",
        arm=f"network {arm:02}, ImageNet",
        task=task[0],
        classes=task[1],
        scored=scored,
        protocol="5x2",
        fold=f"{fold // 2 + 1}x{fold % 2 + 1}",
        folds_digest="f0" * 32,
        seed=0,
        manifest={"name": "synthetic", "digest": "ab" * 32},
        features={
            "digest": f"{arm:064x}",
            "recipe": {"backbone": f"net{arm}", "layer": "pool", "pool": "avg", "precision": "float32"},
            "cost": {"parameters": 10**6 * (arm + 1), "multiply_adds": 10**8 * (arm + 2)},
        },
        settings={"scaling": "l2", "inner_splits": 10},
        lineage=("imagenet",),
        versions={"python": "3.11", "numpy": "2"},
        counts={
            "train": count(parts[1]),
            "test": count(parts[0]),
            "groups": {"train": train, "test": test},
        },
        search={"classes": dict.fromkeys(scored, found)},
        convergence={"fits": 81, "not_converged": 0},
        format=2,
    )


def report(runs: Path, output: Path, options: dict[str, Any], profile: bool) -> dict[str, float]:
    """Make a report in this process; return the seconds of its parts."""
    import featx

    seconds = dict.fromkeys(PARTS, 0.0)
    for part, (module, name) in PARTS.items():
        owner = import_module(module)
        if hasattr(owner, name):
            setattr(owner, name, timed(getattr(owner, name), part, seconds))
    seconds["imports"] = used()
    if profile:
        with cProfile.Profile() as found:
            featx.report([runs], output=output, **options)
        pstats.Stats(found).sort_stats("cumulative").print_stats(70)
        pstats.Stats(found).sort_stats("tottime").print_stats(40)
    else:
        featx.report([runs], output=output, **options)
    return seconds


def used() -> float:
    """Return the seconds of the processor that this process and its finished children have used."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def timed(function: Callable[..., Any], part: str, seconds: dict[str, float]) -> Callable[..., Any]:
    """Add the time in a function, or while its iterator makes an item, to that of a part."""

    def items(made: Any) -> Any:
        while True:
            begun = used()
            one = next(made, None)
            seconds[part] += used() - begun
            if one is None:
                return
            yield one

    @wraps(function)
    def measured(*given: Any, **named: Any) -> Any:
        begun = used()
        made = function(*given, **named)
        seconds[part] += used() - begun
        return items(made) if hasattr(made, "__next__") else made

    return measured


def measure(tree: Path, runs: Path, output: Path, options: Sequence[str]) -> dict[str, float]:
    """Make a report with the code of a checkout in a fresh process."""
    before, begun = used(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--report", str(runs), "--output", str(output)]
        + [part for one in options for part in ("--option", one)],
        env={**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    clock, processor = time.perf_counter() - begun, used() - before
    parts: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    rest = {"draw figures, and the rest": processor - sum(parts.values())}
    return {"clock": clock, "processor": processor, **parts, **rest}


def parse_option(text: str) -> tuple[str, Any]:
    """Read an option of `featx.report` as KEY=VALUE; commas make a list."""
    name, _, value = text.partition("=")
    return name, {"true": True, "false": False}.get(value, value.split(","))


def compare(runs: int, args: argparse.Namespace, home: Path) -> None:
    """Report some runs by each version in turns, and print medians."""
    folder = home / f"runs-{runs}"
    if not folder.exists():
        write_runs(folder, runs)
    trees = [HERE, *([args.beside] if args.beside else [])]
    found: list[list[dict[str, float]]] = [[] for _ in trees]
    for turn in range(args.turns):
        for place, tree in enumerate(trees):
            options = args.option if place == 0 else []
            one = measure(tree, folder, home / f"report-{runs}-{place}", options)
            found[place].append(one)
            print(f"turn {turn + 1}, {tree}: {one['clock']:.1f} s of the clock", file=sys.stderr, flush=True)
    middle = [
        {name: statistics.median(one[name] for one in several) for name in several[0]} for several in found
    ]
    print(
        f"\n{runs} runs, medians of {args.turns} turns, seconds{'; second column: ' + str(args.beside) if args.beside else ''}"
    )
    for name in middle[0]:
        line = "".join(f"{one.get(name, 0.0):9.2f}" for one in middle)
        ratio = (
            f"{middle[1][name] / middle[0][name]:9.2f}" if len(middle) > 1 and middle[0][name] > 0.05 else ""
        )
        print(f"{name:28}{line}{ratio}", flush=True)


def main() -> None:
    """Measure, or make one report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[150, 100, 300, 1000])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--beside", type=Path, help="another checkout to compare with")
    parser.add_argument("--folder", type=Path, help="where runs are kept between calls")
    parser.add_argument(
        "--option", action="append", default=[], help="KEY=VALUE of featx.report, not for --beside"
    )
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--report", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    options = dict(map(parse_option, args.option))
    if args.report:
        print(json.dumps(report(args.report, args.output, options, args.profile)))
        return
    with tempfile.TemporaryDirectory() as made:
        home = args.folder or Path(made)
        for runs in args.runs:
            if args.profile:
                if not (home / f"runs-{runs}").exists():
                    write_runs(home / f"runs-{runs}", runs)
                report(home / f"runs-{runs}", home / "report", options, True)
            else:
                compare(runs, args, home)


if __name__ == "__main__":
    main()
