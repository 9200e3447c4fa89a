"""What eight-bit integers would do to features: NNCF on exports of `featx extract`, before it is worth an option.

    pip install nncf                                             # not a dependency of featx
    python benchmarks/extract/int8.py cache/openvino/NETWORK-DIGEST/model.xml --train TRAIN.csv --test TEST.csv --root FOLDER

Quantises an exported network on 256 training images, with both bias corrections of NNCF, and compares it with float32 and
bfloat16 on the images of the second manifest (columns `image` and `label`; the least frequent label is the positive one): cosine of
the features, AUC of a linear SVM (C = 1, rows of unit length) over five times two stratified halves, and the processor time
of the forward pass on one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

BATCH, CALIBRATION = 32, 256
FOLDS = RepeatedStratifiedKFold(n_splits=2, n_repeats=5, random_state=0)


def read(names: pd.Series, root: Path, side: int) -> NDArray[np.uint8]:
    """Decode and resize images; shape (n, side, side, 3)."""
    images = (Image.open(root / name).convert("RGB") for name in names)
    return np.stack([np.asarray(one.resize((side, side), Image.Resampling.BILINEAR)) for one in images])


def forward(model: Any, images: NDArray[np.uint8], precision: str) -> tuple[NDArray[np.float32], float]:
    """Return features and milliseconds of the processor for an image."""
    model.reshape({model.inputs[0]: [BATCH, *images.shape[1:]]})
    given = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(model, "CPU", given)
    number = model.inputs[0].get_element_type().to_dtype()
    features, spent = [], 0.0
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH]
        padded = np.zeros((BATCH, *images.shape[1:]), number)
        padded[: len(part)] = part
        begun = time.process_time()
        found = compiled(padded)[0]
        spent += time.process_time() - begun
        features.append(found[: len(part)].copy())
    return np.concatenate(features), 1000 * spent / len(images)


def aucs(features: NDArray[np.float32], positive: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the AUC of each half."""
    rows, found = normalize(features), []
    for train, test in FOLDS.split(rows, positive):
        svm = LinearSVC(C=1.0, class_weight="balanced", max_iter=20000).fit(rows[train], positive[train])
        found.append(roc_auc_score(positive[test], svm.decision_function(rows[test])))
    return np.array(found)


def main() -> None:
    import nncf

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=224)
    options = parser.parse_args()
    side, train, test = options.image_size, pd.read_csv(options.train), pd.read_csv(options.test)
    chosen = np.random.default_rng(0).choice(len(train), CALIBRATION, replace=False)
    calibration = read(train["image"].iloc[chosen], options.root, side)
    images = read(test["image"], options.root, side)
    positive = (test["label"] == test["label"].value_counts().index[-1]).to_numpy()

    def load() -> Any:
        return openvino.Core().read_model(options.model)

    def quantised(fast: bool) -> Any:
        model = load()
        model.reshape({model.inputs[0]: [1, side, side, 3]})
        number = model.inputs[0].get_element_type().to_dtype()
        rows = nncf.Dataset([image[None].astype(number) for image in calibration])
        mixed = nncf.QuantizationPreset.MIXED
        return nncf.quantize(model, rows, preset=mixed, subset_size=CALIBRATION, fast_bias_correction=fast)

    exact, slow = forward(load(), images, "f32")
    base = aucs(exact, positive)
    print(f"float32: AUC {base.mean():.4f}, {slow:.1f} ms an image")
    print(
        "| precision | smallest cosine | mean cosine | change of AUC (most in a half) | speed |\n|---|---|---|---|---|"
    )
    rows = (
        ("bfloat16", load, "bf16"),
        ("int8, fast bias correction", lambda: quantised(True), "f32"),
        ("int8, full bias correction", lambda: quantised(False), "f32"),
    )
    for name, make, precision in rows:
        features, taken = forward(make(), images, precision)
        near = (normalize(features) * normalize(exact)).sum(axis=1)
        change = aucs(features, positive) - base
        print(
            f"| {name} | {near.min():.4f} | {near.mean():.4f} | {change.mean():+.4f} ({np.abs(change).max():.4f}) "
            f"| {slow / taken:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
