"""The study `real-mini` on real images: transfer against none, fine-tuned against frozen, on two official splits.

Run: ``python benchmarks/real_mini.py [--data ../shared/data] [--folds FILE] [--work DIR] [--jobs N]``; about half
an hour on two cores. It writes two manifests and a copy of the study file into the work folder, runs the study
there, and prints the table of each report. The same command goes on where it was stopped; what comes out is
shown as it is. Exit code 0 and a word if the data are not there.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib import resources
from pathlib import Path

import pandas as pd
import yaml

from featx_cli.main import run

HERE = Path(__file__).resolve()
SHARED = HERE.parents[2] / "shared"


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
        ]
    )
    for report in sorted(output.glob("report/*/tables/auc-by-arm.md")):
        print(f"\n{report.parent.parent.name}\n{report.read_text(encoding='utf-8')}")
    print(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return code


if __name__ == "__main__":
    sys.exit(main())
