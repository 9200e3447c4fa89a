"""The study `real-mini` on real images: transfer against none, fine-tuned against frozen, on two official splits.

Run: ``python benchmarks/real_mini.py [--data ../shared/data] [--folds FILE] [--work DIR] [--jobs N]``; 38
minutes on two cores. It writes two manifests and a copy of the study file into the work folder, runs the study
there, and prints, for each target, the AUC of every arm and the comparisons that were planned: transfer against
none and fine-tuned against frozen, within each network, on the same test images (DeLong 1988, Holm over the
planned ones; the reports in the work folder compare all pairs). The same command goes on where it was stopped;
what comes out is shown as it is. Exit code 0 and a word if the data are not there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib import resources
from pathlib import Path

import pandas as pd
import yaml

from featx.stats import holm
from featx_cli.main import run

HERE = Path(__file__).resolve()
SHARED = HERE.parents[2] / "shared"
# What is asked, and the two arms that answer it.
PLANNED = (
    ("transfer against none, frozen", "ImageNet", "random"),
    ("fine-tuned against frozen", "ImageNet, fine-tuned", "ImageNet"),
    ("transfer against none, trained", "ImageNet, fine-tuned", "random, trained"),
)


def isic2017_manifest(derm: Path, target: Path) -> None:
    """Write the ISIC 2017 manifest: melanoma or not, with the official parts."""
    table = pd.read_csv(derm / "isic2017.csv", dtype=str)
    write(table, table["melanoma"].astype(float) > 0, table["split"], derm, target)


def isic2016_manifest(derm: Path, folds: Path, target: Path) -> None:
    """Write the manifest of those ISIC 2016 images that are at hand, with the official parts."""
    (parts,) = yaml.safe_load(folds.read_text(encoding="utf-8")).values()
    split = {
        Path(name).stem: part for part, names in zip(("train", "test"), parts, strict=True) for name in names
    }
    table = pd.read_csv(derm / "isic2017.csv", dtype=str)
    table = table[table["isic2016_level"].notna() & table["image"].isin(split)]
    write(table, table["isic2016_level"] == "1", table["image"].map(split), derm, target)


def write(
    table: pd.DataFrame, melanoma: pd.Series[bool], split: pd.Series[str], derm: Path, target: Path
) -> None:
    """Write a manifest of ISIC 2017 images."""
    rows = pd.DataFrame(
        {
            "image": [str((derm / "isic2017_256" / f"{name}.jpg").resolve()) for name in table["image"]],
            "id": table["image"],
            "label": melanoma.map({True: "melanoma", False: "benign"}),
            "split": split,
        }
    )
    rows.to_csv(target, index=False)


def prepare(data: Path, folds: Path, work: Path) -> Path:
    """Lay out the work folder; return the study file in it."""
    work.mkdir(parents=True, exist_ok=True)
    isic2017_manifest(data / "derm", work / "isic2017.csv")
    isic2016_manifest(data / "derm", folds, work / "isic2016.csv")
    if not (work / "weights").exists():
        (work / "weights").symlink_to((data / "weights").resolve())
    study = resources.files("featx.study") / "files" / "real-mini.toml"
    (work / "real-mini.toml").write_text(study.read_text(encoding="utf-8"), encoding="utf-8")
    return work / "real-mini.toml"


def tables(report: Path) -> str:
    """Put a report's areas and the planned comparisons into two Markdown tables."""
    areas = pd.read_csv(report / "tables" / "auc.csv")
    lines = ["| arm | AUC (95 %) |", "|---|---|"]
    lines += [
        f"| {row.arm} | {row.mean:.3f} ({row.low:.3f} to {row.high:.3f}) |" for row in areas.itertuples()
    ]
    (path,) = (report / "tables").glob("pairs-*.csv")
    found = planned(pd.read_csv(path))
    lines += ["", "| question | network | a - b (95 %) | p | p, Holm |", "|---|---|---|---|---|"]
    for row, corrected in zip(found, holm([row["p"] for row in found]), strict=True):
        interval = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
        lines.append(
            f"| {row['question']} | {row['network']} | {interval} | {row['p']:.3g} | {corrected:.3g} |"
        )
    return "\n".join(lines)


def planned(pairs: pd.DataFrame) -> list[dict[str, object]]:
    """Find the planned comparisons among all pairs, each turned so that the first arm is a."""
    rows = {(row["a"], row["b"]): row for row in pairs.to_dict("records")}
    networks = dict.fromkeys(name[name.index("(") + 1 : -1] for pair in rows for name in pair)
    found = []
    for question, first, second in PLANNED:
        for network in networks:
            a, b = f"{first} ({network})", f"{second} ({network})"
            if (a, b) in rows:
                found.append({**rows[a, b], "question": question, "network": network})
            elif (b, a) in rows:
                row = rows[b, a]
                turned = {"difference": -row["difference"], "low": -row["high"], "high": -row["low"]}
                found.append({**row, **turned, "question": question, "network": network})
    return found


def main() -> int:
    """Prepare, run the study, and print its tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument(
        "--folds", type=Path, default=SHARED / "reference" / "menegola2017" / "folds" / "isic.yml"
    )
    parser.add_argument("--work", type=Path, default=Path("reports") / "real-mini")
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    if not given.data.is_dir() or not given.folds.is_file():
        print(f"skipped: {given.data} or {given.folds} is not there")
        return 0
    study = prepare(given.data, given.folds, given.work)
    output = given.work / "study"
    began = time.monotonic()
    code = run(
        [
            "study",
            "run",
            str(study),
            "--output",
            str(output),
            "--cache",
            str(given.work / "cache"),
            "--jobs",
            str(given.jobs),
            "--allow-outside",
        ]
    )
    for report in sorted((output / "report").iterdir()) if (output / "report").is_dir() else []:
        print(f"\n{report.name}\n\n{tables(report)}")
    seconds = [json.loads(mark.read_text())["seconds"] for mark in output.glob("jobs/*/done.json")]
    print(
        f"\n{(time.monotonic() - began) / 60:.1f} minutes now; the jobs took {sum(seconds) / 60:.1f} in all"
    )
    return code


if __name__ == "__main__":
    sys.exit(main())
