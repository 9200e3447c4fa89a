"""Which cases an arm gains on: AUCs of arms, and their differences from one arm, by a column of the manifest.

    python benchmarks/by_difficulty.py RUNS --manifest atlas.csv --base D
    python benchmarks/by_difficulty.py RUNS --manifest atlas.csv --base D --column difficulty --checklist "seven-point score"

`RUNS` is a folder of runs of one task and protocol, such as that of a study; the columns are those of
`featx data import derm7pt`. Prints for each value of the column the AUC of the checklist's score by itself, of each arm
(mean over folds), the rank correlation (Spearman) of the images' mean decision values with the checklist's score, and the
difference of each arm from the base with the 95 % confidence interval of the corrected resampled t-test, unadjusted. The
interval counts on the complete test and training sets, since a part of a test set varies no less with the training set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from fusion import scores
from scipy import stats

from featx.runs import Run, find_runs, read_run
from featx.stats import FoldScores, compare_pair, corrected_t, roc_auc, size_ratio, summarise_arm


def select(runs: Sequence[Run], names: set[str]) -> list[Run]:
    """Keep the predictions of some images."""
    return [replace(run, predictions=[row for row in run.predictions if row.id in names]) for run in runs]


def correlation(runs: Sequence[Run], checklist: pd.Series) -> float:
    """Return the rank correlation of each image's mean decision value, over the folds that test it, with its checklist score."""
    values: dict[str, list[float]] = {}
    for row in (row for run in runs for row in run.predictions):
        values.setdefault(row.id, []).append(next(iter(row.scores.values())))
    means = [np.mean(one) for one in values.values()]
    return float(stats.spearmanr(means, [checklist[name] for name in values]).statistic)


def checklist_auc(runs: Sequence[Run], checklist: pd.Series) -> float:
    """Return the AUC of the checklist's score over the test images of all folds, each once."""
    positive = {row.id: row.actual == run.record.scored[0] for run in runs for row in run.predictions}
    values = np.array([checklist[name] for name in positive], dtype=np.float64)
    return roc_auc(np.array(list(positive.values())), values)


def difference(arm: Sequence[FoldScores], base: Sequence[FoldScores], protocol: str, ratio: float) -> str:
    """Describe the mean difference over folds; its variance depends on the sizes of the complete folds, not of the part."""
    found = corrected_t(compare_pair(arm, base, protocol=protocol).differences, ratio)
    return f"{found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def read_arms(folder: Path, task: str | None) -> dict[str, list[Run]]:
    """Read the SVM runs of one task, by arm."""
    arms: dict[str, list[Run]] = {}
    for run in map(read_run, find_runs([folder])):
        if run.record.kind == "svm" and task in (None, run.record.task):
            arms.setdefault(run.record.arm, []).append(run)
    return arms


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--base", required=True, help="the arm that the others are compared with")
    parser.add_argument("--task")
    parser.add_argument("--column", default="difficulty")
    parser.add_argument("--checklist", default="seven-point score")
    options = parser.parse_args()
    table = pd.read_csv(options.manifest).set_index("id")
    arms = read_arms(options.runs, options.task)
    if options.base not in arms:
        parser.error(f"no SVM runs of the arm {options.base!r} in {options.runs}; there are {sorted(arms)}")
    if missing := {options.column, options.checklist} - set(table.columns):
        parser.error(f"{options.manifest} has no column {sorted(missing)}; it has {list(table.columns)}")
    checklist = table[options.checklist]
    ratio = size_ratio(scores(arms[options.base]))
    if ratio is None:
        parser.error(f"the runs of {options.base!r} do not say how large their training sets are")
    print(
        "| " + options.column + " | arm | images | AUC | rank correlation | difference |\n" + "|---" * 6 + "|"
    )
    for value in dict.fromkeys(table[options.column].dropna().sort_values()):
        names = set(table.index[table[options.column] == value])
        chosen = {arm: select(runs, names) for arm, runs in arms.items()}
        first = next(iter(chosen.values()))
        count = len({row.id for run in first for row in run.predictions})
        print(f"| {value} | {options.checklist} | {count} | {checklist_auc(first, checklist):.3f} | | |")
        folds = {arm: scores(runs) for arm, runs in chosen.items()}
        for arm, runs in chosen.items():
            cells = [
                f"{summarise_arm(folds[arm]).mean:.3f}",
                f"{correlation(runs, checklist):.2f}",
                ""
                if arm == options.base
                else difference(folds[arm], folds[options.base], runs[0].record.protocol, ratio),
            ]
            print(f"| {value} | {arm} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
