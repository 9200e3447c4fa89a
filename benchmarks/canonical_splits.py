"""Write the canonical splits that featx ships, from the data sets and published fold files.

    python benchmarks/canonical_splits.py NAME MANIFEST [--protocol 5x2] [--root FOLDER] [--task labels]

``NAME.csv`` is written into ``featx/data/declared/splits``. MANIFEST may lack groups and the images may lack files, as
splits are by id and group alone; with files, byte-identical images are kept together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from featx.data import apply_task, compact_folds, make_folds, read_manifest, split_folds

SPLITS = Path(__file__).parents[1] / "featx" / "data" / "declared" / "splits"


def main() -> None:
    """Split, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--protocol", default="5x2")
    parser.add_argument("--root", type=Path)
    parser.add_argument("--task", default="labels")
    parser.add_argument("--names-only", action="store_true", help="the image files are not here")
    given = parser.parse_args()
    if given.names_only:
        table = read_manifest(given.manifest, root=given.root, check_files=False, allow_outside=True)
        folds = split_folds(apply_task(table, given.task), given.protocol)
    else:
        folds = make_folds(given.manifest, task=given.task, protocol=given.protocol, root=given.root)
    path = SPLITS / f"{given.name}.csv"
    compact_folds({fold.name: (fold.train, fold.test) for fold in folds.folds}).to_csv(
        path, index=False, lineterminator="\n"
    )
    print(path, folds.digest)


if __name__ == "__main__":
    main()
