"""One contestant in a process of its own: gets ready, then runs once for each line that it reads.

Started by ``benchmarks/extract``. It prints a JSON object when it is ready and one for each run, and uses no
processor in between, so that contestants can take turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from unittest import mock

Run = Callable[[], dict]

# Name in featx's zoo: name in timm.
TIMM = {
    "mobilenet_v2": "mobilenetv2_100",
    "efficientnet_b0": "efficientnet_b0",
    "resnet50": "resnet50",
    "vgg16": "vgg16",
}
CORES = len(os.sched_getaffinity(0))


def network_of(name: str):
    from featx.zoo import build_network, find_backbone, resolve_weights

    backbone = find_backbone(name)
    return build_network(backbone, resolve_weights("random", backbone)[0])


def featx(engine: str, precision: str = "float32"):
    """The whole of `featx.extract`: hashing, reading, forward pass, committed blocks; building left out."""

    def prepare(name: str, folder: Path, batch: int) -> Run:
        from featx.features import extract

        cache = Path(tempfile.mkdtemp(prefix="featx-bench-"))

        def run() -> dict:
            shutil.rmtree(cache / "features", ignore_errors=True)
            (cache / "content-keys.sqlite").unlink(missing_ok=True)
            given = {"backbone": name, "weights": "random", "engine": engine, "precision": precision}
            given["force_precision"] = precision == "bfloat16"
            (done,) = extract(folder, cache=cache, batch_size=batch, device="cpu", **given)
            seconds = done.seconds
            assert done.computed == done.images
            return {
                # Low precision compares its first two batches with float32, however many follow: counted apart.
                "seconds": seconds["hash"] + seconds["wall"] - seconds["check"],
                "check": seconds["check"],
                "store": (seconds["hash"] + seconds["write"]) / (seconds["hash"] + seconds["wall"]),
                "cpu": seconds["cpu"],
                "busy": done.busy,
            }

        run()  # exports the network, which is kept
        return run

    return prepare


def decode_alone(name: str, folder: Path, batch: int) -> Run:
    from functools import partial

    from featx.digest import digest_file
    from featx.features.network_pass import one_view
    from featx.features.pipeline import ImageSource, read_ahead
    from featx.zoo import find_backbone

    size = find_backbone(name).image_size
    sources = [ImageSource(digest_file(path), str(path)) for path in sorted(folder.rglob("*.jpg"))]
    load = partial(one_view, preparation="resize", size=size)

    def run() -> dict:
        begun = time.perf_counter()
        assert all(
            item.views is not None for item in read_ahead(sources, load, workers=CORES, ahead=2 * batch)
        )
        return {"seconds": time.perf_counter() - begun}

    return run


def forward_alone(engine: str, *, whole: bool = False):
    """The engine alone, on pixels at hand; `whole` batches also where featx would compute them in parts."""

    def prepare(name: str, folder: Path, batch: int) -> Run:
        import numpy as np

        from featx.features.engines import KerasEngine, OpenVinoEngine, export_network
        from featx.features.exports.batch_memory import request_rows
        from featx.gpus import Device

        network = network_of(name)
        if engine == "openvino":
            target = Path(tempfile.mkdtemp(prefix="featx-bench-")) / "export"
            export_network(network, target)
            together = (lambda rows, held: rows) if whole else request_rows
            with mock.patch("featx.features.engines.request_rows", together):
                runner = OpenVinoEngine(target, batch, network.image_size, precision="float32", threads=None)
        else:
            runner = KerasEngine(network, batch, Device("cpu"))
        size = network.image_size
        pixels = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
        batches = -(-sum(1 for _ in folder.rglob("*.jpg")) // batch)

        def run() -> dict:
            begun, pending = time.perf_counter(), deque()
            for _ in range(batches):
                pending.append(runner.start(pixels))
                if len(pending) >= runner.in_flight:
                    pending.popleft()()
            while pending:
                pending.popleft()()
            return {"seconds": time.perf_counter() - begun}

        run()
        return run

    return prepare


def keras_predict(name: str, folder: Path, batch: int) -> Run:
    """What users write today."""
    import keras
    import numpy as np

    network = network_of(name)
    size = network.image_size

    def run() -> dict:
        begun = time.perf_counter()
        images = keras.utils.image_dataset_from_directory(
            folder, labels=None, image_size=(size, size), batch_size=batch, shuffle=False, verbose=False
        )
        features = network.model.predict(images, verbose=0)
        with tempfile.TemporaryFile() as file:
            np.save(file, features[0] if isinstance(features, list) else features)
        return {"seconds": time.perf_counter() - begun}

    run()
    return run


def tf_data(name: str, folder: Path, batch: int) -> Run:
    """The same, tuned: parallel decoding, antialiased, prefetched."""
    import numpy as np
    import tensorflow as tf

    network = network_of(name)
    size = network.image_size
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]

    def load(path):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(image, (size, size), antialias=True)

    def run() -> dict:
        begun = time.perf_counter()
        images = tf.data.Dataset.from_tensor_slices(paths).map(load, tf.data.AUTOTUNE)
        features = network.model.predict(images.batch(batch).prefetch(tf.data.AUTOTUNE), verbose=0)
        with tempfile.TemporaryFile() as file:
            np.save(file, features[0] if isinstance(features, list) else features)
        return {"seconds": time.perf_counter() - begun}

    run()
    return run


def timm_loader(name: str, folder: Path, batch: int) -> Run:
    """The network of the same name in timm, channels last, with a DataLoader's processes."""
    import numpy as np
    import torch

    with contextlib.suppress(RuntimeError):
        # torchvision built for a GPU beside torch built for a CPU lacks its operators, which only detectors need.
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Normalize, Resize, ToTensor

    model = (
        timm.create_model(TIMM.get(name, name), pretrained=False, num_classes=0)
        .eval()
        .to(memory_format=torch.channels_last)
    )
    steps = Compose([Resize((224, 224)), ToTensor(), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])

    def run() -> dict:
        begun = time.perf_counter()
        loader = DataLoader(ImageFolder(str(folder), steps), batch_size=batch, num_workers=CORES)
        with torch.inference_mode():
            rows = [model(pixels.to(memory_format=torch.channels_last)).numpy() for pixels, _ in loader]
        with tempfile.TemporaryFile() as file:
            np.save(file, np.concatenate(rows))
        return {"seconds": time.perf_counter() - begun}

    run()
    return run


CONTESTANTS = {
    "featx": featx("openvino"),
    "featx keras": featx("keras"),
    "featx bf16": featx("openvino", "bfloat16"),
    "decode alone": decode_alone,
    "forward alone": forward_alone("openvino"),
    "forward alone whole": forward_alone("openvino", whole=True),
    "forward alone keras": forward_alone("keras"),
    "dataset + predict": keras_predict,
    "tf.data + predict": tf_data,
    "timm + DataLoader": timm_loader,
}


def processor_seconds() -> float:
    """CPU seconds of this process and of its loader processes that have ended."""
    kinds = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(kind.ru_utime + kind.ru_stime for kind in kinds)


def main() -> None:
    contestant, name, folder, batch = sys.argv[1:]
    # Libraries print to stdout now and then; results go to the real one.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def tell(value: dict) -> None:
        print(json.dumps(value), file=results, flush=True)

    try:
        run = CONTESTANTS[contestant](name, Path(folder), int(batch))
    except Exception as error:
        tell({"error": f"{type(error).__name__}: {error}"})
        return
    tell({"ready": True})
    for _ in sys.stdin:
        before = processor_seconds()
        found = run()
        found.setdefault("cpu", processor_seconds() - before)
        found["megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        tell(found)


if __name__ == "__main__":
    main()
