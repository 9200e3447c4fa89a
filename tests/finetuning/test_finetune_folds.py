"""`finetune`: runs, weights, reuse, resuming, and inputs that are refused."""

from __future__ import annotations

import csv
import gc
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx import extract, train_svm
from featx.data import read_folds
from featx.digest import digest_file
from featx.errors import ConfigError, ImageError, LeakError, ProtocolError, RunError, TaskError, WeightsError
from featx.finetuning.finetune_folds import finetune, train_folds
from featx.finetuning.finetune_plan import CompiledNetwork
from featx.finetuning.finetune_runs import HEAD_FILE, HISTORY_FILE
from featx.finetuning.finetune_settings import FinetuneSettings
from featx.images import content, content_keys, write_keys
from featx.progress import Silent
from featx.runs import COMPLETE, Run, find_runs
from featx.zoo import BACKBONE_FILE, TRAINED_ON_FILE, find_backbone, resolve_weights

FIELDS: dict[str, Any] = {"backbone": "tiny", "image_size": 16, "batch_size": 8, "epochs": 3, "workers": 2}


@pytest.fixture(scope="module")
def trained(squares: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, ...]:
    """Two folds trained from random weights in one call."""
    return finetune(
        squares,
        weights="random:3",
        protocol="kfold:2",
        output=tmp_path_factory.mktemp("out"),
        cache=tmp_path_factory.mktemp("cache"),
        **FIELDS,
    )


def again(squares: Path, folder: Path, **fields: Any) -> tuple[Run, ...]:
    given = {
        "weights": "random:3",
        "protocol": "kfold:2",
        "output": folder / "out",
        "cache": folder / "cache",
    }
    return finetune(squares, **{**FIELDS, **given, **fields})


def weights_of(run: Run) -> bytes:
    return (run.path / BACKBONE_FILE).read_bytes() + (run.path / HEAD_FILE).read_bytes()


def test_a_run_records_its_inputs(trained: tuple[Run, ...]) -> None:
    first, second = trained
    assert (first.record.kind, first.record.fold, second.record.fold) == ("finetune", "1", "2")
    assert first.record.lineage == ("random:3", "squares, fold 1")
    assert first.record.settings["name"] == "scratch"
    assert first.record.settings["epochs"] == 3
    assert first.record.counts["train"]["bright"] + first.record.counts["validation"]["bright"] == 12
    assert first.path.as_posix().endswith("/tiny-random3-scratch/labels/kfold-2/1")
    assert not list(first.path.parent.glob(".training-*"))


def test_a_checkpoint_beside_a_finished_run_is_removed(trained: tuple[Run, ...], squares: Path) -> None:
    output = trained[0].path.parents[3]
    left = trained[0].path.with_name(f".training-{trained[0].path.name}")
    left.mkdir()
    (left / "best-1.npz").write_bytes(b"")
    again(squares, output, output=output)
    assert not left.exists()


def test_the_history_has_a_row_for_each_epoch(trained: tuple[Run, ...]) -> None:
    with (trained[0].path / HISTORY_FILE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    best = max(int(row["epoch"]) for row in rows if row["best"] == "True")
    assert best == trained[0].record.convergence["best_epoch"]


def test_trained_on_lists_the_images_seen(trained: tuple[Run, ...], squares: Path) -> None:
    from featx.digest import digest_file

    run = trained[0]
    folds = read_folds(run.path.parent / "folds.json")
    seen = json.loads((run.path / TRAINED_ON_FILE).read_text())
    wanted = sorted(digest_file(squares.parent / f"{name[1:]}.png") for name in folds.folds[0].train)
    assert seen["train_keys"] == wanted
    assert (seen["fold"], seen["folds_digest"]) == ("1", folds.digest)


def test_the_folder_of_the_folds_is_a_weights_source(trained: tuple[Run, ...]) -> None:
    from featx.zoo import build_network

    backbone = find_backbone("tiny")
    sources = resolve_weights(str(trained[0].path.parent), backbone)
    assert [(source.trained_on or {})["fold"] for source in sources] == ["1", "2"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    features = [
        np.asarray(build_network(backbone, source, image_size=16).model.predict_on_batch(pixels)[0])
        for source in (*sources, *resolve_weights("random:3", backbone))
    ]
    assert all(np.isfinite(feature).all() for feature in features)
    assert not np.allclose(features[0], features[1])
    assert not np.allclose(features[0], features[2])


def test_the_same_seed_gives_the_same_bytes_alone_or_after_other_folds(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """With another number of threads, images decoded when needed, and only the second fold trained."""
    (alone,) = again(squares, tmp_path, folds=["2"], workers=5, memory_gib=0.0)
    assert weights_of(alone) == weights_of(trained[1])
    assert (alone.path / HISTORY_FILE).read_bytes() == (trained[1].path / HISTORY_FILE).read_bytes()
    assert alone.record.id == trained[1].record.id


@pytest.mark.slow
def test_a_compiled_network_trains_the_next_fold_to_the_same_bytes(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """The network was compiled in an earlier call, for another fold and other weights."""
    compiled = CompiledNetwork()
    given = {**FIELDS, "protocol": "kfold:2", "output": tmp_path / "out", "cache": tmp_path / "cache"}
    first = FinetuneSettings.make({**given, "weights": "random:4", "folds": ["1"], "arm": "other"})
    train_folds(squares, first, compiled)
    learner = compiled.learner
    second_fold = FinetuneSettings.make({**given, "weights": "random:3", "folds": ["2"]})
    (second,) = train_folds(squares, second_fold, compiled)
    assert learner is not None
    assert compiled.learner is learner
    assert weights_of(second) == weights_of(trained[1])
    compiled.clear()
    assert compiled == CompiledNetwork()


def test_finished_folds_are_reused(trained: tuple[Run, ...], squares: Path, tmp_path: Path) -> None:
    output = trained[0].path.parents[3]
    before = (trained[0].path / "complete.json").stat().st_mtime_ns
    assert again(squares, tmp_path, output=output) == trained
    assert (trained[0].path / "complete.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="epochs: found 3, wanted 4"):
        again(squares, tmp_path, output=output, epochs=4)


def test_finished_folds_are_reused_without_importing_keras(trained: tuple[Run, ...], squares: Path) -> None:
    output, cache = trained[0].path.parents[3], trained[0].path.parents[4] / "cache"
    given = {
        **FIELDS,
        "weights": "random:3",
        "protocol": "kfold:2",
        "output": str(output),
        "cache": str(cache),
    }
    code = f"""
import sys
from featx.finetuning import finetune
assert len(finetune({str(squares)!r}, **{given!r})) == 2
print([name for name in ("keras", "tensorflow") if name in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_an_arm_goes_from_fine_tuning_to_svms_by_its_name(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """One call each: fine-tune, extract from the folder of the runs, train SVMs; no path of a store is given."""
    places: dict[str, Any] = {"cache": tmp_path / "cache"}
    extract(squares, backbone="tiny", weights=trained[0].path.parent, arm="tuned", engine="keras", **places)
    runs = train_svm(squares, arm="tuned", protocol="kfold:2", output=tmp_path / "runs", **places)
    assert [(run.record.arm, run.record.fold) for run in runs] == [("tuned", "1"), ("tuned", "2")]
    assert [run.record.lineage for run in runs] == [run.record.lineage for run in trained]


def test_a_fold_seed_keeps_the_folds_where_the_training_has_another_seed(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    runs = again(squares, tmp_path, seed=5, fold_seed=0, epochs=1)
    assert [run.record.folds_digest for run in runs] == [run.record.folds_digest for run in trained]
    assert [run.record.seed for run in runs] == [5, 5]
    (other, _) = again(squares, tmp_path, seed=5, epochs=1, output=tmp_path / "other")
    assert other.record.folds_digest != trained[0].record.folds_digest
    places: dict[str, Any] = {"cache": tmp_path / "cache"}
    extract(squares, backbone="tiny", weights=runs[0].path.parent, arm="seed5", engine="keras", **places)
    assert len(train_svm(squares, arm="seed5", protocol="kfold:2", output=tmp_path / "runs", **places)) == 2


def test_no_fold_is_trained_if_another_cannot_be_trained(squares: Path, tmp_path: Path) -> None:
    lines = squares.read_text().splitlines()
    few = [lines[0], *(lines[number] for number in (1, 3, 5, 7, 9))]
    (tmp_path / "m.csv").write_text("\n".join(few) + "\n")
    given = {"root": squares.parent, "protocol": "1x2", "output": tmp_path / "runs"}
    with pytest.raises(
        ProtocolError, match=r"fold 1x[12]: no validation set can be taken from its training set"
    ):
        again(tmp_path / "m.csv", tmp_path, **given)
    assert not (tmp_path / "runs").exists()


def test_missing_groups_and_doubtful_labels_are_warned_of(squares: Path, tmp_path: Path) -> None:
    class Lines(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    said: list[str] = []
    text = squares.read_text().replace(",group", ",lesion").replace("x0,bright", "x0,brigt")
    (tmp_path / "m.csv").write_text(text)
    given = {"root": squares.parent, "task": "bright:rest", "dry_run": True, "progress": Lines()}
    again(tmp_path / "m.csv", tmp_path, **given)
    assert "'lesion' (24 values); rename the right one to 'group'" in said[0]
    assert "'brigt' (1 image, similar to 'bright')" in said[1]
    with pytest.raises(TaskError, match="'brigt'"):
        again(tmp_path / "m.csv", tmp_path, strict_labels=True, **given)


def test_a_dry_run_prints_what_each_fold_would_do(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    class Lines(Silent):
        def say(self, message: str) -> None:
            said.append(message)

    said: list[str] = []
    assert again(squares, tmp_path, output=trained[0].path.parents[3], dry_run=True, progress=Lines()) == ()
    assert [line.split(",")[0] for line in said] == ["fold 1: finished", "fold 2: finished"]
    said.clear()
    assert again(squares, tmp_path, folds=["2"], dry_run=True, progress=Lines()) == ()
    assert said[0].startswith("fold 2: will train random:3 on 24 training and 24 test images, into ")
    assert not (tmp_path / "out").exists()


def test_finished_folds_are_found_by_listed_keys(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted(squares.parent.glob("*.png"))
    write_keys(tmp_path / "keys.csv", content_keys(images).keys)

    def refuse(name: str) -> None:
        raise AssertionError(name)

    monkeypatch.setattr(content, "_hash", refuse)
    output = trained[0].path.parents[3]
    runs = again(squares, tmp_path, output=output, keys=tmp_path / "keys.csv")
    assert [run.path for run in runs] == [run.path for run in trained]


def test_networks_are_released(trained: tuple[Run, ...]) -> None:
    from featx.finetuning.learner import Learner

    gc.collect()
    assert trained
    assert not [value for value in gc.get_objects() if isinstance(value, Learner)]


def test_a_killed_training_resumes_to_the_same_bytes(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """A real process is killed by SIGKILL while it trains."""
    given = {"weights": "random:3", "protocol": "kfold:2", "output": str(tmp_path / "out"), "folds": ["2"]}
    code = f"""
from featx.finetuning import finetune
class Lines:
    def start(self, *given): pass
    def advance(self, count=1): pass
    def finish(self): pass
    def say(self, message): print(message, flush=True)
finetune({str(squares)!r}, progress=Lines(), cache={str(tmp_path / "cache")!r}, **{ {**FIELDS, **given}!r})
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        lines = iter(child.stdout.readline, "")
        assert any("epoch 2/3" in line for line in lines)
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "tiny-random3-scratch" / "labels" / "kfold-2" / "2").exists()
    (resumed,) = again(squares, tmp_path, folds=["2"])
    facts = json.loads((resumed.path / "environment.json").read_text())
    assert facts["resumed_epochs"] >= 2
    assert weights_of(resumed) == weights_of(trained[1])
    assert (resumed.path / HISTORY_FILE).read_bytes() == (trained[1].path / HISTORY_FILE).read_bytes()
    assert not list(resumed.path.parent.glob(".*"))


def test_each_fold_starts_from_its_own_weights(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    fields = {"weights": trained[0].path.parent, "epochs": 1, "head_epochs": 1, "recipe": "modern"}
    first, second = again(squares, tmp_path, **fields)
    assert first.record.lineage == ("random:3", "squares, fold 1", "squares, fold 1")
    assert second.record.lineage == ("random:3", "squares, fold 2", "squares, fold 2")
    assert (
        second.record.features["recipe"]["weights"]
        == resolve_weights(trained[1].path, find_backbone("tiny"))[0].digest
    )


def test_weights_that_have_seen_a_test_image_are_refused(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    with pytest.raises(LeakError, match="trained on 24 test images of fold 2"):
        again(squares, tmp_path, weights=trained[0].path)


def test_weights_that_have_seen_the_group_of_a_test_image_are_refused(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """x0 and x1 are of one group: x0, which trained the weights, is not in the fold, and x1 is a test image."""
    known = tmp_path / "known"
    shutil.copytree(trained[0].path, known)
    facts = json.loads((known / TRAINED_ON_FILE).read_text())
    facts["train_keys"] = [digest_file(squares.parent / "0.png")]
    (known / TRAINED_ON_FILE).write_text(json.dumps(facts))
    marks = json.loads((known / COMPLETE).read_text())
    marks["files"][TRAINED_ON_FILE] = digest_file(known / TRAINED_ON_FILE)
    (known / COMPLETE).write_text(json.dumps(marks))
    parts = {1: "test", 2: "test", 3: "test"} | dict.fromkeys(range(4, 48), "train")
    rows = [f"a,x{number},{part}" for number, part in parts.items()]
    (tmp_path / "folds.csv").write_text("\n".join(["fold,id,part", *rows]) + "\n")
    with pytest.raises(LeakError, match=r"1 test images of fold a, or on images of their groups \(x1\)"):
        again(squares, tmp_path, weights=known, protocol=tmp_path / "folds.csv", dry_run=True)


def test_other_folds_in_the_same_output_folder_are_refused(trained: tuple[Run, ...], squares: Path) -> None:
    output = trained[0].path.parents[3]
    with pytest.raises(ProtocolError, match="this folder has runs with other folds"):
        again(squares, output, output=output, seed=5, dry_run=True)
    again(squares, output, output=output, seed=5, dry_run=True, overwrite=True)


def test_a_folder_without_the_fold_is_refused(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="0 of the 2 weights are for fold all"):
        again(squares, tmp_path, weights=trained[0].path.parent, protocol="none")


def test_a_source_task_trains_on_all_images_and_records_them(squares: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    boards = tmp_path / "boards"
    (source,) = again(squares, tmp_path, protocol="none", epochs=1, arm="source", tensorboard=boards)
    assert list((boards / "source" / "labels" / "none" / "all").iterdir())
    assert source.record.lineage == ("random:3", "squares")
    assert len(json.loads((source.path / TRAINED_ON_FILE).read_text())["train_keys"]) == 48
    assert find_runs([tmp_path / "out"]) == [source.path]
    with pytest.raises(LeakError, match="24 test images of fold 1"):
        again(squares, tmp_path, weights=source.path, arm="target")


@pytest.mark.slow
def test_out_of_memory_halves_the_micro_batch(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is that of a recipe with as many micro-batches from the start."""
    from featx.finetuning.learner import Learner

    real = Learner.train

    def train(self: Learner, batch: Any, rate: float) -> float:
        if self.recipe.micro_batch > 4:
            raise RuntimeError("RESOURCE_EXHAUSTED: OOM when allocating")
        return real(self, batch, rate)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "train", train)
        (halved,) = again(squares, tmp_path, folds=["1"], epochs=1)
    assert halved.record.convergence["images_at_once"] == 4
    assert halved.record.settings["accumulate"] == 1
    (parts,) = again(squares, tmp_path / "parts", folds=["1"], epochs=1, accumulate=2)
    assert weights_of(halved) == weights_of(parts)


@pytest.mark.slow
def test_the_device_decides_no_record_and_no_weight(
    trained: tuple[Run, ...], squares: Path, tmp_path: Path
) -> None:
    """On this machine the CPU is all there is."""
    (run,) = again(squares, tmp_path, folds=["1"], device="cpu")
    assert (run.path / "run.json").read_bytes() == (trained[0].path / "run.json").read_bytes()
    assert weights_of(run) == weights_of(trained[0])


def test_the_first_step_lets_the_next_job_look_for_a_gpu(
    squares: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featx.finetuning import trainer
    from featx.finetuning.learner import Learner
    from featx.gpus import Device

    events: list[str] = []

    @contextmanager
    def take_device(*given: Any, **more: Any) -> Iterator[Any]:
        events.append("taken")
        yield trainer.TakenDevice(Device("cpu"), "cpu", lambda: events.append("allocated"))
        events.append("over")

    real = Learner.train

    def train(self: Learner, batch: Any, rate: float) -> float:
        events.append("step")
        return real(self, batch, rate)

    monkeypatch.setattr(trainer, "take_device", take_device)
    monkeypatch.setattr(Learner, "train", train)
    again(squares, tmp_path, epochs=1)
    assert events[:3] == ["taken", "step", "allocated"]
    assert (events.count("taken"), events[-1]) == (1, "over")


def test_the_head_scores_the_test_set(trained: tuple[Run, ...], squares: Path, tmp_path: Path) -> None:
    """Finished networks are scored without being trained again."""
    from featx.stats.auc import roc_auc

    fields = {"output": trained[0].path.parents[3], "head": "softmax", "scores": tmp_path / "softmax"}
    runs = again(squares, tmp_path, **fields)
    assert runs[:2] == trained
    assert [run.record.kind for run in runs[2:]] == ["softmax", "softmax"]
    assert {row.id for run in runs[2:] for row in run.predictions} == {f"x{number}" for number in range(48)}
    assert runs[2].record.scored == ("dark",)
    assert runs[2].record.counts["test"] == {"bright": 12, "dark": 12}
    for run in runs[2:]:
        actual = [row.actual == "dark" for row in run.predictions]
        auc = roc_auc(actual, [row.scores["dark"] for row in run.predictions])
        assert auc > 0.5
    assert again(squares, tmp_path, **fields) == runs
    with pytest.raises(ConfigError, match="one of svm, softmax"):
        again(squares, tmp_path, head="linear")


def test_unknown_keywords_and_unreadable_images_are_refused(squares: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        again(squares, tmp_path, epoch=3)
    broken = tmp_path / "data"
    broken.mkdir()
    for image in squares.parent.iterdir():
        (broken / image.name).write_bytes(image.read_bytes())
    (broken / "7.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"7\.png"):
        again(broken / "manifest.csv", tmp_path)
