"""What fusing arms gives over the best of them: networks, layers of a network, or augmented views.

One command; each `--set` names a data set, its manifest and root, a task, a protocol, a label of the comparison, and the
arms of `featx extract --arm` (or paths of its files, or of stores)::

    python benchmarks/fusion.py --cache cache --output reports/benchmarks/fusion
        --set isic2017 isic2017.csv . melanoma:rest holdout networks mobilenet_v2 densenet121 vgg16_conv xception

Trains each arm alone and fused by every method with `featx.train_svm`, and prints a Markdown table: AUC with its 95 %
confidence interval, and the difference from the first arm (`--against first`) or from the single arm with the highest test
AUC (`--against best`, which favours the single arm) with interval and unadjusted p-value of the test of the protocol.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from featx.features import arm_file
from featx.runs import Run
from featx.stats import FoldScores, compare_pair, fold_scores, summarise_arm
from featx.svm import train_svm

METHODS = ("concat", "mean-score", "stack")


def scores(runs: Sequence[Run]) -> list[FoldScores]:
    """Gather the predictions of the folds of a two-class task."""
    return [
        fold_scores(
            run.record.fold,
            [row.id for row in run.predictions],
            [run.record.classes.index(row.actual) for row in run.predictions],
            [list(row.scores.values()) for row in run.predictions],
            groups=[row.group for row in run.predictions],
            train_size=sum(run.record.counts["train"].values()),
            train_groups=(run.record.counts.get("groups") or {}).get("train"),
        )
        for run in runs
    ]


def compare(data: Sequence[str], options: argparse.Namespace) -> None:
    """Train and print the arms of one set."""
    name, manifest, root, task, protocol, label, *arms = data
    places = [Path(arm) if Path(arm).exists() else arm_file(options.cache, arm) for arm in arms]
    shared = {"root": root, "task": task, "protocol": protocol, "cache": options.cache}
    output = options.output / name / label

    def train(arm: str, features: Sequence[Path], fuse: str | None = None) -> list[FoldScores]:
        return scores(train_svm(manifest, features=features, fuse=fuse, arm=arm, output=output, **shared))

    names = [place.name if place.is_dir() else place.stem for place in places]
    found = {arm: train(arm, [place]) for arm, place in zip(names, places, strict=True)}
    single = list(found)
    for method in options.methods if len(places) > 1 else ():
        found[method] = train(method, places, method)
    areas = {arm: summarise_arm(found[arm]) for arm in found}
    base = single[0] if options.against == "first" else max(single, key=lambda arm: areas[arm].mean)
    for arm, area in areas.items():
        cells = [name, task, label, arm, f"{area.mean:.3f} ({area.low:.3f} to {area.high:.3f})", ""]
        if arm != base:
            test = compare_pair(found[arm], found[base], protocol=protocol).finding
            cells[-1] = f"{test.estimate:+.3f} ({test.low:+.3f} to {test.high:+.3f}), p = {test.p:.2g}"
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--set",
        nargs="+",
        action="append",
        required=True,
        metavar="NAME MANIFEST ROOT TASK PROTOCOL LABEL ARM ...",
    )
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--output", type=Path, default=Path("reports/benchmarks/fusion"))
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--against", choices=("best", "first"), default="best")
    options = parser.parse_args()
    print(f"| data | task | arms | arm | AUC (95 % interval) | against the {options.against} single arm |")
    print("|---|---|---|---|---|---|")
    for data in options.set:
        compare(data, options)


if __name__ == "__main__":
    main()
