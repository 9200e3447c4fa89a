"""Which cases an arm gains on: AUCs of arms, and their differences from one arm, by a column of the manifest.

    python benchmarks/by_difficulty.py RUNS --manifest atlas.csv --base D
    python benchmarks/by_difficulty.py RUNS --manifest atlas.csv --base D --column difficulty --checklist "seven-point score"

`RUNS` is a folder of runs of one task and protocol, such as that of a study; the columns are those of
`featx data import derm7pt`. Prints for each value of the column the AUC of the checklist's score by itself, of each arm
(mean over folds), the rank correlation (Spearman) of each arm's decision values with the checklist's score, and the difference
of each arm from the base with the 95 % confidence interval of the corrected resampled t-test, unadjusted.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from featx.runs import Prediction, Run, find_runs, read_run
from featx.stats import FoldScores, compare_pair, fold_scores, roc_auc, summarise_arm

Rows = Sequence[Prediction]


def select(runs: Sequence[Run], kept: Callable[[str], bool]) -> list[FoldScores]:
    """Gather the predictions of a two-class task for the images that are kept."""
    return [_fold(run, [row for row in run.predictions if kept(row.id)]) for run in runs]


def _fold(run: Run, rows: Rows) -> FoldScores:
    groups = run.record.counts.get("groups") or {}
    return fold_scores(
        run.record.fold,
        [row.id for row in rows],
        [run.record.classes.index(row.actual) for row in rows],
        [list(row.scores.values()) for row in rows],
        groups=[row.group for row in rows],
        train_size=sum(run.record.counts["train"].values()),
        train_groups=groups.get("train"),
    )


def correlation(runs: Sequence[Run], checklist: pd.Series, kept: Callable[[str], bool]) -> float:
    """Return the mean over folds of the rank correlation of decision values with the checklist's score."""
    found = []
    for run in runs:
        rows = [row for row in run.predictions if kept(row.id)]
        values = [next(iter(row.scores.values())) for row in rows]
        found.append(stats.spearmanr(values, [checklist[row.id] for row in rows]).statistic)
    return float(np.mean(found))


def checklist_auc(runs: Sequence[Run], checklist: pd.Series, kept: Callable[[str], bool]) -> float:
    """Return the AUC of the checklist's score over the test images of all folds, each once."""
    positive = {
        row.id: row.actual == run.record.scored[0] for run in runs for row in run.predictions if kept(row.id)
    }
    scores = np.array([checklist[name] for name in positive], dtype=np.float64)
    return roc_auc(np.array(list(positive.values())), scores)


def difference(arm: Sequence[FoldScores], base: Sequence[FoldScores], protocol: str) -> str:
    found = compare_pair(arm, base, protocol=protocol).finding
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
    everyone = next(iter(arms.values()))
    print(
        "| " + options.column + " | arm | images | AUC | rank correlation | difference |\n" + "|---" * 6 + "|"
    )
    for value in dict.fromkeys(table[options.column].dropna().sort_values()):
        names = set(table.index[table[options.column] == value])
        count = len({row.id for run in everyone for row in run.predictions} & names)
        score = checklist_auc(everyone, table[options.checklist], names.__contains__)
        print(f"| {value} | {options.checklist} | {count} | {score:.3f} | | |")
        base = select(arms[options.base], names.__contains__)
        for arm, runs in arms.items():
            mine = select(runs, names.__contains__)
            cells = [
                f"{summarise_arm(mine).mean:.3f}",
                f"{correlation(runs, table[options.checklist], names.__contains__):.2f}",
                "" if arm == options.base else difference(mine, base, runs[0].record.protocol),
            ]
            print(f"| {value} | {arm} | {count} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
