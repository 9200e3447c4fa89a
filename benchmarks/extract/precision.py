"""What low precision does to AUCs and to the time: real images in float32 and in low precision, the same SVMs on both.

One command; each `--set` names a data set, its manifest and root, a task and a protocol, and each `--network` a network of
the zoo with a weights file::

    python benchmarks/extract/precision.py --cache cache
        --set isic2017 isic2017.csv . melanoma:rest holdout --network densenet121 densenet121_notop.weights.h5

Without a set, UDA-1 of the ISIC archive in ../shared/data (melanoma against benign, 5x2), and networks from there. Both
precisions are extracted by one engine: OpenVINO where the processor has the low one, else Keras. For each set and network it
prints how far the features are apart, the AUC in float32, and its change in low precision with the default choice of C and at
C = 1; both are means over folds, with the largest change of a fold. Time is that of the processor for a whole extraction,
decoding included and the comparison of the first batches with float32 left out, where nothing was in the cache yet.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

import featx
from featx.errors import ConfigError
from featx.features.engines import check_arithmetic, deviation
from featx.features.planning import LoadedNetwork
from featx.svm import unit_rows

sys.path.append(str(Path(__file__).resolve().parents[1]))
from real_check import run_auc, uda1_manifest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = {
    "mobilenet_0.25": "mobilenet_2_5_224_tf_no_top.h5",
    "mobilenet_0.75": "mobilenet_7_5_224_tf_no_top.h5",
    "mobilenet_v2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
}
COSTS = {"chosen": {}, "C = 1": {"costs": (1.0,), "widen": False}}


@dataclass(frozen=True)
class Extracted:
    """A store, and the processor's seconds for an image; none if all rows were in the cache."""

    store: featx.FeatureStore
    seconds: float | None


def engine_of(precision: str) -> str:
    """Return the engine for both precisions: OpenVINO, or Keras where the processor lacks the arithmetic."""
    try:
        check_arithmetic(precision)
    except ConfigError:
        return "keras"
    return "openvino"


def extract(
    data: Sequence[str], network: Sequence[str], precision: str, engine: str, cache: Path
) -> Extracted:
    """Extract; the engine is imported and an export is made before the clock starts."""
    _, manifest, root, *_ = data
    given = {
        "backbone": network[0],
        "weights": network[1],
        "precision": precision,
        "engine": engine,
        "cache": cache,
        "root": root,
        "device": "cpu",
        "force_precision": precision == "bfloat16",
    }
    featx.extract(manifest, dry_run=True, **given)
    # Reader threads work beside the comparison, so that its processor time cannot be subtracted afterwards.
    with mock.patch.object(LoadedNetwork, "check", return_value=None):
        begun = time.process_time()
        (done,) = featx.extract(manifest, **given)
        spent = time.process_time() - begun
    return Extracted(featx.FeatureStore(done.store), spent / done.computed if done.computed else None)


def aucs(data: Sequence[str], store: featx.FeatureStore, costs: dict[str, object], work: Path) -> list[float]:
    """Train and score; the AUC of each fold."""
    _, manifest, root, task, protocol = data
    output = work / str(len(list(work.iterdir())))
    runs = featx.train_svm(
        manifest, root=root, features=[store.path], task=task, protocol=protocol, output=output, **costs
    )
    return [run_auc(run) for run in runs]


def compare(
    data: Sequence[str], network: Sequence[str], precision: str, engine: str, cache: Path, work: Path
) -> str:
    """Return a row of the table."""
    exact, low = (extract(data, network, one, engine, cache) for one in ("float32", precision))
    manifest = featx.read_manifest(data[1], root=data[2])
    wanted, found = (one.store.read_images(manifest)[:, 0] for one in (exact, low))
    near = (unit_rows(found) * unit_rows(wanted)).sum(axis=1)
    cells = [data[0], data[3], network[0], engine, f"{near.min():.4f}", f"{near.mean():.4f}"]
    cells.append(f"{deviation(found, wanted).worst:.2g}")
    for costs in COSTS.values():
        before, after = (np.array(aucs(data, one.store, costs, work)) for one in (exact, low))
        change = after - before
        cells += [f"{before.mean():.4f}", f"{change.mean():+.4f} ({np.abs(change).max():.4f})"]
    timed = exact.seconds is not None and low.seconds is not None
    cells.append(
        f"{1000 * exact.seconds:.1f} / {1000 * low.seconds:.1f} = {exact.seconds / low.seconds:.2f}"
        if timed
        else ""
    )
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument(
        "--set", nargs=5, action="append", metavar=("NAME", "MANIFEST", "ROOT", "TASK", "PROTOCOL")
    )
    parser.add_argument("--network", nargs=2, action="append", metavar=("NAME", "WEIGHTS"))
    parser.add_argument(
        "--cache", type=Path, help="keeps features for another run [default: a temporary folder]"
    )
    options = parser.parse_args()
    if not SHARED.is_dir() and not (options.set and options.network):
        print(f"skipped: {SHARED} is not there")
        return
    networks = options.network or [(name, str(SHARED / "weights" / file)) for name, file in WEIGHTS.items()]
    engine = engine_of(options.precision)
    print(
        "| data | task | network | engine | smallest cosine | mean cosine | worst feature, of the largest | AUC, chosen C | change "
        "(most in a fold) | AUC, C = 1 | change (most in a fold) | processor time of an image, ms, float32 / "
        f"{options.precision} |\n|" + "---|" * 12
    )
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as home:
        work = Path(home)
        derm = SHARED / "derm"
        for data in options.set or [("uda1", uda1_manifest(derm, work), derm, "melanoma:rest", "5x2")]:
            for network in networks:
                cache = options.cache or work / "cache"
                print(f"| {compare(data, network, options.precision, engine, cache, work)} |", flush=True)


if __name__ == "__main__":
    main()
