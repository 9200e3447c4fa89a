"""What low precision does to an AUC: features of real images in float32 and in bfloat16, the same SVM on both.

    python benchmarks/extract/precision.py                    # OpenVINO where the processor has bfloat16, else Keras
    python benchmarks/extract/precision.py --precision float16

UDA-1 of the ISIC archive, melanoma vs benign, 5x2 folds, ImageNet weights. For each network it prints how far the
features are apart, both mean AUCs, and the difference over the folds. Without ../shared/data it says so and ends.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

import featx
from featx.errors import ConfigError
from featx.features.engines import deviation

sys.path.append(str(Path(__file__).resolve().parents[1]))
from real_check import store_aucs, uda1_manifest

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
WEIGHTS = {
    "mobilenet_0.25": "mobilenet_2_5_224_tf_no_top.h5",
    "mobilenet_0.75": "mobilenet_7_5_224_tf_no_top.h5",
    "mobilenet_v2": "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
}


def extract(manifest: Path, backbone: str, weights: Path, precision: str, cache: Path) -> featx.FeatureStore:
    """Extract with the first engine that has this precision."""
    given = {"backbone": backbone, "weights": str(weights), "precision": precision, "cache": cache}
    given["force_precision"] = precision == "bfloat16"
    try:
        (done,) = featx.extract(manifest, allow_outside=True, engine="openvino", device="cpu", **given)
    except ConfigError:
        (done,) = featx.extract(manifest, allow_outside=True, engine="keras", device="cpu", **given)
    print(f"{backbone} in {precision} by {done.engine}", file=sys.stderr)
    return featx.FeatureStore(done.store)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--precision", choices=("bfloat16", "float16"), default="bfloat16")
    parser.add_argument("--networks", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    options = parser.parse_args()
    if not SHARED.is_dir():
        print(f"skipped: {SHARED} is not there")
        return
    print(
        "| network | smallest cosine | worst feature, of the largest | AUC in float32 "
        f"| AUC in {options.precision} | difference (sd over folds) | most in a fold |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory(prefix="featx-bench-") as home:
        work = Path(home)
        manifest = uda1_manifest(SHARED / "derm", work)
        for network in options.networks:
            weights = SHARED / "weights" / WEIGHTS[network]
            stores = [
                extract(manifest, network, weights, precision, work / "cache")
                for precision in ("float32", options.precision)
            ]
            rows = [
                store.read_images(featx.read_manifest(manifest, allow_outside=True))[:, 0] for store in stores
            ]
            off = deviation(rows[1], rows[0])
            exact, low = (np.array(store_aucs(manifest, store.path, "5x2", work)) for store in stores)
            print(
                f"| {network} | {off.cosine:.5f} | {off.worst:.2g} | {exact.mean():.4f} | {low.mean():.4f} "
                f"| {(low - exact).mean():+.4f} ({(low - exact).std(ddof=1):.4f}) | {np.abs(low - exact).max():.4f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
